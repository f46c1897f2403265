//! What a caller did wrong, as it is found out while at work: it rolls the transaction back and
//! is explained to the caller.

use std::{borrow::Cow, fmt};

use licet_shared::problem::ProblemCode;

/// A request that is turned down, with the reason for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub(crate) code: ProblemCode,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) retry_after_s: Option<u32>,
}

impl Rejection {
    /// With what happened and what to do about it.
    pub(crate) fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after_s: None,
        }
    }

    /// A field, header or parameter that can't be taken.
    pub(crate) fn field(name: &str, what: impl fmt::Display) -> Self {
        Self::new(ProblemCode::BadRequest, format!("{name}: {what}"))
    }

    /// It clashes with how things stand.
    pub(crate) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::Conflict, detail)
    }

    /// Not there, or not the caller's: nobody is told which.
    pub(crate) const fn not_found() -> Self {
        Self {
            code: ProblemCode::NotFound,
            detail: Cow::Borrowed("There is nothing of this name or id."),
            retry_after_s: None,
        }
    }

    /// With the seconds after which to ask again.
    pub(crate) const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Rejection {}
