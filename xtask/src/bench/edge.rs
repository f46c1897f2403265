//! `cargo xtask bench edge`: our Worker beside those one could write instead.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::load::{Burst, burst};
use super::report::{self, Measured};
use super::stack::Stack;
use crate::step::{long_step, step};
use crate::{commands, edge, net, paths, tools};

/// Tokens in rotation for the repeated load.
const REPEATED: usize = 1_000;
/// Tokens of the unique load: twice what the Worker remembers, so that none is met again while
/// its signature is still known.
const UNIQUE: usize = 15_000;
/// Times each Worker is measured under each load, in turn with the others.
pub(super) const ROUNDS: usize = 5;
const SECONDS: u32 = 5;
const WORKERS: [&str; 3] = ["edge", "jose", "hello"];

/// Measures, prints the table and writes it to `docs/BENCHMARKS.md`.
///
/// # Errors
/// When a part can't be started, or a Worker gives a wrong answer.
pub fn run() -> Result<()> {
    tools::wrk()?;
    let build = edge::build()?;
    if std::env::var_os("LICET_ORIGIN_BIN").is_none() {
        commands::build::origin(false)?;
    }
    let dir = paths::make_dir(paths::scratch()?.join(format!("bench-{}", std::process::id())))?;
    let result = measure(&dir).and_then(|measured| report::write(&measured, &build));
    std::fs::remove_dir_all(&dir).ok();
    result
}

fn measure(dir: &Path) -> Result<Vec<Measured>> {
    let stack = step("database, origin and edge", || Stack::start(dir, REPEATED))?;
    let devices = step("activate 1,000 devices", || stack.activate(REPEATED))?;
    let unique = long_step(
        "refresh 15,000 tokens",
        "each through the edge and the origin; takes a minute or so",
        || stack.refresh(&devices, UNIQUE),
    )?;
    let example = devices.first().context("no devices")?.clone();
    let stack = step("the Worker beside its peers", || stack.with_peers(&example))?;
    let loads = [
        ("repeated", write_lines(dir, "repeated", &devices)?),
        ("unique", write_lines(dir, "unique", &unique)?),
        ("forged", write_lines(dir, "forged", &forged(&unique))?),
    ];
    for worker in WORKERS {
        step(&format!("{worker} answers VALID"), || {
            expect_valid(&stack.url(worker)?, &devices)
        })?;
    }
    let mut measured = Vec::new();
    for (load, bodies) in &loads {
        let mut bursts: [Vec<Burst>; 3] = Default::default();
        for round in 1..=ROUNDS {
            for (worker, bursts) in WORKERS.iter().zip(&mut bursts) {
                let burst = burst(&stack.url(worker)?, bodies, stack.workerd()?, SECONDS)?;
                println!(
                    "      {load} {round}/{ROUNDS}  {worker:<6} {:>7.0} requests/s",
                    burst.rate
                );
                bursts.push(burst);
            }
        }
        for (worker, bursts) in WORKERS.iter().zip(bursts) {
            measured.push(Measured {
                load,
                worker,
                bursts,
            });
        }
    }
    for worker in WORKERS {
        step(&format!("{worker} still answers VALID"), || {
            expect_valid(&stack.url(worker)?, &devices)
        })?;
    }
    Ok(measured)
}

/// The same tokens with signatures that nobody made.
fn forged(bodies: &[Value]) -> Vec<Value> {
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

fn write_lines(dir: &Path, name: &str, bodies: &[Value]) -> Result<PathBuf> {
    let file = dir.join(format!("{name}.jsonl"));
    let lines: Vec<String> = bodies.iter().map(Value::to_string).collect();
    std::fs::write(&file, lines.join("\n"))?;
    Ok(file)
}

/// A sample of the tokens, so that a fast wrong answer is not measured.
fn expect_valid(url: &str, bodies: &[Value]) -> Result<()> {
    for body in bodies.iter().step_by(50) {
        let url = format!("{url}/api/v1/licenses/validate");
        let answer = net::post_json(&url, body, std::time::Duration::from_secs(10))?;
        if answer.status != 200 || answer.json()?["code"] != "VALID" {
            bail!("HTTP {}: {}", answer.status, answer.body);
        }
    }
    Ok(())
}
