//! Feature sets and their revisions.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Bed;

const PATH: &str = "/api/v1/feature-sets";

fn feature_set(name: &str) -> Value {
    json!({ "name": name, "features": { "export.pdf": true, "seats": 5 } })
}

#[tokio::test]
async fn values_change_by_revisions_alone() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let first =
        json!({ "on": false, "seats": 5, "rate": 0.5, "name": "x", "json": { "a": [1, null] } });
    let body = json!({ "name": "Pro", "features": first });
    let reply = bed.post(&owner, PATH, &body).await;
    let made = reply.json(201);
    let one = reply.header("location").to_owned();
    assert_eq!(one, format!("{PATH}/{}", made["id"].as_str().unwrap()));
    assert_eq!((&made["revision"], &made["features"]), (&json!(1), &first));
    assert_eq!(bed.get(&owner, &one).await.json(200), made);

    let renamed = bed.patch(&owner, &one, &json!({ "name": "Pro 2" })).await;
    assert_eq!(renamed.header("etag"), "\"2\"");
    assert_eq!(renamed.json(200)["revision"], 1);
    // The same values are no revision.
    let same = bed.patch(&owner, &one, &json!({ "features": first })).await;
    assert_eq!(same.header("etag"), "\"2\"");

    let second = json!({ "seats": 6 });
    let revised = bed
        .patch(&owner, &one, &json!({ "features": second }))
        .await;
    assert_eq!(revised.header("etag"), "\"3\"");
    let revised = revised.json(200);
    assert_eq!(
        (&revised["name"], &revised["revision"], &revised["features"]),
        (&json!("Pro 2"), &json!(2), &second)
    );
    for (number, features) in [(1, &first), (2, &second)] {
        let revision = bed.get(&owner, &format!("{one}/revisions/{number}")).await;
        let revision = revision.json(200);
        assert_eq!(
            (&revision["revision"], &revision["features"]),
            (&json!(number), features)
        );
    }
    for bad in ["0", "3", "-1", "x", "99999999999"] {
        let reply = bed.get(&owner, &format!("{one}/revisions/{bad}")).await;
        assert_eq!(reply.refused(404), "NOT_FOUND", "{bad}");
    }
    let list = bed.get(&owner, PATH).await.json(200);
    assert_eq!(list["data"][0]["revision"], 2);
    assert!(list["data"][0].get("features").is_none());

    let events = bed.database.admin(
        "SELECT action, before ->> 'revision', after ->> 'revision' FROM licet.audit_events
         WHERE subject LIKE 'fs_%' ORDER BY seq",
    );
    let events: Vec<_> = events
        .iter()
        .map(|row| [0, 1, 2].map(|at| row[at].clone().unwrap_or_default()))
        .collect();
    assert_eq!(
        events,
        [
            ["feature_set.created", "", "1"],
            ["feature_set.updated", "1", "1"],
            ["feature_set.updated", "1", "2"]
        ]
    );
}

#[tokio::test]
async fn values_have_types_and_limits() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let many: serde_json::Map<_, _> = (0..1001).map(|n| (n.to_string(), json!(1))).collect();
    // Short as it is sent, long as the table would write it.
    let expanding: serde_json::Map<_, _> =
        (0..900).map(|n| (n.to_string(), json!(1e300))).collect();
    for bad in [
        json!([]),
        json!(null),
        json!({ "a": null }),
        json!({ "": 1 }),
        json!({ "a b": 1 }),
        json!({ "x".repeat(129): 1 }),
        json!({ "a": "x".repeat(32 * 1024) }),
        json!({ "a": "\u{0}" }),
        json!({ "a": [[[[[[[[[1]]]]]]]]] }),
        json!(many),
        json!(expanding),
    ] {
        let body = json!({ "name": "Pro", "features": bad });
        let reply = bed.post(&owner, PATH, &body).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
    }
    bed.post(&owner, PATH, &json!({ "name": "Pro", "features": {} }))
        .await
        .json(201);
    assert_eq!(
        bed.post(&owner, PATH, &feature_set("Pro"))
            .await
            .refused(409),
        "CONFLICT"
    );
}

#[tokio::test]
async fn one_in_use_is_not_deleted() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let made = bed.post(&owner, PATH, &feature_set("Pro")).await.json(201);
    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());
    bed.database.admin(
        "INSERT INTO licet.policies (org_id, id, name, tier, feature_set_id, max_activations)
         SELECT org_id, gen_random_uuid(), 'P', 'PRO', id, 1 FROM licet.feature_sets",
    );
    assert_eq!(bed.delete(&owner, &one).await.refused(409), "CONFLICT");
    // What keeps it now is a license.
    bed.database.admin(
        "WITH gone AS (UPDATE licet.policies SET deleted_at = now() RETURNING *)
         INSERT INTO licet.licenses (org_id, id, key_hash, policy_id, feature_set_id, max_activations)
         SELECT org_id, gen_random_uuid(), sha256('k'), id, feature_set_id, 1 FROM gone",
    );
    assert_eq!(bed.delete(&owner, &one).await.refused(409), "CONFLICT");
    bed.database
        .admin("UPDATE licet.licenses SET status = 'REVOKED'");
    bed.delete(&owner, &one).await.empty(204);
    bed.delete(&owner, &one).await.empty(204);

    assert!(bed.get(&owner, &one).await.json(200)["deleted_at"].is_string());
    let reply = bed.patch(&owner, &one, &json!({ "name": "x" })).await;
    assert_eq!(reply.refused(409), "CONFLICT");
    let count = |query: &'static str| {
        let (bed, owner) = (&bed, &owner);
        async move {
            let list = bed.get(owner, &format!("{PATH}?{query}")).await.json(200);
            list["data"].as_array().unwrap().len()
        }
    };
    assert_eq!((count("").await, count("deleted=true").await), (0, 1));
    let restored = bed
        .ask_with(&owner, Method::POST, &format!("{one}/restore"), None, &[])
        .await;
    assert!(restored.json(200)["deleted_at"].is_null());
    assert_eq!(restored.header("etag"), "\"3\"");
    assert_eq!((count("text=pR").await, count("text=x").await), (1, 0));
}

#[tokio::test]
async fn only_the_version_that_is_meant_changes() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let made = bed.post(&owner, PATH, &feature_set("Pro")).await.json(201);
    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let change = json!({ "features": { "seats": 9 } });
    let send = |method, body, tag| {
        let (bed, owner, one) = (&bed, &owner, &one);
        async move {
            bed.ask_with(owner, method, one, body, &[("if-match", tag)])
                .await
        }
    };
    let reply = send(Method::PATCH, Some(&change), "\"1\"").await;
    assert_eq!(reply.json(200)["revision"], 2);
    for (method, body) in [(Method::PATCH, Some(&change)), (Method::DELETE, None)] {
        let reply = send(method, body, "\"1\"").await;
        assert_eq!(reply.refused(412), "PRECONDITION_FAILED");
    }
    assert_eq!(bed.get(&owner, &one).await.header("etag"), "\"2\"");
}

#[tokio::test]
async fn a_repeated_creation_is_one_feature_set() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let key = [("idempotency-key", "once")];
    let send = |body| {
        let (bed, owner) = (&bed, &owner);
        async move {
            bed.ask_with(owner, Method::POST, PATH, Some(&body), &key)
                .await
        }
    };
    let first = send(feature_set("Pro")).await;
    let second = send(feature_set("Pro")).await;
    assert_eq!(first.json(201), second.json(201));
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(
        send(feature_set("Other")).await.refused(422),
        "IDEMPOTENCY_KEY_REUSED"
    );
}

#[tokio::test]
async fn lists_of_sets_and_revisions_go_page_by_page() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let mut one = String::new();
    for number in 0..5 {
        let reply = bed
            .post(&owner, PATH, &feature_set(&format!("F{number}")))
            .await;
        one = reply.header("location").to_owned();
    }
    for seats in 1..5 {
        bed.patch(&owner, &one, &json!({ "features": { "seats": seats } }))
            .await
            .json(200);
    }
    let revisions = format!("{one}/revisions");
    for (path, field, expected) in [
        (PATH, "name", json!(["F4", "F3", "F2", "F1", "F0"])),
        (&revisions, "revision", json!([5, 4, 3, 2, 1])),
    ] {
        let seen = bed.pages(&owner, path, "limit=2", field).await;
        assert_eq!(json!(seen), expected);
        for bad in ["limit=0", "cursor=x", "colour=red"] {
            let reply = bed.get(&owner, &format!("{path}?{bad}")).await;
            assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
        }
    }
}

#[tokio::test]
async fn anothers_feature_set_is_not_there() {
    let bed = Bed::new();
    let (alpha, beta) = (
        bed.sign_up("alpha").await.caller,
        bed.sign_up("beta").await.caller,
    );
    let made = bed.post(&alpha, PATH, &feature_set("Pro")).await.json(201);
    bed.post(&beta, PATH, &feature_set("Pro")).await.json(201);
    for id in [
        made["id"].as_str().unwrap(),
        "fs_01h455vb4pex5vsknk084sn02q",
        "nonsense",
    ] {
        let one = format!("{PATH}/{id}");
        let replies = [
            bed.get(&beta, &one).await,
            bed.get(&beta, &format!("{one}/revisions")).await,
            bed.get(&beta, &format!("{one}/revisions/1")).await,
            bed.patch(&beta, &one, &json!({ "name": "x" })).await,
            bed.delete(&beta, &one).await,
            bed.ask_with(&beta, Method::POST, &format!("{one}/restore"), None, &[])
                .await,
        ];
        for reply in replies {
            assert_eq!(reply.refused(404), "NOT_FOUND", "{id}");
        }
    }
}

#[tokio::test]
async fn guests_read_and_members_write() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let made = bed.post(&owner, PATH, &feature_set("Pro")).await.json(201);
    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());
    bed.roles(&owner, &one, &["/revisions", "/revisions/1"], PATH)
        .await;
}
