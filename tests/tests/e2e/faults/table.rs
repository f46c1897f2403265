//! `docs/FAULTS.md` and the tests say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use licet_tests::logs::files_below;

/// A fault's row.
struct Row {
    number: usize,
    tests: Vec<String>,
}

fn table() -> Vec<Row> {
    let file = xtask::paths::workspace().join("docs/FAULTS.md");
    let text = fs::read_to_string(file).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, fault, must, tests] = cells.as_slice() else {
            return None;
        };
        let number = number.parse().ok()?;
        assert!(!fault.is_empty() && !must.is_empty(), "{line}");
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned);
        Some(Row {
            number,
            tests: tests.collect(),
        })
    };
    text.lines().filter_map(row).collect()
}

/// The names of the tests in a file, if there is one.
fn tests_in(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let is_test = matches!(*line, "#[test]" | "#[tokio::test]" | "#[wasm_bindgen_test]");
        if !is_test {
            continue;
        }
        let name = lines[at..].iter().find_map(|line| {
            let (_, name) = line.split_once("fn ")?;
            name.split_once('(')
        });
        found.insert(name.expect("a function after #[test]").0.to_owned());
    }
    found
}

/// Where the tests of `faults::clocks` or `origin::feed` stand. Those of the edge and of `shared`
/// may stand in the module itself.
fn file_of(module: &str) -> PathBuf {
    let root = xtask::paths::workspace();
    let (base, path) = match module.split_once("::") {
        Some(("origin", path)) => ("origin/tests/it", path),
        Some(("edge", path)) => ("edge/src", path),
        _ => ("tests/tests/e2e", module),
    };
    root.join(base)
        .join(format!("{}.rs", path.replace("::", "/")))
}

#[test]
fn there_are_32_faults_or_more_and_each_has_a_test_that_is_there() {
    let rows = table();
    assert!(rows.len() >= 32, "{} faults", rows.len());
    let mut known = BTreeMap::<PathBuf, BTreeSet<String>>::new();
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row.number, at + 1, "numbers go without gaps");
        assert!(!row.tests.is_empty(), "fault {} has no test", row.number);
        for test in &row.tests {
            let (module, name) = test.rsplit_once("::").expect("module::test");
            let file = file_of(module);
            let tests = known.entry(file.clone()).or_insert_with(|| tests_in(&file));
            assert!(tests.contains(name), "no {name} in {}", file.display());
        }
    }
}

#[test]
fn every_test_of_a_fault_is_in_the_table() {
    let named: BTreeSet<String> = table().into_iter().flat_map(|row| row.tests).collect();
    let folder = xtask::paths::workspace().join("tests/tests/e2e/faults");
    for file in files_below(&folder, &["table.rs", "mod.rs"]) {
        let module = file.file_stem().unwrap().to_str().unwrap();
        for test in tests_in(&file) {
            let full = format!("faults::{module}::{test}");
            assert!(named.contains(&full), "docs/FAULTS.md lacks {full}");
        }
    }
}
