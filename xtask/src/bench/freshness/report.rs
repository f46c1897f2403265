//! Figures for people: on the terminal and in `docs/BENCHMARKS.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use super::watch::{EVERY_MS, Watched};
use super::{Cost, FEW, FEW_REVOCATIONS, FEW_SECONDS, FEW_VERDICTS, Findings};
use super::{REVOCATIONS, TOKENS, VERDICTS};
use crate::bench::origin::data::Data;
use crate::bench::report::{machine, write_section};

/// Most that 99 in 100 refusals, and that any, may take.
const P99_MS: f64 = 6_000.0;
const MAX_MS: f64 = 10_000.0;

/// Prints the tables and puts them in the place of the former ones; a quick look is only printed.
pub(super) fn write(data: &Data, findings: &Findings) -> Result<()> {
    let text = format!(
        "{}\n\n{}\n{}\n{}\n{}",
        conditions(data, findings)?,
        bounds(&findings.watched),
        distribution(&findings.watched),
        costs(findings),
        slopes(&findings.by_instances),
    );
    if findings.options.quick {
        println!("\n{text}");
        return Ok(());
    }
    write_section("freshness", &text)
}

/// What was seen, as soon as it was.
pub(super) fn say(watched: &Watched) {
    println!("\n{}\n{}", bounds(watched), distribution(watched));
}

fn conditions(data: &Data, findings: &Findings) -> Result<String> {
    let options = findings.options;
    Ok(format!(
        "{}: {} instances of the built Worker, each on a workerd of its own, the release build of the origin, \
         {} organizations with {} licenses and as many activations in Postgres {} with `fsync` and \
         `synchronous_commit` on, all on these cores together with what sends the load. {TOKENS} tokens of as many \
         organizations were in rotation. {} licenses' revocations were watched, for {} s.",
        machine()?,
        options.instances,
        data.size.orgs,
        data.size.licenses,
        data.cluster.major(),
        findings.watched.watched,
        options.seconds,
    ))
}

fn bounds(watched: &Watched) -> String {
    let mut text = String::from("| what | measured | goal |\n|---|---|---|\n");
    let mut row = |what: &str, measured: String, goal: &str| {
        writeln!(text, "| {what} | {measured} | {goal} |").ok();
    };
    let refusal = &watched.to_refusal;
    let all_refused = watched.unrefused == 0;
    row("revocation to refusal, p50", seconds(refusal.p50_ms), "–");
    row("p90", seconds(refusal.p90_ms), "–");
    let goal = |limit: f64, is: f64| {
        let word = if is <= limit && all_refused && refusal.count > 0 {
            "met"
        } else {
            "missed"
        };
        format!("≤ {:.0} s: {word}", limit / 1000.0)
    };
    let (p99, max) = (goal(P99_MS, refusal.p99_ms), goal(MAX_MS, refusal.max_ms));
    row("p99", seconds(refusal.p99_ms), &p99);
    row("max", seconds(refusal.max_ms), &max);
    row(
        "pairs of watched license and instance that refused",
        refusal.count.to_string(),
        "–",
    );
    row(
        "pairs that did not until the end",
        watched.unrefused.to_string(),
        "0",
    );
    row(
        "between two questions about one of them, p50 / p99",
        format!("{:.0} / {:.0} ms", watched.gaps.p50_ms, watched.gaps.p99_ms),
        &format!("{EVERY_MS} ms"),
    );
    row(
        "VALID after an instance had said REVOKED",
        watched.valid_after_refusal.to_string(),
        "0",
    );
    row(
        "REVOKED without a revocation",
        watched.revoked_untouched.to_string(),
        "0",
    );
    row(
        "VALID though asked with `max_staleness_s: 0`",
        format!(
            "{} of {} (else: {})",
            watched.demanded_wrong,
            watched.demanded.count
                + watched.demanded_wrong
                + watched.demanded_other.values().sum::<u64>(),
            list(&watched.demanded_other)
        ),
        "0",
    );
    row("such an answer, p50 / p99", times(&watched.demanded), "–");
    let (rate, left_out) = (watched.verdicts_rate(), watched.verdicts_left_out);
    let goal = VERDICTS.to_string();
    row(
        "verdicts per second",
        format!("{rate:.0}, {left_out} left out"),
        &goal,
    );
    row("a verdict, p50 / p99", times(&watched.verdicts), "–");
    row("answers", list(&watched.codes), "VALID, REVOKED");
    let (rate, left_out) = (watched.revocations_rate(), watched.revocations_left_out);
    let goal = REVOCATIONS.to_string();
    row(
        "revocations per second",
        format!("{rate:.0}, {left_out} left out"),
        &goal,
    );
    row("a revocation, p50 / p99", times(&watched.revocations), "–");
    row(
        "revocations refused, by status",
        list(&watched.not_revoked),
        "none",
    );
    row(
        "requests of edges to the origin per second",
        format!(
            "{:.0}: feed {:.1}, status lists {:.0}",
            watched.origin_rate(),
            watched.documents_rate("revocations"),
            watched.documents_rate("statuslist"),
        ),
        "–",
    );
    row("processor, in cores", cpu(watched), "–");
    text
}

fn cpu(watched: &Watched) -> String {
    let cpu = &watched.cpu;
    format!(
        "origin {:.2}, Postgres {:.2}, edges {:.2}, load {:.2}",
        cpu.origin_s, cpu.postgres_s, cpu.edges_s, cpu.load_s
    )
}

fn distribution(watched: &Watched) -> String {
    let mut text =
        String::from("| seconds from revocation to refusal | pairs | part |\n|---|---|---|\n");
    let by_second: BTreeMap<u64, u64> = watched
        .by_second
        .iter()
        .filter_map(|(second, count)| Some((second.parse().ok()?, *count)))
        .collect();
    for (second, count) in by_second {
        #[allow(clippy::cast_precision_loss, reason = "for people to read")]
        let part = 100.0 * count as f64 / watched.to_refusal.count.max(1) as f64;
        writeln!(
            text,
            "| {second} to {} | {count} | {part:.1} % |",
            second + 1
        )
        .ok();
    }
    text
}

fn costs(findings: &Findings) -> String {
    let mut text = format!(
        "What the origin is asked by the edges, where {FEW} organizations are asked about ({FEW_VERDICTS} verdicts a \
         second at each instance) and revoke, evenly; counted for {FEW_SECONDS} s:\n\n\
         | licenses | instances | revocations/s | requests/s | of one instance | feed/s | status lists/s | verdict p50 / p99 | origin, cores |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    let most = findings.options.instances;
    let at_most = |cost: &&Cost| cost.load.instances == most;
    let mut by_licenses: Vec<&Cost> = findings.by_licenses.iter().collect();
    by_licenses.extend(findings.by_instances.iter().filter(at_most));
    by_licenses.sort_by_key(|cost| (cost.load.revocations, cost.licenses));
    let mut by_instances: Vec<&Cost> = findings.by_instances.iter().collect();
    by_instances.retain(|cost| !at_most(cost));
    for cost in by_licenses.into_iter().chain(by_instances) {
        let watched = &cost.watched;
        #[allow(clippy::cast_precision_loss, reason = "some instances")]
        let each = watched.origin_rate() / cost.load.instances as f64;
        writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} | {each:.2} | {:.1} | {:.1} | {} | {:.3} |",
            cost.licenses,
            cost.load.instances,
            watched.revocations_rate(),
            watched.origin_rate(),
            watched.documents_rate("revocations"),
            watched.documents_rate("statuslist"),
            times(&watched.verdicts),
            watched.cpu.origin_s,
        )
        .ok();
    }
    text
}

fn slopes(costs: &[Cost]) -> String {
    let mut text = String::new();
    for revocations in [0, FEW_REVOCATIONS] {
        let points: Vec<(f64, f64)> = costs
            .iter()
            .filter(|cost| cost.load.revocations == revocations)
            .map(|cost| {
                #[allow(clippy::cast_precision_loss, reason = "some instances")]
                let instances = cost.load.instances as f64;
                (instances, cost.watched.origin_rate())
            })
            .collect();
        if let Some(line) = Line::through(&points) {
            writeln!(
                text,
                "With {revocations} revocations/s the origin answers {:.2} requests/s more for each further instance \
                 (least squares over {} numbers of instances, R² {:.3}).\n",
                line.slope,
                points.len(),
                line.r2
            )
            .ok();
        }
    }
    text
}

/// The straight line nearest to some points.
struct Line {
    slope: f64,
    /// The part of the variance that it explains.
    r2: f64,
}

impl Line {
    /// None through fewer than two points.
    fn through(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < 2 {
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "some points")]
        let count = points.len() as f64;
        let x = points.iter().map(|point| point.0).sum::<f64>() / count;
        let y = points.iter().map(|point| point.1).sum::<f64>() / count;
        let sum = |of: fn(f64, f64) -> f64| -> f64 {
            points
                .iter()
                .map(|point| of(point.0 - x, point.1 - y))
                .sum()
        };
        let (xx, xy, yy) = (sum(|x, _| x * x), sum(|x, y| x * y), sum(|_, y| y * y));
        let r2 = if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 };
        (xx > 0.0).then(|| Self { slope: xy / xx, r2 })
    }
}

fn seconds(ms: f64) -> String {
    format!("{:.2} s", ms / 1000.0)
}

fn times(times: &super::watch::Times) -> String {
    format!("{:.1} / {:.1} ms", times.p50_ms, times.p99_ms)
}

fn list(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".into();
    }
    let each = counts.iter().map(|(what, count)| format!("{count} {what}"));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_nearest() {
        let line = Line::through(&[(1.0, 3.0), (2.0, 5.0), (4.0, 9.0)]).unwrap();
        assert!((line.slope - 2.0).abs() < 1e-9 && (line.r2 - 1.0).abs() < 1e-9);
        let line = Line::through(&[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]).unwrap();
        assert!(line.slope.abs() < 1e-9 && line.r2 < 1e-9);
        assert!(Line::through(&[(1.0, 1.0)]).is_none());
        assert!(Line::through(&[(1.0, 1.0), (1.0, 2.0)]).is_none());
    }
}
