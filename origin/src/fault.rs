//! Faults of our own, as opposed to what a caller did wrong.

use std::{error::Error as StdError, fmt};

type Cause = Box<dyn StdError + Send + Sync>;

/// Something on our side went wrong. Callers learn that it did; the log learns why.
#[derive(Debug)]
pub struct Fault {
    kind: FaultKind,
    what: &'static str,
    cause: Option<Cause>,
}

/// What a caller may do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Nothing: report it.
    Internal,
    /// Try again: the database is away, or there is more to do than can be done.
    Unavailable,
}

impl Fault {
    /// A fault that no retry will mend.
    pub fn internal(what: &'static str, cause: impl Into<Cause>) -> Self {
        Self {
            kind: FaultKind::Internal,
            what,
            cause: Some(cause.into()),
        }
    }

    /// A fault that may pass.
    pub fn unavailable(what: &'static str, cause: impl Into<Cause>) -> Self {
        Self {
            kind: FaultKind::Unavailable,
            what,
            cause: Some(cause.into()),
        }
    }

    /// A fault that may pass and has no cause below it.
    #[must_use]
    pub const fn busy(what: &'static str) -> Self {
        Self {
            kind: FaultKind::Unavailable,
            what,
            cause: None,
        }
    }

    /// What a caller may do about it.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        self.kind
    }
}

/// For the log: what happened and all that is known of why. Never for an answer.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        let mut cause = self.cause.as_ref().map(|cause| &**cause as &dyn StdError);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Fault {}
