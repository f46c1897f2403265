//! `GET /health/live` and `/health/ready`: neither asks the origin, whose absence an edge outlives.

use licet_shared::problem::ProblemCode;
use serde::Serialize;

use crate::{
    config::ConfigError,
    http::{Answer, Fault},
};

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// The Worker runs.
pub(crate) fn live() -> Answer {
    Answer::json(&Health { status: "live" }).cache_control("no-store")
}

/// The settings can be used.
///
/// # Errors
/// 503 when they can't; the log says which.
pub(crate) fn ready<T>(isolate: &Result<T, ConfigError>) -> Result<Answer, Fault> {
    match isolate {
        Ok(_) => Ok(Answer::json(&Health { status: "ready" }).cache_control("no-store")),
        Err(_) => Err(Fault::new(
            ProblemCode::Unavailable,
            "A setting is missing or wrong. The log says which, and why.",
        )),
    }
}
