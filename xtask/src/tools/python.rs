//! Schemathesis, in a virtual environment of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::{long_step, run_quiet, run_text};
use crate::{lock, paths};

/// What Schemathesis asks for.
const OLDEST_PYTHON: (u32, u32) = (3, 11);

/// Path of `schemathesis`, installed into the cache with exactly what
/// `tests/schemathesis/requirements.txt` lists, each file by its hash.
pub fn schemathesis() -> Result<PathBuf> {
    let requirements = paths::workspace().join("tests/schemathesis/requirements.txt");
    let wanted = fs::read(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let cache = paths::tool_cache()?;
    let venv = cache.join("schemathesis");
    let program = venv.join("bin/schemathesis");
    // Written last: without it, or with another, the installation is not what is wanted.
    let stamp = venv.join("licet-requirements.txt");
    let installed =
        || fs::read(&stamp).is_ok_and(|listed| listed == wanted) && paths::is_executable(&program);
    if installed() {
        return Ok(program);
    }
    lock::exclusive(&cache.join(".schemathesis.lock"), || {
        if installed() {
            return Ok(());
        }
        long_step("install Schemathesis", "from PyPI, once per user", || {
            install(&venv, &requirements)
        })?;
        fs::write(&stamp, &wanted).context("cannot write into the virtual environment")
    })?;
    Ok(program)
}

fn install(venv: &Path, requirements: &Path) -> Result<()> {
    let python = python()?;
    if venv.exists() {
        fs::remove_dir_all(venv).with_context(|| format!("cannot remove {}", venv.display()))?;
    }
    run_quiet(
        "python3 -m venv",
        Command::new(python).args(["-m", "venv"]).arg(venv),
    )
    .context(
        "no virtual environment: install the venv module (Debian: apt-get install python3-venv)",
    )?;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args([
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--require-hashes",
    ]);
    pip.args(["--only-binary", ":all:", "--requirement"])
        .arg(requirements);
    run_quiet("pip install", &mut pip).context("pip could not install Schemathesis")
}

fn python() -> Result<PathBuf> {
    let (major, minor) = OLDEST_PYTHON;
    let missing = format!(
        "no Python {major}.{minor} or newer: install one (Debian: apt-get install python3 python3-venv)"
    );
    let Some(python) = paths::which("python3") else {
        bail!("{missing}");
    };
    let new_enough = format!("import sys; sys.exit(sys.version_info < ({major}, {minor}))");
    run_text(Command::new(&python).args(["-c", &new_enough])).context(missing)?;
    Ok(python)
}
