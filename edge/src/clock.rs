//! The runtime's clock, which stands still while a request computes.

use std::cell::Cell;

use licet_shared::time::Timestamp;

/// Milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods, reason = "the one place that may ask")]
pub(crate) fn now_ms() -> u64 {
    // Positive and far below 2^53: the cast is exact.
    js_sys::Date::now() as u64
}

/// The time by which one request is judged: the same until it is read again, which is due
/// wherever the request has waited for somebody.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    now: Cell<Timestamp>,
    /// Seconds by which it is ahead of the runtime's: none but in tests.
    ahead_s: i64,
}

impl Clock {
    /// One that shows this time.
    pub(crate) fn at(now_ms: u64) -> Self {
        Self {
            now: Cell::new(timestamp(now_ms)),
            ahead_s: 0,
        }
    }

    /// The time last read.
    pub(crate) fn now(&self) -> Timestamp {
        self.now.get()
    }

    /// Reads the runtime's clock again.
    pub(crate) fn read(&self) {
        self.now.set(timestamp(now_ms()).plus(self.ahead_s));
    }

    /// One that runs ahead.
    #[cfg(test)]
    pub(crate) fn ahead(seconds: i64) -> Self {
        let clock = Self {
            ahead_s: seconds,
            ..Self::at(0)
        };
        clock.read();
        clock
    }
}

/// A time in whole seconds.
pub(crate) fn timestamp(ms: u64) -> Timestamp {
    Timestamp::from_unix((ms / 1000).cast_signed())
}
