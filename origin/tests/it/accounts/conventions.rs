//! What all operations share: limits by plan, CORS, and how refusals look.

use axum::{
    body::Body,
    http::{Method, Request},
};
use licet_origin::{
    api::{AccountSettings, PlanQuotas},
    buckets::Quota,
};
use serde_json::json;

use crate::support::{Bed, BedOptions, TestDatabase};

const PRODUCTS: &str = "/api/v1/products";

fn bed(accounts: AccountSettings) -> Bed {
    let options = BedOptions {
        accounts,
        ..BedOptions::default()
    };
    Bed::with(TestDatabase::migrated(), &options)
}

#[tokio::test]
async fn an_organization_has_what_its_plan_allows() {
    let few = Quota {
        capacity: 3,
        window_s: 3600,
    };
    let bed = bed(AccountSettings {
        quotas: PlanQuotas {
            free: few,
            ..PlanQuotas::default()
        },
        ..AccountSettings::default()
    });
    let (alpha, beta) = (bed.sign_up("alpha").await, bed.sign_up("beta").await);
    for left in ["2", "1", "0"] {
        let reply = bed.get(&alpha.caller, PRODUCTS).await;
        reply.json(200);
        assert!(
            reply
                .header("ratelimit")
                .starts_with(&format!("\"plan\";r={left};t="))
        );
        assert_eq!(reply.header("ratelimit-policy"), "\"plan\";q=3;w=3600");
    }
    let reply = bed.get(&alpha.caller, PRODUCTS).await;
    assert_eq!(reply.refused(429), "RATE_LIMITED");
    assert!(reply.header("retry-after").parse::<u32>().unwrap() > 1000);
    assert!(reply.header("ratelimit").starts_with("\"plan\";r=0;"));
    // Another's are another's, and so is another plan's limit.
    bed.get(&beta.caller, PRODUCTS).await.json(200);
    bed.database
        .admin("UPDATE licet.organizations SET plan = 'PRO' WHERE slug = 'alpha'");
    let reply = bed.get(&alpha.caller, PRODUCTS).await;
    assert_eq!(reply.header("ratelimit-policy"), "\"plan\";q=3000;w=60");
}

#[tokio::test]
async fn pages_of_configured_origins_may_call() {
    let bed = bed(AccountSettings {
        cors_origins: vec!["https://console.test".into()],
        ..AccountSettings::default()
    });
    let send = |method: Method, path: &'static str, origin: &'static str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .body(Body::empty())
            .unwrap();
        bed.send(request)
    };
    let reply = send(Method::OPTIONS, PRODUCTS, "https://console.test").await;
    reply.empty(204);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "https://console.test"
    );
    assert!(
        reply
            .header("access-control-allow-methods")
            .contains("PATCH")
    );
    assert!(
        reply
            .header("access-control-allow-headers")
            .contains("if-match")
    );
    assert_eq!(reply.header("access-control-allow-credentials"), "");
    // A refusal can be read as well.
    let reply = send(Method::GET, PRODUCTS, "https://console.test").await;
    assert_eq!(reply.refused(401), "UNAUTHORIZED");
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "https://console.test"
    );
    assert!(
        reply
            .header("access-control-expose-headers")
            .contains("etag")
    );
    for (path, origin) in [
        (PRODUCTS, "https://evil.test"),
        (PRODUCTS, "null"),
        ("/edge/v1/orgs/ZZZZZZZZ/keys", "https://console.test"),
    ] {
        let reply = send(Method::OPTIONS, path, origin).await;
        assert_eq!(
            reply.header("access-control-allow-origin"),
            "",
            "{path} {origin}"
        );
    }
}

#[tokio::test]
async fn methods_media_types_and_sizes_are_held_to() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let reply = bed.ask_with(&owner, Method::PUT, PRODUCTS, None, &[]).await;
    assert_eq!(reply.refused(405), "METHOD_NOT_ALLOWED");
    let allow = reply.header("allow");
    assert!(
        allow.contains("GET") && allow.contains("POST") && !allow.contains("PATCH"),
        "{allow}"
    );
    bed.ask_with(&owner, Method::HEAD, PRODUCTS, None, &[])
        .await
        .empty(200);
    assert_eq!(
        bed.get(&owner, "/api/v1/nothing").await.refused(404),
        "NOT_FOUND"
    );

    let body = json!({ "code": "cli", "name": "CLI", "description": "x".repeat(66_000) });
    assert_eq!(
        bed.post(&owner, PRODUCTS, &body).await.refused(413),
        "BODY_TOO_LARGE"
    );
    let request = Request::post(PRODUCTS)
        .header("authorization", format!("Bearer {}", owner.bearer))
        .header("content-type", "text/plain")
        .body(Body::from("{}"))
        .unwrap();
    assert_eq!(
        bed.send(request).await.refused(415),
        "UNSUPPORTED_MEDIA_TYPE"
    );
    for key in ["", "a b", &"x".repeat(256)] {
        let body = json!({ "code": "cli", "name": "CLI" });
        let once = [("idempotency-key", key)];
        let reply = bed
            .ask_with(&owner, Method::POST, PRODUCTS, Some(&body), &once)
            .await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{key:?}");
    }
    let mut deep = json!(1);
    for _ in 0..9 {
        deep = json!({ "a": deep });
    }
    let body = json!({ "settings": deep });
    assert_eq!(
        bed.patch(&owner, "/api/v1/organization", &body)
            .await
            .refused(400),
        "BAD_REQUEST"
    );
}

#[tokio::test]
async fn an_organization_reads_and_changes_itself() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let path = "/api/v1/organization";
    let read = bed.get(&owner.caller, path).await;
    let before = read.json(200);
    assert_eq!(
        (&before["slug"], &before["plan"]),
        (&json!("alpha"), &json!("FREE"))
    );
    assert_eq!(
        before["quotas"],
        json!({ "max_users": 5, "max_projects": 10, "max_licenses": 1000 })
    );
    let settings = json!({ "theme": { "dark": true } });
    let reply = bed
        .patch(
            &owner.caller,
            path,
            &json!({ "name": "Alpha Ltd", "settings": settings }),
        )
        .await;
    let after = reply.json(200);
    assert_eq!(
        (&after["name"], &after["settings"]),
        (&json!("Alpha Ltd"), &settings)
    );
    let stale = [("if-match", read.header("etag"))];
    let body = json!({ "name": "x" });
    let reply = bed
        .ask_with(&owner.caller, Method::PATCH, path, Some(&body), &stale)
        .await;
    assert_eq!(reply.refused(412), "PRECONDITION_FAILED");
    // What says who it is can't be changed here.
    for field in ["slug", "tag", "plan", "quotas", "max_users"] {
        let body = json!({ field: "x" });
        assert_eq!(
            bed.patch(&owner.caller, path, &body).await.refused(400),
            "BAD_REQUEST"
        );
    }
}
