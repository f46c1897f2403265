//! Tools that only the system or rustup can provide.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::step::{run_quiet, run_text, step};

/// The target the edge is compiled for.
const WASM: &str = "wasm32-unknown-unknown";

/// Makes sure that rustc can compile for wasm32, by way of rustup if need be.
pub fn wasm_target() -> Result<()> {
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--print", "target-libdir", "--target", WASM])
        .current_dir(paths::workspace());
    if Path::new(&run_text(&mut rustc)?).is_dir() {
        return Ok(());
    }
    if paths::which("rustup").is_none() {
        bail!(
            "rustc has no {WASM} target and there is no rustup to add it: install Rust with rustup"
        );
    }
    step("rustup target add", || {
        let mut rustup = Command::new("rustup");
        rustup
            .args(["target", "add", WASM])
            .current_dir(paths::workspace());
        run_quiet("rustup target add", &mut rustup).context("rustup could not add the wasm target")
    })
}

/// The load generator of the benchmarks.
pub fn wrk() -> Result<PathBuf> {
    paths::which("wrk").context(
        "wrk is missing: install it (Debian: apt-get install wrk; macOS: brew install wrk)",
    )
}
