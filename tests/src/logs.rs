//! Reading logs: the origin's JSON lines, and any file for what must not be in it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A log's lines as JSON. A line that is none fails the test: the origin logs nothing else.
#[track_caller]
pub fn json_lines(file: &Path) -> Vec<Value> {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let text = String::from_utf8(bytes).expect("a log in UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// Every file below a directory that is not one of `except` (by name).
pub fn files_below(dir: &Path, except: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if except.iter().any(|skipped| name == *skipped) {
            continue;
        }
        if path.is_dir() {
            found.extend(files_below(&path, except));
        } else {
            found.push(path);
        }
    }
    found
}

/// Fails the test when a file holds one of the secrets, each with the name it goes by in the message.
#[track_caller]
pub fn expect_without(file: &Path, secrets: &[(String, String)]) {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let text = String::from_utf8_lossy(&bytes);
    for (name, secret) in secrets {
        assert!(secret.len() >= 8, "{name} is too short to be looked for");
        if let Some(line) = text.lines().find(|line| line.contains(secret.as_str())) {
            panic!("{name} is in {}: {line}", file.display());
        }
    }
}
