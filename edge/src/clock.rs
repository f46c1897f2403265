//! The runtime's clock, which stands still while a request computes.

/// Milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods, reason = "the one place that may ask")]
pub(crate) fn now_ms() -> u64 {
    // Positive and far below 2^53: the cast is exact.
    js_sys::Date::now() as u64
}
