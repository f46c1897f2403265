//! Something is wrong on our side: who asked is told an id, the log is told the cause.

use licet_tests::device::code;
use licet_tests::logs::json_lines;
use licet_tests::wait::SOON;
use licet_tests::{Database, Stack, StackOptions, eventually};
use serde_json::json;
use xtask::postgres::Options;

const FORBID: &str = "REVOKE SELECT ON licet.activations FROM licet_app";
const ALLOW: &str = "GRANT SELECT ON licet.activations TO licet_app";

#[test]
fn a_fault_of_the_origin_s_is_an_id_to_the_client_and_a_cause_to_the_log() {
    let stack = Stack::start(&StackOptions::default());
    let license = stack.license("faults", 3);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    stack.superuser().rows(FORBID);

    let body = json!({"license_key": license.key, "product": license.product, "fingerprint": "f"});
    let answer = stack.caller().post("/edge/v1/activations", &body).send();
    let problem = answer.problem(500, "INTERNAL");
    let id = problem["request_id"].as_str().unwrap();
    eventually("the cause in the log, under the request's id", SOON, || {
        let lines = json_lines(&stack.origin_log());
        let about: Vec<_> = lines
            .iter()
            .map(ToString::to_string)
            .filter(|line| line.contains(id))
            .collect();
        let told = about.iter().any(|line| line.contains("permission denied"));
        if told {
            Ok(())
        } else {
            Err(format!("{about:?}"))
        }
    });

    // Through the edge it is the edge's problem with the origin, and no cause either.
    for answer in [
        stack.device(&license, "another").activate(),
        activation.refresh().send(),
        activation.deactivate().send(),
    ] {
        answer.problem(502, "ORIGIN_ERROR");
    }
    // What the edge knows by itself it goes on answering.
    assert_eq!(activation.code(), "VALID");

    stack.superuser().rows(ALLOW);
    assert_eq!(
        stack.device(&license, "another").activated().code(),
        "VALID"
    );
    assert_eq!(code(&activation.refresh().send().verdict()), "VALID");
    assert_eq!(stack.seats_taken(&license), 2);
}

#[test]
fn an_origin_without_its_database_says_so_and_recovers() {
    let mut stack = Stack::start(&StackOptions {
        database: Database::Own(Options::default()),
        ..StackOptions::default()
    });
    let license = stack.license("faults", 3);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    stack.cluster().stop().unwrap();

    let refresh = json!({"token": activation.token});
    let answer = stack
        .caller()
        .post("/edge/v1/activations/refresh", &refresh)
        .send();
    answer.problem(503, "UNAVAILABLE");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let answer = stack.device(&license, "another").activate();
    answer.problem(503, "UNAVAILABLE");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(activation.code(), "VALID");

    stack.cluster().restart().unwrap();
    let admitted = eventually("activation works again", SOON, || {
        let answer = stack.device(&license, "another").activate();
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(format!("{answer:?}"))
        }
    });
    assert_eq!(code(&admitted.verdict()), "VALID");
    assert_eq!(stack.seats_taken(&license), 2);
}
