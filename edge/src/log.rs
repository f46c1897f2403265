//! Log lines: one JSON object each, for what went wrong. Never a token, a key or an address.

use licet_shared::id::RequestId;
use serde::Serialize;
use worker::{wasm_bindgen::JsValue, web_sys::console};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    message: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<RequestId>,
}

/// Writes a line: `message` says what happened in a constant sentence, `detail` what differs.
pub(crate) fn write(level: Level, message: &str, detail: &str, request_id: Option<RequestId>) {
    put(&Line {
        level,
        event: None,
        message,
        detail,
        request_id,
    });
}

/// Writes an error under a name of its own, which stays the same, for alerts to go by.
pub(crate) fn alert(event: &'static str, message: &str, detail: &str) {
    put(&Line {
        level: Level::Error,
        event: Some(event),
        message,
        detail,
        request_id: None,
    });
}

fn put(line: &Line<'_>) {
    let text = licet_edge_hot::json(line).unwrap_or_default().into();
    match line.level {
        Level::Warn => console::warn_1(&text),
        Level::Error => console::error_1(&text),
    }
}

/// Writes a line that is JSON already, and no complaint.
pub(crate) fn note(json: &str) {
    console::log_1(&JsValue::from_str(json));
}
