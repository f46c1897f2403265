//! The endpoints that pass writes on, and what they keep from the origin.

use std::rc::Rc;

use licet_shared::{
    api::{ActivationAnswer, LeaseAnswer},
    decision::Code,
    documents::EdgeClaims,
    id::OrgTag,
    jws::Untrusted,
    license_key::LicenseKey,
    problem::ProblemCode,
    status_list::status,
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{activate, consume, deactivate, features, leases, orgs, refresh, validate};
use crate::{
    bindings, clock,
    http::{Answer, Incoming},
    testing::{DEVICE, Org, SeenCall, World, edge_key, post, request},
};

pub(super) const DAY_S: i64 = 86_400;
pub(super) const JSON: (&str, &str) = ("content-type", "application/json");
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

pub(super) fn read(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn header(answer: &Answer, name: &str) -> Option<String> {
    let found = answer.headers.iter().find(|(present, _)| *present == name);
    found.map(|(_, value)| value.clone().into_owned())
}

fn with_bearer(token: &str) -> Incoming {
    post("/x", &[("authorization", &format!("Bearer {token}"))], "")
}

fn with_bearer_get(token: &str, known: Option<&str>) -> Incoming {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(known.map(|tag| ("if-none-match", tag)));
    request("GET", "/x", &headers, None)
}

pub(super) async fn verdict(world: &World, token: &str) -> Value {
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
    world.answer(ACTIVATIONS, 502, "text/plain", "bad gateway");
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
        (
            522,
            "text/html",
            "connection timed out".into(),
            ProblemCode::OriginUnreachable,
            2,
        ),
        (
            503,
            "text/plain",
            "busy".into(),
            ProblemCode::OriginUnreachable,
            1,
        ),
        (
            503,
            "application/problem+json",
            problem("UNAVAILABLE"),
            ProblemCode::Unavailable,
            1,
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
async fn who_is_busy_is_not_asked_again_at_once_and_says_when() {
    let world = World::new(&Org::default());
    let problem = json!({"type": "t", "title": "t", "status": 503, "detail": "d", "code": "UNAVAILABLE", "request_id": "r"});
    for (media_type, body, code) in [
        (
            "application/problem+json",
            problem.to_string(),
            "UNAVAILABLE",
        ),
        ("text/html", "busy".into(), "ORIGIN_UNREACHABLE"),
    ] {
        world.answer(ACTIVATIONS, 503, media_type, &body);
        world.answer_header(ACTIVATIONS, "retry-after", "17");
        let scope = world.scope();
        let request = post("/x", &[JSON], &activation(&license_key()));
        let fault = activate::handle(&scope, &request).await.unwrap_err();
        let answer = fault.into_answer(scope.request_id);
        assert_eq!((answer.status, &read(&answer)["code"]), (503, &json!(code)));
        assert_eq!(header(&answer, "retry-after").as_deref(), Some("17"));
        assert_eq!(world.calls().len(), 1);
    }
    // A busy origin is no reason to use old documents, or not to ask it for one.
    let verdict = verdict(&world, &Org::default().token(DAY_S)).await;
    assert_eq!(verdict["code"], "UNKNOWN_KEY", "{verdict}");
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
async fn what_was_given_back_stays_so_while_the_list_can_not_be_renewed() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(verdict(&world, &token).await["code"], "VALID");
    world.settle().await;
    let path = "/edge/v1/activations/deactivate";
    world.answer(path, 200, "application/json", &yes());
    let answer = deactivate::handle(&world.scope(), &with_bearer(&token)).await;
    assert_eq!(read(&answer.unwrap())["code"], "VALID");
    world.set_down(true);
    for _ in 0..3 {
        let no = verdict(&world, &token).await;
        assert_eq!(
            (&no["valid"], &no["code"]),
            (&json!(false), &json!("DEACTIVATED"))
        );
        assert_eq!(
            (&no["features"], no["license"].is_object()),
            (&Value::Null, true)
        );
    }
    let bearer = format!("Bearer {token}");
    let get = request("GET", "/x", &[("authorization", bearer.as_str())], None);
    let no = features::handle(&world.scope(), &get).await.unwrap();
    assert_eq!(read(&no)["code"], "DEACTIVATED");
    // A list that was asked for since then is what counts.
    world.set_down(false);
    world.publish(&Org {
        list_version: 2,
        ..org.clone()
    });
    let begin_ms = clock::now_ms();
    while verdict(&world, &token).await["code"] != "VALID" {
        assert!(clock::now_ms() < begin_ms + 6_000, "the note stays");
        bindings::sleep(100).await;
    }
}

#[wasm_bindgen_test]
async fn made_up_names_are_rationed_and_known_ones_served() {
    let org = Org::default();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    verdict(&world, &token).await;
    world.settle().await;
    let get = request("GET", "/x", &[], None);
    let none = orgs::status_list(&world.scope(), &get, Org::tag(), 4_097).await;
    assert_eq!(none.unwrap_err().code, ProblemCode::NotFound);
    world.restart();
    world.calls();
    let made_up = |n: u32| OrgTag::new([9, 9, 9, 9, n as u8]);
    let mut codes = Vec::new();
    for n in 0..130 {
        let fault = orgs::jwks(&world.scope(), &get, made_up(n))
            .await
            .unwrap_err();
        codes.push(fault.code);
    }
    let calls = world.calls().len();
    assert!((100..=115).contains(&calls), "{calls}");
    let refused = codes
        .iter()
        .filter(|code| **code == ProblemCode::RateLimited)
        .count();
    assert_eq!(refused + calls, 130);
    let list = orgs::status_list(&world.scope(), &get, Org::tag(), 1).await;
    assert_eq!(list.unwrap_err().code, ProblemCode::RateLimited);
    // An isolate that has nothing left to try has the cached copies still, and without them the store.
    assert_eq!(verdict(&world, &token).await["code"], "VALID");
    let header = "eyJhbGciOiJFZERTQSIsImtpZCI6IlpaWlpaWlpaLjEiLCJ0eXAiOiJsaWNlbnNlK2p3dCJ9";
    let (_, rest) = token.split_once('.').unwrap();
    let body = json!({"token": format!("{header}.{rest}"), "product": "local_cli"}).to_string();
    let unknown = validate::handle(&world.scope(), &post("/x", &[JSON], &body)).await;
    assert_eq!(unknown.unwrap_err().code, ProblemCode::RateLimited);
}

#[wasm_bindgen_test]
async fn a_slow_sender_is_judged_by_the_time_its_body_was_in() {
    let org = Org::default();
    let world = World::new(&org);
    let body = json!({"token": org.token(DAY_S), "product": "local_cli", "fingerprint": DEVICE});
    let request = post("/x", &[JSON], &body.to_string());
    let answer = validate::handle(&world.scope_since(100), &request).await;
    assert_eq!(read(&answer.unwrap())["code"], "VALID");
    let calls = world.calls();
    assert_eq!(calls.len(), 3);
    for call in &calls {
        let header = call.header("authorization").unwrap();
        let token = header.strip_prefix("Bearer ").unwrap();
        let times = Untrusted::<EdgeClaims>::parse(token, org.now()).unwrap();
        let times = times.verify(&edge_key().verifying_key()).unwrap().times();
        assert!(org.now().since(times.issued_at) < 5, "{times:?}");
    }
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
    let answer = features::handle(&world.scope(), &get(None)).await.unwrap();
    assert_eq!(read(&answer)["features"], json!({"export.pdf": true}));
    let tag = header(&answer, "etag").unwrap();
    assert_eq!(tag, format!("W/\"{}.1.r1\"", Org::features_id()));
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
async fn a_licenses_own_features_are_its_own_alone() {
    let org = Org::default();
    let mut world = World::new(&org);
    let own = |json: Value| serde_json::from_value(json).unwrap();
    let licenses = [
        (org.token(DAY_S), json!({"export.pdf": true})),
        (
            org.token_with(DAY_S, own(json!({"export.pdf": null, "seats": 9}))),
            json!({"seats": 9}),
        ),
        (
            org.token_with(DAY_S, own(json!({"export.pdf": "plain"}))),
            json!({"export.pdf": "plain"}),
        ),
    ];
    // From origin, memory and cache, and in turns: they share set, documents and isolate.
    let mut tags = Vec::new();
    for round in 0..3 {
        for (token, features) in &licenses {
            let told = verdict(&world, token).await;
            assert_eq!(
                (&told["code"], &told["features"]),
                (&json!("VALID"), features)
            );
            let shown = features::handle(&world.scope(), &with_bearer_get(token, None)).await;
            let shown = shown.unwrap();
            assert_eq!(&read(&shown)["features"], features, "round {round}");
            tags.push(header(&shown, "etag").unwrap());
        }
        if round == 1 {
            world.settle().await;
            world.restart();
        }
    }
    assert_eq!(tags[..3], tags[3..6]);
    assert_eq!(tags[..3], tags[6..]);
    for (at, (token, _)) in licenses.iter().enumerate() {
        for (of, tag) in tags[..3].iter().enumerate() {
            let request = with_bearer_get(token, Some(tag));
            let answer = features::handle(&world.scope(), &request).await.unwrap();
            let expected = if at == of { 304 } else { 200 };
            assert_eq!(answer.status, expected, "{at} {tag}");
        }
    }
}

#[wasm_bindgen_test]
async fn what_is_required_is_asked_of_set_and_license_together() {
    let org = Org::default();
    let world = World::new(&org);
    let own = |json: Value| serde_json::from_value(json).unwrap();
    let (plain, less, more) = (
        org.token(DAY_S),
        org.token_with(DAY_S, own(json!({"export.pdf": false}))),
        org.token_with(DAY_S, own(json!({"beta": {"since": 1}}))),
    );
    for (token, required, code) in [
        (&plain, "export.pdf", "VALID"),
        (&plain, "beta", "FEATURE_MISSING"),
        (&less, "export.pdf", "FEATURE_MISSING"),
        (&more, "export.pdf", "VALID"),
        (&more, "beta", "VALID"),
    ] {
        let body = json!({
            "token": token, "product": "local_cli", "fingerprint": DEVICE, "require": [required],
        });
        let request = post("/x", &[JSON], &body.to_string());
        let answer = validate::handle(&world.scope(), &request).await.unwrap();
        assert_eq!(read(&answer)["code"], code, "{required}");
    }
}

#[wasm_bindgen_test]
async fn public_documents_are_passed_on_as_they_were_signed() {
    let org = Org::default();
    let world = World::new(&org);
    let get = request("GET", "/x", &[], None);
    let tag = Org::tag();
    let keys = orgs::jwks(&world.scope(), &get, tag).await.unwrap();
    assert_eq!(read(&keys)["keys"][0]["kid"], format!("{tag}.1"));
    let signed = org.list();
    let path = format!("/edge/v1/orgs/{tag}/statuslists/0");
    world.answer(&path, 200, "application/statuslist+jwt", &signed);
    let list = orgs::status_list(&world.scope(), &get, tag, 0)
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&list.body), signed);
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

#[wasm_bindgen_test]
async fn a_lease_is_looked_at_where_the_token_asks_for_one_and_remembered() {
    let org = Org::default();
    let world = World::new(&org);
    let (plain, floating) = (org.token(DAY_S), org.floating_token(DAY_S));
    let (lease, other) = (
        org.lease(600),
        Org {
            key: 2,
            ..org.clone()
        }
        .lease(600),
    );
    let code = async |token: &str, lease: Option<&str>, later_s: i64| {
        let mut body = json!({"token": token, "product": "local_cli", "fingerprint": DEVICE});
        if let Some(lease) = lease {
            body["lease"] = lease.into();
        }
        let request = post("/x", &[JSON], &body.to_string());
        let answer = validate::handle(&world.scope_in(later_s), &request).await;
        let answer = read(&answer.unwrap());
        (answer["code"].as_str().unwrap().to_owned(), answer)
    };
    assert_eq!(code(&floating, None, 0).await.0, "LEASE_REQUIRED");
    let (first, verdict) = code(&floating, Some(&lease), 0).await;
    assert_eq!(first, "VALID", "{verdict}");
    assert_eq!(verdict["lease"]["borrowed"], false, "{verdict}");
    world.calls();
    for (token, lease, expected) in [
        (&floating, lease.as_str(), "VALID"),
        (&floating, "nonsense", "LEASE_INVALID"),
        (&floating, floating.as_str(), "LEASE_INVALID"),
        (&floating, &lease.replace('.', "x."), "LEASE_INVALID"),
        (&plain, "nonsense", "VALID"),
    ] {
        assert_eq!(code(token, Some(lease), 0).await.0, expected, "{lease:.40}");
    }
    assert_eq!(world.calls().len(), 0, "all of it is known here");
    // Signed by a key of its name that is not there: the origin may know of newer keys.
    assert_eq!(code(&floating, Some(&other), 0).await.0, "LEASE_INVALID");
    assert_eq!(code(&floating, Some(&lease), 600).await.0, "LEASE_EXPIRED");
}

#[wasm_bindgen_test]
async fn seats_are_the_origin_s_and_what_is_no_token_costs_no_call() {
    let org = Org::default();
    let world = World::new(&org);
    let yes = serde_json::to_string(&LeaseAnswer::plain(Code::Valid)).unwrap();
    for action in ["acquire", "heartbeat", "release"] {
        let path = format!("/edge/v1/leases/{action}");
        world.answer(&path, 200, "application/json", &yes);
    }
    let (token, lease) = (org.floating_token(DAY_S), org.lease(600));
    let bearer = |token: &str| format!("Bearer {token}");
    let asked = json!({"holder": "ada"}).to_string();
    let acquire = async |token: &str, body: &str| {
        let bearer = bearer(token);
        let headers = [JSON, ("authorization", bearer.as_str())];
        leases::acquire(&world.scope(), &post("/x", &headers, body)).await
    };
    for bad in ["nonsense", &lease] {
        let answer = acquire(bad, &asked).await.unwrap();
        assert_eq!(read(&answer)["code"], "MALFORMED");
    }
    for bad in ["nonsense", &token] {
        for answer in [
            leases::heartbeat(&world.scope(), &with_bearer(bad)).await,
            leases::release(&world.scope(), &with_bearer(bad)).await,
        ] {
            assert_eq!(read(&answer.unwrap())["code"], "LEASE_INVALID");
        }
    }
    let refused = acquire(&token, "{}").await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::BadRequest);
    let sent = |calls: &[SeenCall]| -> Vec<(String, Value)> {
        let leases = calls.iter().filter(|call| call.path().contains("/leases/"));
        leases
            .map(|call| (call.path(), serde_json::from_str(&call.body()).unwrap()))
            .collect()
    };
    assert_eq!(sent(&world.calls()), []);

    let answer = acquire(&token, &asked).await.unwrap();
    assert_eq!(read(&answer)["code"], "VALID");
    for answer in [
        leases::heartbeat(&world.scope(), &with_bearer(&lease)).await,
        leases::release(&world.scope(), &with_bearer(&lease)).await,
    ] {
        assert_eq!(read(&answer.unwrap())["code"], "VALID");
    }
    let of_lease = json!({"token": lease});
    assert_eq!(
        sent(&world.calls()),
        [
            (
                "/edge/v1/leases/acquire".to_owned(),
                json!({"token": token, "seat": {"holder": "ada"}})
            ),
            ("/edge/v1/leases/heartbeat".to_owned(), of_lease.clone()),
            ("/edge/v1/leases/release".to_owned(), of_lease),
        ]
    );
}

#[wasm_bindgen_test]
async fn a_use_is_verified_here_and_counted_there() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    let bearer = format!("Bearer {token}");
    let body = json!({"uses": [{"feature": "exports", "amount": 2, "id": "u1"}]});
    let answer = json!({
        "valid": false, "code": "QUOTA_EXCEEDED", "detail": "d", "feature": "exports",
        "quotas": {"exports": {"limit": 5, "used": 4, "remaining": 1, "period_ends_at": null, "as_of": "2026-11-21T08:36:48Z"}},
    });
    world.answer(
        "/edge/v1/usage",
        200,
        "application/json",
        &answer.to_string(),
    );
    let headers = [
        JSON,
        ("authorization", bearer.as_str()),
        ("idempotency-key", "k"),
    ];
    let request = post("/x", &headers, &body.to_string());
    let scope = world.scope();
    let mut expected = answer.clone();
    expected["request_id"] = json!(scope.request_id);
    let answered = consume::handle(&scope, &request).await.unwrap();
    assert_eq!(read(&answered), expected);
    let calls = world.calls();
    let call = calls.last().unwrap();
    let sent: Value = serde_json::from_str(&call.body()).unwrap();
    assert_eq!(sent, json!({"token": token, "uses": body["uses"]}));
    assert_eq!(proof(call).idk.as_deref(), Some("k"));

    // What does not verify goes nowhere; what is used is the origin's to read.
    let forged = format!(
        "Bearer {}",
        Org {
            key: 9,
            ..org.clone()
        }
        .token(DAY_S)
    );
    let headers = [JSON, ("authorization", forged.as_str())];
    let request = post("/x", &headers, &body.to_string());
    let answered = consume::handle(&world.scope(), &request).await.unwrap();
    assert_eq!(read(&answered)["code"], "UNKNOWN_KEY");
    for bad in [json!([]), json!({"uses": body["uses"], "token": token})] {
        let headers = [JSON, ("authorization", bearer.as_str())];
        let request = post("/x", &headers, &bad.to_string());
        let fault = consume::handle(&world.scope(), &request).await.unwrap_err();
        assert_eq!(fault.code, ProblemCode::BadRequest, "{bad}");
    }
    let fault = consume::handle(&world.scope(), &post("/x", &[JSON], &body.to_string())).await;
    assert_eq!(fault.unwrap_err().code, ProblemCode::Unauthorized);
    let asked = world.calls();
    assert!(asked.iter().all(|call| call.path() != "/edge/v1/usage"));
}
