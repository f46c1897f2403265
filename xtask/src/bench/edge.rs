//! `cargo xtask bench edge`: our Worker beside those one could write instead.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::load::{Burst, CONNECTIONS, Load, burst};
use super::memory::{self, Memory};
use super::report::{Spread, write_section};
use super::stack::Stack;
use crate::step::{long_step, step};
use crate::{commands, edge, net, paths, tools};

mod report;

/// Tokens in rotation for the repeated load.
const REPEATED: usize = 1_000;
/// Tokens of the unique load: more than twice what the Worker remembers, so that none is met again while
/// its signature is still known.
const UNIQUE: usize = 15_000;
const WORKERS: [&str; 4] = ["edge", "jose", "hello", "hono"];
/// Times each Worker is measured under each load, in turn with the others: two bursts that follow one another
/// may differ by a tenth, and the median of so many by a fortieth.
const ROUNDS: usize = 15;
/// Of each burst: V8 collects everything every second or two, and a burst must not have a good part of its
/// time more in collections than the next.
const SECONDS: u32 = 4;
/// Times each Worker is started anew.
const STARTS: usize = 41;
/// Part of its own greatest load under which a Worker's tail is measured, and for how long at a time:
/// V8's full collections, each of some 100 ms, come every few seconds, and each burst must have some.
const TAIL_LOAD: f64 = 0.7;
const TAIL_SECONDS: u32 = 15;
const TAIL_ROUNDS: usize = 9;
/// Verdicts given while memory is watched, unless the command says another number.
pub const VERDICTS: u64 = 300_000;

/// One Worker under one load.
struct Measured {
    load: &'static str,
    worker: &'static str,
    bursts: Vec<Burst>,
}

/// All that was measured.
struct Findings {
    loads: Vec<Measured>,
    /// At [`TAIL_LOAD`].
    tails: Vec<Measured>,
    /// What valid traffic keeps of its share beside forged, in each round.
    shares: Vec<f64>,
    /// Milliseconds to the first verdict, of the edge and of `jose`.
    starts: [Vec<f64>; 2],
    memory: Memory,
}

impl Findings {
    fn of<'a>(all: &'a [Measured], load: &str, worker: &str) -> &'a [Burst] {
        let found = all.iter().find(|m| m.load == load && m.worker == worker);
        found.map_or(&[], |measured| &measured.bursts)
    }
}

/// Measures, prints the tables and writes them to `docs/BENCHMARKS.md`.
///
/// # Errors
/// When a part can't be started, or a Worker gives a wrong answer.
pub fn run(verdicts: u64) -> Result<()> {
    tools::wrk()?;
    let build = edge::build()?;
    // As it is deployed: a first verdict waits for it.
    if std::env::var_os("LICET_ORIGIN_BIN").is_none() {
        paths::use_origin(commands::build::origin(true)?);
    }
    commands::build::load_generator()?;
    let dir = paths::make_dir(paths::scratch()?.join(format!("bench-{}", std::process::id())))?;
    let result = measure(&dir, verdicts);
    std::fs::remove_dir_all(&dir).ok();
    write_section("edge", &report::text(&result?, &build)?)
}

fn measure(dir: &Path, verdicts: u64) -> Result<Findings> {
    let stack = step("database, origin and edge", || Stack::start(dir, REPEATED))?;
    let devices = step("activate 1,000 devices", || stack.activate(REPEATED))?;
    let unique = long_step(
        "refresh 15,000 tokens",
        "each through the edge and the origin; takes a minute or so",
        || stack.refresh(&devices, UNIQUE),
    )?;
    let example = devices.first().context("no devices")?.clone();
    let stack = step("the Worker beside its peers", || stack.with_peers(&example))?;
    let bench = Bench {
        repeated: write_lines(dir, "repeated", &devices)?,
        unique: write_lines(dir, "unique", &unique)?,
        forged: write_lines(dir, "forged", &forged(&unique))?,
        stack,
    };
    for worker in WORKERS {
        step(&format!("{worker} answers VALID"), || {
            expect_valid(&bench.stack.url(worker)?, &devices)
        })?;
    }
    let loads = bench.loads()?;
    let tails = bench.tails(&loads)?;
    let shares = bench.shares()?;
    for worker in WORKERS {
        step(&format!("{worker} still answers VALID"), || {
            expect_valid(&bench.stack.url(worker)?, &devices)
        })?;
    }
    let starts = long_step("first verdicts", "each of a new isolate", || {
        bench.stack.starts(&example, STARTS)
    })?;
    drop(bench);
    let memory = long_step(
        &format!("{verdicts} verdicts on licenses of many organizations"),
        "a minute or so",
        || memory::measure(dir, verdicts),
    )?;
    Ok(Findings {
        loads,
        tails,
        shares,
        starts,
        memory,
    })
}

struct Bench {
    stack: Stack,
    repeated: PathBuf,
    unique: PathBuf,
    forged: PathBuf,
}

impl Bench {
    fn load<'a>(&self, url: &'a str, worker: &str, bodies: &'a Path) -> Result<Load<'a>> {
        Ok(Load {
            url,
            bodies,
            connections: CONNECTIONS,
            seconds: SECONDS,
            rate: None,
            bearer: worker == "hono",
            workerd: self.stack.workerd()?,
        })
    }

    /// Each Worker as fast as it goes, under each load.
    fn loads(&self) -> Result<Vec<Measured>> {
        let mut measured = Vec::new();
        for (load, bodies, workers) in [
            ("repeated", &self.repeated, &WORKERS[..]),
            ("unique", &self.unique, &WORKERS[..2]),
            ("forged", &self.forged, &WORKERS[..2]),
        ] {
            measured.extend(in_turn(load, workers, ROUNDS, |worker| {
                let url = self.stack.url(worker)?;
                burst(self.load(&url, worker, bodies)?)
            })?);
        }
        Ok(measured)
    }

    /// Each Worker at a part of what it can do.
    fn tails(&self, loads: &[Measured]) -> Result<Vec<Measured>> {
        in_turn("repeated", &["edge", "jose"], TAIL_ROUNDS, |worker| {
            let bursts = Findings::of(loads, "repeated", worker);
            let most = Spread::of(bursts.iter().map(|burst| burst.rate)).median;
            let url = self.stack.url(worker)?;
            burst(Load {
                rate: Some(most * TAIL_LOAD),
                seconds: TAIL_SECONDS,
                ..self.load(&url, worker, &self.repeated)?
            })
        })
    }

    /// The rate of valid traffic on half of the connections while the other half sends forged
    /// tokens, as a part of its rate while the other half sends the same as it.
    fn shares(&self) -> Result<Vec<f64>> {
        let url = self.stack.url("edge")?;
        let half = |bodies| -> Result<Load<'_>> {
            Ok(Load {
                connections: CONNECTIONS / 2,
                ..self.load(&url, "edge", bodies)?
            })
        };
        let (valid, forged) = (half(&self.repeated)?, half(&self.forged)?);
        let beside = |other| {
            std::thread::scope(|scope| {
                let other = scope.spawn(move || burst(other));
                let valid = burst(valid)?;
                match other.join() {
                    Ok(other) => other.map(|_| valid.rate),
                    Err(_) => bail!("a load panicked"),
                }
            })
        };
        (1..=ROUNDS)
            .map(|round| {
                let share = beside(forged)? / beside(valid)?;
                println!("      flood {round}/{ROUNDS}  valid traffic keeps {share:.2}");
                Ok(share)
            })
            .collect()
    }
}

/// Measures the Workers in turn, again and again, one round back and the next forth.
fn in_turn(
    load: &'static str,
    workers: &[&'static str],
    rounds: usize,
    mut measure: impl FnMut(&str) -> Result<Burst>,
) -> Result<Vec<Measured>> {
    let mut measured: Vec<Measured> = workers
        .iter()
        .map(|&worker| Measured {
            load,
            worker,
            bursts: Vec::new(),
        })
        .collect();
    for round in 1..=rounds {
        // Back and forth: none comes after the same other each time, and what drifts cancels out.
        let mut order: Vec<_> = measured.iter_mut().collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for row in order {
            let burst = measure(row.worker)?;
            println!(
                "      {load} {round}/{rounds}  {:<6} {:>7.0} requests/s",
                row.worker, burst.rate
            );
            row.bursts.push(burst);
        }
    }
    Ok(measured)
}

/// The same tokens with signatures that nobody made.
pub(super) fn forged(bodies: &[Value]) -> Vec<Value> {
    let forge = |body: &Value| {
        let mut body = body.clone();
        let token = body["token"].as_str().unwrap_or_default();
        // Not the last character, of which some bits must be 0.
        let (head, tail) = token.split_at(token.len().saturating_sub(20));
        let other = if tail.starts_with('A') { "B" } else { "A" };
        body["token"] = format!("{head}{other}{}", tail.get(1..).unwrap_or_default()).into();
        body
    };
    bodies.iter().map(forge).collect()
}

pub(super) fn write_lines(dir: &Path, name: &str, bodies: &[Value]) -> Result<PathBuf> {
    let file = dir.join(format!("{name}.jsonl"));
    let lines: Vec<String> = bodies.iter().map(Value::to_string).collect();
    std::fs::write(&file, lines.join("\n"))?;
    Ok(file)
}

/// A sample of the tokens, so that a fast wrong answer is not measured.
fn expect_valid(url: &str, bodies: &[Value]) -> Result<()> {
    for body in bodies.iter().step_by(50) {
        let url = format!("{url}/api/v1/licenses/validate");
        let token = body["token"].as_str().unwrap_or_default();
        let answer = net::post_json_by(token, &url, body, std::time::Duration::from_secs(10))?;
        if answer.status != 200 || answer.json()?["code"] != "VALID" {
            bail!("HTTP {}: {}", answer.status, answer.body);
        }
    }
    Ok(())
}
