//! Finding `initdb` and `postgres`: the system's, else those npm brings.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::user::ServerUser;
use crate::{lock, paths, step};

/// Major versions that Licet is tested with.
const SUPPORTED: std::ops::RangeInclusive<u32> = 15..=18;

/// A usable Postgres installation.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// Directory of `initdb` and `postgres`.
    pub dir: PathBuf,
    /// Major version.
    pub major: u32,
}

impl Binaries {
    /// Takes the first that fits: `LICET_POSTGRES_BIN` (a directory, or `npm`),
    /// `PATH`, `/usr/lib/postgresql/*/bin` (newest first), npm's `embedded-postgres`.
    pub fn find(user: &ServerUser) -> Result<Self> {
        match std::env::var("LICET_POSTGRES_BIN") {
            Ok(choice) if choice == "npm" => return embedded(user),
            Ok(choice) => return check(Path::new(&choice)),
            Err(_) => {}
        }
        let system = system_dirs().into_iter().find_map(|dir| check(&dir).ok());
        match system {
            Some(found) if user.can_reach(&found.dir.join("postgres")) => Ok(found),
            _ => embedded(user).map_err(|error| {
                error.context(format!(
                    "no Postgres {} to {}: install one (Debian: apt-get install postgresql), set DATABASE_URL \
                     to a running one, or let npm bring it with `npm ci --include=optional`",
                    SUPPORTED.start(),
                    SUPPORTED.end()
                ))
            }),
        }
    }

    /// Path of `initdb` or `postgres`.
    pub fn path(&self, program: &str) -> PathBuf {
        self.dir.join(program)
    }
}

fn system_dirs() -> Vec<PathBuf> {
    // The real directory: a server finds its own files beside its executable.
    let real = |file: PathBuf| Some(fs::canonicalize(file).ok()?.parent()?.to_path_buf());
    let mut dirs: Vec<PathBuf> = paths::which("postgres")
        .and_then(real)
        .into_iter()
        .collect();
    let mut packaged: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin")))
        })
        .collect();
    packaged.sort_unstable_by(|a, b| b.cmp(a));
    dirs.extend(packaged.into_iter().map(|(_, dir)| dir));
    dirs
}

fn check(dir: &Path) -> Result<Binaries> {
    if !paths::is_executable(&dir.join("initdb")) {
        bail!("no initdb in {}", dir.display());
    }
    let text = step::run_text(Command::new(dir.join("postgres")).arg("--version"))?;
    let major = major_version(&text).with_context(|| format!("odd version: {text}"))?;
    if !SUPPORTED.contains(&major) {
        bail!(
            "{} is Postgres {major}, which is not supported",
            dir.display()
        );
    }
    Ok(Binaries {
        dir: dir.to_path_buf(),
        major,
    })
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` → 15; also `18beta1`.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn embedded(user: &ServerUser) -> Result<Binaries> {
    let package = paths::workspace()
        .join("node_modules/@embedded-postgres")
        .join(npm_platform());
    let native = package.join("native");
    if !native.is_dir() {
        bail!(
            "npm's embedded-postgres is not installed for {}",
            npm_platform()
        );
    }
    hydrate(&package)?;
    if user.can_reach(&native.join("bin/postgres")) {
        return check(&native.join("bin"));
    }
    // A clone under /root: the server's user can't execute what lies in it.
    let copy = reachable_copy(&native, user)?;
    check(&copy.join("bin"))
}

/// Node's name for this machine, as npm packages use it.
fn npm_platform() -> String {
    let os = if cfg!(target_os = "macos") {
        "darwin"
    } else {
        std::env::consts::OS
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{os}-{arch}")
}

/// npm packages can't hold symbolic links; the package lists them for an
/// install script, which npm may skip (and which we tell it to).
fn hydrate(package: &Path) -> Result<()> {
    let list = package.join("native/pg-symlinks.json");
    let Ok(text) = fs::read_to_string(&list) else {
        return Ok(());
    };
    let links: Value =
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", list.display()))?;
    for link in links.as_array().into_iter().flatten() {
        let (Some(source), Some(target)) = (link["source"].as_str(), link["target"].as_str())
        else {
            bail!("{} is not a list of source and target", list.display());
        };
        let target = package.join(target);
        if target.symlink_metadata().is_ok() {
            continue;
        }
        // Source and target are always in one directory.
        let name = Path::new(source)
            .file_name()
            .with_context(|| format!("odd link {source}"))?;
        symlink(name, &target).with_context(|| format!("cannot link {}", target.display()))?;
    }
    Ok(())
}

fn reachable_copy(native: &Path, user: &ServerUser) -> Result<PathBuf> {
    let text = step::run_text(Command::new(native.join("bin/postgres")).arg("--version"))?;
    let version = text
        .split("(PostgreSQL)")
        .nth(1)
        .unwrap_or("0")
        .trim()
        .replace(' ', "-");
    let base = super::place::reachable_dir(user)?;
    let copy = base.join(format!("licet-postgres-{version}"));
    lock::exclusive(&base.join(".licet-postgres.lock"), || {
        if copy.join("complete").is_file() {
            return Ok(());
        }
        fs::remove_dir_all(&copy).ok();
        let mut cp = Command::new("cp");
        step::run_quiet("copy Postgres", cp.arg("-R").arg(native).arg(&copy))?;
        fs::write(copy.join("complete"), "").context("cannot finish the copy of Postgres")
    })?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::major_version;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(
            major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_version("something else 3"), None);
    }
}
