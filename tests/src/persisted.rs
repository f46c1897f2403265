//! What a Worker's local KV and Cache API keep on disk, to be wiped, damaged and swapped while
//! the Worker is stopped.

use std::fs;
use std::path::{Path, PathBuf};

use crate::logs::files_below;

/// A tier of the edge's storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// The Cache API.
    Cache,
    /// KV: the documents last known to be good.
    Kv,
}

impl Tier {
    /// Its directory below what is persisted.
    pub const fn dir(self) -> &'static str {
        match self {
            Self::Cache => "v3/cache",
            Self::Kv => "v3/kv",
        }
    }
}

/// Forgets all that a tier holds.
#[track_caller]
pub fn wipe(persisted: &Path, tier: Tier) {
    let dir = persisted.join(tier.dir());
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
}

/// The files that hold a tier's values, one per value. An empty tier fails the test: damage
/// to nothing would prove nothing.
#[track_caller]
pub fn values(persisted: &Path, tier: Tier) -> Vec<PathBuf> {
    let files = blobs(persisted, tier);
    assert!(
        !files.is_empty(),
        "{tier:?} holds nothing in {}",
        persisted.display()
    );
    files
}

/// All values of a tier as text, for a look at one that may be in use: what is replaced meanwhile is left out.
pub fn texts(persisted: &Path, tier: Tier) -> Vec<String> {
    let read = |file: PathBuf| fs::read(file).ok();
    let bytes = blobs(persisted, tier).into_iter().filter_map(read);
    bytes
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

fn blobs(persisted: &Path, tier: Tier) -> Vec<PathBuf> {
    files_below(&persisted.join(tier.dir()), &[])
        .into_iter()
        .filter(|file| file.components().any(|part| part.as_os_str() == "blobs"))
        .collect()
}
