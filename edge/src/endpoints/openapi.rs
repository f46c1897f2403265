//! `GET /openapi.json`: this API's description (OpenAPI 3.1).

use crate::http::{Answer, answer::JSON};

/// The committed description.
pub(crate) fn description() -> Answer {
    const TEXT: &[u8] = include_bytes!("../../openapi.json");
    Answer::new(200, JSON, TEXT).cache_control("public, max-age=3600")
}
