//! Figures for people: on the terminal and in `docs/BENCHMARKS.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::load::{Burst, CONNECTIONS};
use crate::paths;
use crate::step::run_text;

/// One Worker under one load.
pub(super) struct Measured {
    pub(super) load: &'static str,
    pub(super) worker: &'static str,
    pub(super) bursts: Vec<Burst>,
}

/// Median, lowest and highest.
pub(super) struct Spread {
    pub(super) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// As in `0.62 [0.60–0.65]`, with so many digits.
    pub(super) fn show(&self, digits: usize) -> String {
        format!(
            "{:.digits$} [{:.digits$}–{:.digits$}]",
            self.median, self.low, self.high
        )
    }

    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            low: at(0),
            high: at(values.len().saturating_sub(1)),
        }
    }
}

/// Prints the tables and puts them in the place of the former ones.
pub(super) fn write(measured: &[Measured], build: &Path) -> Result<()> {
    let (sizes, gzipped) = sizes(build)?;
    let text = format!(
        "{}\n\n{}\n{}\n{sizes}",
        conditions()?,
        goals(measured, gzipped),
        tables(measured),
    );
    write_section("edge", &text)
}

/// Prints a section and writes it to `docs/BENCHMARKS.md`.
pub(super) fn write_section(section: &str, text: &str) -> Result<()> {
    println!("\n{text}");
    let file = paths::workspace().join("docs/BENCHMARKS.md");
    let old = fs::read_to_string(&file).context("docs/BENCHMARKS.md is missing")?;
    fs::write(&file, replace_section(&old, section, text)?)?;
    println!("written to docs/BENCHMARKS.md");
    Ok(())
}

/// Replaces what stands between the two markers of a section.
fn replace_section(old: &str, section: &str, text: &str) -> Result<String> {
    let (begin, end) = (
        format!("<!-- begin {section} -->"),
        format!("<!-- end {section} -->"),
    );
    let (head, rest) = old
        .split_once(&begin)
        .with_context(|| format!("no line {begin}"))?;
    let (_, tail) = rest
        .split_once(&end)
        .with_context(|| format!("no line {end}"))?;
    Ok(format!("{head}{begin}\n{}\n{end}{tail}", text.trim()))
}

/// When, of what and on what it was measured.
pub(super) fn machine() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let date = run_text(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let commit = run_text(
        Command::new("git")
            .args(["rev-parse", "--short", "HEAD"])
            .current_dir(paths::workspace()),
    )
    .unwrap_or_else(|_| "no commit".into());
    Ok(format!(
        "Measured {date} at {commit} on {cores} cores of {model}"
    ))
}

fn conditions() -> Result<String> {
    Ok(format!(
        "{}: all Workers on one workerd \
         (one isolate thread), `wrk` with 1 thread and {CONNECTIONS} connections on the other core, \
         the Workers in turn, {} rounds each; medians, with the lowest and highest in brackets.",
        machine()?,
        super::edge::ROUNDS
    ))
}

/// What is wanted of the edge: under which load, compared with whom, in what, how much.
const GOALS: [(&str, &str, Figure, f64); 6] = [
    ("repeated", "jose", Figure::Rate, 1.8),
    ("repeated", "hello", Figure::Rate, 0.75),
    ("unique", "jose", Figure::Rate, 1.0),
    ("forged", "jose", Figure::Rate, 1.0),
    ("repeated", "jose", Figure::Cpu, 0.6),
    ("unique", "jose", Figure::Cpu, 1.0),
];
/// Most bytes of the Worker, gzipped.
const SIZE_GOAL: usize = 250 * 1024;

#[derive(Clone, Copy, PartialEq)]
enum Figure {
    /// Requests per second: at least.
    Rate,
    /// Processor time per request: at most.
    Cpu,
}

/// The goals beside what was measured, each ratio that of two bursts of the same round.
fn goals(measured: &[Measured], gzipped: usize) -> String {
    let mut text = String::from(
        "| load | compared with | in | goal | measured | met |\n|---|---|---|---|---|---|\n",
    );
    let of = |load, worker| {
        let found = measured
            .iter()
            .find(|m| m.load == load && m.worker == worker);
        found.map_or(&[][..], |m| &m.bursts)
    };
    for (load, peer, figure, goal) in GOALS {
        let ratio = |(ours, theirs): (&Burst, &Burst)| match figure {
            Figure::Rate => ours.rate / theirs.rate,
            Figure::Cpu => ours.cpu_us / theirs.cpu_us,
        };
        let spread = Spread::of(of(load, "edge").iter().zip(of(load, peer)).map(ratio));
        let (name, bound, met) = match figure {
            Figure::Rate => ("requests/s", "≥", spread.median >= goal),
            Figure::Cpu => ("CPU/request", "≤", spread.median <= goal),
        };
        let measured = format!(
            "{:.2} [{:.2}–{:.2}]",
            spread.median, spread.low, spread.high
        );
        let met = if met { "yes" } else { "no" };
        writeln!(
            text,
            "| {load} | {peer} | {name} | {bound} {goal} | {measured} | {met} |"
        )
        .ok();
    }
    let met = if gzipped <= SIZE_GOAL { "yes" } else { "no" };
    let kib = |bytes: usize| bytes.div_ceil(1024);
    writeln!(
        text,
        "| size | — | KiB gzipped | ≤ {} | {} | {met} |",
        kib(SIZE_GOAL),
        kib(gzipped)
    )
    .ok();
    text
}

fn tables(measured: &[Measured]) -> String {
    let mut text = String::from(
        "| load | Worker | requests/s | of `jose` | of hello | p50 ms | p99 ms | CPU µs/request |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in measured {
        let of = |peer: &str| {
            let peer = measured
                .iter()
                .find(|m| m.load == row.load && m.worker == peer);
            let ratios = peer.into_iter().flat_map(|peer| {
                row.bursts
                    .iter()
                    .zip(&peer.bursts)
                    .map(|(ours, theirs)| ours.rate / theirs.rate)
            });
            Spread::of(ratios).show(2)
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

#[cfg(test)]
mod tests {
    use super::replace_section;

    #[test]
    fn only_the_named_section_is_replaced() {
        let old = "a\n<!-- begin edge -->\nold\n<!-- end edge -->\nb\n";
        let new = replace_section(old, "edge", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- begin edge -->\nnew\n<!-- end edge -->\nb\n");
        assert!(replace_section("a", "edge", "new").is_err());
    }
}
