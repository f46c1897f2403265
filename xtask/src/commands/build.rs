//! `cargo xtask build`: the edge, the origin, or both.

use std::path::PathBuf;

use anyhow::Result;

use crate::step::{long_step, run_quiet};
use crate::{edge, paths};

/// Builds the Worker and says where it is.
pub fn edge() -> Result<()> {
    let dir = edge::build()?;
    println!("The Worker is in {}", dir.display());
    Ok(())
}

/// Builds the origin and hands back its executable.
pub fn origin(release: bool) -> Result<PathBuf> {
    let profile = if release { "release" } else { "debug" };
    long_step(
        &format!("compile the origin ({profile})"),
        "some minutes the first time",
        || {
            let mut command = paths::cargo();
            command.args(["build", "--package", "licet-origin"]);
            if release {
                command.arg("--release");
            }
            run_quiet("compile the origin", &mut command)
        },
    )?;
    Ok(paths::target().join(profile).join("licet-origin"))
}

/// Compiles what sends loads and serves documents.
///
/// # Errors
/// When it can't be compiled.
pub fn load_generator() -> Result<()> {
    long_step("compile the load generator (release)", "a minute", || {
        let mut command = paths::cargo();
        command.args(["build", "--package", "licet-bench", "--release"]);
        run_quiet("compile the load generator", &mut command)
    })
}
