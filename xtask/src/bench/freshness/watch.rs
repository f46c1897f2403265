//! A load, and what was seen under it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{FEW_SECONDS, FEW_VERDICTS, Options, REVOCATIONS, VERDICTS};
use crate::{interrupt, paths};

/// One revocation in so many is watched, and asked about as of now.
const WATCHED_OF: u32 = 25;
const DEMANDED_OF: u32 = 100;
/// Between two questions about a watched token at one instance.
pub(super) const EVERY_MS: u32 = 150;
/// Before counting begins: an interval of the feed.
const LEAD_S: u32 = 5;
/// Before the end, in which nothing new is watched: two seconds more than the bound.
const SETTLE_S: u32 = 12;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) instances: usize,
    /// A second, over all instances.
    pub(super) verdicts: u32,
    pub(super) revocations: u32,
    pub(super) watched_of: u32,
    pub(super) demanded_of: u32,
    pub(super) every_ms: u32,
    pub(super) lead_s: u32,
    pub(super) seconds: u32,
    pub(super) settle_s: u32,
    pub(super) warm_up: bool,
    /// Whether only organizations that are asked about revoke.
    pub(super) few: bool,
}

impl Load {
    pub(super) fn full(options: Options) -> Self {
        Self {
            instances: options.instances,
            verdicts: VERDICTS,
            revocations: REVOCATIONS,
            watched_of: WATCHED_OF,
            demanded_of: DEMANDED_OF,
            every_ms: EVERY_MS,
            lead_s: LEAD_S,
            seconds: options.seconds + SETTLE_S,
            settle_s: SETTLE_S,
            warm_up: false,
            few: false,
        }
    }

    pub(super) fn few(instances: usize, revocations: u32) -> Self {
        Self {
            instances,
            verdicts: FEW_VERDICTS * u32::try_from(instances).unwrap_or(1),
            revocations,
            watched_of: 0,
            demanded_of: 0,
            every_ms: EVERY_MS,
            lead_s: LEAD_S,
            seconds: FEW_SECONDS,
            settle_s: 0,
            warm_up: false,
            few: true,
        }
    }

    pub(super) fn warm_up(instances: usize) -> Self {
        Self {
            warm_up: true,
            ..Self::few(instances, 0)
        }
    }

    /// Revocations of all its time.
    pub(super) fn all_revocations(&self) -> usize {
        (self.revocations * (self.lead_s + self.seconds)) as usize
    }
}

/// Processor time in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
    pub(super) origin_s: f64,
    pub(super) postgres_s: f64,
    pub(super) edges_s: f64,
    pub(super) load_s: f64,
}

impl Cpu {
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            origin_s: self.origin_s - before.origin_s,
            postgres_s: self.postgres_s - before.postgres_s,
            edges_s: self.edges_s - before.edges_s,
            load_s: self.load_s - before.load_s,
        }
    }

    /// Parts of a core over so many seconds.
    pub(super) fn over(&self, seconds: f64) -> Self {
        Self {
            origin_s: self.origin_s / seconds,
            postgres_s: self.postgres_s / seconds,
            edges_s: self.edges_s / seconds,
            load_s: self.load_s / seconds,
        }
    }
}

/// Some durations, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) count: u64,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Times {
    fn read(value: &Value) -> Self {
        let number = |name: &str| value[name].as_f64().unwrap_or(f64::NAN);
        Self {
            count: value["count"].as_u64().unwrap_or_default(),
            p50_ms: number("p50_ms"),
            p90_ms: number("p90_ms"),
            p99_ms: number("p99_ms"),
            max_ms: number("max_ms"),
        }
    }
}

/// What was seen.
pub(super) struct Watched {
    pub(super) seconds: f64,
    counted_s: f64,
    /// Requests of edges that the origin answered while it was counted, and documents by kind.
    edge_requests: f64,
    documents: BTreeMap<String, f64>,
    /// Verdicts by code, and problems.
    pub(super) codes: BTreeMap<String, u64>,
    pub(super) verdicts: Times,
    pub(super) verdicts_left_out: u64,
    pub(super) revocations: Times,
    pub(super) revocations_left_out: u64,
    /// Statuses of revocations that were refused.
    pub(super) not_revoked: BTreeMap<String, u64>,
    pub(super) watched: u64,
    pub(super) unrefused: u64,
    pub(super) to_refusal: Times,
    pub(super) by_second: BTreeMap<String, u64>,
    pub(super) gaps: Times,
    pub(super) valid_after_refusal: u64,
    pub(super) revoked_untouched: u64,
    pub(super) demanded: Times,
    pub(super) demanded_wrong: u64,
    pub(super) demanded_other: BTreeMap<String, u64>,
    /// Parts of a core.
    pub(super) cpu: Cpu,
}

impl Watched {
    pub(super) fn read(shown: &Value, cpu: Cpu) -> Result<Self> {
        let count = |name: &str| shown[name].as_u64().unwrap_or_default();
        let number = |name: &str| shown[name].as_f64().unwrap_or_default();
        let counts = |name: &str| -> BTreeMap<String, u64> {
            let object = shown[name].as_object().into_iter().flatten();
            object
                .map(|(key, value)| (key.clone(), value.as_u64().unwrap_or_default()))
                .collect()
        };
        let [Some(before), Some(after)] = [0, 1].map(|at| shown["counters"][at].as_str()) else {
            bail!("the origin's counters were not read");
        };
        let requests = |text| {
            let edges = |series: &str| series.contains("route=\"/edge/");
            sum(text, "licet_origin_http_requests_total{", edges)
        };
        let kinds = kinds(after);
        let documents = kinds.into_iter().map(|kind| {
            let label = format!("kind=\"{kind}\"");
            let of = |text| {
                sum(text, "licet_origin_documents_total{", |series| {
                    series.contains(&label)
                })
            };
            (kind, of(after) - of(before))
        });
        let seconds = number("seconds");
        let cpu = Cpu {
            load_s: number("own_cpu_s"),
            ..cpu
        };
        Ok(Self {
            seconds,
            counted_s: number("counted_s"),
            edge_requests: requests(after) - requests(before),
            documents: documents.collect(),
            codes: counts("codes"),
            verdicts: Times::read(&shown["verdicts"]),
            verdicts_left_out: count("verdicts_left_out"),
            revocations: Times::read(&shown["revocations"]),
            revocations_left_out: count("revocations_left_out"),
            not_revoked: counts("not_revoked"),
            watched: count("watched"),
            unrefused: count("unrefused"),
            to_refusal: Times::read(&shown["to_refusal"]),
            by_second: counts("by_second"),
            gaps: Times::read(&shown["gaps"]),
            valid_after_refusal: count("valid_after_refusal"),
            revoked_untouched: count("revoked_untouched"),
            demanded: Times::read(&shown["demanded"]),
            demanded_wrong: count("demanded_wrong"),
            demanded_other: counts("demanded_other"),
            cpu: cpu.over(seconds),
        })
    }

    /// Requests of edges that the origin answered per second.
    pub(super) fn origin_rate(&self) -> f64 {
        self.edge_requests / self.counted_s
    }

    /// Documents of a kind that it served per second.
    pub(super) fn documents_rate(&self, kind: &str) -> f64 {
        self.documents.get(kind).copied().unwrap_or_default() / self.counted_s
    }

    #[allow(clippy::cast_precision_loss, reason = "for people to read")]
    pub(super) fn verdicts_rate(&self) -> f64 {
        self.verdicts.count as f64 / self.seconds
    }

    #[allow(clippy::cast_precision_loss, reason = "for people to read")]
    pub(super) fn revocations_rate(&self) -> f64 {
        self.revocations.count as f64 / self.seconds
    }
}

/// Sums what a text in the OpenMetrics format counts in some series.
fn sum(text: &str, name: &str, wanted: impl Fn(&str) -> bool) -> f64 {
    text.lines()
        .filter(|line| line.starts_with(name) && wanted(line))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn kinds(text: &str) -> Vec<String> {
    let lines = text.lines();
    let kinds = lines
        .filter(|line| line.starts_with("licet_origin_documents_total{"))
        .filter_map(|line| Some(line.split_once("kind=\"")?.1.split_once('"')?.0.to_owned()));
    let kinds: std::collections::BTreeSet<String> = kinds.collect();
    kinds.into_iter().collect()
}

/// Has our own generator (`bench/`) do it.
pub(super) fn generate(input: &Value) -> Result<Value> {
    let mut child = Command::new(paths::target().join("release/licet-bench"))
        .arg("freshness")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the load generator")?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(input.to_string().as_bytes())?;
    drop(stdin);
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if interrupt::requested() {
            child.kill().ok();
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    interrupt::check()?;
    let said = |thread: JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    let (stdout, stderr) = (said(stdout), said(stderr));
    if !status.success() {
        bail!(
            "the load generator: {}",
            String::from_utf8_lossy(&stderr).trim()
        );
    }
    serde_json::from_slice(&stdout).context("not what the generator writes")
}

/// Reads all of it while the generator runs: a pipe does not hold much.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut all).ok();
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE licet_origin_documents counter
licet_origin_documents_total{kind=\"statuslist\",source=\"memory\"} 3
licet_origin_documents_total{kind=\"statuslist\",source=\"signed\"} 4
licet_origin_documents_total{kind=\"revocations\",source=\"signed\"} 2
licet_origin_http_requests_total{route=\"/edge/v1/x\",method=\"GET\",status=\"200\"} 9
licet_origin_http_requests_total{route=\"/metrics\",method=\"GET\",status=\"200\"} 5
# EOF
";

    #[test]
    fn counters_are_summed_over_their_series() {
        let lists = |series: &str| series.contains("kind=\"statuslist\"");
        let name = "licet_origin_documents_total{";
        assert!((sum(TEXT, name, lists) - 7.0).abs() < f64::EPSILON);
        assert_eq!(kinds(TEXT), ["revocations", "statuslist"]);
    }

    #[test]
    fn only_what_was_counted_in_between_counts() {
        let after = TEXT.replace("} 4", "} 24").replace("} 9", "} 39");
        let shown =
            serde_json::json!({ "counters": [TEXT, after], "counted_s": 10.0, "seconds": 15.0 });
        let watched = Watched::read(&shown, Cpu::default()).unwrap();
        assert!((watched.origin_rate() - 3.0).abs() < f64::EPSILON);
        assert!((watched.documents_rate("statuslist") - 2.0).abs() < f64::EPSILON);
        assert!(watched.documents_rate("revocations").abs() < f64::EPSILON);
    }
}
