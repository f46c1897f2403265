//! What a watch has seen, and how it is told.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{Shared, asking::Said};

/// As it comes in.
#[derive(Default)]
pub(super) struct Findings {
    codes: BTreeMap<String, u64>,
    latencies: Vec<Duration>,
    /// From the origin's answer to the first refusal, of each watched token at each instance.
    pub(super) to_refusal: Vec<Duration>,
    /// Between two questions about a watched token at one instance.
    pub(super) gaps: Vec<Duration>,
    pub(super) valid_after_refusal: u64,
    pub(super) revoked_untouched: u64,
    pub(super) watched: usize,
    pub(super) revocations: Vec<Duration>,
    /// Statuses of revocations that were refused.
    pub(super) not_revoked: BTreeMap<u16, u64>,
    /// Answers REVOKED to those who demanded one as of now, and all other answers to them.
    pub(super) demanded: Vec<Duration>,
    pub(super) demanded_wrong: u64,
    pub(super) demanded_other: BTreeMap<String, u64>,
}

impl Findings {
    pub(super) fn answered(&mut self, said: &Said, took: Duration) {
        *self.codes.entry(said.code().to_owned()).or_default() += 1;
        self.latencies.push(took);
    }
}

/// As it is told.
#[derive(Default, Serialize)]
pub(crate) struct Shown {
    seconds: f64,
    /// Seconds between the two readings of the origin's counters.
    pub(super) counted_s: f64,
    pub(super) counters: Vec<String>,
    codes: BTreeMap<String, u64>,
    verdicts: Times,
    verdicts_left_out: u64,
    revocations: Times,
    revocations_left_out: u64,
    not_revoked: BTreeMap<u16, u64>,
    watched: usize,
    /// Pairs of watched token and instance that never refused.
    unrefused: usize,
    to_refusal: Times,
    /// Pairs by whole seconds from revocation to refusal.
    by_second: BTreeMap<u64, u64>,
    gaps: Times,
    valid_after_refusal: u64,
    revoked_untouched: u64,
    demanded: Times,
    demanded_wrong: u64,
    demanded_other: BTreeMap<String, u64>,
    /// Processor time of this program in seconds.
    own_cpu_s: f64,
}

/// Some durations, in milliseconds.
#[derive(Default, Serialize)]
struct Times {
    count: usize,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Times {
    /// The least that so large a part does not exceed (nearest rank).
    fn of(times: &[Duration]) -> Self {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            let time = sorted.get(rank - 1).copied().unwrap_or_default();
            time.as_secs_f64() * 1000.0
        };
        Self {
            count: sorted.len(),
            p50_ms: at(50),
            p90_ms: at(90),
            p99_ms: at(99),
            max_ms: at(100),
        }
    }
}

impl Shared {
    pub(super) fn shown(&self, took: Duration, own_cpu: Duration) -> Shown {
        let found = self.found.take();
        let mut by_second = BTreeMap::new();
        for time in &found.to_refusal {
            *by_second.entry(time.as_secs()).or_default() += 1;
        }
        let pairs = found.watched * self.watch.edges.len();
        Shown {
            seconds: took.as_secs_f64(),
            counted_s: 0.0,
            counters: Vec::new(),
            codes: found.codes,
            verdicts: Times::of(&found.latencies),
            verdicts_left_out: self.paces.iter().map(crate::pace::Pace::left_out).sum(),
            revocations: Times::of(&found.revocations),
            revocations_left_out: self.revocations.left_out(),
            not_revoked: found.not_revoked,
            watched: found.watched,
            unrefused: pairs.saturating_sub(found.to_refusal.len()),
            to_refusal: Times::of(&found.to_refusal),
            by_second,
            gaps: Times::of(&found.gaps),
            valid_after_refusal: found.valid_after_refusal,
            revoked_untouched: found.revoked_untouched,
            demanded: Times::of(&found.demanded),
            demanded_wrong: found.demanded_wrong,
            demanded_other: found.demanded_other,
            own_cpu_s: own_cpu.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let times = Times::of(&times);
        let shown = [times.p50_ms, times.p90_ms, times.p99_ms, times.max_ms];
        assert_eq!(shown.map(f64::round), [100.0, 180.0, 198.0, 200.0]);
        assert_eq!(Times::of(&[]).count, 0);
    }
}
