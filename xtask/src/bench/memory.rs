//! What workerd's memory does while an edge meets licenses of many organizations, and while somebody
//! sends what nobody signed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::edge::{forged, write_lines};
use super::load::{Load, burst};
use super::report::{GOALS_HEAD, line, machine, write_section};
use super::stack::Alone;
use crate::process::Service;
use crate::step::long_step;
use crate::{commands, edge, net, paths, tools};

/// Organizations and licenses that the load is about.
const ORGS: u32 = 10_000;
const LICENSES: u32 = 1_000_000;
/// Shows what the edge counts.
const METRICS_TOKEN: &str = "of-a-bench-on-loopback-and-nobody-else";
const LIMIT: Duration = Duration::from_secs(10);

/// Most MiB that an isolate's memory may come to.
const MEMORY_GOAL: f64 = 64.0;
/// By how much memory may differ where it is called flat: V8 collects when it likes.
const FLAT: f64 = 1.15;

/// Verdicts given by `cargo xtask bench memory`, unless it says another number: ten for each license.
pub const VERDICTS: u64 = 10 * LICENSES as u64;

/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

/// What memory came to, in MiB, over time.
pub(super) struct Memory {
    /// Verdicts given, all of them `VALID`.
    pub(super) verdicts: u64,
    /// Of how many licenses.
    pub(super) licenses: u64,
    pub(super) seconds: f64,
    /// Of the isolate, in each quarter of the time: after V8's collections, which is what it needs,
    /// and with the most garbage. Wasm's memory is in it.
    pub(super) isolate: [(f64, f64); 4],
    /// Wasm's memory at the end, which never shrinks.
    pub(super) wasm: f64,
    /// Resident memory of the process before the first verdict.
    pub(super) idle: u64,
    /// After a quarter, a half, three quarters, all.
    pub(super) quarters: [u64; 4],
    /// The same after a flood of forged tokens, at its middle and its end.
    pub(super) flood: [u64; 2],
    /// Likewise, Wasm's memory: what the first forged token takes that a good one does not is there by then.
    pub(super) flood_wasm: [f64; 2],
    /// Forged tokens refused.
    pub(super) forged: u64,
}

impl Memory {
    /// Its lines in the table of goals.
    pub(super) fn goals(&self) -> String {
        let mut text = String::new();
        let mut goal = |what: [&str; 3], goal: &str, measured: f64, digits, met| {
            line(&mut text, what, goal, &format!("{measured:.digits$}"), met);
        };
        let flat = format!("≤ {FLAT} (flat)");
        let load = format!("{} verdicts, {} licenses", self.verdicts, self.licenses);
        let [_, (second, _), _, (last, _)] = self.isolate;
        let (ratio, peer) = (last / second, "itself in the second quarter");
        goal(
            [&load, peer, "the isolate's memory"],
            &flat,
            ratio,
            2,
            ratio <= FLAT,
        );
        let what = "MiB of the isolate's memory, V8's garbage aside";
        let most = format!("≤ {MEMORY_GOAL}");
        goal([&load, "—", what], &most, last, 1, last <= MEMORY_GOAL);
        let load = format!("{} forged", self.forged);
        let [half, end] = self.flood_wasm;
        let ratio = end / half;
        goal(
            [&load, "itself at half", "Wasm's memory"],
            "≤ 1.0",
            ratio,
            2,
            ratio <= 1.0,
        );
        let [half, end] = self.flood;
        let ratio = end as f64 / half.max(1) as f64;
        goal(
            [&load, "itself at half", "resident memory"],
            &flat,
            ratio,
            2,
            ratio <= FLAT,
        );
        text
    }

    /// Its figures, in sentences.
    pub(super) fn figures(&self) -> String {
        let mut text = String::new();
        let quarters = self
            .isolate
            .map(|(low, high)| format!("{low:.1} to {high:.1}"));
        writeln!(
            text,
            "The isolate's memory in each quarter of the verdicts, from V8's collections to its most garbage: {} MiB; \
             {:.1} of it Wasm's.",
            quarters.join(", "),
            self.wasm,
        )
        .ok();
        let [a, b, c, d] = self.quarters;
        let (verdicts, seconds) = (self.verdicts, self.seconds);
        writeln!(
            text,
            "Resident memory of workerd with the edge alone, simulated cache and KV included: {} MiB idle; {a}, {b}, {c} and {d} MiB after each quarter of \
             {verdicts} verdicts ({seconds:.0} s).",
            self.idle,
        )
        .ok();
        text
    }
}

/// Measures by itself, prints it and writes it to `docs/BENCHMARKS.md`.
///
/// # Errors
/// When a part can't be started, or a verdict is not `VALID`.
pub fn run(verdicts: u64) -> Result<()> {
    tools::wrk()?;
    edge::build()?;
    commands::build::load_generator()?;
    // Before the hour in which somebody may commit.
    let machine = machine()?;
    let dir = paths::make_dir(paths::scratch()?.join(format!("bench-{}", std::process::id())))?;
    let result = long_step(
        &format!("{verdicts} verdicts on licenses of many organizations"),
        "about an hour for ten million",
        || measure(&dir, verdicts),
    );
    std::fs::remove_dir_all(&dir).ok();
    let memory = result?;
    let text = format!(
        "{machine}: the edge alone on one workerd.\n\n{GOALS_HEAD}{}\n{}",
        memory.goals(),
        memory.figures(),
    );
    write_section("memory", &text)
}

/// Sends `verdicts` requests, ten for each license in turn, and then forged ones for some seconds.
pub(super) fn measure(dir: &Path, verdicts: u64) -> Result<Memory> {
    let port = net::free_port()?;
    let address = format!("127.0.0.1:{port}");
    let generator = paths::target().join("release/licet-bench");
    let mut documents = Command::new(&generator);
    documents.args(["documents", &address]);
    let log = dir.join("documents.log");
    let _documents = Service::spawn("the documents", &mut documents, &log, Signal::TERM)?;
    let settings = Command::new(&generator).arg("settings").output()?.stdout;
    let mut settings: Value = serde_json::from_slice(&settings)?;
    settings["ORIGIN_URL"] = json!(format!("http://{address}"));
    settings["CORS_ORIGINS"] = json!("*");
    settings["METRICS_TOKEN"] = json!(METRICS_TOKEN);
    let heap = dir.join("heap");
    let edge = Alone::watched(dir, &settings, &heap)?;
    let (url, workerd) = (edge.url()?, edge.workerd()?);
    let idle = resident_mib(workerd)?;

    let began = Instant::now();
    let mut drive = Command::new(&generator)
        .args(["verdicts", url.trim_start_matches("http://")])
        .args([ORGS.to_string(), LICENSES.to_string(), verdicts.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the load generator")?;
    let mut samples = Vec::new();
    let status = loop {
        if let Some(status) = drive.try_wait()? {
            break status;
        }
        samples.push(resident_mib(workerd)?);
        std::thread::sleep(Duration::from_millis(500));
    };
    if !status.success() {
        bail!("the load generator met another answer than VALID");
    }
    let seconds = began.elapsed().as_secs_f64();
    let wasm = wasm_mib(&url)?;
    let heap = fs::read_to_string(&heap).context("nothing was noted of the heap")?;
    let heap: Vec<f64> = heap.lines().filter_map(|line| line.parse().ok()).collect();
    let quarter = heap.len().div_ceil(4).max(1);
    let isolate = [0, 1, 2, 3].map(|part| {
        let of_it = heap.iter().skip(part * quarter).take(quarter);
        let (low, high) = of_it.fold((f64::MAX, 0_f64), |(low, high), &bytes| {
            (low.min(bytes), high.max(bytes))
        });
        (low / MIB + wasm, high / MIB + wasm)
    });
    let at = |part: usize| samples.get((samples.len() * part / 4).saturating_sub(1));
    let quarters = [1, 2, 3, 4].map(|part| at(part).copied().unwrap_or(idle));

    let bodies = Command::new(&generator)
        .args(["bodies", "1", "1000", "5"])
        .output()?
        .stdout;
    let bodies: Vec<Value> = serde_json::Deserializer::from_slice(&bodies)
        .into_iter()
        .collect::<Result<_, _>>()?;
    let forged = write_lines(dir, "flood", &forged(&bodies))?;
    let flood = || -> Result<(u64, u64, f64)> {
        let load = Load {
            url: &url,
            bodies: &forged,
            connections: 32,
            seconds: 8,
            rate: None,
            bearer: false,
            workerd,
        };
        let sent = burst(load)?.requests;
        Ok((sent, resident_mib(workerd)?, wasm_mib(&url)?))
    };
    let (first, second) = (flood()?, flood()?);
    Ok(Memory {
        verdicts,
        licenses: (verdicts / 10).min(LICENSES.into()),
        seconds,
        isolate,
        wasm,
        idle,
        quarters,
        flood: [first.1, second.1],
        flood_wasm: [first.2, second.2],
        forged: first.0 + second.0,
    })
}

/// As the edge itself says.
fn wasm_mib(url: &str) -> Result<f64> {
    let answer = net::get_bearer(&format!("{url}/metrics"), METRICS_TOKEN, LIMIT)?;
    let line = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix("licet_edge_wasm_memory_bytes"));
    let bytes = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(bytes.with_context(|| format!("no memory in {}", answer.body))? / MIB)
}

fn resident_mib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("workerd is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("/proc has another form")? / 1024)
}
