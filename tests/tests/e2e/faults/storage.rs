//! What the edge has stored is gone. What somebody has written there instead: `tampering.rs`.

use licet_tests::persisted::{Tier, wipe};
use licet_tests::{Stack, StackOptions};
use serde_json::json;

#[test]
fn an_edge_that_has_lost_all_that_it_stored_learns_it_anew() {
    let mut stack = Stack::start(&StackOptions::default());
    let license = stack.license("wiped", 3);
    let activation = stack.device(&license, "laptop").activated();
    let revoked = stack.license("wiped-and-revoked", 3);
    let refused = stack.device(&revoked, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    stack.license_command("revoke", &revoked);
    let fresh = json!({"max_staleness_s": 0});
    assert_eq!(refused.validate_with(&fresh)["code"], "REVOKED");
    for tiers in [&[Tier::Kv][..], &[Tier::Cache], &[Tier::Kv, Tier::Cache]] {
        stack.worker().stop().unwrap();
        for tier in tiers {
            wipe(&stack.persisted(), *tier);
        }
        stack.worker().restart().unwrap();
        assert_eq!(activation.code(), "VALID", "{tiers:?}");
        assert_eq!(refused.code(), "REVOKED", "{tiers:?}");
        assert_eq!(activation.features().send().status, 200, "{tiers:?}");
    }
}
