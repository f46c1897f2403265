//! Policies.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Bed, account::Caller};

const PATH: &str = "/api/v1/policies";

/// A product and a feature set for policies.
struct Catalogue {
    product: String,
    feature_set: String,
}

impl Catalogue {
    async fn of(bed: &Bed, caller: &Caller) -> Self {
        let product = json!({ "code": "cli", "name": "CLI" });
        let set = json!({ "name": "Pro", "features": { "seats": 5 } });
        Self {
            product: make(bed, caller, "/api/v1/products", &product).await,
            feature_set: make(bed, caller, "/api/v1/feature-sets", &set).await,
        }
    }

    fn policy(&self, name: &str) -> Value {
        json!({
            "name": name, "tier": "PRO", "feature_set_id": self.feature_set,
            "product_ids": [self.product], "max_activations": 3,
        })
    }
}

async fn make(bed: &Bed, caller: &Caller, path: &str, body: &Value) -> String {
    let made = bed.post(caller, path, body).await.json(201);
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_policy_lives_is_deleted_and_comes_back() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let catalogue = Catalogue::of(&bed, &owner).await;
    let reply = bed.post(&owner, PATH, &catalogue.policy("Yearly")).await;
    let made = reply.json(201);
    let one = reply.header("location").to_owned();
    for (field, value) in [
        ("tier", json!("PRO")),
        ("feature_set_id", json!(catalogue.feature_set)),
        ("product_ids", json!([catalogue.product])),
        ("max_activations", json!(3)),
        ("token_lifetime_s", json!(86_400)),
        ("grace_s", json!(604_800)),
        ("license_duration_s", json!(null)),
        ("fingerprint_rule", json!("BOUND")),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    assert_eq!(bed.get(&owner, &one).await.json(200), made);
    assert_eq!(
        bed.post(&owner, PATH, &catalogue.policy("Yearly"))
            .await
            .refused(409),
        "CONFLICT"
    );

    let product = json!({ "code": "ide", "name": "IDE" });
    let other = make(&bed, &owner, "/api/v1/products", &product).await;
    let change = json!({
        "name": "Trial", "tier": "TRIAL", "product_ids": [other, other], "max_activations": 1,
        "token_lifetime_s": 60, "grace_s": 0, "license_duration_s": 1_209_600, "fingerprint_rule": "FREE",
    });
    let changed = bed.patch(&owner, &one, &change).await;
    assert_eq!(changed.header("etag"), "\"2\"");
    let changed = changed.json(200);
    for (field, value) in change.as_object().unwrap() {
        let expected = if field == "product_ids" {
            &json!([other])
        } else {
            value
        };
        assert_eq!(&changed[field], expected, "{field}");
    }
    assert_eq!(bed.get(&owner, &one).await.json(200), changed);
    let same = bed.patch(&owner, &one, &change).await;
    assert_eq!(same.header("etag"), "\"2\"");
    // Null is a value, absence is none.
    let endless = bed
        .patch(&owner, &one, &json!({ "license_duration_s": null }))
        .await;
    assert!(endless.json(200)["license_duration_s"].is_null());

    bed.delete(&owner, &one).await.empty(204);
    bed.delete(&owner, &one).await.empty(204);
    let reply = bed.patch(&owner, &one, &json!({ "grace_s": 1 })).await;
    assert_eq!(reply.refused(409), "CONFLICT");
    // Nothing holds its feature set now, but it comes back only with that.
    let set = format!("/api/v1/feature-sets/{}", catalogue.feature_set);
    bed.delete(&owner, &set).await.empty(204);
    let restore = |path: String| {
        let (bed, owner) = (&bed, &owner);
        async move {
            bed.ask_with(owner, Method::POST, &format!("{path}/restore"), None, &[])
                .await
        }
    };
    assert_eq!(restore(one.clone()).await.refused(409), "CONFLICT");
    restore(set.clone()).await.json(200);
    assert!(restore(one).await.json(200)["deleted_at"].is_null());
    assert_eq!(bed.delete(&owner, &set).await.refused(409), "CONFLICT");

    let actions = bed
        .database
        .admin("SELECT action FROM licet.audit_events WHERE subject LIKE 'pol_%' ORDER BY seq");
    let actions: Vec<_> = actions
        .iter()
        .map(|row| row[0].as_deref().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "policy.created",
            "policy.updated",
            "policy.updated",
            "policy.deleted",
            "policy.restored"
        ]
    );
}

#[tokio::test]
async fn what_a_policy_names_is_there_and_in_range() {
    let bed = Bed::new();
    let (alpha, beta) = (
        bed.sign_up("alpha").await.caller,
        bed.sign_up("beta").await.caller,
    );
    let (mine, theirs) = (
        Catalogue::of(&bed, &alpha).await,
        Catalogue::of(&bed, &beta).await,
    );
    let made = make(&bed, &alpha, PATH, &mine.policy("Yearly")).await;
    let one = format!("{PATH}/{made}");
    let gone = json!({ "code": "gone", "name": "Gone" });
    let gone = make(&bed, &alpha, "/api/v1/products", &gone).await;
    bed.delete(&alpha, &format!("/api/v1/products/{gone}"))
        .await
        .empty(204);
    for (status, field, value) in [
        (404, "feature_set_id", json!(theirs.feature_set)),
        (404, "product_ids", json!([mine.product, theirs.product])),
        (404, "product_ids", json!([gone])),
        (400, "feature_set_id", json!(mine.product)),
        (400, "product_ids", json!([])),
        (400, "tier", json!("pro")),
        (400, "name", json!(" ")),
        (400, "max_activations", json!(0)),
        (400, "max_activations", json!(1_000_001)),
        (400, "token_lifetime_s", json!(59)),
        (400, "grace_s", json!(-1)),
        (400, "grace_s", json!(34_560_001)),
        (400, "license_duration_s", json!(0)),
        (400, "fingerprint_rule", json!("NONE")),
        (400, "colour", json!("red")),
    ] {
        let mut body = mine.policy("Other");
        body[field] = value.clone();
        let reply = bed.post(&alpha, PATH, &body).await;
        reply.refused(status);
        let mut change = json!({});
        change[field] = value;
        bed.patch(&alpha, &one, &change).await.refused(status);
    }
    assert_eq!(bed.get(&alpha, &one).await.header("etag"), "\"1\"");
}

#[tokio::test]
async fn policies_are_made_once_listed_filtered_and_changed_by_version() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let catalogue = Catalogue::of(&bed, &owner).await;
    let key = [("idempotency-key", "once")];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let body = catalogue.policy("P0");
        let reply = bed
            .ask_with(&owner, Method::POST, PATH, Some(&body), &key)
            .await;
        ids.push(reply.json(201)["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    for number in 1..5 {
        let mut body = catalogue.policy(&format!("P{number}"));
        body["tier"] = json!(if number == 3 { "TRIAL" } else { "PRO" });
        make(&bed, &owner, PATH, &body).await;
    }
    for (query, expected) in [
        ("limit=2", json!(["P4", "P3", "P2", "P1", "P0"])),
        ("limit=1&tier=PRO", json!(["P4", "P2", "P1", "P0"])),
        ("tier=TRIAL", json!(["P3"])),
        ("text=p2", json!(["P2"])),
        ("deleted=true", json!([])),
    ] {
        assert_eq!(
            json!(bed.pages(&owner, PATH, query, "name").await),
            expected
        );
    }
    for bad in ["limit=0", "cursor=x", "colour=red", "tier=pro", "deleted=x"] {
        let reply = bed.get(&owner, &format!("{PATH}?{bad}")).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
    }

    let one = format!("{PATH}/{}", ids[0].as_str().unwrap());
    let change = json!({ "grace_s": 7 });
    let tag = [("if-match", "\"1\"")];
    bed.ask_with(&owner, Method::PATCH, &one, Some(&change), &tag)
        .await
        .json(200);
    for (method, body) in [(Method::PATCH, Some(&change)), (Method::DELETE, None)] {
        let reply = bed.ask_with(&owner, method, &one, body, &tag).await;
        assert_eq!(reply.refused(412), "PRECONDITION_FAILED");
    }
}

#[tokio::test]
async fn anothers_policy_is_not_there() {
    let bed = Bed::new();
    let (alpha, beta) = (
        bed.sign_up("alpha").await.caller,
        bed.sign_up("beta").await.caller,
    );
    let catalogue = Catalogue::of(&bed, &alpha).await;
    let made = make(&bed, &alpha, PATH, &catalogue.policy("Yearly")).await;
    for id in [&made, "pol_01h455vb4pex5vsknk084sn02q", "nonsense"] {
        let one = format!("{PATH}/{id}");
        let replies = [
            bed.get(&beta, &one).await,
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
async fn guests_read_and_members_write_policies() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let catalogue = Catalogue::of(&bed, &owner).await;
    let made = make(&bed, &owner, PATH, &catalogue.policy("Yearly")).await;
    bed.roles(&owner, &format!("{PATH}/{made}"), &[], PATH)
        .await;
}
