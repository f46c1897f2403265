//! What an edge sends to the origin, and what it keeps from it (SECURITY 20, 21).

use std::collections::BTreeSet;

use licet_shared::documents::EdgeClaims;
use licet_tests::fake_origin::{Received, Reply};
use licet_tests::forge::ForgedOrg;
use licet_tests::wait::SOON;
use licet_tests::{LoneEdge, Request, eventually, now};
use serde_json::json;

/// What somebody between client and edge, or the client itself, might claim.
const CLAIMED: [(&str, &str); 13] = [
    ("X-Forwarded-For", "203.0.113.66"),
    ("X-Real-IP", "203.0.113.66"),
    ("Forwarded", "for=203.0.113.66"),
    ("True-Client-IP", "203.0.113.66"),
    ("Licet-Client-Ip", "203.0.113.66"),
    ("X-Request-Id", "claimed-by-the-client"),
    ("X-Forwarded-Host", "claimed.example"),
    ("Licet-Org", "claimed-org"),
    ("X-Licet-Org-Id", "claimed-org"),
    ("Cookie", "session=claimed"),
    ("X-Original-URL", "/claimed"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("Via", "1.1 claimed"),
];

fn with_claims(mut request: Request) -> Request {
    for (name, value) in CLAIMED {
        request = request.header(name, value);
    }
    request
}

#[test]
fn what_clients_claim_of_themselves_does_not_reach_the_origin() {
    let edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 1);
    let activation = org.installation(&edge.url(), org.sign(&org.license_claims(0)));
    let refused = r#"{"valid":false,"code":"LICENSE_NOT_FOUND","detail":"No."}"#;
    for path in ["", "/refresh", "/deactivate"] {
        edge.origin.put(
            &format!("/edge/v1/activations{path}"),
            Reply::new(200, "application/json", refused),
        );
    }
    let activate =
        Request::post(&format!("{}/api/v1/licenses/activate", edge.url())).json(&json!({
            "license_key": license_key(&org), "product": "local_cli", "fingerprint": "f",
        }));
    let validate = Request::post(&format!("{}/api/v1/licenses/validate", edge.url()))
        .json(&activation.question(&json!({"max_staleness_s": 0})));
    for request in [
        activate,
        validate,
        activation.refresh(),
        activation.deactivate(),
        activation.features(),
    ] {
        let answer = with_claims(request).send().expect(200);
        assert_ne!(answer.header("x-request-id"), Some("claimed-by-the-client"));
    }
    let received = edge.origin.take_received();
    assert!(
        received.len() >= 6,
        "three documents and three writes: {received:?}"
    );
    for request in received {
        let all: Vec<_> = request
            .headers
            .iter()
            .map(|(_, value)| value.to_lowercase())
            .collect();
        for trace in ["203.0.113.66", "claimed"] {
            assert!(
                !all.iter().any(|value| value.contains(trace)),
                "{trace} in {request:?}"
            );
        }
        for name in ["licet-client-ip", "x-request-id"] {
            assert!(request.header(name).len() <= 1, "{name} twice: {request:?}");
        }
        // A client's token is no credential at the origin, and must not pass for the edge's.
        assert_eq!(request.header("authorization").len(), 1, "{request:?}");
        assert!(
            !request
                .headers
                .iter()
                .any(|(_, value)| value.contains(&activation.token)),
            "{request:?}"
        );
    }
}

#[test]
fn every_call_of_an_edge_is_signed_for_itself_and_a_retry_keeps_its_idempotency_key() {
    let edge = LoneEdge::start();
    let org = edge.org();
    let body =
        json!({"license_key": license_key(&org), "product": "local_cli", "fingerprint": "f"});
    let activate =
        || Request::post(&format!("{}/api/v1/licenses/activate", edge.url())).json(&body);
    let mut seen = BTreeSet::new();

    edge.origin.always(Reply::new(503, "text/plain", "busy"));
    let answer = activate().send();
    assert!([502, 503].contains(&answer.status), "{answer:?}");
    let received = edge.origin.take_received();
    assert!(
        (1..=2).contains(&received.len()),
        "one bounded retry: {received:?}"
    );
    let keys: BTreeSet<_> = received
        .iter()
        .map(|request| request.header("idempotency-key").join("|"))
        .collect();
    assert_eq!(keys.len(), 1, "a retry under another key: {keys:?}");
    assert!(keys.iter().all(|key| !key.is_empty()), "no idempotency key");
    for request in &received {
        seen.insert(expect_signed(&edge, request));
    }
    assert_eq!(seen.len(), received.len(), "a jti used twice");

    // The caller's own key goes through as it is; documents are fetched with signed calls, too.
    edge.origin.be_normal();
    org.shelve_all(&edge.origin, 1);
    let refused = r#"{"valid":false,"code":"LICENSE_NOT_FOUND","detail":"No."}"#;
    edge.origin.put(
        "/edge/v1/activations",
        Reply::new(200, "application/json", refused),
    );
    eventually("the edge asks again", SOON, || {
        let answer = activate()
            .header("Idempotency-Key", "the-caller-s-own")
            .send();
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
    org.installation(&edge.url(), org.sign(&org.license_claims(0)))
        .validate();
    let received = edge.origin.take_received();
    let posts: Vec<_> = received
        .iter()
        .filter(|request| request.method == "POST")
        .collect();
    assert!(!posts.is_empty());
    for post in posts {
        assert_eq!(post.header("idempotency-key"), ["the-caller-s-own"]);
    }
    for request in &received {
        assert!(
            seen.insert(expect_signed(&edge, request)),
            "a jti used twice"
        );
    }
}

/// Checks the call's token as the origin must, and gives its jti.
#[track_caller]
fn expect_signed(edge: &LoneEdge, request: &Received) -> String {
    let bearer = request.header("authorization").join("|");
    let token = bearer
        .strip_prefix("Bearer ")
        .unwrap_or_else(|| panic!("unsigned: {request:?}"));
    let key = edge.keys.edge_public.parse().unwrap();
    let untrusted = licet_shared::jws::Untrusted::<EdgeClaims>::parse(token, now()).unwrap();
    let verified = untrusted.verify(&key).expect("signed by the edge's key");
    let times = verified.times();
    assert_eq!(times.expires_at.since(times.issued_at), EdgeClaims::LIFE_S);
    let claims = verified.into_claims();
    assert_eq!(claims.aud, EdgeClaims::AUDIENCE);
    assert_eq!(claims.iss, key.kid());
    assert_eq!(claims.htm, request.method);
    assert_eq!(claims.htu, request.target);
    assert_eq!(claims.bh, EdgeClaims::body_hash(&request.body));
    assert_eq!(
        claims.idk.as_deref(),
        request.header("idempotency-key").first().copied()
    );
    claims.jti
}

fn license_key(org: &ForgedOrg) -> String {
    licet_shared::license_key::LicenseKey::new(org.tag, xtask::net::random().unwrap()).reveal()
}
