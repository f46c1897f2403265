//! One burst of load from `wrk`, and what it cost.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::run_text;
use crate::{paths, tools};

/// Connections that are busy at the same time.
pub(super) const CONNECTIONS: u32 = 32;

/// What a burst showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    /// Requests answered.
    pub(super) requests: u64,
    /// The same per second.
    pub(super) rate: f64,
    /// Median latency in milliseconds.
    pub(super) p50_ms: f64,
    /// 99th percentile of latency in milliseconds.
    pub(super) p99_ms: f64,
    /// Processor time (user and system) of workerd per request, in microseconds.
    pub(super) cpu_us: f64,
}

/// A load on one Worker.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    /// Of the Worker.
    pub(super) url: &'a str,
    /// The file whose lines are posted in turn.
    pub(super) bodies: &'a Path,
    pub(super) connections: u32,
    pub(super) seconds: u32,
    /// Requests per second, if not as many as can be had.
    pub(super) rate: Option<f64>,
    /// Whether the token is sent as a bearer, too.
    pub(super) bearer: bool,
    /// Process id.
    pub(super) workerd: u32,
}

/// Runs a load.
///
/// # Errors
/// When any answer was not 2xx or a connection failed: such figures mean nothing.
pub(super) fn burst(load: Load<'_>) -> Result<Burst> {
    const PATH: &str = "/api/v1/licenses/validate";
    let (url, workerd) = (load.url, load.workerd);
    let script = paths::workspace().join("xtask/bench/edge/rotate.lua");
    let pause_ms = load
        .rate
        .map_or(0.0, |rate| f64::from(load.connections) / rate * 1e3);
    let before = cpu_us(workerd)?;
    let mut wrk = Command::new(tools::wrk()?);
    wrk.args(["--threads", "1", "--timeout", "10s"]);
    wrk.args(["--connections", &load.connections.to_string()]);
    wrk.args(["--duration", &format!("{}s", load.seconds)]);
    wrk.arg("--script").arg(script).arg(url).arg("--");
    wrk.arg(load.bodies).args([PATH, &pause_ms.to_string()]);
    if load.bearer {
        wrk.arg("bearer");
    }
    let text = run_text(&mut wrk)?;
    let spent = cpu_us(workerd)? - before;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("RESULT "))
        .context("no result from wrk")?;
    let numbers: Vec<f64> = line
        .split(' ')
        .filter_map(|number| number.parse().ok())
        .collect();
    let [requests, duration_us, p50_us, p99_us, refused, broken] = numbers[..] else {
        bail!("wrk said: {line}");
    };
    if refused + broken > 0.0 || requests == 0.0 {
        bail!("{url}: of {requests} requests {refused} were refused and {broken} broke");
    }
    Ok(Burst {
        requests: requests as u64,
        rate: requests / duration_us * 1e6,
        p50_ms: p50_us / 1e3,
        p99_ms: p99_us / 1e3,
        cpu_us: spent / requests,
    })
}

/// Processor time a process has used so far, in microseconds (`/proc/<pid>/stat`, 10 ms steps).
fn cpu_us(pid: u32) -> Result<f64> {
    const US_PER_TICK: f64 = 10_000.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("workerd is gone")?;
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = |field: usize| {
        rest.split(' ')
            .nth(field)
            .and_then(|text| text.parse::<f64>().ok())
    };
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) * US_PER_TICK),
        _ => bail!("/proc/{pid}/stat has another form"),
    }
}
