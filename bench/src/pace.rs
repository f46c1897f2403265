//! An open loop: when each request is due is known ahead, whatever becomes of those before it.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Behind by more than this, requests are left out and counted, as they can't be caught up with.
const BEHIND: Duration = Duration::from_secs(1);

/// So many requests a second, shared by all who send them.
pub(crate) struct Pace {
    start: Instant,
    end: Instant,
    per_second: f64,
    taken: Cell<u64>,
    left_out: Cell<u64>,
}

impl Pace {
    pub(crate) fn new(start: Instant, end: Instant, per_second: f64) -> Self {
        Self {
            start,
            end,
            per_second,
            taken: Cell::new(0),
            left_out: Cell::new(0),
        }
    }

    /// When the next is due, with its number; none once it is over.
    pub(crate) fn next(&self, now: Instant) -> Option<(u64, Instant)> {
        if self.per_second <= 0.0 {
            return None;
        }
        if self.due(self.taken.get()) + BEHIND < now {
            let current = self.number_at(now);
            self.left_out
                .set(self.left_out.get() + current.saturating_sub(self.taken.get()));
            self.taken.set(current);
        }
        let number = self.taken.get();
        let due = self.due(number);
        if due >= self.end {
            return None;
        }
        self.taken.set(number + 1);
        Some((number, due))
    }

    /// Requests that were due and never sent.
    pub(crate) const fn left_out(&self) -> u64 {
        self.left_out.get()
    }

    #[allow(clippy::cast_precision_loss, reason = "some hundred thousand requests")]
    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.per_second)
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some hundred thousand requests"
    )]
    fn number_at(&self, now: Instant) -> u64 {
        let since = now.min(self.end).saturating_duration_since(self.start);
        (since.as_secs_f64() * self.per_second).ceil() as u64
    }
}

/// Waits until it is due, and tells since when the request is under way: from then on if we came
/// late, as whoever asks would have waited too.
pub(crate) async fn until(due: Instant) -> Instant {
    if due <= now() {
        return due;
    }
    tokio::time::sleep_until(due.into()).await;
    now()
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one clock of what is measured"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_due_in_its_turn_until_the_end() {
        let start = now();
        let pace = Pace::new(start, start + Duration::from_millis(30), 100.0);
        let due = |ms| start + Duration::from_millis(ms);
        assert_eq!(pace.next(start), Some((0, due(0))));
        assert_eq!(pace.next(start), Some((1, due(10))));
        assert_eq!(pace.next(due(25)), Some((2, due(20))));
        assert_eq!(pace.next(due(25)), None);
        assert_eq!(pace.left_out(), 0);
        assert_eq!(Pace::new(start, due(30), 0.0).next(start), None);
    }

    #[test]
    fn what_can_not_be_caught_up_with_is_left_out_and_counted() {
        let start = now();
        let pace = Pace::new(start, start + Duration::from_secs(10), 10.0);
        assert!(pace.next(start).is_some());
        let late = start + Duration::from_secs(5);
        assert_eq!(pace.next(late), Some((50, late)));
        assert_eq!(pace.left_out(), 49);
        assert_eq!(pace.next(start + Duration::from_secs(60)), None);
        assert_eq!(pace.left_out(), 49 + 49);
    }
}
