//! What `cargo xtask COMMAND` does, one command per file.

pub mod build;
pub mod dev;
pub mod lint;
pub mod postgres;
pub mod test;

use anyhow::Result;

use crate::interrupt;

/// Waits until Ctrl-C or SIGTERM, or until `look` reports that something ended.
fn until_interrupted(mut look: impl FnMut() -> Option<String>) -> Result<()> {
    while !interrupt::requested() {
        if let Some(obituary) = look() {
            anyhow::bail!("{obituary}");
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(())
}
