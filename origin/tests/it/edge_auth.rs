//! Every way in which a call is not an edge's, against every operation there is.

use axum::http::StatusCode;
use base64ct::{Base64UrlUnpadded, Encoding};
use licet_origin::http::ReplayCapacity;
use licet_shared::jws::{LocalSigner, Times};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::support::{
    Bed, BedOptions, Seeded, TestDatabase,
    edge::{ACTIVATE, Call, DEACTIVATE, REFRESH, activation, now, unique},
    machine::Machine,
};

/// Every operation under `/edge/v1`, in its normal form. A new route is added here, or
/// [`every_route_is_on_the_list`] fails.
const ROUTES: [(&str, &str); 15] = [
    ("GET", "/edge/v1/orgs/{tag}/keys"),
    ("GET", "/edge/v1/orgs/{tag}/statuslists/{number}"),
    ("GET", "/edge/v1/orgs/{tag}/feature-sets/{id}"),
    ("GET", "/edge/v1/orgs/{tag}/licenses/{id}"),
    ("GET", "/edge/v1/revocations/{generation}/{since}"),
    ("POST", ACTIVATE),
    ("POST", REFRESH),
    ("POST", "/edge/v1/usage"),
    ("POST", DEACTIVATE),
    ("POST", "/edge/v1/leases/acquire"),
    ("POST", "/edge/v1/leases/heartbeat"),
    ("POST", "/edge/v1/leases/release"),
    ("POST", "/edge/v1/activations/license-file"),
    ("POST", "/edge/v1/activations/offline"),
    ("POST", "/edge/v1/activations/receipt"),
];

async fn operations(bed: &Bed, seeded: &Seeded) -> Vec<Call> {
    let answer = bed.activate(&seeded.key, "device").await;
    let token = answer.license_token.unwrap();
    let set = answer.feature_set.unwrap().id;
    let tag = seeded.tag;
    bed.set_terms(
        seeded,
        &json!({ "seats": { "max": 9 }, "offline_max_s": 86_400 }),
    );
    let lease = bed.acquire(&token, "ada").await.lease_token.unwrap();
    let seat = json!({ "token": token, "seat": { "holder": "ada" } });
    let machine = Machine::new("plant");
    let request = json!({ "request": machine.request(&seeded.key) });
    let offline = || Call::post("/edge/v1/activations/offline", &request);
    let file = bed.call(offline()).await.answer().license_file.unwrap();
    let receipt = machine.receipt(&file);
    vec![
        Call::get(&format!("/edge/v1/orgs/{tag}/keys")),
        Call::get(&format!("/edge/v1/orgs/{tag}/statuslists/0")),
        Call::get(&format!("/edge/v1/orgs/{tag}/feature-sets/{set}")),
        Call::get(&format!("/edge/v1/orgs/{tag}/licenses/{}", seeded.license)),
        Call::get("/edge/v1/revocations/0/0"),
        activation(&seeded.key, "device"),
        Call::post(REFRESH, &json!({ "token": token })),
        Call::post(
            "/edge/v1/usage",
            &json!({ "token": token, "uses": [{ "feature": "a", "amount": 1 }] }),
        ),
        Call::post(DEACTIVATE, &json!({ "token": token })),
        Call::post("/edge/v1/leases/acquire", &seat),
        Call::post("/edge/v1/leases/heartbeat", &json!({ "token": lease })),
        Call::post("/edge/v1/leases/release", &json!({ "token": lease })),
        Call::post(
            "/edge/v1/activations/license-file",
            &json!({ "token": token }),
        ),
        offline(),
        Call::post(
            "/edge/v1/activations/receipt",
            &json!({ "receipt": receipt }),
        ),
    ]
}

type Spoil = fn(&mut Call);

/// Everything that makes a good call a bad one.
const SPOILS: &[(&str, Spoil)] = &[
    ("another method", |call| call.claims.htm = "PUT".into()),
    ("another path", |call| {
        call.claims.htu = "/edge/v1/orgs/ZZZZZZZZ/keys".into();
    }),
    ("a query that is not signed", |call| {
        call.target.push_str("?x=1");
    }),
    ("another body", |call| call.body.push(b' ')),
    ("the hash of nothing, for something", |call| {
        call.body = b"{}".to_vec();
        call.claims.bh = Base64UrlUnpadded::encode_string(&Sha256::digest(b""));
    }),
    ("an idempotency key that is not signed", |call| {
        call.headers.push(("idempotency-key", "k".into()));
    }),
    ("an idempotency key that is not sent", |call| {
        call.claims.idk = Some("k".into());
    }),
    ("another idempotency key", |call| {
        call.claims.idk = Some("k".into());
        call.headers.push(("idempotency-key", "l".into()));
    }),
    ("two idempotency keys", |call| {
        call.claims.idk = Some("k".into());
        call.headers.push(("idempotency-key", "k".into()));
        call.headers.push(("idempotency-key", "k".into()));
    }),
    ("another audience", |call| {
        call.claims.aud = "licet-edge".into();
    }),
    ("another issuer than its key", |call| {
        call.claims.iss = "edge.2".into();
    }),
    ("an unknown edge", |call| {
        call.signer = LocalSigner::from_seed("edge.9", [9; 32]);
        call.claims.iss = "edge.9".into();
    }),
    ("a known edge's name over another key", |call| {
        call.signer = LocalSigner::from_seed("edge.1", [9; 32]);
    }),
    ("the platform's key", |call| {
        call.signer = super::support::platform();
    }),
    ("an end in the past", |call| {
        call.times = Times::starting(now().plus(-125), 60);
    }),
    ("a beginning in the future", |call| {
        call.times = Times::starting(now().plus(75), 60);
    }),
    ("too long a life", |call| {
        call.times = Times::starting(now(), 61);
    }),
    ("no name", |call| call.claims.jti = String::new()),
    ("too long a name", |call| call.claims.jti = "x".repeat(129)),
];

#[tokio::test]
async fn every_operation_refuses_every_bad_call_alike() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    for call in operations(&bed, &seeded).await {
        for (what, spoil) in SPOILS {
            let mut bad = call.clone();
            bad.claims.jti = unique();
            spoil(&mut bad);
            let name = format!("{} {} with {what}", bad.method, bad.target);
            let reply = bed.call(bad).await;
            assert_eq!(
                reply.status,
                StatusCode::UNAUTHORIZED,
                "{name}: {}",
                reply.text()
            );
            assert_eq!(reply.code(), "UNAUTHORIZED");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
    }
}

#[tokio::test]
async fn every_operation_refuses_a_missing_or_foreign_token() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let license_token = bed
        .activate(&seeded.key, "device")
        .await
        .license_token
        .unwrap();
    for call in operations(&bed, &seeded).await {
        let good = call.token();
        for header in [
            None,
            Some(String::new()),
            Some("Bearer".into()),
            Some("Bearer ".into()),
            Some(format!("Basic {good}")),
            Some(format!("Bearer {good}.")),
            Some(format!("Bearer {}", good.replace('.', ""))),
            Some(format!("Bearer {license_token}")),
            Some(format!("Bearer {}", "x".repeat(9000))),
        ] {
            let mut request = call.clone().request();
            request.headers_mut().remove("authorization");
            if let Some(header) = &header {
                request
                    .headers_mut()
                    .insert("authorization", header.parse().unwrap());
            }
            let reply = bed.send(request).await;
            assert_eq!(reply.code(), "UNAUTHORIZED", "{} {header:?}", call.target);
        }
        let mut twice = call.clone().request();
        twice
            .headers_mut()
            .append("authorization", format!("Bearer {good}").parse().unwrap());
        assert_eq!(bed.send(twice).await.code(), "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn a_call_counts_once() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    for call in operations(&bed, &seeded).await {
        assert_eq!(
            bed.call(call.clone()).await.status,
            StatusCode::OK,
            "{}",
            call.target
        );
        assert_eq!(
            bed.call(call.clone()).await.code(),
            "UNAUTHORIZED",
            "{}",
            call.target
        );
        // Signed again under the same name, it is the same call.
        let again = Call {
            times: Times::starting(now().plus(-1), 60),
            ..call
        };
        assert_eq!(bed.call(again).await.code(), "UNAUTHORIZED");
    }
}

/// Someone who can't sign must not be able to spend an edge's call before it arrives.
#[tokio::test]
async fn a_bad_call_does_not_spend_a_good_ones_name() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let call = activation(&seeded.key, "device");
    let mut altered = call.clone().request();
    *altered.body_mut() = axum::body::Body::from("{}");
    assert_eq!(bed.send(altered).await.code(), "UNAUTHORIZED");
    assert!(bed.call(call).await.answer().valid);
}

#[tokio::test]
async fn a_clock_a_little_off_is_forgiven() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    for offset in [-110, -60, 0, 60] {
        let mut call = Call::get(&format!("/edge/v1/orgs/{}/keys", seeded.tag));
        call.times = Times::starting(now().plus(offset), 60);
        assert_eq!(bed.call(call).await.status, StatusCode::OK, "{offset}");
    }
}

#[tokio::test]
async fn a_full_memory_refuses_calls_that_act_and_forgets_those_that_read() {
    let replay_capacity = ReplayCapacity {
        reads: 2,
        writes: 2,
    };
    let options = BedOptions {
        replay_capacity,
        ..BedOptions::default()
    };
    let bed = Bed::with(TestDatabase::migrated(), &options);
    let seeded = bed.database.seed("alpha", 5);
    let read = || Call::get(&format!("/edge/v1/orgs/{}/keys", seeded.tag));
    for _ in 0..5 {
        assert_eq!(bed.call(read()).await.status, StatusCode::OK);
    }
    // Reading as much as one likes keeps nobody from acting.
    let act = activation(&seeded.key, "device");
    assert!(bed.call(act.clone()).await.answer().valid);
    assert!(bed.activate(&seeded.key, "device").await.valid);
    let reply = bed.call(activation(&seeded.key, "device")).await;
    assert_eq!(
        (reply.code(), reply.header("retry-after")),
        ("UNAVAILABLE", "1")
    );
    // What acts is not forgotten, and what reads is still read.
    assert_eq!(bed.call(act).await.code(), "UNAUTHORIZED");
    let last = read();
    assert_eq!(bed.call(last.clone()).await.status, StatusCode::OK);
    assert_eq!(bed.call(last).await.code(), "UNAUTHORIZED");
}

#[tokio::test]
async fn a_request_id_is_taken_over_from_an_edge_alone() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let call = activation(&seeded.key, "device").header("x-request-id", "edge-request-1");
    assert_eq!(
        bed.call(call.clone()).await.answer().request_id.as_deref(),
        Some("edge-request-1")
    );
    // The same call again is a replay, but an edge's.
    let reply = bed.call(call.clone()).await;
    assert_eq!(reply.problem().request_id, "edge-request-1");
    let mut request = call.request();
    request.headers_mut().remove("authorization");
    assert_ne!(
        bed.send(request).await.problem().request_id,
        "edge-request-1"
    );
}

/// The router's own table can't be asked, so each path of the source is.
#[test]
fn every_route_is_on_the_list() {
    let source = include_str!("../../src/edge_api.rs");
    let mut routes: Vec<(String, String)> = Vec::new();
    for route in source.split(".route(").skip(1) {
        // rustfmt may have broken it into lines.
        let (path, rest) = route.trim_start()[1..].split_once('"').unwrap();
        let (method, rest) = rest
            .trim_start_matches([',', ' ', '\n'])
            .split_once('(')
            .unwrap();
        assert_eq!(
            rest.matches("::").count(),
            1,
            "one method per route: {route}"
        );
        routes.push((method.to_uppercase(), path.into()));
    }
    let listed: Vec<_> = ROUTES
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .to_vec();
    assert_eq!(routes, listed);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_a_name_are_answered_alike() {
    let bed = Bed::new();
    let (alpha, beta) = (bed.database.seed("alpha", 5), bed.database.seed("beta", 5));
    let set = bed
        .activate(&beta.key, "device")
        .await
        .feature_set
        .unwrap()
        .id;
    let (tag, other) = (alpha.tag, "ZZZZZZZZ");
    let targets = [
        format!("/edge/v1/orgs/{other}/keys"),
        "/edge/v1/orgs/lower/keys".into(),
        format!("/edge/v1/orgs/{}/keys", tag.as_str().to_lowercase()),
        format!("/edge/v1/orgs/{other}/statuslists/0"),
        format!("/edge/v1/orgs/{tag}/statuslists/1"),
        format!("/edge/v1/orgs/{tag}/statuslists/00"),
        format!("/edge/v1/orgs/{tag}/statuslists/-1"),
        format!("/edge/v1/orgs/{tag}/statuslists/4294967295"),
        format!("/edge/v1/orgs/{tag}/statuslists/99999999999999"),
        format!("/edge/v1/orgs/{tag}/feature-sets/{set}"),
        format!("/edge/v1/orgs/{tag}/feature-sets/fs_none"),
        format!("/edge/v1/orgs/{tag}/feature-sets/{}", alpha.license),
        format!("/edge/v1/orgs/{tag}/licenses/{}", beta.license),
        format!("/edge/v1/orgs/{tag}/licenses/{set}"),
    ];
    let mut details = Vec::new();
    for target in targets {
        let problem = bed.call(Call::get(&target)).await.problem();
        assert_eq!(problem.code.as_str(), "NOT_FOUND", "{target}");
        details.push(problem.detail);
    }
    details.dedup();
    assert_eq!(details.len(), 1);
}
