//! `cargo xtask bench freshness`: how long a revoked license is still said to be valid, and what
//! knowing it costs the origin.

mod report;
mod stage;
mod watch;

use std::path::Path;

use anyhow::{Result, bail};

use self::stage::Stage;
use self::watch::{Load, Watched};
use super::origin::Size;
use super::origin::data::Data;
use crate::step::{long_step, step};
use crate::{commands, edge, paths};

/// Verdicts a second, over all instances.
const VERDICTS: u32 = 2_000;
/// Revocations a second.
const REVOCATIONS: u32 = 100;
/// Tokens in rotation, each of another organization. To learn of one from nothing costs an instance
/// some 20 ms of processor time here, most of it in the simulated cache and KV.
const TOKENS: usize = 600;
/// Organizations that are asked about, and revoke, where the origin's load is compared.
const FEW: usize = 100;
/// Revocations a second there, and verdicts a second of each instance.
const FEW_REVOCATIONS: u32 = 10;
const FEW_VERDICTS: u32 = 100;
/// Seconds that are counted there: two looks at the feed.
const FEW_SECONDS: u32 = 10;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The database.
    pub size: Size,
    /// Instances of the edge.
    pub instances: usize,
    /// Seconds of the watch.
    pub seconds: u32,
    /// Whether to leave most numbers of instances and licenses out.
    pub quick: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            size: Size::default(),
            instances: 8,
            seconds: 60,
            quick: false,
        }
    }
}

impl Options {
    /// A look, for whoever works on it.
    #[must_use]
    pub fn quick(self) -> Self {
        Self {
            seconds: 20,
            quick: true,
            ..self
        }
    }
}

/// What the origin had to do for so many licenses and instances.
struct Cost {
    licenses: u32,
    load: Load,
    watched: Watched,
}

/// What was found out.
struct Findings {
    options: Options,
    watched: Watched,
    by_instances: Vec<Cost>,
    by_licenses: Vec<Cost>,
}

/// Measures, prints the tables and writes them to `docs/BENCHMARKS.md`.
///
/// # Errors
/// When a part can't be started, or a token can't be activated. What can't keep up with the load
/// is no error: the reached rates are told.
pub fn run(options: Options) -> Result<()> {
    if options.instances == 0 || options.seconds == 0 {
        bail!("at least one instance and one second");
    }
    edge::build()?;
    if std::env::var_os("LICET_ORIGIN_BIN").is_none() {
        paths::use_origin(commands::build::origin(true)?);
    }
    commands::build::load_generator()?;
    let data = Data::prepare(options.size)?;
    let dir = paths::make_dir(paths::scratch()?.join(format!("bench-{}", std::process::id())))?;
    let result = measure(&data, &dir, options);
    std::fs::remove_dir_all(&dir).ok();
    report::write(&data, &result?)
}

fn measure(data: &Data, dir: &Path, options: Options) -> Result<Findings> {
    let mut stage = Stage::start(data, dir, options.instances, TOKENS)?;
    let what = format!("watch {} instances", options.instances);
    let watched = long_step(&what, &format!("{} seconds", options.seconds), || {
        stage.watch(&Load::full(options))
    })?;
    report::say(&watched);
    let instances: Vec<usize> = [1, 2, 4, 8]
        .into_iter()
        .filter(|number| *number < options.instances && !(options.quick && *number > 1))
        .chain([options.instances])
        .collect();
    stage.keep(FEW)?;
    let by_instances = costs(&mut stage, &instances)?;
    drop(stage);
    let mut by_licenses = Vec::new();
    for licenses in [1_000, 100_000] {
        if licenses >= options.size.licenses || options.quick && licenses > 1_000 {
            continue;
        }
        let size = Size {
            orgs: u32::try_from(FEW)?,
            licenses,
            ..options.size
        };
        let data = step(&format!("{licenses} licenses"), || data.beside(size))?;
        let mut stage = Stage::start(&data, dir, options.instances, FEW)?;
        by_licenses.extend(costs(&mut stage, &[options.instances])?);
    }
    Ok(Findings {
        options,
        watched,
        by_instances,
        by_licenses,
    })
}

/// With so many instances each, without revocations and with some.
fn costs(stage: &mut Stage<'_>, instances: &[usize]) -> Result<Vec<Cost>> {
    let mut costs = Vec::new();
    for revocations in [0, FEW_REVOCATIONS] {
        for instances in instances {
            let load = Load::few(*instances, revocations);
            let watched = stage.watch(&load)?;
            let licenses = stage.licenses();
            println!(
                "      {licenses} licenses, {instances} instances, {revocations} revocations/s: the origin \
                 answers {:.1} requests/s of edges",
                watched.origin_rate()
            );
            costs.push(Cost {
                licenses,
                load,
                watched,
            });
        }
    }
    Ok(costs)
}
