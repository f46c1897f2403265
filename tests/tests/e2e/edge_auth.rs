//! Who may call the origin (SECURITY 20).

use licet_shared::documents::EdgeClaims;
use licet_shared::jws::{LocalSigner, Times, sign};
use licet_tests::edge_caller::{Call, stranger};
use licet_tests::forge::ForgedOrg;
use licet_tests::load::race;
use licet_tests::{Answer, EdgeCaller, License, Stack, now};
use serde_json::json;

/// Every route of the origin that is for edges alone, with a call that would be answered 200.
fn calls(stack: &Stack, license: &License, token: &str) -> Vec<Call> {
    let tag = license.org.tag;
    let body =
        json!({"license_key": license.key, "product": license.product, "fingerprint": "edge auth"});
    let feature_set =
        stack.device(license, "edge auth").activated().validate()["feature_set"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
    vec![
        Call::get(&format!("/edge/v1/orgs/{tag}/keys")),
        Call::get(&format!("/edge/v1/orgs/{tag}/statuslists/0")),
        Call::get(&format!("/edge/v1/orgs/{tag}/feature-sets/{feature_set}")),
        Call::post("/edge/v1/activations", &body),
        Call::post("/edge/v1/activations/refresh", &json!({"token": token})),
        Call::post("/edge/v1/activations/deactivate", &json!({"token": token})),
    ]
}

#[track_caller]
fn expect_unauthorized(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {answer:?}");
    answer.problem(401, "UNAUTHORIZED");
}

#[test]
fn no_route_for_edges_answers_a_call_that_is_not_signed_for_it() {
    let stack = Stack::shared();
    let license = stack.license("edge-auth", 3);
    let activation = stack.device(&license, "edge auth").activated();
    let caller = stack.caller();
    let unknown = EdgeCaller::new(&stranger("edge.1"), stack.origin.url());
    let unnamed = EdgeCaller::new(&stranger("edge.2"), stack.origin.url());
    let platform = EdgeCaller::new(&stack.keys().platform_key, stack.origin.url());

    for call in calls(stack, &license, &activation.token) {
        let name = format!("{} {}", call.method, call.target);
        expect_unauthorized(&caller.unsigned(&call).send(), &format!("{name}: no token"));
        expect_unauthorized(
            &caller
                .unsigned(&call)
                .header("Authorization", "Basic ZWRnZTplZGdl")
                .send(),
            &format!("{name}: another scheme"),
        );
        for (who, other) in [
            ("unknown key", &unknown),
            ("unknown kid", &unnamed),
            ("platform key", &platform),
        ] {
            expect_unauthorized(&other.signed(&call).send(), &format!("{name}: {who}"));
        }
        expect_unauthorized(
            &caller.with_token(&call, &activation.token).send(),
            &format!("{name}: a license token"),
        );
        for (what, token) in misfits(&caller, &call) {
            expect_unauthorized(
                &caller.with_token(&call, &token).send(),
                &format!("{name}: {what}"),
            );
        }
        // Nothing of the above has been done, and the call itself was in order.
        if !call.target.ends_with("deactivate") {
            caller.signed(&call).send().expect(200);
        }
    }
    assert_eq!(stack.seats_taken(&license), 1);
    assert_eq!(activation.code(), "VALID");
}

/// Tokens of the right edge that are not for this call, or not for now.
fn misfits(caller: &EdgeCaller, call: &Call) -> Vec<(&'static str, String)> {
    let claims = caller.claims(call);
    let changed = |change: &dyn Fn(&mut EdgeClaims)| {
        let mut claims = caller.claims(call);
        change(&mut claims);
        caller.token(&claims)
    };
    let at = |start: i64, life: i64| {
        caller.token_within(
            &caller.claims(call),
            Times::starting(now().plus(start), life),
        )
    };
    let other_method = if call.method == "GET" { "POST" } else { "GET" };
    let flipped = {
        let token = caller.token(&claims);
        let (head, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        format!("{head}.{first}{}", &signature[1..])
    };
    vec![
        (
            "another method",
            changed(&|claims| claims.htm = other_method.to_owned()),
        ),
        ("another path", changed(&|claims| claims.htu.push('x'))),
        (
            "another query",
            changed(&|claims| claims.htu.push_str("?a=1")),
        ),
        (
            "another body",
            changed(&|claims| claims.bh = EdgeClaims::body_hash(b"something else")),
        ),
        ("no body hash", changed(&|claims| claims.bh = String::new())),
        (
            "another audience",
            changed(&|claims| claims.aud = "licet-edge".to_owned()),
        ),
        (
            "another issuer",
            changed(&|claims| claims.iss = "edge.7".to_owned()),
        ),
        (
            "an idempotency key that was not sent",
            changed(&|claims| claims.idk = Some("k".to_owned())),
        ),
        ("no jti", changed(&|claims| claims.jti = String::new())),
        ("expired", at(-3600, 60)),
        ("expired a moment ago, beyond any skew", at(-180, 60)),
        ("not made yet", at(3600, 60)),
        ("living too long", at(0, 86_400)),
        ("flipped signature", flipped),
    ]
}

#[test]
fn a_signed_call_counts_once() {
    let stack = Stack::shared();
    let license = stack.license("edge-auth", 3);
    let caller = stack.caller();
    for call in [
        Call::get(&format!("/edge/v1/orgs/{}/keys", license.org.tag)),
        Call::post(
            "/edge/v1/activations",
            &json!({"license_key": license.key, "product": license.product, "fingerprint": "once"}),
        ),
    ] {
        let request = caller.signed(&call);
        request.send().expect(200);
        for _ in 0..3 {
            expect_unauthorized(&request.send(), "a replay");
        }
        let request = caller.signed(&call);
        let statuses: Vec<_> = race(16, |_| request.send().status);
        let accepted = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(accepted, 1, "16 at once: {statuses:?}");
    }
}

#[test]
fn an_idempotency_key_can_t_be_added_or_exchanged_on_the_way() {
    let stack = Stack::shared();
    let license = stack.license("edge-auth", 3);
    let caller = stack.caller();
    let body =
        json!({"license_key": license.key, "product": license.product, "fingerprint": "idk"});
    let plain = Call::post("/edge/v1/activations", &body);
    let keyed = plain.clone().idempotent("edge-auth-1");
    let other = plain.clone().idempotent("edge-auth-2");
    for (signed, sent) in [(&plain, &keyed), (&keyed, &plain), (&keyed, &other)] {
        let token = caller.token(&caller.claims(signed));
        let what = format!(
            "signed {:?}, sent {:?}",
            signed.idempotency_key, sent.idempotency_key
        );
        expect_unauthorized(&caller.with_token(sent, &token).send(), &what);
    }
    let twice = caller
        .signed(&keyed)
        .header("Idempotency-Key", "edge-auth-2")
        .send();
    assert!([400, 401].contains(&twice.status), "{twice:?}");
    assert_eq!(stack.seats_taken(&license), 0);
}

#[test]
fn a_body_changed_on_the_way_is_refused() {
    let stack = Stack::shared();
    let license = stack.license("edge-auth", 3);
    let caller = stack.caller();
    let body =
        json!({"license_key": license.key, "product": license.product, "fingerprint": "mine"});
    let call = Call::post("/edge/v1/activations", &body);
    let token = caller.token(&caller.claims(&call));
    let mut changed = call;
    changed.body = changed
        .body
        .iter()
        .map(|byte| if *byte == b'm' { b'n' } else { *byte })
        .collect();
    expect_unauthorized(
        &caller.with_token(&changed, &token).send(),
        "a changed body",
    );
}

#[test]
fn the_origin_takes_no_edge_s_word_for_a_license_token() {
    let stack = Stack::shared();
    let license = stack.license("edge-auth", 3);
    let activation = stack.device(&license, "laptop").activated();
    let caller = stack.caller();
    let (head, signature) = activation.token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let flipped = format!("{head}.{first}{}", &signature[1..]);
    let keys = caller.get(&format!("/edge/v1/orgs/{}/keys", license.org.tag));
    let keys = keys.send().expect(200).text();
    for path in ["refresh", "deactivate"] {
        let path = format!("/edge/v1/activations/{path}");
        for (token, expected) in [
            (flipped.as_str(), "SIGNATURE_INVALID"),
            (&activation.token[..activation.token.len() - 1], "MALFORMED"),
            (&keys, "MALFORMED"),
            ("", "MALFORMED"),
            (&"A".repeat(9000), "MALFORMED"),
        ] {
            let answer = caller.post(&path, &json!({"token": token})).send();
            let answer = answer.verdict();
            assert_eq!(answer["code"], expected, "{path}: {answer}");
            assert!(answer.get("license_token").is_none(), "{answer}");
        }
    }
    assert_eq!(stack.seats_taken(&license), 1);
}

#[test]
fn an_edge_key_signs_calls_and_nothing_else() {
    // Stolen from one edge, it must not make licenses.
    let stack = Stack::shared();
    let license = stack.license("edge-auth", 3);
    let activation = stack.device(&license, "victim").activated();
    let edge: LocalSigner = stack.keys().edge_key.parse().unwrap();
    let org = ForgedOrg {
        key: edge,
        tag: license.org.tag,
        id: license.org.id,
        ..ForgedOrg::new(&stack.edge(), &stack.keys().platform_key)
    };
    let token = sign(&org.license_claims(0), Times::starting(now(), 60), &org.key).unwrap();
    assert_eq!(activation.with_token(token).code(), "UNKNOWN_KEY");
}
