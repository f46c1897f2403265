//! What a statement can fail with.

use std::{error::Error as _, fmt};

use tokio_postgres::error::SqlState;

use crate::{fault::Fault, postgres::tls_refusal, rejection::Rejection};

/// A transaction that did not come about.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No connection became free in time, or none could be made.
    NoConnection(String),
    /// The server did not show what `sslmode` asks for, or refused our certificate.
    Untrusted(String),
    /// The server refused a statement, or the connection was lost.
    Statement(tokio_postgres::Error),
    /// A row did not hold what its table's constraints promise.
    Row(&'static str),
    /// What the work was built on has changed meanwhile: begin again.
    Changed,
    /// Another request with the same idempotency key is at work, and was so for too long.
    KeyInFlight,
    /// The work said yes although one of its statements had failed.
    Aborted,
    /// The work sent a statement after its transaction's COMMIT.
    Ended,
    /// The caller's request can't be done, as was found out at work: rolls back.
    Rejected(Rejection),
    /// Not the database's fault.
    Other(Fault),
}

impl Error {
    fn state(&self) -> Option<&SqlState> {
        match self {
            Self::Statement(error) => error.code(),
            _ => None,
        }
    }

    /// Of a connection that did not come about.
    pub(crate) fn of_connecting(error: tokio_postgres::Error) -> Self {
        match tls_refusal(&error) {
            Some(why) => Self::Untrusted(why),
            None => error.into(),
        }
    }

    /// Whether the same transaction may well succeed when begun again.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Changed)
            || self.is_stale_statement()
            || self.state().is_some_and(|state| {
                [
                    SqlState::T_R_SERIALIZATION_FAILURE,
                    SqlState::T_R_DEADLOCK_DETECTED,
                ]
                .contains(state)
            })
    }

    /// Whether a prepared statement is not what it was: the server forgot it, or a migration has
    /// changed its result.
    pub(super) fn is_stale_statement(&self) -> bool {
        self.state().is_some_and(|state| {
            [
                SqlState::INVALID_SQL_STATEMENT_NAME,
                SqlState::FEATURE_NOT_SUPPORTED,
            ]
            .contains(state)
        })
    }

    /// Whether the connection is gone, as when the server was restarted.
    pub(super) fn is_disconnect(&self) -> bool {
        match self {
            Self::Statement(error) => {
                error.is_closed()
                    || error
                        .source()
                        .is_some_and(|cause| cause.is::<std::io::Error>())
                    || self
                        .state()
                        .is_some_and(|state| is_shutdown(state) || is_of_connection(state))
            }
            _ => false,
        }
    }

    /// Whether a lock was not to be had in time.
    pub(super) fn is_lock_timeout(&self) -> bool {
        self.state() == Some(&SqlState::LOCK_NOT_AVAILABLE)
    }

    /// What becomes of it when it is this constraint that was violated.
    pub(crate) fn on_constraint(self, name: &str, rejection: impl FnOnce() -> Rejection) -> Self {
        if self.constraint() == Some(name) {
            rejection().into()
        } else {
            self
        }
    }

    /// The constraint that was violated.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Statement(error) => error.as_db_error()?.constraint(),
            _ => None,
        }
    }
}

fn is_shutdown(state: &SqlState) -> bool {
    [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ]
    .contains(state)
}

/// Class 53: no room on the disk, no memory, no connection left.
fn is_of_resources(state: &SqlState) -> bool {
    state.code().starts_with("53")
}

/// Class 08 of the SQL standard. A pooler says so when it has lost the server.
pub(super) fn is_of_connection(state: &SqlState) -> bool {
    state.code().starts_with("08")
}

fn may_pass(state: &SqlState) -> bool {
    is_shutdown(state)
        || is_of_resources(state)
        || [
            SqlState::QUERY_CANCELED,
            SqlState::LOCK_NOT_AVAILABLE,
            // A standby before it takes over, or a guard against the disk's end.
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ]
        .contains(state)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection(why) => write!(f, "no connection: {why}"),
            Self::Untrusted(why) => f.write_str(why),
            Self::Statement(error) => f.write_str(&describe(error)),
            Self::Row(what) => write!(f, "a row holds what it can't: {what}"),
            Self::Changed => f.write_str("rows changed under the transaction, again and again"),
            Self::KeyInFlight => f.write_str("a request with the same key is still at work"),
            Self::Aborted => f.write_str("a statement failed and nobody noticed"),
            Self::Ended => f.write_str("a statement was sent after COMMIT"),
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Other(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Statement(error)
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Other(fault)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Other(fault) => fault,
            Error::NoConnection(_) | Error::Untrusted(_) | Error::Changed | Error::KeyInFlight => {
                Self::unavailable("the database", error)
            }
            Error::Statement(_)
                if error.is_disconnect()
                    || error.is_conflict()
                    || error.state().is_some_and(may_pass) =>
            {
                Self::unavailable("the database", error)
            }
            _ => Self::internal("the database", error),
        }
    }
}

/// A database error for the log: code, message and constraint. Not the detail, which quotes
/// values of the row.
#[must_use]
pub fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        let constraint = error
            .constraint()
            .map(|name| format!(" (constraint {name})"));
        return format!(
            "{} [{}]{}",
            error.message(),
            error.code().code(),
            constraint.unwrap_or_default()
        );
    }
    if let Some(why) = tls_refusal(error) {
        return why;
    }
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
