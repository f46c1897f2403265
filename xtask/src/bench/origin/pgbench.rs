//! `pgbench`, with scripts of the origin's own statements.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::data::Data;
use crate::{paths, step::run_text};

/// As the origin sets them for its own connections.
const OPTIONS: &str = "-c search_path=pg_catalog -c join_collapse_limit=1 -c jit=off";

/// Who runs the scripts.
#[derive(Clone, Copy)]
pub(super) struct Role<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
}

/// What a run showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ran {
    pub(super) rate: f64,
    pub(super) mean_ms: f64,
}

/// Scripts in files.
pub(super) struct Scripts(Vec<PathBuf>);

impl Scripts {
    pub(super) fn write(dir: &Path, name: &str, texts: &[String]) -> Result<Self> {
        let files = texts.iter().enumerate().map(|(number, text)| {
            let file = dir.join(format!("{name}-{number}.sql"));
            fs::write(&file, text)?;
            Ok(file)
        });
        Ok(Self(files.collect::<Result<_>>()?))
    }
}

/// Runs the scripts at random on so many connections.
pub(super) fn pgbench(
    data: &Data,
    role: Role<'_>,
    scripts: &Scripts,
    connections: usize,
    seconds: f64,
    kept: bool,
) -> Result<Ran> {
    let program = data.cluster.program("pgbench");
    let program = if program.is_file() {
        program
    } else {
        paths::which("pgbench").context("pgbench is missing: it comes with Postgres")?
    };
    let mut command = Command::new(program);
    command.env("PGPASSWORD", role.password);
    command.env("PGOPTIONS", OPTIONS);
    command.args(["--no-vacuum", "--jobs=1"]);
    // Prepared once, as the origin keeps what finds one row or writes; or planned each time, as
    // it has lists.
    command.arg(if kept {
        "--protocol=prepared"
    } else {
        "--protocol=extended"
    });
    command.args([
        "--host=127.0.0.1",
        "--port",
        &data.cluster.port().to_string(),
    ]);
    command.args(["--username", role.name]);
    command.args(["--client", &connections.to_string()]);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some seconds"
    )]
    command.args(["--time", &(seconds.ceil() as u64).max(1).to_string()]);
    for file in &scripts.0 {
        command.arg("--file").arg(file);
    }
    command.arg("run");
    let text = run_text(&mut command)?;
    let number = |mark: &str| {
        let line = text.lines().find(|line| line.starts_with(mark))?;
        line.split_whitespace()
            .find_map(|word| word.parse::<f64>().ok())
    };
    Ok(Ran {
        rate: number("tps = ").with_context(|| format!("pgbench said: {text}"))?,
        mean_ms: number("latency average = ").context("no latency from pgbench")?,
    })
}
