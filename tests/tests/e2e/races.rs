//! Many at once: seats are decided one at a time (SECURITY 24).

use std::collections::BTreeSet;

use licet_tests::device::code;
use licet_tests::edge_caller::Call;
use licet_tests::load::{race, while_running};
use licet_tests::{Answer, License, Stack};
use serde_json::json;

const ACTIVATIONS: &str = "/edge/v1/activations";

fn tally(codes: &[String], wanted: &str) -> usize {
    codes.iter().filter(|code| *code == wanted).count()
}

/// What must hold after a race of `devices` for `seats`, whatever the order.
fn expect_exactly(stack: &Stack, license: &License, seats: usize, answers: &[Answer]) {
    let verdicts: Vec<_> = answers.iter().map(Answer::verdict).collect();
    let codes: Vec<_> = verdicts.iter().map(code).collect();
    assert_eq!(tally(&codes, "VALID"), seats, "{codes:?}");
    assert_eq!(
        tally(&codes, "ACTIVATION_LIMIT"),
        answers.len() - seats,
        "{codes:?}"
    );
    let ids: BTreeSet<_> = verdicts
        .iter()
        .filter_map(|verdict| verdict["activation_id"].as_str())
        .collect();
    assert!(
        ids.len() >= seats,
        "two devices share an activation: {ids:?}"
    );
    assert_eq!(stack.seats_taken(license), i64::try_from(seats).unwrap());
}

#[test]
fn of_64_devices_racing_for_5_seats_exactly_5_win_in_20_rounds_at_the_origin() {
    let stack = Stack::shared();
    let pattern = stack.license("races", 5);
    let caller = stack.caller();
    for round in 0..20 {
        let license = stack.issue_like(&pattern, &["--max-activations", "5"]);
        let answers = race(64, |i| {
            let body = json!({
                "license_key": license.key, "product": license.product,
                "fingerprint": format!("round {round} device {i}"),
            });
            caller.post(ACTIVATIONS, &body).send()
        });
        expect_exactly(stack, &license, 5, &answers);
    }
}

#[test]
fn of_64_devices_racing_for_5_seats_exactly_5_win_through_the_edge() {
    let stack = Stack::shared();
    let pattern = stack.license("races", 5);
    for round in 0..4 {
        let license = stack.issue_like(&pattern, &["--max-activations", "5"]);
        let answers = race(64, |i| {
            stack
                .device(&license, &format!("round {round} device {i}"))
                .activate()
        });
        expect_exactly(stack, &license, 5, &answers);
    }
}

#[test]
fn one_device_racing_with_itself_takes_one_seat() {
    let stack = Stack::shared();
    let license = stack.license("races", 5);
    let device = stack.device(&license, "impatient");
    for _ in 0..5 {
        let ids: BTreeSet<_> = race(16, |_| device.activated().id).into_iter().collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert_eq!(stack.seats_taken(&license), 1);
    }
}

#[test]
fn requests_with_one_idempotency_key_act_once() {
    let stack = Stack::shared();
    let license = stack.license("races", 50);
    let caller = stack.caller();
    let body =
        json!({"license_key": license.key, "product": license.product, "fingerprint": "twin"});
    let call = Call::post(ACTIVATIONS, &body).idempotent("races-one-key");
    let answers = race(16, |_| caller.signed(&call).send());
    let ids: BTreeSet<_> = answers
        .iter()
        // Either the same answer, or the advice to wait for it.
        .filter(|answer| {
            answer.status != 409 || answer.problem(409, "IDEMPOTENCY_IN_FLIGHT").is_null()
        })
        .map(|answer| {
            answer.verdict()["activation_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(stack.seats_taken(&license), 1);
}

#[test]
fn devices_that_come_and_go_never_hold_more_seats_than_there_are() {
    let stack = Stack::shared();
    let license = stack.license("races", 5);
    let superuser = stack.superuser();
    let count = format!(
        "SELECT count(*) FROM licet.activations WHERE license_id = '{}' AND deactivated_at IS NULL",
        license.uuid()
    );
    let come_and_go = |i: usize, round: usize| {
        let device = stack.device(&license, &format!("commuter {i}"));
        let answer = device.activate();
        match code(&answer.verdict()).as_str() {
            "VALID" => {
                let activation = device.activation_in(&answer);
                let given_back = activation.deactivate().send().verdict();
                assert_eq!(code(&given_back), "VALID", "commuter {i}, round {round}");
                true
            }
            "ACTIVATION_LIMIT" => false,
            other => panic!("commuter {i}, round {round}: {other}"),
        }
    };
    let (gathered, counts) = while_running(12, come_and_go, || {
        (0..60)
            .map(|_| superuser.number(&count))
            .collect::<Vec<_>>()
    });
    assert!(
        counts.iter().all(|taken| (0..=5).contains(taken)),
        "{counts:?}"
    );
    assert!(gathered.iter().flatten().any(|got_in| *got_in));
    assert_eq!(superuser.number(&count), 0);
    // All five are to be had again.
    for i in 0..5 {
        stack.device(&license, &format!("settler {i}")).activated();
    }
    assert_eq!(
        stack.device(&license, "late").activation_code(),
        "ACTIVATION_LIMIT"
    );
}

#[test]
fn status_indexes_are_never_given_twice() {
    let stack = Stack::shared();
    let license = stack.license("races-indexes", 1000);
    race(32, |i| {
        for round in 0..3 {
            let activation = stack.device(&license, &format!("{i}")).activated();
            if (i + round) % 2 == 0 {
                activation.deactivate().send().verdict();
            }
        }
    });
    let doubles = stack.superuser().number(&format!(
        "SELECT count(*) - count(DISTINCT (status_list, status_index)) FROM licet.activations WHERE org_id = '{}'",
        license.org.uuid()
    ));
    assert_eq!(doubles, 0);
}
