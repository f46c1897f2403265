//! The origin can't be reached: what goes on, what does not, and that answers say so.

use std::time::Duration;

use licet_tests::device::code;
use licet_tests::persisted::{Tier, wipe};
use licet_tests::signal::Stopped;
use licet_tests::wait::SOON;
use licet_tests::{Activation, Stack, StackOptions, eventually};
use serde_json::{Value, json};

const TTL_S: u32 = 2;

fn stack() -> Stack {
    Stack::start(&StackOptions {
        status_ttl_s: TTL_S,
        ..StackOptions::default()
    })
}

/// Waits until the status list at the edge is no longer fresh, and gives the degraded yes.
#[track_caller]
fn degraded(activation: &Activation) -> Value {
    eventually("degraded, but yes", SOON, || {
        let verdict = activation.validate();
        assert_eq!(verdict["code"], "VALID", "{verdict}");
        if verdict["freshness"]["degraded"] == "origin_unreachable" {
            Ok(verdict)
        } else {
            Err(verdict.to_string())
        }
    })
}

/// Waits until verdicts are as they should be again.
#[track_caller]
pub(crate) fn recovered(activation: &Activation) {
    eventually("no longer degraded", SOON, || {
        let verdict = activation.validate();
        assert_eq!(verdict["code"], "VALID", "{verdict}");
        let freshness = &verdict["freshness"];
        if freshness["degraded"].is_null() && freshness["grace_remaining_s"].is_null() {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
}

#[test]
fn an_edge_that_has_seen_the_documents_goes_on_without_the_origin_and_says_so() {
    let mut stack = stack();
    let license = stack.license("outage", 3);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    stack.origin.stop().unwrap();

    let verdict = degraded(&activation);
    let grace = verdict["freshness"]["grace_remaining_s"].as_i64().unwrap();
    assert!(grace > 86_400, "a week of grace by policy: {verdict}");
    assert!(verdict["features"].is_object(), "{verdict}");
    let features = activation.features().send().verdict();
    assert_eq!(features["code"], "VALID", "{features}");
    assert_eq!(features["features"], verdict["features"]);

    // Refusals are as good as ever.
    assert_eq!(
        code(&activation.validate_with(&json!({"product": "other"}))),
        "PRODUCT_MISMATCH"
    );

    // What can't be had fresher is not passed off as fresh.
    for max in [0, 1] {
        let stale = activation.validate_with(&json!({"max_staleness_s": max}));
        assert_eq!(stale["code"], "STALE", "{stale}");
        assert!(stale.get("features").is_none(), "{stale}");
    }
    let patient = activation.validate_with(&json!({"max_staleness_s": 3600}));
    assert_eq!(patient["code"], "VALID", "{patient}");

    // A new isolate of the same data centre: its cache still has the documents.
    stack.worker().restart().unwrap();
    let verdict = degraded(&activation);
    assert!(
        ["cache", "kv"].contains(&verdict["freshness"]["source"].as_str().unwrap()),
        "{verdict}"
    );

    // Another data centre, which has never heard of the organization: KV.
    stack.worker().stop().unwrap();
    wipe(&stack.persisted(), Tier::Cache);
    stack.worker().restart().unwrap();
    let verdict = degraded(&activation);
    assert_eq!(verdict["freshness"]["source"], "kv", "{verdict}");
    assert_eq!(
        code(&activation.validate_with(&json!({"max_staleness_s": 0}))),
        "STALE"
    );

    stack.origin.restart().unwrap();
    recovered(&activation);
    assert_eq!(
        code(&activation.validate_with(&json!({"max_staleness_s": 0}))),
        "VALID"
    );
}

#[test]
fn writes_are_problems_with_retry_after_while_the_origin_is_away_and_work_when_it_is_back() {
    let mut stack = stack();
    let license = stack.license("outage", 3);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    stack.origin.stop().unwrap();

    let newcomer = stack.device(&license, "newcomer");
    let answers = [
        newcomer.activate(),
        activation.refresh().send(),
        activation.deactivate().send(),
    ];
    for answer in &answers {
        answer.problem(503, "ORIGIN_UNREACHABLE");
        let after = answer.header("retry-after").unwrap_or_default();
        assert!(
            after.parse::<u32>().is_ok_and(|s| (1..=300).contains(&s)),
            "{answer:?}"
        );
    }
    // What nobody could do has not been done.
    assert_eq!(code(&activation.validate()), "VALID");

    stack.origin.restart().unwrap();
    let admitted = eventually("activation works again", SOON, || {
        let answer = newcomer.activate();
        if answer.status == 200 {
            Ok(newcomer.activation_in(&answer))
        } else {
            Err(format!("{answer:?}"))
        }
    });
    assert_eq!(admitted.code(), "VALID");
    assert_eq!(stack.seats_taken(&license), 2);
    assert_eq!(code(&activation.refresh().send().verdict()), "VALID");
    assert_eq!(code(&activation.deactivate().send().verdict()), "VALID");
}

#[test]
fn an_edge_that_knows_nothing_refuses_while_the_origin_is_away() {
    let mut stack = stack();
    let license = stack.license("outage", 3);
    let activation = stack.device(&license, "laptop").activated();
    stack.worker().stop().unwrap();
    for tier in [Tier::Cache, Tier::Kv] {
        wipe(&stack.persisted(), tier);
    }
    stack.origin.stop().unwrap();
    stack.worker().restart().unwrap();
    for _ in 0..3 {
        let answer = activation.ask(&json!({}));
        match answer.status {
            200 => assert_eq!(answer.verdict()["valid"], false, "{answer:?}"),
            _ => drop(answer.problem(503, "ORIGIN_UNREACHABLE")),
        }
    }
    stack.origin.restart().unwrap();
    recovered_from_nothing(&activation);
}

#[track_caller]
pub(crate) fn recovered_from_nothing(activation: &Activation) {
    eventually("the edge learns", SOON, || {
        let answer = activation.ask(&json!({}));
        if answer.status == 200 && answer.json()["code"] == "VALID" {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
}

#[test]
fn an_origin_that_hangs_is_as_good_as_none() {
    let stack = Stack::start(&StackOptions {
        status_ttl_s: TTL_S,
        worker_vars: vec![("ORIGIN_TIMEOUT_MS".to_owned(), "500".to_owned())],
        ..StackOptions::default()
    });
    let license = stack.license("outage", 3);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    let origin = Stopped::process(stack.origin.id().unwrap());
    let verdict = degraded(&activation);
    assert!(verdict["features"].is_object(), "{verdict}");
    assert_eq!(
        code(&activation.validate_with(&json!({"max_staleness_s": 0}))),
        "STALE"
    );
    let answer = stack.device(&license, "newcomer").activate();
    answer.problem(503, "ORIGIN_UNREACHABLE");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    drop(origin);
    recovered(&activation);
}

const GRACE_S: i64 = 20;

#[test]
fn a_token_past_its_end_counts_within_its_grace_only_while_the_origin_is_away() {
    let mut stack = stack();
    let license = stack.license("outage", 3);
    // No policy may ask for so short a life; the test can't wait longer.
    stack.superuser().rows(&format!(
        "ALTER TABLE licet.policies DROP CONSTRAINT policies_token_lifetime_range; \
         UPDATE licet.policies SET token_lifetime_s = 6, grace_s = {GRACE_S}"
    ));
    let activation = stack.device(&license, "laptop").activated();
    let verdict = activation.validate();
    assert_eq!(verdict["code"], "VALID", "{verdict}");
    let end: licet_shared::time::Timestamp = verdict["token"]["expires_at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(end <= licet_tests::now().plus(6), "{verdict}");

    sleep_until(end);
    assert_eq!(activation.code(), "TOKEN_EXPIRED");
    stack.origin.stop().unwrap();
    // While its list is fresh the edge has no reason to look for the origin.
    eventually("honoured within its grace", SOON, || {
        let verdict = activation.validate();
        let grace = verdict["freshness"]["grace_remaining_s"]
            .as_i64()
            .unwrap_or_default();
        if verdict["code"] == "VALID" && (1..=GRACE_S).contains(&grace) {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
    stack.origin.restart().unwrap();
    eventually("expired again, once the origin can be asked", SOON, || {
        let verdict = activation.validate();
        if verdict["code"] == "TOKEN_EXPIRED" {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
    assert_eq!(code(&activation.refresh().send().verdict()), "VALID");

    stack.origin.stop().unwrap();
    sleep_until(end.plus(GRACE_S));
    eventually("after its grace there is no more yes", SOON, || {
        let verdict = activation.validate();
        if verdict["code"] == "TOKEN_EXPIRED" {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
}

fn sleep_until(time: licet_shared::time::Timestamp) {
    while licet_tests::now() < time {
        std::thread::sleep(Duration::from_millis(50));
    }
}
