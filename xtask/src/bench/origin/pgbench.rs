//! `pgbench`, with scripts of the origin's own statements.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::data::Data;
use crate::paths;

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

/// Runs the scripts on so many connections, each with a share of them and a process of its own:
/// whatever a connection prepares, it uses again soon. The first second is not counted, in which
/// sessions begin and statements are prepared, as a service's have been long since.
pub(super) fn pgbench(
    data: &Data,
    role: Role<'_>,
    scripts: &Scripts,
    connections: usize,
    seconds: f64,
    kept: bool,
) -> Result<Ran> {
    let mut running = Vec::new();
    for number in 0..connections {
        let share: Vec<&Path> = scripts
            .0
            .iter()
            .skip(number)
            .step_by(connections)
            .map(PathBuf::as_path)
            .collect();
        if share.is_empty() {
            bail!("there are fewer scripts than connections");
        }
        running.push(command(data, role, &share, seconds, kept)?.spawn()?);
    }
    let mut ran = Ran {
        rate: 0.0,
        mean_ms: 0.0,
    };
    for child in running {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("pgbench: {}", text.trim());
        }
        let one = progress(&text).with_context(|| format!("pgbench said: {text}"))?;
        ran.rate += one.rate;
        // Of all transactions, so by how many each had.
        ran.mean_ms += one.rate * one.mean_ms;
    }
    ran.mean_ms /= ran.rate;
    Ok(ran)
}

/// Reads `progress: 2.0 s, 512.3 tps, lat 1.950 ms stddev 0.3, 0 failed`, a line per second, but
/// for the first.
fn progress(text: &str) -> Option<Ran> {
    let (mut seconds, mut done, mut busy_ms) = (0.0, 0.0, 0.0);
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("progress: "));
    for line in lines.skip(1) {
        let mut parts = line.split(", ").skip(1);
        let rate: f64 = parts.next()?.strip_suffix(" tps")?.parse().ok()?;
        let mean_ms: f64 = parts.next()?.split(' ').nth(1)?.parse().ok()?;
        seconds += 1.0;
        done += rate;
        busy_ms += rate * mean_ms;
    }
    (done > 0.0).then(|| Ran {
        rate: done / seconds,
        mean_ms: busy_ms / done,
    })
}

fn command(
    data: &Data,
    role: Role<'_>,
    scripts: &[&Path],
    seconds: f64,
    kept: bool,
) -> Result<Command> {
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
    command.args(["--client=1", "--progress=1"]);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some seconds"
    )]
    command.args(["--time", &(seconds.ceil() as u64 + 1).max(2).to_string()]);
    for file in scripts {
        command.arg("--file").arg(file);
    }
    command.arg("run");
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_second_does_not_count() {
        let text = "pgbench (15.15)\n\
            progress: 1.0 s, 10.0 tps, lat 90.000 ms stddev 5.000, 0 failed\n\
            progress: 2.0 s, 100.0 tps, lat 2.000 ms stddev 0.100, 0 failed\n\
            progress: 3.0 s, 300.0 tps, lat 4.000 ms stddev 0.100, 0 failed\n";
        let ran = progress(text).unwrap();
        assert!((ran.rate - 200.0).abs() < 1e-9);
        assert!((ran.mean_ms - 3.5).abs() < 1e-9);
        assert!(progress("progress: 1.0 s, 10.0 tps, lat 90.000 ms stddev 5.000\n").is_none());
    }
}
