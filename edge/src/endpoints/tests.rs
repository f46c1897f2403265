//! The endpoints that pass writes on, and what they keep from the origin.

use std::rc::Rc;

use licet_shared::{
    api::ActivationAnswer, decision::Code, documents::EdgeClaims, jws::Untrusted,
    license_key::LicenseKey, problem::ProblemCode, status_list::status,
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{activate, deactivate, features, orgs, refresh, validate};
use crate::{
    http::{Answer, Incoming},
    testing::{DEVICE, Org, SeenCall, World, edge_key, post, request},
};

const DAY_S: i64 = 86_400;
const JSON: (&str, &str) = ("content-type", "application/json");
const ACTIVATIONS: &str = "/edge/v1/activations";

fn activation(key: &str) -> String {
    json!({"license_key": key, "product": "local_cli", "fingerprint": DEVICE}).to_string()
}

fn license_key() -> String {
    LicenseKey::new(Org::tag(), *b"0123456789abcdef").reveal()
}

fn yes() -> String {
    serde_json::to_string(&ActivationAnswer::plain(Code::Valid)).unwrap()
}

fn read(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn with_bearer(token: &str) -> Incoming {
    post("/x", &[("authorization", &format!("Bearer {token}"))], "")
}

async fn verdict(world: &World, token: &str) -> Value {
    let body = json!({"token": token, "product": "local_cli", "fingerprint": DEVICE});
    let answer = validate::handle(&world.scope(), &post("/x", &[JSON], &body.to_string())).await;
    read(&answer.unwrap())
}

/// The `edge+jwt` of a call, verified.
fn proof(call: &SeenCall) -> EdgeClaims {
    let header = call.header("authorization").unwrap();
    let token = header.strip_prefix("Bearer ").unwrap();
    let untrusted = Untrusted::<EdgeClaims>::parse(token, Org::default().now()).unwrap();
    untrusted
        .verify(&edge_key().verifying_key())
        .unwrap()
        .into_claims()
}

#[wasm_bindgen_test]
async fn a_mistyped_key_costs_no_call() {
    let world = World::new(&Org::default());
    let good = license_key();
    for typed in [
        &good[1..],
        "",
        "hello",
        &good.replace('-', "?"),
        &"A".repeat(50_000),
    ] {
        let request = post("/x", &[JSON], &activation(typed));
        let fault = activate::handle(&world.scope(), &request)
            .await
            .unwrap_err();
        assert_eq!(fault.code, ProblemCode::LicenseKeyMalformed, "{typed:.40}");
    }
    assert_eq!(world.calls().len(), 0);
}

#[wasm_bindgen_test]
async fn a_write_carries_our_headers_and_no_others() {
    let world = World::new(&Org::default());
    world.answer(ACTIVATIONS, 200, "application/json", &yes());
    let headers = [
        JSON,
        ("idempotency-key", "mine"),
        ("cf-connecting-ip", "192.0.2.7"),
        ("licet-client-ip", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-request-id", "made-up"),
        ("authorization", "Bearer made-up"),
        ("cookie", "a=b"),
    ];
    let scope = world.scope();
    let answer = activate::handle(&scope, &post("/x", &headers, &activation(&license_key()))).await;
    let answer = read(&answer.unwrap());
    assert_eq!(
        (&answer["code"], &answer["request_id"]),
        (&json!("VALID"), &json!(scope.request_id))
    );

    let calls = world.calls();
    let call = &calls[0];
    let mut names = call.header_names();
    names.sort();
    let ours = [
        "authorization",
        "content-type",
        "idempotency-key",
        "licet-client-ip",
        "x-request-id",
    ];
    assert_eq!(names, ours);
    assert_eq!(call.header("licet-client-ip").as_deref(), Some("192.0.2.7"));
    assert_eq!(
        call.header("x-request-id"),
        Some(scope.request_id.to_string())
    );
    let proof = proof(call);
    assert_eq!(
        (proof.htm.as_str(), proof.htu.as_str()),
        ("POST", ACTIVATIONS)
    );
    assert_eq!(proof.bh, EdgeClaims::body_hash(call.body().as_bytes()));
    assert_eq!((calls.len(), proof.idk.as_deref()), (1, Some("mine")));
}

#[wasm_bindgen_test]
async fn a_retry_has_the_same_key_and_a_new_proof() {
    let world = World::new(&Org::default());
    world.answer(ACTIVATIONS, 503, "text/plain", "busy");
    let request = post("/x", &[JSON], &activation(&license_key()));
    let fault = activate::handle(&world.scope(), &request)
        .await
        .unwrap_err();
    assert_eq!(fault.code, ProblemCode::OriginUnreachable);
    let calls = world.calls();
    assert_eq!(calls.len(), 2, "one retry, no more");
    let key = calls[0].header("idempotency-key").unwrap();
    assert_eq!(calls[1].header("idempotency-key"), Some(key));
    assert_ne!(proof(&calls[0]).jti, proof(&calls[1]).jti);
}

#[wasm_bindgen_test]
async fn the_origins_answers_are_told_apart() {
    let world = World::new(&Org::default());
    let problem = |code: &str| {
        json!({"type": "t", "title": "t", "status": 400, "detail": "d", "code": code, "request_id": "r"}).to_string()
    };
    for (status, media_type, body, code, calls) in [
        (
            422,
            "application/problem+json",
            problem("IDEMPOTENCY_KEY_REUSED"),
            ProblemCode::IdempotencyKeyReused,
            1,
        ),
        (
            401,
            "application/problem+json",
            problem("UNAUTHORIZED"),
            ProblemCode::OriginError,
            1,
        ),
        (
            404,
            "application/problem+json",
            problem("NOT_FOUND"),
            ProblemCode::OriginError,
            1,
        ),
        (
            500,
            "application/problem+json",
            problem("INTERNAL"),
            ProblemCode::OriginError,
            1,
        ),
        (200, "text/html", yes(), ProblemCode::OriginError, 1),
        (
            200,
            "application/json",
            "{}".into(),
            ProblemCode::OriginError,
            1,
        ),
        (
            200,
            "application/json",
            "x".repeat(600_000),
            ProblemCode::OriginError,
            1,
        ),
        (
            504,
            "text/plain",
            "late".into(),
            ProblemCode::OriginUnreachable,
            2,
        ),
    ] {
        world.answer(ACTIVATIONS, status, media_type, &body);
        let request = post("/x", &[JSON], &activation(&license_key()));
        let fault = activate::handle(&world.scope(), &request)
            .await
            .unwrap_err();
        assert_eq!(
            (fault.code, world.calls().len()),
            (code, calls),
            "{status} {media_type}"
        );
    }
}

#[wasm_bindgen_test]
async fn tokens_that_do_not_verify_are_refused_here() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    verdict(&world, &token).await;
    world.calls();
    let other_signature = format!("{}{}", &token[..token.len() - 8], "AAAAAAAA");
    for (text, code) in [
        ("junk", "MALFORMED"),
        (other_signature.as_str(), "SIGNATURE_INVALID"),
    ] {
        for answer in [
            refresh::handle(&world.scope(), &with_bearer(text)).await,
            deactivate::handle(&world.scope(), &with_bearer(text)).await,
        ] {
            let answer = read(&answer.unwrap());
            assert_eq!(
                (&answer["valid"], &answer["code"]),
                (&json!(false), &json!(code))
            );
        }
    }
    let fault = refresh::handle(&world.scope(), &post("/x", &[], ""))
        .await
        .unwrap_err();
    assert_eq!(
        (fault.code, world.calls().len()),
        (ProblemCode::Unauthorized, 0)
    );
}

#[wasm_bindgen_test]
async fn after_a_deactivation_the_old_list_says_yes_no_more() {
    let org = Org::default();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(verdict(&world, &token).await["code"], "VALID");
    world.settle().await;
    assert_eq!(world.count("cache"), 3);
    world.answer(
        "/edge/v1/activations/deactivate",
        200,
        "application/json",
        &yes(),
    );
    let given_back = Org {
        status: status::DEACTIVATED,
        list_version: 2,
        ..org.clone()
    };
    world.publish(&given_back);
    let answer = deactivate::handle(&world.scope(), &with_bearer(&token))
        .await
        .unwrap();
    assert_eq!(read(&answer)["code"], "VALID");
    assert_eq!(world.count("cache"), 2, "the list is gone from the cache");
    assert_eq!(verdict(&world, &token).await["code"], "DEACTIVATED");
    world.settle().await;
    world.restart();
    assert_eq!(verdict(&world, &token).await["code"], "DEACTIVATED");
}

#[wasm_bindgen_test]
async fn features_are_tagged_by_their_revision_while_the_license_stands() {
    let org = Org::default();
    let mut world = World::new(&org);
    let bearer = format!("Bearer {}", org.token(DAY_S));
    let get = |known: Option<&str>| {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(known.map(|tag| ("if-none-match", tag)));
        request("GET", "/api/v1/licenses/features", &headers, None)
    };
    let header = |answer: &Answer, name: &str| {
        let found = answer.headers.iter().find(|(present, _)| *present == name);
        found.map(|(_, value)| value.clone().into_owned())
    };
    let answer = features::handle(&world.scope(), &get(None)).await.unwrap();
    assert_eq!(read(&answer)["features"], json!({"export.pdf": true}));
    let tag = header(&answer, "etag").unwrap();
    assert_eq!(tag, format!("W/\"{}.1\"", Org::features_id()));
    let again = features::handle(&world.scope(), &get(Some(&tag)))
        .await
        .unwrap();
    assert_eq!((again.status, again.body.len()), (304, 0));

    let revised = Org {
        revision: 2,
        ..org.clone()
    };
    world.publish(&revised);
    world.settle().await;
    world.clear("cache");
    world.restart();
    let newer = features::handle(&world.scope(), &get(Some(&tag)))
        .await
        .unwrap();
    assert_eq!(
        (newer.status, header(&newer, "etag") == Some(tag.clone())),
        (200, false)
    );

    let revoked = Org {
        status: status::REVOKED,
        list_version: 2,
        ..org.clone()
    };
    world.publish(&revoked);
    world.settle().await;
    world.clear("cache");
    world.restart();
    let no = features::handle(&world.scope(), &get(Some("*")))
        .await
        .unwrap();
    assert_eq!((no.status, &read(&no)["code"]), (200, &json!("REVOKED")));
    assert_eq!(
        (header(&no, "etag"), &read(&no)["features"]),
        (None, &Value::Null)
    );
}

#[wasm_bindgen_test]
async fn public_documents_are_passed_on_as_they_were_signed() {
    let org = Org::default();
    let world = World::new(&org);
    let get = request("GET", "/x", &[], None);
    let tag = Org::tag();
    let keys = orgs::jwks(&world.scope(), &get, tag).await.unwrap();
    assert_eq!(read(&keys)["keys"][0]["kid"], format!("{tag}.1"));
    let list = orgs::status_list(&world.scope(), &get, tag, 0)
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&list.body), org.list());
    let none = orgs::status_list(&world.scope(), &get, tag, 1)
        .await
        .unwrap_err();
    assert_eq!(none.code, ProblemCode::NotFound);
    let nobody = orgs::jwks(&world.scope(), &get, "00000000".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(nobody.code, ProblemCode::NotFound);
    // What has ended is not shown, though a verdict may still rest on it in an outage.
    world.set_down(true);
    let late = world.scope_in(2 * DAY_S);
    let ended = orgs::jwks(&Rc::clone(&late), &get, tag).await.unwrap_err();
    assert_eq!(ended.code, ProblemCode::OriginUnreachable);
}
