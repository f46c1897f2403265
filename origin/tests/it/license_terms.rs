//! A license's own features, its renewal, its way to another policy, and finding it by its key.

use axum::http::Method;
use licet_shared::decision::{Code, LicenseToken};
use serde_json::{Map, Value, json};

use crate::{
    licenses::{Shop, one},
    support::{
        Bed, TestDatabase,
        account::Caller,
        edge::{Call, Reply, now},
    },
};

const PATH: &str = "/api/v1/licenses";
const LATE: &str = "2090-01-01T00:00:00Z";

impl Shop {
    pub async fn patch(&self, license: &Value, body: Value) -> Reply {
        self.bed.patch(&self.owner, &one(license), &body).await
    }

    pub async fn post(&self, license: &Value, action: &str, body: Value) -> Reply {
        let path = format!("{}/{action}", one(license));
        self.bed.post(&self.owner, &path, &body).await
    }

    pub async fn demo(&self) -> Value {
        let path = format!("{PATH}/{}", self.seeded.license);
        self.bed.get(&self.owner, &path).await.json(200)
    }

    /// Another policy: of the tier ENTERPRISE, another feature set, two products, 2 devices.
    async fn other_policy(&self, more: &[(&str, Value)]) -> Value {
        let make = async |path: &str, body: Value| {
            let made = self.bed.post(&self.owner, path, &body).await.json(201);
            made["id"].clone()
        };
        let product = json!({ "code": "cloud_ide", "name": "IDE" });
        let product = make("/api/v1/products", product).await;
        let set = json!({ "name": "all", "features": { "export.pdf": true, "sso": true } });
        let set = make("/api/v1/feature-sets", set).await;
        let demo = format!("/api/v1/policies/{}", self.policy);
        let demo = self.bed.get(&self.owner, &demo).await.json(200);
        let mut policy = json!({
            "name": "enterprise", "tier": "ENTERPRISE", "feature_set_id": set, "max_activations": 2,
            "product_ids": [product, demo["product_ids"][0]], "license_duration_s": 31_536_000,
            "fingerprint_rule": "FREE", "grace_s": 60,
        });
        for (name, value) in more {
            policy[*name] = value.clone();
        }
        let made = make("/api/v1/policies", policy).await;
        json!({ "id": made, "feature_set": set })
    }

    /// The features that the license's devices are told of, and those in its token's own claim.
    async fn granted(&self, key: &str) -> (Value, Value) {
        let answer = self.bed.activate(key, "device").await;
        let token = answer.license_token.unwrap();
        let keys = self.bed.keys(&self.seeded).await;
        let token = LicenseToken::verify(&token, Some(&keys), now()).unwrap();
        (json!(answer.features.unwrap()), json!(token.claims().fo))
    }
}

fn key(license: &Value) -> &str {
    license["key"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_has_features_of_its_own_and_no_other_has_them() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let own =
        json!({ "export.pdf": null, "projects.max": 250, "rate": 0.5, "licensee": "Jane Roe" });
    let made = shop.issue(&[("features", own.clone())]).await;
    assert_eq!(made["features"], own);
    let all = json!({ "projects.max": 250, "rate": 0.5, "licensee": "Jane Roe" });
    assert_eq!(shop.granted(key(&made)).await, (all, own));
    let of_set = json!({ "export.pdf": true, "projects.max": 25 });
    let without = (of_set.clone(), json!({}));
    assert_eq!(shop.granted(&shop.seeded.key).await, without);
    assert_eq!(shop.demo().await["features"], json!({}));

    // A change is in the next token, that of a refresh included.
    let before = bed.activate(key(&made), "device").await;
    let own = json!({ "beta": { "since": [1, 2] } });
    let changed = shop.patch(&made, json!({ "features": own })).await;
    assert_eq!(changed.header("etag"), "\"2\"");
    assert_eq!(changed.json(200)["features"], own);
    let refreshed = bed.refresh(&before.license_token.unwrap()).await;
    let all = json!({ "beta": { "since": [1, 2] }, "export.pdf": true, "projects.max": 25 });
    assert_eq!(json!(refreshed.features.unwrap()), all);
    assert_eq!(shop.granted(key(&made)).await, (all, own.clone()));
    // The same again is no change, and other terms leave it alone.
    let again = shop.patch(&made, json!({ "features": own })).await;
    assert_eq!(again.header("etag"), "\"2\"");
    let other = shop.patch(&made, json!({ "max_activations": 7 })).await;
    assert_eq!(other.json(200)["features"], own);
    let none = shop.patch(&made, json!({ "features": {} })).await;
    assert_eq!(none.json(200)["features"], json!({}));
    assert_eq!(shop.granted(key(&made)).await, without);

    let batch = json!({ "policy_id": shop.policy, "count": 3, "features": { "beta": true } });
    let batch = bed
        .post(&shop.owner, &format!("{PATH}/batch"), &batch)
        .await
        .json(201);
    for license in batch["data"].as_array().unwrap() {
        let (all, _) = shop.granted(key(license)).await;
        assert_eq!(
            all,
            json!({ "beta": true, "export.pdf": true, "projects.max": 25 })
        );
    }

    // The trail tells what changed, but no text, which may name somebody.
    let rows = bed.database.admin(
        "SELECT e.action, e.details ->> 'features', e.details ->> 'changed_too',
             e.before ->> 'features', e.after ->> 'features'
         FROM licet.audit_events e WHERE e.subject LIKE 'lic_%' ORDER BY e.seq",
    );
    let row = |at: usize| {
        rows[at]
            .iter()
            .map(|field| field.clone().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        row(1)[..2],
        [
            "license.issued",
            r#"["export.pdf", "licensee", "projects.max", "rate"]"#
        ]
    );
    assert_eq!(
        row(2),
        [
            "license.updated",
            "",
            r#"["features"]"#,
            r#"{"export.pdf":null,"licensee":"(a text)","projects.max":250,"rate":0.5}"#,
            r#"{"beta":"(JSON)"}"#
        ]
    );
    assert!(!format!("{rows:?}").contains("Jane"));
    let verify = ["audit", "verify", "--org", "alpha"];
    bed.database.command(&verify).succeed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_features_have_the_forms_of_a_sets_and_fit_into_tokens() {
    let shop = Shop::open().await;
    let (bed, owner) = (&shop.bed, &shop.owner);
    let many = |count: usize| -> Map<String, Value> {
        (0..count).map(|n| (n.to_string(), json!(1))).collect()
    };
    // Short as it is sent, long as the table would write it.
    let expanding: Map<_, _> = (0..64).map(|n| (n.to_string(), json!(1e300))).collect();
    let demo = shop.demo().await;
    for bad in [
        json!([]),
        json!({ "": 1 }),
        json!({ "a b": 1 }),
        json!({ "x".repeat(129): 1 }),
        json!({ "a": "x".repeat(2048) }),
        json!({ "a": "\u{0}" }),
        json!({ "a": [[[[[[[[[1]]]]]]]]] }),
        json!(many(65)),
        json!(expanding),
    ] {
        let body = json!({ "policy_id": shop.policy, "features": bad });
        let reply = bed.post(owner, PATH, &body).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
        let mut batch = body.clone();
        batch["count"] = json!(2);
        let reply = bed.post(owner, &format!("{PATH}/batch"), &batch).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
        let reply = shop.patch(&demo, json!({ "features": bad })).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
    }
    let twice = r#"{"features":{"a":1,"a":2}}"#;
    let request = crate::support::account::request(Method::PATCH, &one(&demo), Some(&json!({})))
        .header("authorization", format!("Bearer {}", owner.bearer))
        .body(twice.into());
    let reply = bed.send(request.unwrap()).await;
    assert_eq!(reply.refused(400), "BAD_REQUEST");
    assert!(reply.text().contains("twice"), "{}", reply.text());

    // The most that there may be, under the most products.
    let most = json!({ "a": "x".repeat(2048 - 8) });
    shop.patch(&demo, json!({ "features": many(64) }))
        .await
        .json(200);
    shop.patch(&demo, json!({ "features": most }))
        .await
        .json(200);
    assert!(bed.activate(&shop.seeded.key, "device").await.valid);
    bed.database.admin(
        "INSERT INTO licet.products (org_id, id, code, name)
         SELECT org_id, gen_random_uuid(), rpad('p' || n || '-', 64, 'x'), 'n'
         FROM licet.organizations, generate_series(1, 63) n",
    );
    bed.database.admin(
        "INSERT INTO licet.policy_products (org_id, policy_id, product_id)
         SELECT p.org_id, p.id, d.id FROM licet.policies p, licet.products d ON CONFLICT DO NOTHING",
    );
    let full = shop.issue(&[]).await;
    assert!(bed.activate(key(&full), "device").await.valid);
    let body = json!({ "policy_id": shop.policy, "features": most });
    for reply in [
        bed.post(owner, PATH, &body).await,
        shop.patch(&full, json!({ "features": most })).await,
        shop.post(&demo, "transfer", json!({ "policy_id": shop.policy }))
            .await,
    ] {
        assert_eq!(reply.refused(409), "CONFLICT");
        assert!(reply.text().contains("64 products"), "{}", reply.text());
    }
    // One that is too long already may be changed all the same, and made shorter.
    bed.database.admin(
        "INSERT INTO licet.license_products (org_id, license_id, product_id)
         SELECT l.org_id, l.id, d.id FROM licet.licenses l, licet.products d ON CONFLICT DO NOTHING",
    );
    let changed = shop.patch(&demo, json!({ "max_activations": 9 })).await;
    changed.json(200);
    let shorter = shop.patch(&demo, json!({ "features": {} })).await;
    shorter.json(200);
    assert!(bed.activate(&shop.seeded.key, "device").await.valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transferred_license_follows_its_new_policy_but_for_what_is_its_own() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let other = shop.other_policy(&[]).await;
    let own = json!({ "projects.max": 250 });
    let made = shop
        .issue(&[
            ("features", own.clone()),
            ("expires_at", json!(LATE)),
            ("metadata", json!({ "order": "A-17" })),
        ])
        .await;
    assert_eq!(made["own_max_activations"], false);
    let before = bed.activate(key(&made), "device").await;
    let to_other = json!({ "policy_id": other["id"] });
    let path = format!("{}/transfer", one(&made));
    let stale = bed
        .ask_with(
            &shop.owner,
            Method::POST,
            &path,
            Some(&to_other),
            &[("if-match", "\"7\"")],
        )
        .await;
    assert_eq!(stale.refused(412), "PRECONDITION_FAILED");
    let reply = bed
        .ask_with(
            &shop.owner,
            Method::POST,
            &path,
            Some(&to_other),
            &[("if-match", "\"1\"")],
        )
        .await;
    assert_eq!(reply.header("etag"), "\"2\"");
    let moved = reply.json(200);
    for (field, value) in [
        ("policy_id", other["id"].clone()),
        ("policy", json!("enterprise")),
        ("tier", json!("ENTERPRISE")),
        ("feature_set_id", other["feature_set"].clone()),
        ("products", json!(["cloud_ide", "local_cli"])),
        ("max_activations", json!(2)),
        ("own_max_activations", json!(false)),
        ("features", own),
        ("expires_at", json!(LATE)),
        ("metadata", json!({ "order": "A-17" })),
        ("status", json!("ACTIVE")),
        ("live_activations", json!(1)),
    ] {
        assert_eq!(moved[field], value, "{field}");
    }
    let same = shop.post(&made, "transfer", to_other.clone()).await;
    assert_eq!(same.header("etag"), "\"2\"");

    // Devices hear of it with their next token.
    let refreshed = bed.refresh(&before.license_token.unwrap()).await;
    let keys = bed.keys(&shop.seeded).await;
    let token = refreshed.license_token.unwrap();
    let token = LicenseToken::verify(&token, Some(&keys), now()).unwrap();
    let claims = token.claims();
    assert_eq!(claims.aud, ["cloud_ide", "local_cli"]);
    assert_eq!(
        json!([claims.fs, claims.tier]),
        json!([other["feature_set"], "ENTERPRISE"])
    );
    assert_eq!((claims.grace, claims.fp.as_deref()), (60, None));
    assert_eq!(
        json!(refreshed.features.unwrap()),
        json!({ "export.pdf": true, "sso": true, "projects.max": 250 })
    );

    let event = bed.database.admin(
        "SELECT before ->> 'policy_id', after ->> 'policy_id', after ->> 'products'
         FROM licet.audit_events WHERE action = 'license.transferred'",
    );
    assert_eq!(event.len(), 1);
    let [from, to, products] = [0, 1, 2].map(|at| event[0][at].clone().unwrap());
    assert_eq!(
        (&from, to.as_str()),
        (&shop.policy, other["id"].as_str().unwrap())
    );
    assert_eq!(products, r#"["cloud_ide","local_cli"]"#);

    // To the policy that it has: as that is now.
    let policy = format!("/api/v1/policies/{}", shop.policy);
    let change = json!({ "max_activations": 6 });
    bed.patch(&shop.owner, &policy, &change).await.json(200);
    let demo = shop.demo().await;
    assert_eq!(
        demo["max_activations"], 5,
        "a change of the policy alone reaches no license"
    );
    let fresh = shop.issue(&[]).await;
    assert_eq!(fresh["max_activations"], 6);
    let change = json!({ "max_activations": 8 });
    bed.patch(&shop.owner, &policy, &change).await.json(200);
    let taken = shop
        .post(&fresh, "transfer", json!({ "policy_id": shop.policy }))
        .await;
    assert_eq!(taken.json(200)["max_activations"], 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_of_devices_of_its_own_stays() {
    let shop = Shop::open().await;
    let other = shop.other_policy(&[]).await["id"].clone();
    let transfer = |keep: Value| json!({ "policy_id": other, "keep": keep });
    // Chosen when it was issued, later, or at the transfer.
    let issued = shop.issue(&[("max_activations", json!(9))]).await;
    let later = shop.issue(&[]).await;
    let patched = shop.patch(&later, json!({ "max_activations": 9 })).await;
    assert_eq!(patched.json(200)["own_max_activations"], true);
    for license in [&issued, &later] {
        let moved = shop.post(license, "transfer", transfer(json!([]))).await;
        let moved = moved.json(200);
        assert_eq!(
            (&moved["max_activations"], &moved["own_max_activations"]),
            (&json!(9), &json!(true))
        );
    }
    let kept = shop.issue(&[]).await;
    let kept = shop
        .post(&kept, "transfer", transfer(json!(["max_activations"])))
        .await
        .json(200);
    assert_eq!(
        (&kept["max_activations"], &kept["own_max_activations"]),
        (&json!(5), &json!(true))
    );
    // Null gives it up again.
    let back = shop
        .patch(&issued, json!({ "max_activations": null }))
        .await;
    let back = back.json(200);
    assert_eq!(
        (&back["max_activations"], &back["own_max_activations"]),
        (&json!(2), &json!(false))
    );
    for bad in [
        json!({}),
        json!({ "policy_id": "x" }),
        json!({ "policy_id": other, "keep": ["features"] }),
        json!({ "policy_id": other, "expiry": "keep" }),
        json!({ "policy_id": other, "tier": "PRO" }),
    ] {
        let reply = shop.post(&kept, "transfer", bad.clone()).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_leaves_devices_without_a_seat_is_asked_for_twice() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let other = shop.other_policy(&[]).await["id"].clone();
    let made = shop.issue(&[]).await;
    for device in ["one", "two", "three"] {
        assert!(bed.activate(key(&made), device).await.valid);
    }
    let refused = shop
        .post(&made, "transfer", json!({ "policy_id": other }))
        .await;
    assert_eq!(refused.refused(409), "CONFLICT");
    for word in ["3 devices", "on 2", "Deactivate 1"] {
        assert!(refused.text().contains(word), "{}", refused.text());
    }
    assert_eq!(
        bed.get(&shop.owner, &one(&made)).await.json(200)["policy"],
        "pro"
    );
    let moved = shop
        .post(
            &made,
            "transfer",
            json!({ "policy_id": other, "over_limit": true }),
        )
        .await
        .json(200);
    assert_eq!(
        (&moved["max_activations"], &moved["live_activations"]),
        (&json!(2), &json!(3))
    );
    assert!(bed.activate(key(&made), "three").await.valid);
    let fourth = bed.activate(key(&made), "four").await;
    assert_eq!(fourth.code, Code::ActivationLimit);
    // One that is over its limit already is not kept where it is.
    let again = shop
        .post(&made, "transfer", json!({ "policy_id": other }))
        .await;
    again.json(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_moves_what_has_ended_or_is_stopped_but_nothing_revoked() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let year = 31_536_000;
    let other = shop.other_policy(&[]).await["id"].clone();
    let to = |expiry: &str| json!({ "policy_id": other, "expiry": expiry });
    let trial = shop.issue(&[("expires_at", json!(LATE))]).await;
    bed.database.admin(
        "UPDATE licet.licenses SET status = 'EXPIRED', expires_at = now() - interval '1 day'
         WHERE expires_at IS NOT NULL",
    );
    let ended = shop.post(&trial, "transfer", to("KEEP")).await.json(200);
    assert_eq!(
        (&ended["status"], &ended["tier"]),
        (&json!("EXPIRED"), &json!("ENTERPRISE"))
    );
    let begun = now();
    let bought = shop.post(&trial, "transfer", to("RESTART")).await.json(200);
    let end: licet_shared::time::Timestamp =
        bought["expires_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(bought["status"], "ACTIVE");
    assert!(end >= begun.plus(year) && end <= now().plus(year));
    let back = json!({ "policy_id": shop.policy, "expiry": "RESTART" });
    let endless = shop.post(&trial, "transfer", back).await.json(200);
    assert_eq!(endless["expires_at"], Value::Null);

    let demo = shop.demo().await;
    shop.act(&format!("{}/suspend", one(&demo))).await.json(200);
    let stopped = shop.post(&demo, "transfer", to("KEEP")).await.json(200);
    assert_eq!(
        (&stopped["status"], &stopped["tier"]),
        (&json!("SUSPENDED"), &json!("ENTERPRISE"))
    );
    shop.act(&format!("{}/revoke", one(&demo))).await.json(200);
    let refused = shop.post(&demo, "transfer", to("KEEP")).await;
    assert_eq!(refused.refused(409), "CONFLICT");
    let unknown = json!({ "policy_id": "pol_01h455vb4pex5vsknk084sn02q" });
    let refused = shop.post(&trial, "transfer", unknown).await;
    assert_eq!(refused.refused(404), "NOT_FOUND");
    let beta = bed.sign_up("beta").await.caller;
    bed.database.seed("beta", 1);
    let theirs = bed.get(&beta, "/api/v1/policies").await.json(200);
    let theirs = json!({ "policy_id": theirs["data"][0]["id"] });
    let refused = shop.post(&trial, "transfer", theirs).await;
    assert_eq!(refused.refused(404), "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_counts_from_the_end_or_from_now() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let day = 86_400;
    let time = |license: &Value| -> licet_shared::time::Timestamp {
        license["expires_at"].as_str().unwrap().parse().unwrap()
    };
    let made = shop.issue(&[("expires_at", json!(LATE))]).await;
    // The demo's policy sets no duration.
    let refused = shop.post(&made, "renew", json!({})).await;
    assert_eq!(refused.refused(409), "CONFLICT");
    let policy = format!("/api/v1/policies/{}", shop.policy);
    let change = json!({ "license_duration_s": 10 * day });
    bed.patch(&shop.owner, &policy, &change).await.json(200);
    let renewed = shop.post(&made, "renew", json!({})).await.json(200);
    assert_eq!(time(&renewed).since(time(&made)), 10 * day);
    let more = json!({ "duration_s": day, "from": "END" });
    let renewed = shop.post(&made, "renew", more).await.json(200);
    assert_eq!(time(&renewed).since(time(&made)), 11 * day);
    // Sent again, for its answer was lost, it is one renewal.
    let path = format!("{}/renew", one(&made));
    let mut ends = Vec::new();
    for round in 0..2 {
        let (body, key) = (
            json!({ "duration_s": day }),
            [("idempotency-key", "renewal-1")],
        );
        let reply = bed
            .ask_with(&shop.owner, Method::POST, &path, Some(&body), &key)
            .await;
        ends.push(time(&reply.json(200)));
        let replayed = if round == 0 { "" } else { "true" };
        assert_eq!(reply.header("idempotency-replayed"), replayed);
    }
    assert_eq!(ends, [time(&made).plus(12 * day); 2]);
    // Never shorter than it was.
    let less = json!({ "duration_s": day, "from": "NOW" });
    let refused = shop.post(&made, "renew", less.clone()).await;
    assert_eq!(refused.refused(409), "CONFLICT");
    for bad in [
        json!({ "expires_at": LATE, "duration_s": 1 }),
        json!({ "expires_at": LATE, "from": "END" }),
        json!({ "expires_at": "2001-01-01T00:00:00Z" }),
        json!({ "duration_s": 0 }),
        json!({ "duration_s": 3_155_760_001_i64 }),
        json!({ "from": "THEN" }),
        json!({ "by": 1 }),
    ] {
        let reply = shop.post(&made, "renew", bad.clone()).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
    }

    // One that ended three days ago, whether its row says so yet or not.
    for status in ["ACTIVE", "EXPIRED"] {
        let end_it = || {
            bed.database.admin(&format!(
                "UPDATE licet.licenses SET status = '{status}', expires_at = now() - interval '3 days'
                 WHERE expires_at IS NOT NULL"
            ));
        };
        end_it();
        let begun = now();
        let renewed = shop.post(&made, "renew", json!({})).await.json(200);
        assert_eq!(renewed["status"], "ACTIVE");
        assert!(
            time(&renewed) >= begun.plus(10 * day),
            "from now, as its end has passed"
        );
        end_it();
        let from_end = json!({ "from": "END" });
        let renewed = shop.post(&made, "renew", from_end).await.json(200);
        assert!(time(&renewed) <= now().plus(7 * day), "{renewed}");
        assert_eq!(renewed["status"], "ACTIVE");
        end_it();
        let too_short = json!({ "from": "END", "duration_s": day });
        let refused = shop.post(&made, "renew", too_short).await;
        assert_eq!(refused.refused(409), "CONFLICT");
        assert!(refused.text().contains("NOW"), "{}", refused.text());
        // It can be neither stopped nor put in force; revoked it can be, below.
        for action in ["suspend", "reinstate"] {
            let refused = shop.act(&format!("{}/{action}", one(&made))).await;
            assert_eq!(refused.refused(409), "CONFLICT", "{status} {action}");
            assert!(refused.text().contains("Renew"), "{}", refused.text());
        }
    }
    shop.post(&made, "renew", less).await.json(200);
    shop.act(&format!("{}/suspend", one(&made))).await.json(200);
    let renewed = shop.post(&made, "renew", json!({})).await.json(200);
    assert_eq!(renewed["status"], "SUSPENDED");
    assert_eq!(
        bed.activate(key(&made), "device").await.code,
        Code::Suspended
    );
    let back = shop.act(&format!("{}/reinstate", one(&made))).await;
    assert_eq!(back.json(200)["status"], "ACTIVE");
    shop.act(&format!("{}/revoke", one(&made))).await.json(200);
    for (action, body) in [("renew", json!({})), ("suspend", json!({}))] {
        let refused = shop.post(&made, action, body).await;
        assert_eq!(refused.refused(409), "CONFLICT", "{action}");
        assert!(refused.text().contains("revoked"), "{}", refused.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_is_found_by_the_key_that_somebody_reads_out() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let path = format!("{PATH}/lookup");
    let look = |caller: &Caller, key: &str| {
        let (caller, body, path) = (caller.clone(), json!({ "license_key": key }), &path);
        async move { bed.post(&caller, path, &body).await }
    };
    let key = &shop.seeded.key;
    for typed in [
        key.clone(),
        key.to_lowercase().replace('-', " "),
        key.replace('-', "").replace('0', "o"),
    ] {
        let found = look(&shop.owner, &typed).await;
        assert_eq!(found.json(200)["id"], json!(shop.seeded.license), "{typed}");
        assert_eq!(found.header("etag"), "\"1\"");
        assert!(!found.text().contains(key.as_str()));
    }
    // Revoked ones too: it is what the customer calls about.
    shop.act(&format!("{PATH}/{}/revoke", shop.seeded.license))
        .await
        .json(200);
    let found = look(&shop.owner, key).await.json(200);
    assert_eq!(found["status"], "REVOKED");

    for typo in [
        "",
        "hello",
        &key[1..],
        &key.replace('-', "?"),
        &"A".repeat(9_000),
    ] {
        let refused = look(&shop.owner, typo).await;
        assert_eq!(refused.refused(422), "LICENSE_KEY_MALFORMED");
    }
    let beta = bed.sign_up("beta").await.caller;
    assert_eq!(look(&beta, key).await.refused(404), "NOT_FOUND");
    let none = licet_shared::license_key::LicenseKey::new(shop.seeded.tag, [7; 16]).reveal();
    assert_eq!(look(&shop.owner, &none).await.refused(404), "NOT_FOUND");
    for (scope, status) in [
        ("licenses:read", 200),
        ("licenses:write", 403),
        ("activations:read", 403),
    ] {
        let body = json!({ "name": "desk", "scopes": [scope] });
        let made = bed.post(&shop.owner, "/api/v1/api-keys", &body).await;
        let bearer = made.json(201)["secret"].as_str().unwrap().to_owned();
        let reply = look(&Caller { bearer }, key).await;
        assert_eq!(reply.status.as_u16(), status, "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_found_by_their_fingerprints_hash() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let other = shop.issue(&[]).await;
    for (license, device, name) in [
        (shop.seeded.key.as_str(), "laptop-1", "Ann's Laptop"),
        (shop.seeded.key.as_str(), "build-1", "CI 100%"),
        (key(&other), "laptop-1", "Ann's laptop again"),
    ] {
        let body = json!({
            "license_key": license, "product": "local_cli", "fingerprint": device, "name": name,
        });
        let call = Call::post(crate::support::edge::ACTIVATE, &body);
        assert!(bed.call(call).await.answer().valid);
    }
    let hash = licet_shared::decision::fingerprint_hash("laptop-1");
    let by_hash = format!("fingerprint_hash={hash}");
    for (query, all, of_demo) in [
        ("", 3, 2),
        (by_hash.as_str(), 2, 1),
        ("fingerprint_hash=laptop-1", 0, 0),
        ("live=false", 0, 0),
    ] {
        let path = format!("/api/v1/activations?{query}");
        assert_eq!(shop.count(&path).await, all, "{query}");
        let path = format!("{PATH}/{}/activations?{query}", shop.seeded.license);
        assert_eq!(shop.count(&path).await, of_demo, "{query}");
    }
    for bad in [
        "/api/v1/licenses?feature_set=x",
        "/api/v1/policies?feature_set=x",
    ] {
        let reply = bed.get(&shop.owner, bad).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST");
    }
}

/// A step back and forth: what differs from the policy's is taken to have been meant so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_from_before_that_differ_from_the_policys_are_a_licenses_own() {
    let bed = Bed::with(
        TestDatabase::migrated(),
        &crate::support::BedOptions::default(),
    );
    let same = bed.database.seed("alpha", 5);
    let own = bed.database.seed("alpha", 7);
    let steps = bed.database.command(&["migrate", "--status"]).json();
    let steps = steps.as_array().unwrap();
    let at = steps
        .iter()
        .position(|step| step["name"] == "license_terms");
    let back = (steps.len() - at.unwrap()).to_string();
    bed.database
        .command(&["migrate", "--down", &back])
        .succeed();
    bed.database.command(&["migrate"]).succeed();
    let owner = bed.sign_up("beta").await.caller;
    assert_eq!(bed.get(&owner, PATH).await.json(200)["data"], json!([]));
    let flags = bed.database.admin(
        "SELECT max_activations::text, own_max_activations::text FROM licet.licenses ORDER BY 1",
    );
    let flags: Vec<_> = flags.concat().into_iter().flatten().collect();
    assert_eq!(flags, ["5", "false", "7", "true"]);
    for key in [same.key, own.key] {
        assert!(bed.activate(&key, "device").await.valid);
    }
}
