//! What this isolate has counted since it began, as `GET /metrics` shows it and as the log tells it.
//!
//! An edge is many isolates, and nobody can ask all of them. So each writes a line now and then with what
//! has come since its last one: lines can be added up, wherever the logs go. `/metrics` answers with
//! the numbers of the one isolate that happens to be asked.

use std::{cell::Cell, fmt::Write as _};

use licet_shared::decision::{Code, Degraded, Freshness, Source, Verdict};

use crate::random;

/// Longest ages of a verdict's status, in seconds; older ones come last.
const AGES_S: [i64; 7] = [1, 5, 10, 30, 60, 300, 3600];
const SOURCES: [&str; 4] = ["memory", "cache", "kv", "origin"];
const DEGRADED: [&str; 2] = ["origin_unreachable", "origin_unusable"];
const CALLS: [&str; 5] = ["answered", "unreachable", "timed_out", "busy", "unusable"];
const LOOKS: [&str; 4] = ["origin", "cache", "left_to_another", "failed"];

const AGE_COUNT: usize = AGES_S.len() + 1;
const COUNTERS: usize =
    Code::ALL.len() + SOURCES.len() + AGE_COUNT + DEGRADED.len() + CALLS.len() + LOOKS.len() + 1;

/// Where each family's counters begin.
const SOURCE: usize = Code::ALL.len();
const AGE: usize = SOURCE + SOURCES.len();
const DEGRADED_AS: usize = AGE + AGE_COUNT;
const CALL: usize = DEGRADED_AS + DEGRADED.len();
const LOOK: usize = CALL + CALLS.len();
const STALLED: usize = LOOK + LOOKS.len();

/// How a call to the origin went.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Called {
    Answered,
    Unreachable,
    TimedOut,
    Busy,
    Unusable,
}

/// What came of a look at the revocation feed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Looked {
    /// The origin told.
    Origin,
    /// Another isolate had been told.
    Cache,
    /// Another isolate was asking.
    LeftToAnother,
    /// Nobody told anything that can be used.
    Failed,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Metrics {
    counts: [Cell<u32>; COUNTERS],
    logged: [Cell<u32>; COUNTERS],
    /// Tells isolates apart: a number drawn at random.
    isolate: u32,
    logged_ms: Cell<u64>,
}

impl Metrics {
    /// Milliseconds between two lines in the log, at least.
    const LOG_EVERY_MS: u64 = 60_000;

    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            counts: [const { Cell::new(0) }; COUNTERS],
            logged: [const { Cell::new(0) }; COUNTERS],
            isolate: u32::from_be_bytes(random::bytes()),
            logged_ms: Cell::new(0),
        }
    }

    fn add(&self, counter: usize) {
        if let Some(count) = self.counts.get(counter) {
            count.set(count.get().wrapping_add(1));
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, verdict: &Verdict<'_>) {
        self.answered_with(verdict.code, verdict.freshness.as_ref());
    }

    /// Counts an answer of this code and freshness. A few additions: it may stand on the hot path.
    pub(crate) fn answered_with(&self, code: Code, freshness: Option<&Freshness>) {
        self.add(code as usize);
        let Some(freshness) = freshness else {
            return;
        };
        self.add(SOURCE + source(freshness.source));
        let age = AGES_S.iter().position(|most| freshness.age_s <= *most);
        self.add(AGE + age.unwrap_or(AGES_S.len()));
        match freshness.degraded {
            None => {}
            Some(Degraded::OriginUnreachable) => self.add(DEGRADED_AS),
            Some(Degraded::OriginUnusable) => self.add(DEGRADED_AS + 1),
        }
    }

    /// Counts a call to the origin.
    pub(crate) fn called(&self, how: Called) {
        self.add(CALL + how as usize);
    }

    /// Counts a look at the feed.
    pub(crate) fn looked(&self, what: Looked) {
        self.add(LOOK + what as usize);
    }

    /// Counts that the feed was seen to stand still.
    pub(crate) fn stalled(&self) {
        self.add(STALLED);
    }

    /// Family, label and value of each counter, with the counter's place.
    fn each(mut show: impl FnMut(&str, &str, &str, usize)) {
        let codes = Code::ALL.iter().map(|code| code.as_str());
        let families: [(&str, &str, &[&str], usize); 4] = [
            ("verdicts_by_source", "source", &SOURCES, SOURCE),
            ("verdicts_degraded", "why", &DEGRADED, DEGRADED_AS),
            ("origin_calls", "outcome", &CALLS, CALL),
            ("feed_looks", "outcome", &LOOKS, LOOK),
        ];
        for (place, code) in codes.enumerate() {
            show("verdicts", "code", code, place);
        }
        for (family, label, values, begin) in families {
            for (place, value) in values.iter().enumerate() {
                show(family, label, value, begin + place);
            }
        }
        show("feed_stalled", "", "", STALLED);
    }

    /// In the text format of Prometheus. `feed_age_s` is the age of what the feed has told, if anything.
    pub(crate) fn text(&self, feed_age_s: Option<i64>) -> String {
        let mut text = String::with_capacity(8 * 1024);
        let (isolate, mut last) = (self.isolate, String::new());
        Self::each(|family, label, value, place| {
            if last != family {
                family.clone_into(&mut last);
                let _ = writeln!(text, "# TYPE licet_edge_{family}_total counter");
            }
            let count = self.count(place);
            let label = match label {
                "" => String::new(),
                _ => format!(",{label}=\"{value}\""),
            };
            let _ = writeln!(
                text,
                "licet_edge_{family}_total{{isolate=\"{isolate:08x}\"{label}}} {count}"
            );
        });
        text.push_str("# TYPE licet_edge_verdict_age_seconds histogram\n");
        let mut count = 0;
        for place in 0..AGE_COUNT {
            count += self.count(AGE + place);
            let most = AGES_S.get(place).map_or("+Inf".into(), i64::to_string);
            let _ = writeln!(
                text,
                "licet_edge_verdict_age_seconds_bucket{{isolate=\"{isolate:08x}\",le=\"{most}\"}} {count}"
            );
        }
        let _ = writeln!(
            text,
            "licet_edge_verdict_age_seconds_count{{isolate=\"{isolate:08x}\"}} {count}"
        );
        // Of 64 KiB each.
        let pages = i64::try_from(core::arch::wasm32::memory_size::<0>()).unwrap_or(i64::MAX);
        for (family, value) in [
            ("feed_age_seconds", feed_age_s),
            ("wasm_memory_bytes", Some(pages << 16)),
        ] {
            let Some(value) = value else { continue };
            let _ = writeln!(
                text,
                "# TYPE licet_edge_{family} gauge\nlicet_edge_{family}{{isolate=\"{isolate:08x}\"}} {value}"
            );
        }
        text
    }

    fn count(&self, place: usize) -> u32 {
        self.counts.get(place).map_or(0, Cell::get)
    }

    /// A line for the log with what has come since the last, when it is time for one and anything has.
    pub(crate) fn line(&self, now_ms: u64) -> Option<String> {
        let logged_ms = self.logged_ms.get();
        if logged_ms > 0 && now_ms < logged_ms + Self::LOG_EVERY_MS {
            return None;
        }
        self.logged_ms.set(now_ms);
        if logged_ms == 0 {
            return None;
        }
        let mut line = format!(
            "{{\"level\":\"info\",\"event\":\"edge_counts\",\"isolate\":\"{:08x}\"",
            self.isolate
        );
        let before = line.len();
        let mut add = |name: &str, value: &str, place: usize| {
            let count = self.count(place);
            let logged = self
                .logged
                .get(place)
                .map_or(0, |logged| logged.replace(count));
            if count != logged {
                let dot = if value.is_empty() { "" } else { "." };
                let _ = write!(
                    line,
                    ",\"{name}{dot}{value}\":{}",
                    count.wrapping_sub(logged)
                );
            }
        };
        Self::each(|family, _, value, place| add(family, value, place));
        for place in 0..AGE_COUNT {
            let most = AGES_S.get(place).map_or("more".into(), i64::to_string);
            add("verdicts_by_age_s", &most, AGE + place);
        }
        (line.len() > before).then(|| line + "}")
    }
}

/// A source's place, in the order of [`SOURCES`].
const fn source(source: Source) -> usize {
    match source {
        Source::Memory => 0,
        Source::Cache => 1,
        Source::Kv => 2,
        // No edge reads license files.
        Source::Origin | Source::File => 3,
    }
}

/// A tier as it is called in answers.
pub(crate) fn tier(of: Source) -> &'static str {
    SOURCES.get(source(of)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use licet_shared::decision::{Code, Verdict};
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{Called, Looked, Metrics};

    #[wasm_bindgen_test]
    fn counts_are_shown_and_told_once() {
        let metrics = Metrics::new();
        for _ in 0..3 {
            metrics.answered(&Verdict::refused(Code::UnknownKey));
        }
        metrics.called(Called::TimedOut);
        metrics.looked(Looked::LeftToAnother);
        metrics.stalled();
        let text = metrics.text(Some(7));
        for line in [
            "# TYPE licet_edge_verdicts_total counter",
            &format!(
                "licet_edge_verdicts_total{{isolate=\"{:08x}\",code=\"UNKNOWN_KEY\"}} 3",
                metrics.isolate
            ),
            &format!(
                "licet_edge_origin_calls_total{{isolate=\"{:08x}\",outcome=\"timed_out\"}} 1",
                metrics.isolate
            ),
            &format!(
                "licet_edge_feed_stalled_total{{isolate=\"{:08x}\"}} 1",
                metrics.isolate
            ),
            &format!(
                "licet_edge_feed_age_seconds{{isolate=\"{:08x}\"}} 7",
                metrics.isolate
            ),
        ] {
            assert!(text.lines().any(|there| there == line), "{line} in {text}");
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE"));
        assert_eq!(types.count(), 9, "one for each family: {text}");

        assert_eq!(metrics.line(940_000), None, "time begins");
        let line: serde_json::Value =
            serde_json::from_str(&metrics.line(1_000_000).unwrap()).unwrap();
        assert_eq!(line["event"], "edge_counts");
        assert_eq!(line["verdicts.UNKNOWN_KEY"], 3);
        assert_eq!(line["feed_looks.left_to_another"], 1);
        assert_eq!(line["feed_stalled"], 1);
        assert!(line.get("verdicts.VALID").is_none(), "{line}");

        metrics.called(Called::Answered);
        assert_eq!(metrics.line(1_059_999), None, "not yet");
        let line: serde_json::Value =
            serde_json::from_str(&metrics.line(1_060_000).unwrap()).unwrap();
        assert_eq!(line["origin_calls.answered"], 1);
        assert!(line.get("feed_stalled").is_none(), "told before: {line}");
        assert_eq!(metrics.line(2_000_000), None, "nothing has come");
    }
}
