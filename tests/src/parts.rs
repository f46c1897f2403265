//! The built parts that the tests run against, as `cargo xtask test` hands them over.

use std::io::Write;
use std::sync::Once;

/// Ends the test program with one sentence unless it was started by `cargo xtask test`,
/// which builds the parts first: tests of a stale build would be worth nothing.
pub fn require() {
    static CHECK: Once = Once::new();
    CHECK.call_once(|| {
        let handed_over = ["LICET_EDGE_BUILD", "LICET_ORIGIN_BIN"]
            .iter()
            .all(|name| std::env::var_os(name).is_some());
        if !handed_over {
            // Not `eprintln!`, which would be captured; not `panic!`, which would say it per test.
            let sentence =
                "licet-tests needs the built Worker and origin: run `cargo xtask test`.\n";
            std::io::stderr().write_all(sentence.as_bytes()).ok();
            std::process::exit(2);
        }
    });
}
