//! `GET /openapi.json`: this API's description (OpenAPI 3.1).
//!
//! It is made from the types and from what stands beside each path in `description`, a test that
//! fails when the committed `edge/openapi.json` is not the same.

#[cfg(test)]
mod description;

use crate::http::{Answer, answer::JSON};

/// The committed description, without its white space.
pub(crate) fn description() -> Answer {
    const TEXT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json"));
    Answer::new(200, JSON, TEXT).cache_control("public, max-age=3600")
}
