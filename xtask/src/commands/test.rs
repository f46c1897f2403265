//! `cargo xtask test`: every test there is, on the real parts.

use std::process::Command;

use anyhow::{Result, bail};

use super::build;
use crate::step::{run_loud, step};
use crate::tools::{self, Node};
use crate::{edge, interrupt, paths, wrangler};

/// Builds what the tests run against, then runs all of them, also after one
/// kind has failed. `filters` select tests by name; `full` adds those that take long.
pub fn test(filters: &[String], full: bool) -> Result<()> {
    if full {
        tools::schemathesis()?;
    }
    let edge_build = edge::build()?;
    let origin = build::origin(false)?;
    let mut failed = Vec::new();
    let mut run = |name: &str, work: &dyn Fn() -> Result<()>| -> Result<()> {
        println!("\n== {name}");
        if let Err(error) = step(name, work) {
            interrupt::check()?;
            eprintln!("{error:#}");
            failed.push(name.to_owned());
        }
        Ok(())
    };
    run("native tests", &|| {
        let native = [
            "--workspace",
            "--exclude=licet-edge",
            "--exclude=licet-tests",
        ];
        run_loud("cargo test", &mut cargo_test(&native, filters, full))
    })?;
    run("Wasm tests (Node.js)", &|| wasm(filters, full))?;
    if filters.is_empty() {
        run("wrangler deploy --dry-run", &wrangler::dry_run)?;
    }
    run("end-to-end tests", &|| {
        let mut command = cargo_test(&["--package=licet-tests"], filters, full);
        if full {
            if filters.is_empty() {
                command.arg("--");
            }
            command.arg("--include-ignored");
        }
        command.env("LICET_EDGE_BUILD", &edge_build);
        command.env("LICET_ORIGIN_BIN", &origin);
        run_loud("cargo test", &mut command)
    })?;
    println!();
    if failed.is_empty() {
        println!("All tests passed.");
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "));
}

/// The pure core and the edge, compiled for the target they run on.
fn wasm(filters: &[String], full: bool) -> Result<()> {
    let runner = tools::wasm_bindgen_dir()?.join("wasm-bindgen-test-runner");
    let node = Node::find()?;
    // No documentation tests: the native run has them.
    let args = [
        "--package=licet-shared",
        "--package=licet-edge",
        "--tests",
        "--target=wasm32-unknown-unknown",
    ];
    let run = |filter: &[String]| {
        let mut command = cargo_test(&args, filter, full);
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", &runner);
        node.prepare(&mut command);
        run_loud("cargo test", &mut command)
    };
    if filters.is_empty() {
        return run(&[]);
    }
    // Its runner takes one filter at a time.
    filters.chunks(1).try_for_each(run)
}

fn cargo_test(args: &[&str], filters: &[String], full: bool) -> Command {
    let mut command = paths::cargo();
    command.args(["test", "--no-fail-fast"]).args(args);
    if !filters.is_empty() {
        command.arg("--").args(filters);
    }
    if full {
        command.env("LICET_TEST_FULL", "1");
    }
    command
}
