//! What one operation is: path, method, who may call it, what goes in and what comes out.

use std::borrow::Cow;

use axum::routing::MethodFilter;
use futures_util::future::BoxFuture;
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use super::{Call, OpenCall, Reply, deprecation::Deprecation};
use crate::{accounts::permissions::Permission, http::HandlerError};

/// A handler at work.
pub(crate) type Handling = BoxFuture<'static, Result<Reply, HandlerError>>;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    pub(super) const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody: what is shown stands in the body.
    Open,
    /// Any person who is logged in; it is about themselves.
    Person,
    /// Whoever has the permission by role or scope.
    Needs(Permission),
}

/// The two kinds of handlers. One that needs a caller can't be given none.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    Open(fn(OpenCall) -> Handling),
    Known(fn(Call) -> Handling),
}

/// A type in the description.
#[derive(Clone, Copy)]
pub(super) struct Type {
    pub(super) name: fn() -> Cow<'static, str>,
    pub(super) schema: fn() -> RefOr<Schema>,
    pub(super) schemas: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Type {
    pub(super) fn of<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            schema: T::schema,
            schemas: T::schemas,
        }
    }
}

/// A query parameter. Others are refused.
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) schema: fn() -> RefOr<Schema>,
}

/// What comes out when all is well.
pub(super) enum Output {
    Nothing,
    One(Type),
    Page(Type),
    /// As long as it takes, a line each.
    Lines(Type),
}

/// One operation.
pub(crate) struct Operation {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(super) handler: Handler,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) detail: &'static str,
    pub(super) params: Vec<Param>,
    /// The kind of the path's first parameter.
    pub(super) about: Option<Type>,
    pub(super) input: Option<Type>,
    pub(super) status: u16,
    pub(super) output: Output,
    /// Takes an `Idempotency-Key`.
    pub(super) once: bool,
    /// Takes an `If-Match`.
    pub(super) conditional: bool,
    pub(super) deprecation: Option<Deprecation>,
    /// Codes beyond those that follow from the rest.
    pub(super) problems: Vec<licet_shared::problem::ProblemCode>,
}

impl Operation {
    /// One for whoever has the permission.
    pub(super) fn new(
        verb: Verb,
        path: &'static str,
        permission: Permission,
        handler: fn(Call) -> Handling,
    ) -> Self {
        Self::with(
            verb,
            path,
            Access::Needs(permission),
            Handler::Known(handler),
        )
    }

    /// One about the person who calls.
    pub(super) fn own(verb: Verb, path: &'static str, handler: fn(Call) -> Handling) -> Self {
        Self::with(verb, path, Access::Person, Handler::Known(handler))
    }

    /// One for anybody.
    pub(super) fn open(verb: Verb, path: &'static str, handler: fn(OpenCall) -> Handling) -> Self {
        Self::with(verb, path, Access::Open, Handler::Open(handler))
    }

    fn with(verb: Verb, path: &'static str, access: Access, handler: Handler) -> Self {
        Self {
            verb,
            path,
            access,
            handler,
            id: "",
            summary: "",
            detail: "",
            params: Vec::new(),
            about: None,
            input: None,
            status: 204,
            output: Output::Nothing,
            once: false,
            conditional: false,
            deprecation: None,
            problems: Vec::new(),
        }
    }

    /// Its name in clients, and what it does in a few words.
    pub(super) const fn named(mut self, id: &'static str, summary: &'static str) -> Self {
        (self.id, self.summary) = (id, summary);
        self
    }

    /// What else is to be known.
    pub(super) const fn detail(mut self, detail: &'static str) -> Self {
        self.detail = detail;
        self
    }

    /// A query parameter.
    pub(super) fn param<T: ToSchema>(mut self, name: &'static str, meaning: &'static str) -> Self {
        self.params.push(Param {
            name,
            meaning,
            schema: T::schema,
        });
        self
    }

    /// What the path's id is an id of.
    pub(super) fn about<T: ToSchema>(mut self) -> Self {
        self.about = Some(Type::of::<T>());
        self
    }

    /// The body that it takes.
    pub(super) fn takes<T: ToSchema>(mut self) -> Self {
        self.input = Some(Type::of::<T>());
        self
    }

    /// Answers 200 with this body.
    pub(super) fn gives<T: ToSchema>(mut self) -> Self {
        (self.status, self.output) = (200, Output::One(Type::of::<T>()));
        self
    }

    /// Makes something, once per `Idempotency-Key`, and answers 201 with this body.
    pub(super) fn creates<T: ToSchema>(mut self) -> Self {
        (self.status, self.output, self.once) = (201, Output::One(Type::of::<T>()), true);
        self
    }

    /// Takes an `Idempotency-Key`, as what would act again if it were sent again.
    pub(super) const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Answers 201 with this body, but takes no `Idempotency-Key`.
    pub(super) fn begins<T: ToSchema>(mut self) -> Self {
        (self.status, self.output) = (201, Output::One(Type::of::<T>()));
        self
    }

    /// Answers 200 with a page of these, by `limit` and `cursor`.
    pub(super) fn lists<T: ToSchema>(mut self) -> Self {
        (self.status, self.output) = (200, Output::Page(Type::of::<T>()));
        self.params.push(Param {
            name: "limit",
            meaning: "How many at most, 1 to 100; 50 if absent.",
            schema: super::list::limit_schema,
        });
        self.params.push(Param {
            name: "cursor",
            meaning: "Where to go on: the `next_cursor` of the page before.",
            schema: super::list::cursor_schema,
        });
        self
    }

    /// Answers 200 with lines of these.
    pub(super) fn lines<T: ToSchema>(mut self) -> Self {
        (self.status, self.output) = (200, Output::Lines(Type::of::<T>()));
        self
    }

    /// Honours `If-Match`.
    pub(super) const fn conditional(mut self) -> Self {
        self.conditional = true;
        self
    }

    /// Will go: every answer says so.
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing is deprecated yet"))]
    pub(super) const fn deprecated(mut self, deprecation: Deprecation) -> Self {
        self.deprecation = Some(deprecation);
        self
    }

    /// May also be answered with this problem.
    pub(super) fn or(mut self, problem: licet_shared::problem::ProblemCode) -> Self {
        self.problems.push(problem);
        self
    }
}
