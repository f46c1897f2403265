//! Shows how rebuilding the edge goes: wrangler writes it into its log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

const BUILD: &str = "[custom build] ";

/// Reads what is added to wrangler's log.
pub(super) struct Follow {
    log: PathBuf,
    position: u64,
    unfinished: String,
}

impl Follow {
    /// Leaves out what is in it already.
    pub(super) fn from_end(log: PathBuf) -> Self {
        let position = std::fs::metadata(&log).map_or(0, |meta| meta.len());
        Self {
            log,
            position,
            unfinished: String::new(),
        }
    }

    /// Prints the lines about builds that came since the last call.
    pub(super) fn print_builds(&mut self) {
        let added = self.added().unwrap_or_default();
        self.unfinished.push_str(&String::from_utf8_lossy(&added));
        let Some(end) = self.unfinished.rfind('\n') else {
            return;
        };
        let rest = self.unfinished.split_off(end + 1);
        self.unfinished
            .lines()
            .filter_map(about_builds)
            .for_each(|line| println!("{line}"));
        self.unfinished = rest;
    }

    fn added(&mut self) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        self.position += file.read_to_end(&mut bytes)? as u64;
        Ok(bytes)
    }
}

fn about_builds(line: &str) -> Option<String> {
    if line.contains("changed, restarting build") {
        return Some(format!("\n{line}"));
    }
    if line.contains("Local server updated") {
        return Some("  ok  the edge runs what was built".to_owned());
    }
    let text = line.strip_prefix(BUILD)?;
    let noise = text.trim().is_empty() || text.starts_with("Running:");
    (!noise).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Follow;
    use std::io::Write;

    #[test]
    fn lines_are_taken_whole_and_once() -> anyhow::Result<()> {
        let log = std::env::temp_dir().join(format!("licet-follow-{}", std::process::id()));
        std::fs::write(&log, "old\n")?;
        let mut follow = Follow::from_end(log.clone());
        let mut file = std::fs::File::options().append(true).open(&log)?;
        file.write_all(b"[custom build] half")?;
        follow.print_builds();
        assert_eq!(follow.unfinished, "[custom build] half");
        file.write_all(b" a line\nnext")?;
        follow.print_builds();
        assert_eq!(follow.unfinished, "next");
        std::fs::remove_file(&log)?;
        Ok(())
    }
}
