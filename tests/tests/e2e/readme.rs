//! The README's commands, as they stand there.

use std::process::Command;

use licet_tests::{Stack, StackOptions};
use serde_json::Value;

#[test]
fn the_five_minute_path_works_as_pasted() {
    let stack = Stack::start(&StackOptions::default());
    let readme = std::fs::read_to_string(xtask::paths::workspace().join("README.md")).unwrap();
    let (_, after) = readme.split_once("### A business in five minutes").unwrap();
    let (_, after) = after.split_once("```sh\n").unwrap();
    let (script, _) = after.split_once("\n```").unwrap();
    assert!(script.contains("http://127.0.0.1:8600") && script.contains("http://127.0.0.1:8787"));
    let script = script
        .replace("http://127.0.0.1:8600", &stack.origin.url())
        .replace("http://127.0.0.1:8787", &stack.edge());

    // As in a new shell, except that a failing command ends it.
    let output = Command::new("bash")
        .args(["-ec", &script])
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
    let answers: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [valid, features, revoked, refused] = answers.as_slice() else {
        panic!("four answers, not {stdout}");
    };
    assert_eq!(valid["code"], "VALID", "{valid}");
    assert_eq!(valid["features"]["projects.max"], 25, "{valid}");
    assert_eq!(features["features"]["export.pdf"], true, "{features}");
    assert_eq!(revoked["status"], "REVOKED", "{revoked}");
    assert_eq!(refused["code"], "REVOKED", "{refused}");
}
