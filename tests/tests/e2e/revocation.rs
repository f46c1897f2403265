//! How fast a revocation is known, and that it is never forgotten.

use std::time::{Duration, Instant};

use licet_tests::device::code;
use licet_tests::persisted::{Tier, wipe};
use licet_tests::{Activation, License, Stack, StackOptions};
use serde_json::{Value, json};

const TTL_S: u32 = 3;

fn stack() -> Stack {
    Stack::start(&StackOptions {
        status_ttl_s: TTL_S,
        ..StackOptions::default()
    })
}

/// Asks again and again until the code is `wanted`. Each request sent later than a ttl after
/// `changed` must be told so; a second is for times that count in whole seconds.
#[track_caller]
fn expect_within_ttl(activation: &Activation, changed: Instant, wanted: &str) -> Value {
    let bound = Duration::from_secs(u64::from(TTL_S) + 1);
    loop {
        let asked = changed.elapsed();
        let verdict = activation.validate();
        if verdict["code"] == wanted {
            return verdict;
        }
        assert!(
            asked <= bound,
            "asked {asked:?} after it was {wanted}, got {verdict}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What is told while nobody can say better: the revocation.
#[track_caller]
fn expect_revoked(activation: &Activation, when: &str) {
    for more in [
        json!({}),
        json!({"max_staleness_s": 0}),
        json!({"product": "other"}),
    ] {
        let verdict = activation.validate_with(&more);
        assert_eq!(
            verdict["code"], "REVOKED",
            "{when}, asked with {more}: {verdict}"
        );
    }
    let features = activation.features().send().verdict();
    assert_eq!(code(&features), "REVOKED", "{when}: {features}");
}

#[test]
fn a_revocation_is_known_within_the_ttl_and_outlasts_origin_isolate_and_cache() {
    let mut stack = stack();
    let license = stack.license("revocation", 2);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");

    stack.license_command("revoke", &license);
    let revoked = Instant::now();
    let verdict = expect_within_ttl(&activation, revoked, "REVOKED");
    assert_eq!(verdict["valid"], false);
    assert!(verdict.get("features").is_none(), "{verdict}");

    stack.origin.stop().unwrap();
    expect_revoked(&activation, "origin stopped");
    std::thread::sleep(Duration::from_secs(u64::from(TTL_S) + 1));
    expect_revoked(&activation, "origin stopped, the list no longer fresh");
    stack.worker().restart().unwrap();
    expect_revoked(&activation, "new isolate");
    stack.worker().stop().unwrap();
    wipe(&stack.persisted(), Tier::Cache);
    stack.worker().restart().unwrap();
    expect_revoked(&activation, "new isolate with nothing but KV");

    stack.origin.restart().unwrap();
    expect_revoked(&activation, "origin back");
}

#[test]
fn what_was_given_back_is_so_at_once_whatever_becomes_of_the_origin() {
    let mut stack = stack();
    let license = stack.license("revocation", 2);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    let answer = activation.deactivate().send().verdict();
    assert_eq!(code(&answer), "VALID", "{answer}");
    stack.origin.stop().unwrap();
    for _ in 0..5 {
        let verdict = activation.validate();
        assert_eq!(verdict["code"], "DEACTIVATED", "{verdict}");
        assert_eq!(code(&activation.features().send().verdict()), "DEACTIVATED");
        std::thread::sleep(Duration::from_millis(500));
    }
    stack.origin.restart().unwrap();
    assert_eq!(activation.code(), "DEACTIVATED");
    assert_eq!(
        stack.device(&license, "laptop").activated().code(),
        "VALID",
        "activated anew"
    );
}

#[test]
fn a_suspension_and_its_end_are_known_within_the_ttl() {
    let stack = stack();
    let license = stack.license("revocation", 2);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    for (verb, wanted) in [
        ("suspend", "SUSPENDED"),
        ("reinstate", "VALID"),
        ("suspend", "SUSPENDED"),
    ] {
        stack.license_command(verb, &license);
        expect_within_ttl(&activation, Instant::now(), wanted);
    }
}

#[test]
fn who_demands_no_staleness_is_told_of_a_revocation_at_once() {
    // The shared stack's ttl is long: it is the demand that makes the difference.
    let stack = Stack::shared();
    let license = stack.license("revocation", 2);
    let activation = stack.device(&license, "laptop").activated();
    let bystander = stack
        .device(&stack.license("revocation", 1), "laptop")
        .activated();
    let now = json!({"max_staleness_s": 0});
    for _ in 0..3 {
        assert_eq!(code(&activation.validate_with(&now)), "VALID");
    }
    stack.license_command("revoke", &license);
    assert_eq!(code(&activation.validate_with(&now)), "REVOKED");
    // The same isolate now knows, whoever asks.
    assert_eq!(activation.code(), "REVOKED");
    assert_eq!(bystander.code(), "VALID");
}

#[test]
fn a_verdict_names_the_time_of_its_evidence_and_keeps_to_the_staleness_demanded() {
    let stack = stack();
    let license: License = stack.license("revocation", 2);
    let activation = stack.device(&license, "laptop").activated();
    for max in [0_i64, 1, 2, 30] {
        for _ in 0..4 {
            let before = licet_tests::now().unix();
            let verdict = activation.validate_with(&json!({"max_staleness_s": max}));
            assert_eq!(verdict["code"], "VALID", "{verdict}");
            let freshness = &verdict["freshness"];
            let as_of: licet_shared::time::Timestamp =
                freshness["as_of"].as_str().unwrap().parse().unwrap();
            // A second each for the call and for counting in whole seconds.
            assert!(
                before - as_of.unix() <= max.min(i64::from(TTL_S)) + 2,
                "{max}: {verdict}"
            );
            assert!(freshness["age_s"].as_i64().unwrap() >= 0, "{verdict}");
            let sources = ["memory", "cache", "kv", "origin"];
            assert!(
                sources.contains(&freshness["source"].as_str().unwrap()),
                "{verdict}"
            );
            std::thread::sleep(Duration::from_millis(400));
        }
    }
}

/// Asks until the code is `wanted`, for longer than the feed takes and less than the lists' `ttl`.
#[track_caller]
fn expect_by_the_feed(activation: &Activation, wanted: &str) -> Value {
    for _ in 0..600 {
        let verdict = activation.validate();
        if verdict["code"] == wanted {
            return verdict;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("never {wanted}: {}", activation.validate());
}

#[test]
fn the_feed_brings_what_changed_long_before_a_list_is_old() {
    let stack = Stack::start(&StackOptions {
        status_ttl_s: 3600,
        ..StackOptions::default()
    });
    let (one, other) = (stack.license("feed-one", 2), stack.license("feed-two", 2));
    let (one_device, other_device) = (
        stack.device(&one, "laptop").activated(),
        stack.device(&other, "laptop").activated(),
    );
    for device in [&one_device, &other_device] {
        assert_eq!(device.code(), "VALID");
    }
    stack.license_command("suspend", &one);
    expect_by_the_feed(&one_device, "SUSPENDED");
    stack.license_command("reinstate", &one);
    expect_by_the_feed(&one_device, "VALID");
    stack.license_command("revoke", &other);
    expect_by_the_feed(&other_device, "REVOKED");
    assert_eq!(one_device.code(), "VALID");
}
