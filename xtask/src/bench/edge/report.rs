//! What was measured, as tables: the goals first.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Findings, Measured, ROUNDS, TAIL_LOAD};
use crate::bench::load::{Burst, CONNECTIONS};
use crate::bench::report::{GOALS_HEAD, Spread, line, machine};
use crate::paths;

/// Most bytes of the Worker, gzipped.
const SIZE_GOAL: usize = 250 * 1024;
/// What is wanted of the edge: under which load, compared with whom, in what, how much.
const GOALS: [(&str, &str, Figure, f64); 6] = [
    ("repeated", "jose", Figure::Rate, 1.8),
    ("repeated", "hello", Figure::Rate, 0.75),
    ("unique", "jose", Figure::Rate, 1.0),
    ("forged", "jose", Figure::Rate, 1.0),
    ("repeated", "jose", Figure::Cpu, 0.6),
    ("unique", "jose", Figure::Cpu, 1.0),
];

#[derive(Clone, Copy)]
enum Figure {
    /// Requests per second: at least.
    Rate,
    /// Processor time per request: at most.
    Cpu,
}

/// The section of `docs/BENCHMARKS.md`.
pub(super) fn text(findings: &Findings, build: &Path) -> Result<String> {
    let (sizes, gzipped) = sizes(build)?;
    Ok(format!(
        "{}\n\n{}\n{}\n{}\n{sizes}",
        conditions()?,
        goals(findings, gzipped),
        rates(&findings.loads),
        figures(findings),
    ))
}

fn conditions() -> Result<String> {
    Ok(format!(
        "{}: all Workers on one workerd (one isolate thread), `wrk` with 1 thread and {CONNECTIONS} \
         connections on the other core, the Workers in turn, {ROUNDS} rounds each; medians, with the \
         lowest and highest in brackets, of the ratios of each round.",
        machine()?,
    ))
}

fn goals(findings: &Findings, gzipped: usize) -> String {
    let mut text = String::from(GOALS_HEAD);
    let ratio = |all: &[Measured], load, peer, figure: fn(&Burst) -> f64| {
        let (ours, theirs) = (
            Findings::of(all, load, "edge"),
            Findings::of(all, load, peer),
        );
        Spread::of(
            ours.iter()
                .zip(theirs)
                .map(|(ours, theirs)| figure(ours) / figure(theirs)),
        )
    };
    for (load, peer, figure, goal) in GOALS {
        let (name, bound, spread, met) = match figure {
            Figure::Rate => {
                let spread = ratio(&findings.loads, load, peer, |burst| burst.rate);
                let met = spread.median >= goal;
                ("requests/s", "≥", spread, met)
            }
            Figure::Cpu => {
                let spread = ratio(&findings.loads, load, peer, |burst| burst.cpu_us);
                let met = spread.median <= goal;
                ("CPU/request", "≤", spread, met)
            }
        };
        let goal = format!("{bound} {goal}");
        line(&mut text, [load, peer, name], &goal, &spread.show(2), met);
    }
    let share = Spread::of(findings.shares.iter().copied());
    let what = [
        "forged beside repeated",
        "itself",
        "what valid traffic keeps of its share",
    ];
    line(
        &mut text,
        what,
        "≥ 0.8",
        &share.show(2),
        share.median >= 0.8,
    );
    let tail = ratio(&findings.tails, "repeated", "jose", |burst| burst.p99_ms);
    let name = format!("p99, each at {TAIL_LOAD} of its own most");
    let measured = tail.show(2);
    line(
        &mut text,
        ["repeated", "jose", &name],
        "≤ 1.0",
        &measured,
        tail.median <= 1.0,
    );
    let kib = format!("{:.1}", gzipped as f64 / 1024.0);
    let what = ["size", "—", "KiB gzipped"];
    line(&mut text, what, "≤ 250", &kib, gzipped <= SIZE_GOAL);
    let [ours, theirs] = &findings.starts;
    let start = Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs));
    let what = [
        "first verdict of a new workerd",
        "jose",
        "time from its start",
    ];
    line(
        &mut text,
        what,
        "≤ 1.5",
        &start.show(2),
        start.median <= 1.5,
    );
    text.push_str(&findings.memory.goals());
    text
}

fn rates(measured: &[Measured]) -> String {
    let mut text = String::from(
        "| load | Worker | requests/s | of `jose` | of hello | p50 ms | p99 ms | CPU µs/request |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in measured {
        let of = |peer: &str| {
            let peer = Findings::of(measured, row.load, peer);
            if peer.is_empty() {
                return "–".to_owned();
            }
            let rounds = row.bursts.iter().zip(peer);
            Spread::of(rounds.map(|(ours, theirs)| ours.rate / theirs.rate)).show(2)
        };
        let rate = Spread::of(row.bursts.iter().map(|burst| burst.rate));
        let median = |part: fn(&Burst) -> f64| Spread::of(row.bursts.iter().map(part)).median;
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.0} |",
            row.load,
            row.worker,
            rate.show(0),
            of("jose"),
            of("hello"),
            median(|burst| burst.p50_ms),
            median(|burst| burst.p99_ms),
            median(|burst| burst.cpu_us),
        )
        .ok();
    }
    text
}

fn figures(findings: &Findings) -> String {
    let mut text = String::new();
    for row in &findings.tails {
        let p99 = Spread::of(row.bursts.iter().map(|burst| burst.p99_ms));
        let rate = Spread::of(row.bursts.iter().map(|burst| burst.rate));
        let (worker, rate, p99) = (row.worker, rate.show(0), p99.show(2));
        writeln!(
            text,
            "At {TAIL_LOAD} of its most, {worker}: {rate} requests/s, p99 {p99} ms."
        )
        .ok();
    }
    text.push_str(&findings.memory.figures());
    let [ours, theirs] = findings
        .starts
        .each_ref()
        .map(|ms| Spread::of(ms.iter().copied()).show(0));
    writeln!(
        text,
        "First verdict of a new workerd: {ours} ms, of one with `jose` {theirs} ms."
    )
    .ok();
    text
}

/// The table of sizes, and the sum of those gzipped.
fn sizes(build: &Path) -> Result<(String, usize)> {
    let mut sum = 0;
    let mut lines = String::from("| file of the Worker | bytes | gzipped |\n|---|---|---|\n");
    for name in paths::WORKER_FILES {
        let file = build.join(name);
        let gzipped = Command::new("gzip")
            .args(["-9", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .context("cannot run gzip")?
            .stdout
            .len();
        sum += gzipped;
        writeln!(
            lines,
            "| {name} | {} | {gzipped} |",
            fs::metadata(&file)?.len()
        )
        .ok();
    }
    Ok((lines, sum))
}
