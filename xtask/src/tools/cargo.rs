//! Tools that cargo installs, kept in a cache that all clones of one user share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::step::{long_step, run_quiet, run_text};
use crate::{lock, paths};

/// Directory of `wasm-bindgen` and `wasm-bindgen-test-runner`, in exactly the
/// version of `wasm-bindgen` in Cargo.lock: they refuse any other's output.
pub fn wasm_bindgen_dir() -> Result<PathBuf> {
    Tool {
        package: "wasm-bindgen-cli",
        program: "wasm-bindgen",
        version: &locked_version("wasm-bindgen")?,
    }
    .directory()
}

/// Path of `worker-build`, which makes the Worker out of the edge crate.
pub fn worker_build() -> Result<PathBuf> {
    let tool = Tool {
        package: "worker-build",
        program: "worker-build",
        version: "0.8.7",
    };
    Ok(tool.directory()?.join("worker-build"))
}

/// Path of `cargo-deny`, which checks licences, bans and sources.
pub fn cargo_deny() -> Result<PathBuf> {
    let tool = Tool {
        package: "cargo-deny",
        program: "cargo-deny",
        version: "0.20.2",
    };
    Ok(tool.directory()?.join("cargo-deny"))
}

struct Tool<'a> {
    package: &'a str,
    program: &'a str,
    version: &'a str,
}

impl Tool<'_> {
    /// The directory that holds the program: on `PATH`, in the cache, or
    /// installed into the cache now.
    fn directory(&self) -> Result<PathBuf> {
        let on_path = paths::which(self.program).filter(|file| self.is_version(file));
        if let Some(dir) = on_path.as_deref().and_then(Path::parent) {
            return Ok(dir.to_path_buf());
        }
        let cache = paths::tool_cache()?;
        let root = cache.join(format!("{}-{}", self.package, self.version));
        let bin = root.join("bin");
        if paths::is_executable(&bin.join(self.program)) {
            return Ok(bin);
        }
        lock::exclusive(&cache.join(format!(".{}.lock", self.package)), || {
            if paths::is_executable(&bin.join(self.program)) {
                return Ok(());
            }
            let name = format!("cargo install {} {}", self.package, self.version);
            long_step(&name, "compiled once per user, takes some minutes", || {
                self.install(&root)
            })
        })?;
        Ok(bin)
    }

    fn is_version(&self, file: &Path) -> bool {
        run_text(Command::new(file).arg("--version"))
            .is_ok_and(|text| text.split_whitespace().any(|word| word == self.version))
    }

    /// `--locked` first, for the tool's own choice of dependencies; without it
    /// where the registry at hand no longer (or not yet) has one of those.
    fn install(&self, root: &Path) -> Result<()> {
        let install = |extra: &[&str]| {
            let mut command = Command::new("cargo");
            command
                .args(["install", self.package, "--version", self.version])
                .args(extra);
            command
                .arg("--root")
                .arg(root)
                .current_dir(std::env::temp_dir());
            // Flags meant for our own crates, and our own target directory, are not the tool's.
            for name in [
                "RUSTFLAGS",
                "CARGO_ENCODED_RUSTFLAGS",
                "CARGO_TARGET_DIR",
                "CARGO_BUILD_TARGET",
            ] {
                command.env_remove(name);
            }
            run_quiet(&format!("cargo install {}", self.package), &mut command)
        };
        if install(&["--locked"]).is_ok() {
            return Ok(());
        }
        crate::interrupt::check()?;
        println!(
            "  ..  {} does not install with its own lock file: trying without",
            self.package
        );
        install(&[]).with_context(|| {
            format!(
                "cannot install {}: is the crate registry reachable?",
                self.package
            )
        })
    }
}

/// Version of a package in Cargo.lock.
fn locked_version(package: &str) -> Result<String> {
    let file = paths::workspace().join("Cargo.lock");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let lock: Value = basic_toml::from_str(&text).context("cannot parse Cargo.lock")?;
    let found = lock["package"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry["name"] == package)
        .and_then(|entry| entry["version"].as_str());
    match found {
        Some(version) => Ok(version.to_owned()),
        None => bail!("Cargo.lock has no {package}"),
    }
}
