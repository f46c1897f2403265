//! The README's commands, as they stand there.

use std::process::Command;

use licet_tests::{Stack, StackOptions};
use serde_json::Value;

/// The commands below each of these headings, one after the other.
fn script(headings: &[&str]) -> String {
    let readme = std::fs::read_to_string(xtask::paths::workspace().join("README.md")).unwrap();
    let block = |heading: &&str| {
        let (_, after) = readme.split_once(&format!("### {heading}")).unwrap();
        let (_, after) = after.split_once("```sh\n").unwrap();
        after.split_once("\n```").unwrap().0.to_owned()
    };
    let blocks: Vec<String> = headings.iter().map(block).collect();
    blocks.join("\n")
}

/// Runs a script with a stack's addresses and keys in place of those of `cargo xtask dev`. Its
/// lines are answers.
fn run(stack: &Stack, script: &str) -> Vec<Value> {
    assert!(script.contains("http://127.0.0.1:8600") && script.contains("http://127.0.0.1:8787"));
    let script = script
        .replace("http://127.0.0.1:8600", &stack.origin.url())
        .replace("http://127.0.0.1:8787", &stack.edge())
        .replace("$(cat .licet/platform-keys)", &stack.keys().platform_public);

    // As in a new shell, except that a failing command ends it.
    let output = Command::new("bash")
        .args(["-ec", &script])
        .current_dir(xtask::paths::workspace())
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && stderr.is_empty(),
        "{stderr}\n{stdout}"
    );
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_five_minute_path_works_as_pasted() {
    let stack = Stack::start(&StackOptions::default());
    let answers = run(&stack, &script(&["A business in five minutes"]));
    let [valid, features, revoked, refused] = answers.as_slice() else {
        panic!("four answers, not {answers:#?}");
    };
    assert_eq!(valid["code"], "VALID", "{valid}");
    assert_eq!(valid["features"]["projects.max"], 25, "{valid}");
    assert_eq!(features["features"]["export.pdf"], true, "{features}");
    assert_eq!(revoked["status"], "REVOKED", "{revoked}");
    assert_eq!(refused["code"], "REVOKED", "{refused}");
}

#[test]
fn a_floating_seat_works_as_pasted() {
    let stack = Stack::start(&StackOptions::default());
    let script = script(&["A business in five minutes", "A floating seat"]);
    let answers = run(&stack, &script);
    let [needed, valid, taken, listed, released, borrowed] = &answers[4..] else {
        panic!("six more answers, not {answers:#?}");
    };
    assert_eq!(needed["code"], "LEASE_REQUIRED", "{needed}");
    assert_eq!(valid["code"], "VALID", "{valid}");
    assert_eq!(valid["lease"]["borrowed"], false, "{valid}");
    assert_eq!(taken["code"], "SEAT_LIMIT", "{taken}");
    assert_eq!(listed["data"][0]["holder"], "ada@workstation", "{listed}");
    assert_eq!(released["code"], "VALID", "{released}");
    assert_eq!(borrowed["lease"]["borrowed"], true, "{borrowed}");
}

#[test]
fn a_machine_without_a_network_works_as_pasted() {
    let stack = Stack::start(&StackOptions::default());
    let script = script(&["A business in five minutes", "A machine without a network"]);
    let answers = run(&stack, &script);
    let codes: Vec<&str> = answers
        .iter()
        .skip(4)
        .map(|answer| answer["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        ["VALID", "FINGERPRINT_MISMATCH", "CLOCK_MOVED_BACK", "VALID"]
    );
}
