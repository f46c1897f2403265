//! Figures for people: on the terminal and in `docs/BENCHMARKS.md`.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths;
use crate::step::run_text;

/// Median, lowest and highest.
pub(super) struct Spread {
    pub(super) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// As in `0.62 [0.60–0.65]`, with so many digits.
    pub(super) fn show(&self, digits: usize) -> String {
        format!(
            "{:.digits$} [{:.digits$}–{:.digits$}]",
            self.median, self.low, self.high
        )
    }

    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            low: at(0),
            high: at(values.len().saturating_sub(1)),
        }
    }
}

/// Prints a section and writes it to `docs/BENCHMARKS.md`.
pub(super) fn write_section(section: &str, text: &str) -> Result<()> {
    println!("\n{text}");
    let file = paths::workspace().join("docs/BENCHMARKS.md");
    let old = fs::read_to_string(&file).context("docs/BENCHMARKS.md is missing")?;
    fs::write(&file, replace_section(&old, section, text)?)?;
    println!("written to docs/BENCHMARKS.md");
    Ok(())
}

/// Replaces what stands between the two markers of a section.
fn replace_section(old: &str, section: &str, text: &str) -> Result<String> {
    let (begin, end) = (
        format!("<!-- begin {section} -->"),
        format!("<!-- end {section} -->"),
    );
    let (head, rest) = old
        .split_once(&begin)
        .with_context(|| format!("no line {begin}"))?;
    let (_, tail) = rest
        .split_once(&end)
        .with_context(|| format!("no line {end}"))?;
    Ok(format!("{head}{begin}\n{}\n{end}{tail}", text.trim()))
}

/// Head of the table of goals.
pub(super) const GOALS_HEAD: &str =
    "| load | compared with | in | goal | measured | met |\n|---|---|---|---|---|---|\n";

/// One line of the table of goals.
pub(super) fn line(text: &mut String, what: [&str; 3], goal: &str, measured: &str, met: bool) {
    let [load, peer, figure] = what;
    let met = if met { "yes" } else { "**no**" };
    writeln!(
        text,
        "| {load} | {peer} | {figure} | {goal} | {measured} | {met} |"
    )
    .ok();
}

/// When, of what and on what it was measured.
pub(super) fn machine() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let date = run_text(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let commit = run_text(
        Command::new("git")
            .args(["rev-parse", "--short", "HEAD"])
            .current_dir(paths::workspace()),
    )
    .unwrap_or_else(|_| "no commit".into());
    Ok(format!(
        "Measured {date} at {commit} on {cores} cores of {model}"
    ))
}

#[cfg(test)]
mod tests {
    use super::replace_section;

    #[test]
    fn only_the_named_section_is_replaced() {
        let old = "a\n<!-- begin edge -->\nold\n<!-- end edge -->\nb\n";
        let new = replace_section(old, "edge", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- begin edge -->\nnew\n<!-- end edge -->\nb\n");
        assert!(replace_section("a", "edge", "new").is_err());
    }
}
