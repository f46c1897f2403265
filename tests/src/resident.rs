//! How much memory processes take. Only where there is `/proc`.

use std::fs;

use xtask::process::children;

/// Resident memory in KiB of a process, and of those that it has started, with this name; none when
/// there is no such.
pub fn resident_kib(pid: u32, name: &str) -> Option<u64> {
    let own = status(pid)
        .filter(|(its, _)| its == name)
        .map(|(_, kib)| kib);
    let others = children(pid)
        .into_iter()
        .filter_map(|child| resident_kib(child, name));
    own.into_iter().chain(others).reduce(|sum, kib| sum + kib)
}

/// Name and resident memory of a process.
fn status(pid: u32) -> Option<(String, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let kib = field("VmRSS:")?.trim().trim_end_matches("kB").trim();
    Some((field("Name:")?.trim().to_owned(), kib.parse().ok()?))
}
