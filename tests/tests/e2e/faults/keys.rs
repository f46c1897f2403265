//! Keys that nobody knows. Those that change or are withdrawn: `keys.rs` and `renewal.rs`.

use std::time::Instant;

use licet_tests::{LoneEdge, Stack, StackOptions};
use serde_json::json;

use crate::documents::{installation, says_yes, stranger};

#[test]
fn a_kid_that_nobody_knows_is_refused_and_asked_about_now_and_then() {
    let edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 30);
    let good = installation(&edge, &org);
    assert!(says_yes(&good));
    edge.origin.take_received();
    let began = Instant::now();
    for number in 0..60 {
        let mut made_up = org.clone();
        made_up.key = stranger(&format!("{}.{}", org.tag, 2 + number));
        let verdict = installation(&edge, &made_up).validate();
        assert_eq!(verdict["code"], "UNKNOWN_KEY", "{verdict}");
    }
    let asked = edge.origin.take_received();
    let for_keys = asked.iter().filter(|one| one.target == org.path("keys"));
    let (asked, most) = (for_keys.count() as u64, 2 + began.elapsed().as_secs() / 5);
    assert!(asked >= 1, "never asked");
    assert!(asked <= most, "asked {asked} times");
    assert!(says_yes(&good), "the known key is as good as before");
}

/// The origin is gone in the middle of a rotation: the edge has not heard of the new key.
#[test]
fn a_key_that_came_up_while_the_origin_was_away_is_no_yes_until_it_is_back() {
    let mut stack = Stack::start(&StackOptions {
        status_ttl_s: 2,
        relay: true,
        ..StackOptions::default()
    });
    let license = stack.license("mid-flight", 9);
    let old = stack.device(&license, "laptop").activated();
    assert_eq!(old.code(), "VALID");
    // The edge can't reach the origin from here on; whoever activates elsewhere can.
    stack.relay().have(|_, _| licet_tests::relay::Deed::HangUp);
    let keys = |args: &[&str]| stack.operate(&[&["keys"], args, &["--org", "mid-flight"]].concat());
    let made = keys(&["create"]);
    stack
        .superuser()
        .rows("UPDATE licet.signing_keys SET created_at = created_at - interval '2 minutes'");
    keys(&["activate", made["id"].as_str().unwrap()]);
    let device = stack.device(&license, "phone");
    let body = device.body();
    let answer = stack.caller().post("/edge/v1/activations", &body).send();
    let new = device.activation_in(&answer);
    for restart in [false, true] {
        if restart {
            stack.worker().restart().unwrap();
        }
        assert_eq!(old.code(), "VALID", "new isolate: {restart}");
        let answer = new.ask(&json!({}));
        match answer.status {
            200 => assert_eq!(answer.verdict()["code"], "UNKNOWN_KEY", "{answer:?}"),
            _ => drop(answer.problem(503, "ORIGIN_UNREACHABLE")),
        }
    }
    stack.relay().be_honest();
    crate::outage::recovered_from_nothing(&new);
    assert_eq!(old.code(), "VALID");
}
