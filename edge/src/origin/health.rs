//! Whether the origin is worth asking, as this isolate has seen it.
//!
//! After a failure nobody asks for a few seconds, so that requests are not each held up by the
//! same timeout. Then one request at a time tries.

use std::cell::Cell;

use crate::random;

/// Shortest and longest pause after a failure. Drawn at random, so that isolates spread out.
const PAUSE_MS: std::ops::Range<u64> = 2_000..5_000;
/// How recent an answer must be to stand for "the origin can be reached".
const RECENT_MS: u64 = 5_000;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Health {
    answered_at_ms: Cell<u64>,
    paused_until_ms: Cell<u64>,
    /// Whether the last call failed.
    failing: Cell<bool>,
}

impl Health {
    /// Whether to ask now. While the origin is failing, a yes is for one caller, who has
    /// `attempt_ms` to report back before the next is let through.
    pub(crate) fn may_be_asked(&self, now_ms: u64, attempt_ms: u32) -> bool {
        if !self.failing.get() {
            return true;
        }
        let may = now_ms >= self.paused_until_ms.get();
        if may {
            self.paused_until_ms.set(now_ms + u64::from(attempt_ms));
        }
        may
    }

    /// Until when nobody is to ask, if so.
    pub(crate) fn paused_until(&self, now_ms: u64) -> Option<u64> {
        let until_ms = self.paused_until_ms.get();
        (self.failing.get() && now_ms < until_ms).then_some(until_ms)
    }

    /// It answered, whatever it said.
    pub(crate) fn answered(&self, now_ms: u64) {
        self.answered_at_ms.set(now_ms);
        self.failing.set(false);
    }

    /// It did not answer.
    pub(crate) fn failed(&self, now_ms: u64) {
        self.failing.set(true);
        self.paused_until_ms.set(now_ms + pause_ms());
    }

    /// Whether it has just answered.
    pub(crate) fn answered_recently(&self, now_ms: u64) -> bool {
        !self.failing.get() && now_ms.saturating_sub(self.answered_at_ms.get()) < RECENT_MS
    }
}

/// A pause of random length.
pub(crate) fn pause_ms() -> u64 {
    let spread = PAUSE_MS.end - PAUSE_MS.start;
    PAUSE_MS.start + u64::from(u16::from_be_bytes(random::bytes())) % spread
}
