//! `cargo xtask lint`: formatting, clippy on both targets, and dependencies.

use std::process::Command;

use anyhow::Result;

use crate::step::{long_step, run_quiet, step};
use crate::{paths, tools};

/// Runs all checks that need no running part; the first that fails ends it.
pub fn lint() -> Result<()> {
    tools::wasm_target()?;
    cargo(
        "cargo fmt --check",
        &["fmt", "--all", "--check", "--", "--color=never"],
    )?;
    let native = [
        "clippy",
        "--workspace",
        "--exclude",
        "licet-edge",
        "--all-targets",
    ];
    clippy("clippy, native", &native)?;
    let wasm = [
        "clippy",
        "--package",
        "licet-edge",
        "--package",
        "licet-shared",
        "--all-targets",
    ];
    clippy(
        "clippy, Wasm",
        &[&wasm[..], &["--target", "wasm32-unknown-unknown"]].concat(),
    )?;
    dependencies()
}

fn clippy(name: &str, args: &[&str]) -> Result<()> {
    cargo(name, &[args, &["--", "--deny", "warnings"]].concat())
}

fn cargo(name: &str, args: &[&str]) -> Result<()> {
    long_step(name, "some minutes the first time", || {
        run_quiet(name, paths::cargo().args(args))
    })
}

fn dependencies() -> Result<()> {
    let deny = tools::cargo_deny()?;
    let run = |name: &str, args: &[&str]| {
        run_quiet(
            name,
            Command::new(&deny)
                .args(args)
                .current_dir(paths::workspace()),
        )
    };
    step("cargo deny: bans, licences, sources", || {
        run("cargo deny", &["check", "bans", "licenses", "sources"])
    })?;
    // Their database is a git repository that not every machine may reach.
    if run("cargo deny fetch", &["fetch", "db"]).is_err() {
        crate::interrupt::check()?;
        println!(
            "  --  cargo deny: advisories not checked, their database can't be reached from here"
        );
        return Ok(());
    }
    step("cargo deny: advisories", || {
        run("cargo deny", &["check", "advisories"])
    })
}
