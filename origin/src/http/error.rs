//! Errors on their way to a problem body.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use licet_shared::problem::ProblemCode;

use crate::{
    db,
    fault::{Fault, FaultKind},
    rejection::Rejection,
};

/// Why a handler has no answer: the caller's fault, which is explained, or ours, which is not.
#[derive(Debug)]
pub(crate) enum HandlerError {
    Problem(Pending),
    Fault(Fault),
}

/// A problem that only lacks its request's id. Rides on a response to the frame around all
/// handlers, which writes the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(super) code: ProblemCode,
    pub(super) detail: String,
    pub(super) retry_after_s: Option<u32>,
}

impl Pending {
    pub(super) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after_s: None,
        }
    }

    pub(super) fn of_fault(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Internal => Self::new(
                ProblemCode::Internal,
                "This is our fault and has been logged. Report the request_id if it stays.",
            ),
            FaultKind::Unavailable => Self {
                retry_after_s: Some(1),
                ..Self::new(ProblemCode::Unavailable, "Ask again in a moment.")
            },
        }
    }
}

impl HandlerError {
    /// The caller's fault, with what happened and what to do.
    pub(crate) fn problem(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self::Problem(Pending::new(code, detail))
    }

    /// Nothing is there, or nothing that this caller may know of.
    pub(crate) fn not_found() -> Self {
        Self::problem(ProblemCode::NotFound, "No such organization, list or set.")
    }

    /// Nothing stands at this path.
    pub(crate) fn no_such_path() -> Self {
        Self::problem(ProblemCode::NotFound, "There is no such path.")
    }

    /// With the seconds after which to ask again.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        if let Self::Problem(pending) = &mut self {
            pending.retry_after_s = Some(seconds);
        }
        self
    }
}

impl From<Fault> for HandlerError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Rejection> for HandlerError {
    fn from(rejection: Rejection) -> Self {
        let Rejection {
            code,
            detail,
            retry_after_s,
        } = rejection;
        Self::Problem(Pending {
            code,
            detail: detail.into_owned(),
            retry_after_s,
        })
    }
}

impl From<db::Error> for HandlerError {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Rejected(rejection) => rejection.into(),
            db::Error::KeyInFlight => Self::problem(
                ProblemCode::IdempotencyInFlight,
                "A request with this Idempotency-Key is still being answered. Ask again in a moment.",
            )
            .retry_after(1),
            error => Self::Fault(error.into()),
        }
    }
}

impl IntoResponse for HandlerError {
    fn into_response(self) -> Response {
        let (pending, fault) = match self {
            Self::Problem(pending) => (pending, None),
            Self::Fault(fault) => (Pending::of_fault(fault.kind()), Some(fault)),
        };
        let status = StatusCode::from_u16(pending.code.status());
        let mut response = status
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
        response.extensions_mut().insert(pending);
        if let Some(fault) = fault {
            response.extensions_mut().insert(std::sync::Arc::new(fault));
        }
        response
    }
}
