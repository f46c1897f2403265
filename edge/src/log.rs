//! Log lines: one JSON object each, for what went wrong. Never a token, a key or an address.

use licet_shared::id::RequestId;
use serde::Serialize;
use worker::web_sys::console;

/// How bad it is.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Somebody should look when it goes on.
    Warn,
    /// Somebody must do something.
    Error,
}

#[derive(Serialize)]
struct Line<'a> {
    level: Level,
    message: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<RequestId>,
}

/// Writes a line: `message` says what happened in a constant sentence, `detail` what differs.
pub(crate) fn write(level: Level, message: &str, detail: &str, request_id: Option<RequestId>) {
    let line = Line {
        level,
        message,
        detail,
        request_id,
    };
    let text = serde_json::to_string(&line).unwrap_or_default().into();
    match level {
        Level::Warn => console::warn_1(&text),
        Level::Error => console::error_1(&text),
    }
}
