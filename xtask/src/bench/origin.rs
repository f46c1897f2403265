//! `cargo xtask bench origin`: the origin with a million licenses, beside `pgbench` with the same
//! statements and beside the service one could write instead.

mod capture;
pub(super) mod data;
mod fastapi;
mod load;
mod pgbench;
mod reads;
mod report;
mod rls;
pub(super) mod service;
mod writes;

use std::path::Path;

use anyhow::{Result, bail};

use self::data::Data;
use crate::paths;
use crate::step::{long_step, step};
use crate::{bench::origin::service::Service, commands};

/// Connections that are busy at the same time, of every client of the database alike.
const CONNECTIONS: usize = 16;
/// Times each peer is measured, in turn with the others.
const ROUNDS: usize = 5;

/// How big the measured database is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Organizations.
    pub orgs: u32,
    /// Licenses of all of them; there are as many activations.
    pub licenses: u32,
    /// Seconds of each burst of load.
    pub seconds: f64,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            orgs: 10_000,
            licenses: 1_000_000,
            seconds: 4.0,
        }
    }
}

/// Measures, prints the tables and writes them to `docs/BENCHMARKS.md`; or runs no more than the
/// races whose names contain `only`, and prints their rates.
///
/// # Errors
/// When a part can't be started, or gives a wrong answer.
pub fn run(size: Size, only: Option<&str>) -> Result<()> {
    // Another build, to compare with.
    if std::env::var_os("LICET_ORIGIN_BIN").is_none() {
        paths::use_origin(commands::build::origin(true)?);
    }
    commands::build::load_generator()?;
    let fastapi = fastapi::install()?;
    let data = Data::prepare(size)?;
    let dir = paths::make_dir(paths::scratch()?.join(format!("bench-{}", std::process::id())))?;
    let result = match only {
        Some(only) => race(&data, &dir, &fastapi, size, only).map(|()| None),
        None => measure(&data, &dir, &fastapi, size).map(Some),
    };
    std::fs::remove_dir_all(&dir).ok();
    match result? {
        Some(findings) => report::write(&data, &findings),
        None => Ok(()),
    }
}

fn race(data: &Data, dir: &Path, fastapi: &Path, size: Size, only: &str) -> Result<()> {
    let captured = capture::capture(data, dir)?;
    let service = Service::start(data, dir)?;
    let races = writes::measure(data, dir, fastapi, &service, &captured, size, only)?;
    if races.is_empty() {
        bail!("no race has `{only}` in its name");
    }
    Ok(())
}

/// What was found out.
struct Findings {
    reads: Vec<reads::Read>,
    rls: Vec<rls::Cost>,
    races: Vec<writes::Race>,
    memory: service::Memory,
}

fn measure(data: &Data, dir: &Path, fastapi: &Path, size: Size) -> Result<Findings> {
    let captured = step("the statements that the origin sends", || {
        capture::capture(data, dir)
    })?;
    let service = step("the origin", || Service::start(data, dir))?;
    let reads = long_step("every read of the account API", "a minute", || {
        reads::measure(data, &service)
    })?;
    let rls = long_step("the cost of row-level security", "a minute", || {
        rls::measure(data, dir, &captured, size.seconds / 2.0)
    })?;
    let races = writes::measure(data, dir, fastapi, &service, &captured, size, "")?;
    let memory = long_step("memory under 256 connections", "half a minute", || {
        service::memory(data, dir)
    })?;
    Ok(Findings {
        reads,
        rls,
        races,
        memory,
    })
}
