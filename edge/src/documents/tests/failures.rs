//! What the origin's failures do, and to whom.

use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{DAY_S, ask, code};
use crate::{
    bindings, clock,
    testing::{Org, SeenCall, World},
};

/// The problem by which the origin says something about a document.
fn problem(code: &str) -> String {
    json!({"type": "t", "title": "t", "status": 400, "detail": "d", "code": code, "request_id": "r"})
        .to_string()
}

const PROBLEM: &str = "application/problem+json";

/// Where the origin has keys, status list and features.
fn paths() -> [String; 3] {
    let features = format!("feature-sets/{}", Org::features_id());
    ["keys", "statuslists/0", &features].map(|part| format!("/edge/v1/orgs/{}/{part}", Org::tag()))
}

fn list_path() -> String {
    format!("/edge/v1/orgs/{}/statuslists/0", Org::tag())
}

#[wasm_bindgen_test]
async fn an_origin_that_answers_badly_is_no_reason_for_grace() {
    for (status, media_type, body) in [
        (500, PROBLEM, problem("INTERNAL")),
        (401, PROBLEM, problem("UNAUTHORIZED")),
        (403, "text/plain", "go away".into()),
        (429, PROBLEM, problem("RATE_LIMITED")),
        (404, PROBLEM, problem("NOT_FOUND")),
        (503, PROBLEM, problem("UNAVAILABLE")),
        (200, "text/html", "welcome".into()),
    ] {
        let org = Org::default();
        let world = World::new(&org);
        let (token, ending) = (org.token(DAY_S), org.token(20));
        assert_eq!(code(&world.scope(), &ending).await, "VALID");
        world.answer(&list_path(), status, media_type, &body);
        for _ in 0..2 {
            let (verdict, freshness) = ask(&world.scope_in(31), &token).await;
            assert_eq!(
                (verdict.as_str(), &freshness["degraded"]),
                ("VALID", &json!("origin_unusable")),
                "{status} {body}"
            );
            let verdict = code(&world.scope_in(31), &ending).await;
            assert_eq!(verdict, "TOKEN_EXPIRED", "{status} {body}");
        }
        let scope = world.scope_in(2 * DAY_S);
        assert_ne!(
            code(&scope, &token).await,
            "VALID",
            "held longer than signed for"
        );
    }
}

#[wasm_bindgen_test]
async fn a_gateway_without_an_origin_is_an_outage() {
    for status in [502, 503, 504, 520, 522, 523, 530] {
        let org = Org::default();
        let world = World::new(&org);
        let (token, ending) = (org.token(DAY_S), org.token(20));
        assert_eq!(code(&world.scope(), &token).await, "VALID");
        world.calls();
        for path in paths() {
            world.answer(&path, status, "text/html", "<h1>error</h1>");
        }
        let (verdict, freshness) = ask(&world.scope_in(31), &ending).await;
        assert_eq!(
            (verdict.as_str(), &freshness["degraded"]),
            ("VALID", &json!("origin_unreachable")),
            "{status}"
        );
        // Nobody asks for anything now.
        world.settle().await;
        world.calls();
        assert_eq!(code(&world.scope_in(61), &token).await, "VALID");
        assert_eq!(world.calls().len(), 0, "{status}");
    }
}

#[wasm_bindgen_test]
async fn one_document_that_does_not_come_is_not_an_outage_but_two_are() {
    let org = Org::default();
    let world = World::new(&org);
    let (token, ending) = (org.token(DAY_S), org.token(20));
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    world.set_silent(&list_path(), true);
    let (verdict, freshness) = ask(&world.scope_in(31), &token).await;
    assert_eq!(
        (verdict.as_str(), &freshness["degraded"]),
        ("VALID", &json!("origin_unusable"))
    );
    // The list is left alone, other documents are not.
    world.settle().await;
    world.calls();
    assert_eq!(code(&world.scope_in(61), &token).await, "VALID");
    world.settle().await;
    assert_eq!(world.calls().len(), 2, "keys and features");
    assert_eq!(code(&world.scope_in(61), &ending).await, "TOKEN_EXPIRED");

    // Who needs its grace has the keys asked for, too: then it is known that nothing comes.
    let keys = format!("/edge/v1/orgs/{}/keys", Org::tag());
    world.set_silent(&keys, true);
    bindings::sleep(5_100).await;
    let (verdict, freshness) = ask(&world.scope_in(61), &ending).await;
    assert_eq!(
        (verdict.as_str(), &freshness["degraded"]),
        ("VALID", &json!("origin_unreachable"))
    );
    world.calls();
    assert_eq!(code(&world.scope_in(200), &token).await, "VALID");
    assert_eq!(world.calls().len(), 0, "nobody asks for a while");
}

#[wasm_bindgen_test]
async fn a_call_that_was_refused_is_tried_once_more() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.calls();
    world.answer(&list_path(), 401, PROBLEM, &problem("UNAUTHORIZED"));
    assert_eq!(code(&world.scope_in(31), &token).await, "VALID");
    let calls = world.calls();
    let lists = calls.iter().filter(|call| call.path() == list_path());
    assert_eq!(lists.count(), 2);
    world.publish(&org);
    bindings::sleep(1_100).await;
    let (verdict, freshness) = ask(&world.scope_in(31), &token).await;
    assert_eq!(
        (
            verdict.as_str(),
            &freshness["source"],
            &freshness["degraded"]
        ),
        ("VALID", &json!("origin"), &Value::Null),
        "soon nobody is affected"
    );
}

#[wasm_bindgen_test]
async fn a_document_that_grew_old_while_others_were_waited_for_is_renewed() {
    // Signed just before its end of freshness, when the features are fetched.
    let org = Org {
        ago: 29,
        ..Org::default()
    };
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.settle().await;
    world.restart();
    world
        .tamper("cache", |key, text| {
            if key.contains("feature-sets") {
                "gone".into()
            } else {
                text
            }
        })
        .await;
    let features = format!(
        "/edge/v1/orgs/{}/feature-sets/{}",
        Org::tag(),
        Org::features_id()
    );
    world.set_slow(&features, 2_100);
    let (verdict, _) = ask(&world.scope(), &token).await;
    assert_eq!(verdict, "VALID");
}

#[wasm_bindgen_test]
async fn grace_is_for_when_the_origin_is_out_of_reach() {
    let org = Org {
        ago: 100,
        ..Org::default()
    };
    let world = World::new(&Org {
        ago: 0,
        ..org.clone()
    });
    let token = org.token(50);
    assert_eq!(code(&world.scope(), &token).await, "TOKEN_EXPIRED");
    world.calls();
    assert_eq!(code(&world.scope(), &token).await, "TOKEN_EXPIRED");
    assert_eq!(world.calls().len(), 0, "the origin has just answered");
    world.set_down(true);
    let (code_down, freshness) = ask(&world.scope_in(31), &token).await;
    assert_eq!(
        (code_down.as_str(), &freshness["degraded"]),
        ("VALID", &json!("origin_unreachable"))
    );
    assert_eq!(
        code(&world.scope_in(3_600), &token).await,
        "TOKEN_EXPIRED",
        "grace has an end"
    );
}

#[wasm_bindgen_test]
async fn an_answer_that_is_no_document_is_a_failure_not_a_verdict() {
    let org = Org::default();
    let token = org.token(DAY_S);
    let keys = format!("/edge/v1/orgs/{}/keys", Org::tag());
    for (status, media_type, body) in [
        (200, "application/keys+jwt", "null".to_owned()),
        (200, "application/keys+jwt", org.list()),
        (200, "application/keys+jwt", "x".repeat(100_000)),
        (404, "text/html", "not here".into()),
        (404, "application/problem+json", "{}".into()),
        (500, "text/plain", "cause".into()),
        (503, "text/plain", "busy".into()),
    ] {
        let world = World::new(&org);
        world.answer(&keys, status, media_type, &body);
        if status == 503 {
            // Of whatever is asked for, for it comes from in front of the origin.
            for path in paths() {
                world.answer(&path, status, media_type, &body);
            }
        }
        assert_eq!(
            code(&world.scope(), &token).await,
            "ORIGIN_UNREACHABLE",
            "{status} {media_type}"
        );
        assert_eq!(world.calls().len(), 3, "keys, and the rest beside them");
        assert_eq!(code(&world.scope(), &token).await, "ORIGIN_UNREACHABLE");
        let calls: Vec<_> = world.calls().iter().map(SeenCall::path).collect();
        assert_eq!(calls, [""; 0], "{status}: no second try at once");
    }
}

#[wasm_bindgen_test]
async fn a_setback_has_an_end_under_steady_traffic() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    let keys = format!("/edge/v1/orgs/{}/keys", Org::tag());
    world.answer(&keys, 500, "text/plain", "cause");
    assert_eq!(code(&world.scope(), &token).await, "ORIGIN_UNREACHABLE");
    world.publish(&org);
    let begin_ms = clock::now_ms();
    while code(&world.scope(), &token).await != "VALID" {
        assert!(clock::now_ms() < begin_ms + 6_000, "still not asked again");
        bindings::sleep(100).await;
    }
}

#[wasm_bindgen_test]
async fn not_found_takes_nothing_away_that_still_holds() {
    let org = Org::default();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.settle().await;
    for what in ["keys", "statuslists/0"] {
        let path = format!("/edge/v1/orgs/{}/{what}", Org::tag());
        world.answer(&path, 404, PROBLEM, &problem("NOT_FOUND"));
    }
    for source in ["memory", "cache", "kv"] {
        if source != "memory" {
            world.restart();
        }
        if source == "kv" {
            world.clear("cache");
        }
        let (verdict, freshness) = ask(&world.scope_in(61), &token).await;
        assert_eq!(
            (
                verdict.as_str(),
                &freshness["source"],
                &freshness["degraded"]
            ),
            ("VALID", &json!(source), &json!("origin_unusable"))
        );
        world.settle().await;
        assert_eq!((world.count("kv"), world.count("cache") >= 1), (3, true));
    }
    // Once the copies have come to their own end, there is nothing to say against it.
    world.restart();
    assert_eq!(
        code(&world.scope_in(2 * DAY_S), &token).await,
        "UNKNOWN_KEY"
    );
}
