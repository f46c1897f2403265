//! Directories for what a run writes: logs, Worker state.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of a stack's own. Removed when dropped, but kept for a look when the test failed.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty directory.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        let base = xtask::paths::scratch().unwrap().join("e2e");
        SWEEP.call_once(|| sweep(&base));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = base.join(format!("{}-{number}", std::process::id()));
        Self(xtask::paths::make_dir(dir).unwrap())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("The logs are in {}", self.0.display());
        } else {
            fs::remove_dir_all(&self.0).ok();
        }
    }
}

/// Removes what former runs left, be it to be looked at or because they were killed.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid: u32| !xtask::process::is_alive(pid)) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}
