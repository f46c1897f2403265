//! Where things are: the workspace, what it builds, and what a run leaves behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};

/// The root of the workspace this xtask was compiled in.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Cargo's target directory: the one this program was built into, wherever
/// the environment or cargo's configuration put it.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    // Cargo marks its target directories so that backups leave them out.
    let marked = program
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| workspace().join("target"), Path::to_path_buf)
}

/// Cargo, run at the root of the workspace into the same [`target`] directory.
pub fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace());
    if std::env::var_os("CARGO_TARGET_DIR").is_some() {
        // It may be relative to where we were started.
        command.env("CARGO_TARGET_DIR", target());
    }
    command
}

/// Logs and stamps of xtask itself. Safe to delete at any time.
pub fn scratch() -> Result<PathBuf> {
    make_dir(target().join("xtask"))
}

/// What a Worker consists of: its script and its Wasm.
pub const WORKER_FILES: [&str; 2] = ["entry.js", "index_bg.wasm"];

/// Directory of the built Worker.
/// `LICET_EDGE_BUILD` names another.
pub fn edge_build() -> PathBuf {
    match std::env::var_os("LICET_EDGE_BUILD") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("edge/build"),
    }
}

static ORIGIN: OnceLock<PathBuf> = OnceLock::new();

/// Has this process use this executable of the origin from now on. The first call counts.
pub fn use_origin(file: PathBuf) {
    ORIGIN.get_or_init(|| file);
}

/// The origin's executable, whether or not it has been built.
/// `LICET_ORIGIN_BIN` names another than the debug build.
pub fn origin_binary() -> PathBuf {
    if let Some(file) = ORIGIN.get() {
        return file.clone();
    }
    match std::env::var_os("LICET_ORIGIN_BIN") {
        Some(file) => workspace().join(file),
        None => target().join("debug/licet-origin"),
    }
}

/// Where cargo-installed tools are kept, shared by all clones of one user:
/// `$LICET_TOOLS`, else `licet/tools` in the user's cache directory.
pub fn tool_cache() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("LICET_TOOLS") {
        return Ok(PathBuf::from(dir));
    }
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => {
            let home = std::env::var_os("HOME")
                .context("HOME is not set: set LICET_TOOLS to a directory for development tools")?;
            PathBuf::from(home).join(".cache")
        }
    };
    Ok(cache.join("licet/tools"))
}

/// Creates `dir` and its parents, and hands it back.
pub fn make_dir(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Writes a file that only its owner can read, replacing it in one step.
pub fn write_private(file: &Path, text: &str) -> Result<()> {
    let part = file.with_extension("part");
    let write = || -> std::io::Result<()> {
        fs::write(&part, "")?;
        fs::set_permissions(&part, fs::Permissions::from_mode(0o600))?;
        fs::write(&part, text)?;
        fs::rename(&part, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// An executable file of this name on `PATH`.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

/// Whether `file` is a regular file with an execute bit.
pub fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
