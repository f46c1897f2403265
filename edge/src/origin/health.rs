//! Whether the origin is worth asking, as this isolate has seen it.
//!
//! After a failure nobody asks for a few seconds, so that requests are not each held up by the
//! same timeout. Then one request at a time tries.
//!
//! Not every failure is the origin's as a whole: one document may be slow for reasons of its own,
//! and must not put all organizations on what is held. See [`Health::left_unanswered`].

use std::cell::{Cell, RefCell};

use licet_shared::{decision::OriginState, time::Timestamp};

use crate::{clock, random};

/// Shortest and longest pause after a failure. Drawn at random, so that isolates spread out.
const PAUSE_MS: std::ops::Range<u64> = 2_000..5_000;
/// How recent an answer must be to stand for "the origin can be reached".
const RECENT_MS: u64 = 5_000;
/// For how long one unanswered call is taken for a matter of its document, when the origin has
/// answered others within that time.
const BENEFIT_OF_DOUBT_MS: u64 = 10_000;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Health {
    answered_at_ms: Cell<u64>,
    paused_until_ms: Cell<u64>,
    /// Whether it is taken to be out of reach.
    failing: Cell<bool>,
    failed_at_ms: Cell<u64>,
    /// The last call left unanswered, if nothing has been answered since.
    unanswered: RefCell<Option<(Box<str>, u64)>>,
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
        self.unanswered.take();
    }

    /// It can't be reached: no connection, or a gateway that has none.
    pub(crate) fn failed(&self, now_ms: u64) {
        self.failing.set(true);
        self.failed_at_ms.set(now_ms);
        self.paused_until_ms.set(now_ms + pause_ms());
    }

    /// It did not answer the call for `path` in time, or only that it is busy. That counts as a
    /// failure when another call has just fared alike and none better since, or when nothing has
    /// been answered for a while; else it may be a matter of this one document.
    pub(crate) fn left_unanswered(&self, path: &str, now_ms: u64) {
        let since = |then_ms: u64| now_ms.saturating_sub(then_ms);
        let before = self.unanswered.replace(Some((path.into(), now_ms)));
        let another = before.is_some_and(|(other, then_ms)| {
            *other != *path && since(then_ms) < BENEFIT_OF_DOUBT_MS
        });
        if another || self.failing.get() || since(self.answered_at_ms.get()) >= BENEFIT_OF_DOUBT_MS
        {
            self.failed(now_ms);
        }
    }

    /// Whether it has just answered.
    pub(crate) fn answered_recently(&self, now_ms: u64) -> bool {
        !self.failing.get() && now_ms.saturating_sub(self.answered_at_ms.get()) < RECENT_MS
    }

    /// When it was last seen to be out of reach, if it is taken to be.
    pub(crate) fn failed_at(&self) -> Option<Timestamp> {
        let failing = self.failing.get();
        failing.then(|| clock::timestamp(self.failed_at_ms.get()))
    }

    /// How the origin does in the eyes of a request whose document could not be renewed.
    pub(crate) fn state(&self) -> OriginState {
        if self.failing.get() {
            OriginState::Unreachable
        } else {
            OriginState::Unusable
        }
    }
}

/// A pause of random length.
pub(crate) fn pause_ms() -> u64 {
    let spread = PAUSE_MS.end - PAUSE_MS.start;
    PAUSE_MS.start + u64::from(u16::from_be_bytes(random::bytes())) % spread
}

#[cfg(test)]
mod tests {
    use licet_shared::decision::OriginState::{Unreachable, Unusable};
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::Health;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn answering() -> Health {
        let health = Health::default();
        health.answered(NOW_MS);
        health
    }

    #[wasm_bindgen_test]
    fn what_can_not_be_reached_is_left_alone_at_once() {
        let health = answering();
        health.failed(NOW_MS + 1);
        assert_eq!(health.state(), Unreachable);
        assert!(!health.may_be_asked(NOW_MS + 2, 200));
        assert!(health.may_be_asked(NOW_MS + 5_002, 200), "one may try");
        assert!(!health.may_be_asked(NOW_MS + 5_003, 200), "and no other");
        health.answered(NOW_MS + 5_100);
        assert!(health.may_be_asked(NOW_MS + 5_101, 200));
        assert_eq!(health.state(), Unusable);
    }

    #[wasm_bindgen_test]
    fn one_slow_document_is_no_outage() {
        let health = answering();
        for second in 0..100 {
            health.left_unanswered("/slow", NOW_MS + second * 1_000);
            assert_eq!(health.state(), Unusable, "{second}");
            assert!(health.may_be_asked(NOW_MS + second * 1_000, 200));
            health.answered(NOW_MS + second * 1_000 + 500);
        }
    }

    #[wasm_bindgen_test]
    fn two_are_and_so_is_one_when_nothing_else_is_answered() {
        let health = answering();
        health.left_unanswered("/one", NOW_MS + 1_000);
        health.left_unanswered("/one", NOW_MS + 2_000);
        assert_eq!(health.state(), Unusable);
        health.left_unanswered("/two", NOW_MS + 3_000);
        assert_eq!(health.state(), Unreachable);

        let health = answering();
        health.left_unanswered("/one", NOW_MS + 9_999);
        assert_eq!(health.state(), Unusable);
        health.left_unanswered("/one", NOW_MS + 10_000);
        assert_eq!(health.state(), Unreachable);

        let new = Health::default();
        new.left_unanswered("/one", NOW_MS);
        assert_eq!(new.state(), Unreachable, "nothing speaks for it");
    }

    #[wasm_bindgen_test]
    fn an_answer_in_between_tells_two_failures_apart() {
        let health = answering();
        health.left_unanswered("/one", NOW_MS + 1_000);
        health.answered(NOW_MS + 1_500);
        health.left_unanswered("/two", NOW_MS + 2_000);
        assert_eq!(health.state(), Unusable);
    }
}
