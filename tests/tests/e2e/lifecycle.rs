//! From activation to giving it back, through the edge.

use licet_tests::device::code;
use licet_tests::wait::SOON;
use licet_tests::{Request, Stack, eventually};
use serde_json::json;

#[test]
fn an_installation_is_activated_validated_refreshed_and_given_back() {
    let stack = Stack::shared();
    let license = stack.license("lifecycle", 2);
    let activation = stack.device(&license, "laptop").activated();

    let verdict = activation.validate();
    assert_eq!(verdict["code"], "VALID", "{verdict}");
    assert_eq!(verdict["license"]["id"], license.id.to_string());
    assert_eq!(verdict["activation_id"], activation.id);
    let products = verdict["license"]["products"].as_array().unwrap();
    assert!(products.contains(&json!(license.product)), "{verdict}");
    assert!(verdict["features"].is_object(), "{verdict}");
    assert_eq!(verdict["feature_set"]["revision"], 1, "{verdict}");
    assert_eq!(verdict["freshness"]["degraded"], json!(null), "{verdict}");

    let refreshed = activation.refresh().send().verdict();
    assert_eq!(refreshed["code"], "VALID", "{refreshed}");
    assert_eq!(refreshed["activation_id"], activation.id);
    let newer = activation.with_token(refreshed["license_token"].as_str().unwrap());
    assert_ne!(newer.token, activation.token);
    assert_eq!(newer.code(), "VALID");
    assert_eq!(stack.seats_taken(&license), 1);

    let given_back = newer.deactivate().send().verdict();
    assert_eq!(given_back["code"], "VALID", "{given_back}");
    assert_eq!(stack.seats_taken(&license), 0);
    // Both tokens are of the one activation, and this isolate has seen it given back.
    assert_eq!(newer.code(), "DEACTIVATED");
    assert_eq!(activation.code(), "DEACTIVATED");
    assert_eq!(code(&newer.refresh().send().verdict()), "DEACTIVATED");
}

#[test]
fn every_tier_comes_to_know_that_an_activation_was_given_back() {
    // Another data centre knows only what the origin publishes.
    let stack = Stack::shared();
    let license = stack.license("lifecycle", 1);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    let given_back = stack.caller().post(
        "/edge/v1/activations/deactivate",
        &json!({"token": activation.token}),
    );
    assert_eq!(code(&given_back.send().verdict()), "VALID");
    assert_eq!(
        code(&activation.validate_with(&json!({"max_staleness_s": 0}))),
        "DEACTIVATED"
    );
    eventually("the verdict without a demand follows", SOON, || {
        let code = activation.code();
        if code == "DEACTIVATED" {
            Ok(())
        } else {
            Err(code)
        }
    });
}

#[test]
fn the_same_device_again_gets_the_same_activation_and_takes_no_seat() {
    let stack = Stack::shared();
    let license = stack.license("lifecycle", 1);
    let device = stack.device(&license, "desktop");
    let first = device.activated();
    let second = device.activated();
    assert_eq!(first.id, second.id);
    assert_eq!(stack.seats_taken(&license), 1);
    assert_eq!(first.code(), "VALID");
    assert_eq!(second.code(), "VALID");
}

#[test]
fn a_device_beyond_the_limit_is_refused_until_a_seat_is_given_back() {
    let stack = Stack::shared();
    let license = stack.license("lifecycle", 2);
    let first = stack.device(&license, "one").activated();
    stack.device(&license, "two").activated();
    let third = stack.device(&license, "three");
    let refused = third.activate().verdict();
    assert_eq!(refused["code"], "ACTIVATION_LIMIT", "{refused}");
    assert!(refused.get("license_token").is_none(), "{refused}");
    assert_eq!(stack.seats_taken(&license), 2);

    assert_eq!(code(&first.deactivate().send().verdict()), "VALID");
    assert_eq!(third.activated().code(), "VALID");
    // The seat is another's now.
    assert_eq!(
        stack.device(&license, "one").activation_code(),
        "ACTIVATION_LIMIT"
    );
}

#[test]
fn a_device_that_comes_back_gets_a_new_activation_and_its_old_token_stays_refused() {
    let stack = Stack::shared();
    let license = stack.license("lifecycle", 1);
    let device = stack.device(&license, "boomerang");
    let old = device.activated();
    assert_eq!(code(&old.deactivate().send().verdict()), "VALID");
    let new = device.activated();
    assert_ne!(old.id, new.id);
    assert_eq!(new.code(), "VALID");
    assert_eq!(old.code(), "DEACTIVATED");
    assert_eq!(stack.seats_taken(&license), 1);
}

#[test]
fn giving_back_twice_frees_one_seat() {
    let stack = Stack::shared();
    let license = stack.license("lifecycle", 2);
    let first = stack.device(&license, "one").activated();
    let second = stack.device(&license, "two").activated();
    assert_eq!(code(&first.deactivate().send().verdict()), "VALID");
    let again = first.deactivate().send().verdict();
    assert!(
        ["VALID", "DEACTIVATED"].contains(&code(&again).as_str()),
        "{again}"
    );
    assert_eq!(stack.seats_taken(&license), 1);
    assert_eq!(second.code(), "VALID");
}

#[test]
fn features_have_an_etag_and_are_not_sent_again_when_unchanged() {
    let stack = Stack::shared();
    let license = stack.license("lifecycle", 1);
    let activation = stack.device(&license, "laptop").activated();
    let answer = activation.features().send();
    let features = answer.verdict();
    assert_eq!(features["code"], "VALID", "{features}");
    assert_eq!(features["features"], activation.validate()["features"]);
    let etag = answer.header("etag").expect("an ETag").to_owned();
    assert!(etag.trim_start_matches("W/").starts_with('"'), "{etag}");

    let unchanged = activation
        .features()
        .header("If-None-Match", &etag)
        .send()
        .expect(304);
    assert!(unchanged.body.is_empty());
    assert_eq!(unchanged.header("etag"), Some(etag.as_str()));
    activation
        .features()
        .header("If-None-Match", "\"other\"")
        .send()
        .expect(200);

    // A tag once given is no pass: the token is judged first.
    assert_eq!(code(&activation.deactivate().send().verdict()), "VALID");
    let refused = activation
        .features()
        .header("If-None-Match", &etag)
        .send()
        .verdict();
    assert_eq!(refused["code"], "DEACTIVATED", "{refused}");
    assert!(refused.get("features").is_none(), "{refused}");
}

#[test]
fn a_second_activation_does_not_wait_for_the_list_to_be_renewed() {
    // Its entry may be younger than the list that the edge holds.
    let stack = Stack::shared();
    let license = stack.license("lifecycle", 40);
    assert_eq!(
        stack
            .device(&license, "warms the edge up")
            .activated()
            .code(),
        "VALID"
    );
    for i in 0..8 {
        let activation = stack.device(&license, &format!("device {i}")).activated();
        assert_eq!(activation.code(), "VALID", "device {i}");
    }
}

#[test]
fn a_question_is_answered_in_the_design_s_order_of_codes() {
    let stack = Stack::shared();
    let license = stack.license("lifecycle", 1);
    let activation = stack.device(&license, "laptop").activated();
    let cases = [
        (json!({"product": "other"}), "PRODUCT_MISMATCH"),
        (json!({"org": "ZZZZZZZZ"}), "PRODUCT_MISMATCH"),
        (json!({"fingerprint": null}), "FINGERPRINT_REQUIRED"),
        (
            json!({"fingerprint": "another laptop"}),
            "FINGERPRINT_MISMATCH",
        ),
        (json!({"require": ["no.such.feature"]}), "FEATURE_MISSING"),
        (
            json!({"product": "other", "fingerprint": null, "require": ["none"]}),
            "PRODUCT_MISMATCH",
        ),
        (
            json!({"fingerprint": "other", "require": ["none"]}),
            "FINGERPRINT_MISMATCH",
        ),
        (json!({"require": [], "max_staleness_s": 3600}), "VALID"),
        (json!({"org": license.org.tag}), "VALID"),
    ];
    for (more, expected) in cases {
        let verdict = activation.validate_with(&more);
        assert_eq!(verdict["code"], expected, "{more} → {verdict}");
        assert_eq!(
            verdict.get("features").is_some(),
            expected == "VALID",
            "{verdict}"
        );
    }
    let granted = activation.validate()["features"]
        .as_object()
        .unwrap()
        .clone();
    let (name, _) = granted
        .iter()
        .find(|(_, value)| **value == json!(true))
        .expect("a switch");
    assert_eq!(
        code(&activation.validate_with(&json!({"require": [name]}))),
        "VALID"
    );
}

#[test]
fn a_retry_with_its_idempotency_key_does_not_act_twice() {
    let stack = Stack::shared();
    let license = stack.license("lifecycle", 5);
    let device = stack.device(&license, "retrying");
    let keyed = |request: Request| {
        request
            .header("Idempotency-Key", "lifecycle-retry-1")
            .send()
    };
    let first = device.activation_in(&keyed(device.request()));
    let again = device.activation_in(&keyed(device.request()));
    assert_eq!(first.id, again.id);
    assert_eq!(again.code(), "VALID");

    // Another request under the same name is a mistake of the caller's, whatever it asks.
    let other = stack.device(&license, "another device");
    keyed(other.request()).problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(stack.seats_taken(&license), 1);

    // The replay tells what became of the first request, not of the world since.
    assert_eq!(code(&first.deactivate().send().verdict()), "VALID");
    let replayed = keyed(device.request()).verdict();
    assert_eq!(stack.seats_taken(&license), 0, "{replayed}");
}
