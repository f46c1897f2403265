//! One at a time, across processes: two `cargo xtask` at once must not install
//! the same thing into the same place.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::interrupt;

/// Runs `work` while holding an exclusive lock on `file`, which is created
/// when missing and left in place. The kernel drops the lock if we die.
pub fn exclusive<T>(file: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if let Some(dir) = file.parent() {
        crate::paths::make_dir(dir.to_path_buf())?;
    }
    let open = File::create(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut said = false;
    loop {
        match open.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                if !said {
                    println!("  ..  waiting for another cargo xtask ({})", file.display());
                    said = true;
                }
                interrupt::check()?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", file.display()));
            }
        }
    }
    work()
}

/// An exclusive lock on `file` for as long as the answer lives, or `None` when
/// another process holds it.
pub fn claim(file: &Path) -> Result<Option<File>> {
    let open = File::create(file).with_context(|| format!("cannot open {}", file.display()))?;
    match open.try_lock() {
        Ok(()) => Ok(Some(open)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", file.display()))
        }
    }
}
