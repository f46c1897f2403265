//! Bodies and idempotency keys within their limits.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use licet_shared::{api::MAX_BODY_BYTES, problem::ProblemCode};

use super::HandlerError;

/// Longest idempotency key, as its table has it.
const MAX_KEY_BYTES: usize = 255;

/// Reads a body within its limit.
pub(crate) async fn read(body: Body, headers: &HeaderMap) -> Result<Bytes, HandlerError> {
    let too_large = || {
        let detail = format!("A body may have at most {MAX_BODY_BYTES} bytes.");
        HandlerError::problem(ProblemCode::BodyTooLarge, detail)
    };
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(HandlerError::problem(
            ProblemCode::BadRequest,
            "The body broke off.",
        )),
    }
}

/// A key that the table can hold.
pub(crate) fn check_key(key: &str) -> Result<String, HandlerError> {
    let sound =
        (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if sound {
        Ok(key.to_owned())
    } else {
        Err(HandlerError::problem(
            ProblemCode::BadRequest,
            format!("Idempotency-Key: must be 1 to {MAX_KEY_BYTES} visible ASCII characters"),
        ))
    }
}

/// Whether a body is declared as JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let media_type = value
        .split_once(';')
        .map_or(value, |(media_type, _)| media_type);
    media_type.trim().eq_ignore_ascii_case("application/json")
}
