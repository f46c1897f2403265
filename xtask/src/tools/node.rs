//! Node.js and what npm brings: wrangler, esbuild, binaryen.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::{long_step, run_quiet, run_text};
use crate::{lock, paths};

/// What wrangler asks for.
const OLDEST_NODE: (u32, u32) = (22, 12);

/// Installs what package-lock.json lists, unless that is what is installed.
pub fn npm() -> Result<()> {
    let root = paths::workspace();
    let wanted =
        fs::read(root.join("package-lock.json")).context("cannot read package-lock.json")?;
    // Inside node_modules, so that it goes when they go.
    let stamp = root.join("node_modules/.licet-installed-lock.json");
    let installed = || fs::read(&stamp).is_ok_and(|lock| lock == wanted);
    if installed() {
        return Ok(());
    }
    lock::exclusive(&paths::scratch()?.join("npm.lock"), || {
        if installed() {
            return Ok(());
        }
        if paths::which("npm").is_none() {
            bail!("npm is missing: install Node.js with npm (Debian: apt-get install nodejs npm)");
        }
        long_step(
            "npm ci",
            "wrangler, esbuild, binaryen, Node.js and Postgres from npm",
            || {
                let mut command = Command::new("npm");
                command.arg("ci").current_dir(&root);
                run_quiet("npm ci", &mut command).context("npm could not install the tools")
            },
        )?;
        fs::write(&stamp, &wanted).context("cannot write into node_modules")
    })
}

/// A Node.js that is new enough, and the scripts that run on it.
#[derive(Clone, Debug)]
pub struct Node {
    program: PathBuf,
}

impl Node {
    /// Installs the npm packages if need be, then takes their Node.js, else the system's.
    pub fn find() -> Result<Self> {
        npm()?;
        let pinned = paths::workspace().join("node_modules/.bin/node");
        let candidates = [Some(pinned), paths::which("node")];
        let found = candidates
            .into_iter()
            .flatten()
            .find(|program| is_new_enough(program));
        match found {
            Some(program) => Ok(Self { program }),
            None => bail!(
                "no Node.js {}.{} or newer: npm has none for this machine, so install one and put it on PATH",
                OLDEST_NODE.0,
                OLDEST_NODE.1
            ),
        }
    }

    /// A command that runs an npm package's program on this Node.js, with its
    /// telemetry and update checks off.
    pub fn script(&self, package: &str, file: &str) -> Command {
        self.run(&self.package_file(package, file))
    }

    /// A command that runs a script on this Node.js.
    pub fn run(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(script);
        self.prepare(&mut command);
        command
    }

    /// Lets `command`, and all it starts, find this Node.js first on `PATH`.
    pub fn prepare(&self, command: &mut Command) {
        let dirs = self.program.parent().map(Path::to_path_buf).into_iter();
        let old = std::env::var_os("PATH").unwrap_or_default();
        let path: OsString =
            std::env::join_paths(dirs.chain(std::env::split_paths(&old))).unwrap_or(old);
        command.env("PATH", path);
    }

    /// A file of an installed npm package.
    pub fn package_file(&self, package: &str, file: &str) -> PathBuf {
        paths::workspace()
            .join("node_modules")
            .join(package)
            .join(file)
    }

    /// esbuild's native program, which lies in a package named for the platform.
    pub fn esbuild(&self) -> Result<PathBuf> {
        let scope = paths::workspace().join("node_modules/@esbuild");
        fs::read_dir(&scope)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin/esbuild")))
            .find(|file| paths::is_executable(file))
            .context("esbuild is not installed for this machine: delete node_modules and try again")
    }
}

fn is_new_enough(program: &Path) -> bool {
    run_text(Command::new(program).arg("--version"))
        .is_ok_and(|text| version(&text).is_some_and(|found| found >= OLDEST_NODE))
}

/// `v22.12.0` → (22, 12).
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{OLDEST_NODE, version};

    #[test]
    fn compares_versions_as_numbers() {
        assert!(version("v22.12.0") >= Some(OLDEST_NODE));
        assert!(version("v22.9.1") < Some(OLDEST_NODE));
        assert!(version("v20.20.2") < Some(OLDEST_NODE));
        assert_eq!(version("nonsense"), None);
    }
}
