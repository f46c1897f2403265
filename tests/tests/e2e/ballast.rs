//! Which requests carry ballast for V8 to count (`edge/src/ballast.js`).

use std::fs;

use licet_tests::scratch::Scratch;
use serde_json::Value;
use xtask::{paths, tools::Node};

#[test]
fn who_has_time_to_spare_carries_more_and_who_is_asked_seldom_none() {
    let scratch = Scratch::new();
    // By its name a module, wherever it lies.
    let module = scratch.path().join("ballast.mjs");
    fs::copy(paths::workspace().join("edge/src/ballast.js"), &module).unwrap();
    let script = paths::workspace().join("tests/workers/ballast.mjs");
    let output = Node::find()
        .unwrap()
        .run(&script)
        .arg(&module)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |how: &str| counts[how].as_u64().unwrap();
    assert_eq!(of("seldom"), 0, "{counts}");
    assert!((150..=210).contains(&of("often")), "{counts}");
    assert!((10..=30).contains(&of("crowded")), "{counts}");
    assert!(of("again").abs_diff(of("often")) < 20, "{counts}");
}
