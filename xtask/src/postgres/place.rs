//! Directories that the database server's user can enter. A clone under
//! `/root`, say, is not one when root steps down to another user.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use super::user::ServerUser;
use crate::{lock, paths, process};

/// Only root ever needs a place outside of its clone, and root can have this one.
const SYSTEM_STATE: &str = "/var/lib/licet";

/// A directory of root's that every user can enter.
pub(super) fn reachable_dir(user: &ServerUser) -> Result<PathBuf> {
    let dir = open_dir(PathBuf::from(SYSTEM_STATE))?;
    if !user.can_reach(&dir) {
        bail!("the database server's user can't enter {SYSTEM_STATE}: allow it with chmod a+x");
    }
    Ok(dir)
}

/// What `cargo xtask dev` keeps between runs, for one process at a time.
pub struct DevDir {
    path: PathBuf,
    _lock: File,
}

impl DevDir {
    /// An error in one sentence when another process has claimed it.
    pub fn claim() -> Result<Self> {
        let path = dev_dir()?;
        match lock::claim(&path.join(LOCK))? {
            Some(lock) => Ok(Self { path, _lock: lock }),
            None => bail!(
                "another `cargo xtask dev` (or `postgres --keep`) of this clone is running: end it first, or set LICET_STATE \
                 to another directory (and other ports) for a second one"
            ),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes all that former runs kept in it.
    pub fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name() == LOCK {
                continue; // ours, and held
            }
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.with_context(|| format!("cannot delete {}", path.display()))?;
        }
        Ok(())
    }
}

const LOCK: &str = "lock";

/// Where the benchmark keeps its database with this key. Those with other keys are deleted: they
/// are big, and nothing would use them again.
pub(crate) fn bench_dir(key: &str) -> Result<PathBuf> {
    const PREFIX: &str = "bench-";
    let base = dev_dir()?;
    let name = format!("{PREFIX}{key}");
    for entry in fs::read_dir(&base)?.flatten() {
        let other = entry.file_name().to_string_lossy().into_owned();
        if other.starts_with(PREFIX) && other != name {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    open_dir(base.join(name))
}

/// Its directory: `$LICET_STATE`, else `.licet` in
/// the clone, else (root, and a clone that others can't enter) a directory of
/// this clone's own under `/var/lib/licet`.
fn dev_dir() -> Result<PathBuf> {
    let user = ServerUser::pick()?;
    if let Some(dir) = std::env::var_os("LICET_STATE") {
        let dir = open_dir(paths::workspace().join(dir))?;
        if !user.can_reach(&dir) {
            bail!(
                "LICET_STATE={}: the database server's user can't enter it",
                dir.display()
            );
        }
        return Ok(dir);
    }
    let ours = open_dir(paths::workspace().join(".licet"))?;
    if user.can_reach(&ours) {
        return Ok(ours);
    }
    fs::remove_dir(&ours).ok();
    open_dir(reachable_dir(&user)?.join(format!("dev-{:016x}", name_hash(&paths::workspace()))))
}

/// A new, empty directory for a cluster that is removed again.
pub(super) fn temporary(user: &ServerUser) -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let base = [std::env::temp_dir(), PathBuf::from("/tmp")]
        .into_iter()
        .find(|dir| user.can_reach(dir))
        .map_or_else(|| reachable_dir(user), Ok)?;
    sweep(&base);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = base.join(format!("{TEMPORARY}{}-{number}", std::process::id()));
    // Not `create_dir_all`: one that exists already is not ours.
    fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    open_dir(dir)
}

const TEMPORARY: &str = "licet-postgres-";

/// Removes what killed processes left behind.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| {
            name.strip_prefix(TEMPORARY)?
                .split('-')
                .next()?
                .parse()
                .ok()
        });
        if owner.is_some_and(|pid: u32| !process::is_alive(pid)) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn open_dir(dir: PathBuf) -> Result<PathBuf> {
    let dir = paths::make_dir(dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot open {} to others", dir.display()))?;
    Ok(dir)
}

/// FNV-1a: the same for the same path in every build of this program.
fn name_hash(path: &Path) -> u64 {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
