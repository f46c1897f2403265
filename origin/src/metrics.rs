//! What is counted and timed, for Prometheus. Labels take few values, all known beforehand.

use std::{
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use licet_shared::time::Timestamp;

use crate::http::ReplayCapacity;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TxLabels {
    name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    operation: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DocumentLabels {
    kind: &'static str,
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    calls: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// From half a millisecond to about eight seconds, each twice the one before.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 15))
}

/// Everything the origin counts.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histograms<RouteLabels>,
    in_flight: Gauge,
    shed: Counter,
    tx_seconds: Histograms<TxLabels>,
    tx_retries: Family<TxLabels, Counter>,
    tx_failures: Family<TxLabels, Counter>,
    answers: Family<AnswerLabels, Counter>,
    documents: Family<DocumentLabels, Counter>,
    feed_epoch: Gauge,
    feed_held_back: Gauge,
    feed_held_back_seconds: Gauge<f64, AtomicU64>,
    feed_told_seconds: Gauge,
    feed_told: Mutex<FeedTold>,
    password_seconds: Histogram,
    job_rows: Family<JobLabels, Counter>,
    job_runs: Family<OutcomeLabels, Counter>,
    pool_size: Gauge,
    pool_idle: Gauge,
    replay_memory: Family<CallLabels, Gauge>,
    resident_bytes: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry of its own, so that two of them in one process don't mix.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("licet_origin");
        let metrics = Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(durations),
            in_flight: Gauge::default(),
            shed: Counter::default(),
            tx_seconds: Family::new_with_constructor(durations),
            tx_retries: Family::default(),
            tx_failures: Family::default(),
            answers: Family::default(),
            documents: Family::default(),
            feed_epoch: Gauge::default(),
            feed_held_back: Gauge::default(),
            feed_held_back_seconds: Gauge::default(),
            feed_told_seconds: Gauge::default(),
            feed_told: Mutex::default(),
            password_seconds: durations(),
            job_rows: Family::default(),
            job_runs: Family::default(),
            pool_size: Gauge::default(),
            pool_idle: Gauge::default(),
            replay_memory: Family::default(),
            resident_bytes: Gauge::default(),
            registry: Registry::default(),
        };
        let seconds = Unit::Seconds;
        registry.register(
            "http_requests",
            "Requests answered",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to its answer",
            seconds.clone(),
            metrics.request_seconds.clone(),
        );
        registry.register(
            "http_in_flight",
            "Requests at work",
            metrics.in_flight.clone(),
        );
        registry.register(
            "http_shed",
            "Requests refused for load",
            metrics.shed.clone(),
        );
        registry.register_with_unit(
            "tx_duration",
            "Time of a named transaction, retries included",
            seconds.clone(),
            metrics.tx_seconds.clone(),
        );
        registry.register_with_unit(
            "password_duration",
            "Time to hash a password, the wait for its turn included",
            seconds,
            metrics.password_seconds.clone(),
        );
        registry.register(
            "tx_retries",
            "Transactions begun again",
            metrics.tx_retries.clone(),
        );
        registry.register(
            "tx_failures",
            "Transactions given up",
            metrics.tx_failures.clone(),
        );
        registry.register("answers", "Answers by code", metrics.answers.clone());
        registry.register("documents", "Documents served", metrics.documents.clone());
        registry.register(
            "feed_epoch",
            "How far the revocation feed had come when an edge last asked",
            metrics.feed_epoch.clone(),
        );
        registry.register(
            "feed_held_back",
            "Transactions by which an older one, still at work, holds the feed behind the newest change",
            metrics.feed_held_back.clone(),
        );
        registry.register_with_unit(
            "feed_held_back_duration",
            "For how long the feed has been behind the newest change at the same epoch",
            Unit::Seconds,
            metrics.feed_held_back_seconds.clone(),
        );
        registry.register_with_unit(
            "feed_told_timestamp",
            "When an edge was last told: all that was committed before is known to one; 0 where none has asked",
            Unit::Seconds,
            metrics.feed_told_seconds.clone(),
        );
        registry.register(
            "job_rows",
            "Rows that background work changed or deleted",
            metrics.job_rows.clone(),
        );
        registry.register(
            "job_runs",
            "Runs of background work",
            metrics.job_runs.clone(),
        );
        registry.register(
            "pool_connections",
            "Open connections",
            metrics.pool_size.clone(),
        );
        registry.register("pool_idle", "Idle connections", metrics.pool_idle.clone());
        registry.register(
            "replay_memory_entries",
            "Edge calls remembered against replay",
            metrics.replay_memory.clone(),
        );
        registry.register_with_unit(
            "resident_memory",
            "Resident memory of the process",
            Unit::Bytes,
            metrics.resident_bytes.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }

    /// Counts a request that has been answered. `route` is a pattern, never a path.
    pub fn request_ended(&self, route: &str, method: &'static str, status: u16, time: Duration) {
        let route = route.to_owned();
        self.request_seconds
            .get_or_create(&RouteLabels {
                route: route.clone(),
            })
            .observe(time.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels {
                route,
                method,
                status,
            })
            .inc();
    }

    /// Counts a request as at work for as long as the guard lives.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts a request that was refused because too many are at work.
    pub fn request_shed(&self) {
        self.shed.inc();
    }

    pub(crate) fn tx_ended(&self, name: &'static str, time: Duration, well: bool) {
        let labels = TxLabels { name };
        self.tx_seconds
            .get_or_create(&labels)
            .observe(time.as_secs_f64());
        if !well {
            self.tx_failures.get_or_create(&labels).inc();
        }
    }

    pub(crate) fn tx_retried(&self, name: &'static str) {
        self.tx_retries.get_or_create(&TxLabels { name }).inc();
    }

    pub(crate) fn password_hashed(&self, time: Duration) {
        self.password_seconds.observe(time.as_secs_f64());
    }

    pub(crate) fn job_done(&self, job: &'static str, rows: u64) {
        self.job_rows.get_or_create(&JobLabels { job }).inc_by(rows);
    }

    pub(crate) fn job_run_ended(&self, well: bool) {
        let outcome = if well { "done" } else { "failed" };
        self.job_runs
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    pub(crate) fn answered(&self, operation: &'static str, code: &'static str) {
        self.answers
            .get_or_create(&AnswerLabels { operation, code })
            .inc();
    }

    pub(crate) fn document_served(&self, kind: &'static str, from_memory: bool) {
        let source = if from_memory { "memory" } else { "signed" };
        self.documents
            .get_or_create(&DocumentLabels { kind, source })
            .inc();
    }

    /// Notes what the feed told last, as of `at`: how far it had come, and the newest change.
    pub(crate) fn feed_told(&self, epoch: u64, newest: u64, at: Timestamp) {
        self.feed_told_seconds.set(at.unix());
        let mut told = self
            .feed_told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if epoch > told.epoch || newest <= epoch {
            told.held_back_since = None;
        }
        told.epoch = epoch;
        if newest > epoch && told.held_back_since.is_none() {
            told.held_back_since = Some(Instant::now());
        }
        // As of now: with nobody to tell, nobody is kept waiting.
        let held_back = told.held_back_since.map(|since| since.elapsed());
        drop(told);
        self.feed_held_back_seconds
            .set(held_back.unwrap_or_default().as_secs_f64());
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.feed_epoch.set(gauge(epoch));
        self.feed_held_back.set(gauge(newest.saturating_sub(epoch)));
    }

    /// Everything in the OpenMetrics text format. What is only read when asked for is handed in.
    ///
    /// # Errors
    /// When a metric can't be written, which would be a bug of its type.
    pub fn render(
        &self,
        pool: (usize, usize),
        remembered_calls: ReplayCapacity,
    ) -> Result<String, std::fmt::Error> {
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.pool_size.set(gauge(pool.0));
        self.pool_idle.set(gauge(pool.1));
        for (calls, count) in [
            ("reads", remembered_calls.reads),
            ("writes", remembered_calls.writes),
        ] {
            self.replay_memory
                .get_or_create(&CallLabels { calls })
                .set(gauge(count));
        }
        if let Some(bytes) = resident_bytes() {
            self.resident_bytes.set(bytes);
        }
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// How far the feed had come when it was last told.
#[derive(Debug, Default)]
struct FeedTold {
    epoch: u64,
    /// Since when an older transaction holds it there, behind changes that are committed.
    held_back_since: Option<Instant>,
}

/// See [`Metrics::in_flight`].
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Resident memory as Linux tells it; nothing elsewhere.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use licet_shared::time::Timestamp;

    use super::Metrics;
    use crate::http::ReplayCapacity;

    /// For how long the feed has been held back, and when it was told last.
    fn feed(metrics: &Metrics) -> (f64, i64) {
        let text = metrics
            .render((0, 0), ReplayCapacity::default())
            .expect("metrics as text");
        let sample = |name: &str| {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.expect("a sample").to_owned()
        };
        let held_back = sample("licet_origin_feed_held_back_duration_seconds");
        let told = sample("licet_origin_feed_told_timestamp_seconds");
        (
            held_back.parse().expect("a number"),
            told.parse().expect("a number"),
        )
    }

    #[test]
    fn the_feed_is_held_back_from_when_its_epoch_stays_behind_until_it_moves() {
        let metrics = Metrics::new();
        assert_eq!(feed(&metrics), (0.0, 0));
        metrics.feed_told(10, 10, Timestamp::from_unix(1_000));
        assert_eq!(feed(&metrics), (0.0, 1_000));
        metrics.feed_told(10, 12, Timestamp::from_unix(1_005));
        let (first, told) = feed(&metrics);
        assert!(first > 0.0 && told == 1_005);
        metrics.feed_told(10, 15, Timestamp::from_unix(1_010));
        let (second, _) = feed(&metrics);
        assert!(second > first, "still the same transaction");
        metrics.feed_told(20, 20, Timestamp::from_unix(1_015));
        assert_eq!(feed(&metrics), (0.0, 1_015));
    }
}
