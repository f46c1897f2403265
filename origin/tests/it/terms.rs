//! Terms of policies and licenses, and what comes of them.

use std::sync::Arc;

use futures_util::future::join_all;
use licet_shared::{
    api::ActivationAnswer,
    decision::{Code, LicenseToken, fingerprint_hash},
    documents::{AtExpiry, LicenseClaims, Tier},
    id::LicenseId,
    time::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    licenses::{Shop, one},
    support::edge::{ACTIVATE, Call, now},
};

const PATH: &str = "/api/v1/licenses";

impl Shop {
    /// Changes the demo's policy.
    async fn policy(&self, change: Value) {
        let path = format!("/api/v1/policies/{}", self.policy);
        self.bed.patch(&self.owner, &path, &change).await.json(200);
    }

    async fn terms(&self, terms: Value) {
        self.policy(json!({ "terms": terms })).await;
    }

    async fn new_policy(&self, more: Value) -> String {
        let path = format!("/api/v1/policies/{}", self.policy);
        let demo = self.bed.get(&self.owner, &path).await.json(200);
        let mut policy = json!({
            "name": "another", "tier": "PRO", "feature_set_id": demo["feature_set_id"],
            "product_ids": demo["product_ids"], "max_activations": 3,
        });
        for (name, value) in more.as_object().unwrap() {
            policy[name] = value.clone();
        }
        let made = self
            .bed
            .post(&self.owner, "/api/v1/policies", &policy)
            .await;
        made.json(201)["id"].as_str().unwrap().into()
    }

    async fn issue_under(&self, policy: &str) -> Value {
        let body = json!({ "policy_id": policy });
        self.bed.post(&self.owner, PATH, &body).await.json(201)
    }

    async fn now_of(&self, license: &Value) -> Value {
        self.bed.get(&self.owner, &one(license)).await.json(200)
    }

    async fn claims(&self, answer: &ActivationAnswer) -> LicenseClaims {
        let keys = self.bed.keys(&self.seeded).await;
        let text = token(answer);
        LicenseToken::verify(&text, Some(&keys), now())
            .unwrap()
            .claims()
            .clone()
    }

    /// Lets the license's end be so many seconds ago.
    fn end(&self, license: &Value, seconds_ago: i64) {
        let id: LicenseId = license["id"].as_str().unwrap().parse().unwrap();
        let id = uuid::Uuid::from_bytes(id.uuid_bytes());
        self.bed.database.admin(&format!(
            "UPDATE licet.licenses SET expires_at = now() - interval '{seconds_ago} seconds' WHERE id = '{id}'"
        ));
    }

    fn count_events(&self, action: &str) -> usize {
        let sql = format!("SELECT 1 FROM licet.audit_events WHERE action = '{action}'");
        self.bed.database.admin(&sql).len()
    }
}

fn token(answer: &ActivationAnswer) -> String {
    answer.license_token.clone().unwrap()
}

fn key(license: &Value) -> &str {
    license["key"].as_str().unwrap()
}

/// An activation with more in its body, or less.
#[allow(clippy::needless_pass_by_value)] // bodies are written where they are sent
fn activation_of(key: &str, more: Value) -> Call {
    let mut body = json!({ "license_key": key, "product": "local_cli" });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Call::post(ACTIVATE, &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_has_its_policys_terms_and_its_own_over_them() {
    let shop = Shop::open().await;
    let path = format!("/api/v1/policies/{}", shop.policy);
    let policy = json!({ "expiry": "MAINTAIN", "heartbeat_s": 3600, "overage": "X2" });
    let changed = shop
        .bed
        .patch(&shop.owner, &path, &json!({ "terms": policy }))
        .await;
    assert_eq!(changed.json(200)["terms"], policy);
    let same = json!({ "terms": policy });
    let same = shop.bed.patch(&shop.owner, &path, &same).await;
    assert_eq!(same.header("etag"), changed.header("etag"));
    let license = shop
        .issue(&[("terms", json!({ "expiry": "ALLOW", "refresh_after_s": 60 }))])
        .await;
    assert_eq!(
        license["terms"],
        json!({ "expiry": "ALLOW", "refresh_after_s": 60 })
    );
    let both =
        json!({ "expiry": "ALLOW", "heartbeat_s": 3600, "overage": "X2", "refresh_after_s": 60 });
    assert_eq!(license["effective_terms"], both);
    let batch = json!({ "policy_id": shop.policy, "count": 2, "terms": { "transferable": false } });
    let batch = shop
        .bed
        .post(&shop.owner, &format!("{PATH}/batch"), &batch)
        .await
        .json(201);
    assert_eq!(batch["data"][1]["terms"], json!({ "transferable": false }));
    // All of them at once, by version and with its event.
    let changed = shop
        .patch(&license, json!({ "terms": { "heartbeat_s": 60 } }))
        .await;
    assert_eq!(changed.header("etag"), "\"2\"");
    assert_eq!(changed.json(200)["terms"], json!({ "heartbeat_s": 60 }));
    let effective = json!({ "expiry": "MAINTAIN", "heartbeat_s": 60, "overage": "X2" });
    assert_eq!(changed.json(200)["effective_terms"], effective);
    let same = shop
        .patch(&license, json!({ "terms": { "heartbeat_s": 60 } }))
        .await;
    assert_eq!(same.header("etag"), "\"2\"");
    let trail = shop.bed.database.admin(
        "SELECT before->>'terms', after->>'terms' FROM licet.audit_events
         WHERE action IN ('license.updated', 'policy.updated') ORDER BY seq",
    );
    let trail: Vec<Value> = trail
        .iter()
        .flatten()
        .map(|terms| serde_json::from_str(terms.as_ref().unwrap()).unwrap())
        .collect();
    assert_eq!(trail[..2], [json!({}), policy]);
    assert_eq!(trail[3], json!({ "heartbeat_s": 60 }));
    shop.bed
        .database
        .command(&["audit", "verify", "--org", "alpha"])
        .succeed();
    for bad in [
        json!([]),
        json!("ALLOW"),
        json!({ "expiry": "allow" }),
        json!({ "colour": "red" }),
        json!({ "heartbeat_s": 59 }),
        json!({ "deactivations": [1, 60] }),
        json!({ "fingerprint": { "match": 9 } }),
    ] {
        let body = json!({ "policy_id": shop.policy, "terms": bad });
        let refused = [
            shop.bed.post(&shop.owner, PATH, &body).await,
            shop.patch(&license, json!({ "terms": bad })).await,
            shop.bed
                .patch(&shop.owner, &path, &json!({ "terms": bad }))
                .await,
        ];
        for reply in refused {
            assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_carry_the_terms_that_edges_need() {
    let shop = Shop::open().await;
    let plain = shop
        .claims(&shop.bed.activate(&shop.seeded.key, "one").await)
        .await;
    assert_eq!(
        (plain.xb, plain.ra, plain.hb, &plain.fpc),
        (AtExpiry::Restrict, None, None, &None)
    );
    shop.terms(json!({ "expiry": "ALLOW", "refresh_after_s": 300, "heartbeat_s": 3600 }))
        .await;
    let answer = shop.bed.activate(&shop.seeded.key, "one").await;
    let claims = shop.claims(&answer).await;
    assert_eq!(
        (claims.xb, claims.ra, claims.hb),
        (AtExpiry::Allow, Some(300), Some(3600))
    );
    let times = answer.token.unwrap();
    assert_eq!(times.expires_at.since(times.refresh_after), 86_400 - 300);
    // The heartbeat alone: half of it.
    shop.terms(json!({ "heartbeat_s": 3600 })).await;
    let answer = shop.bed.refresh(&token(&answer)).await;
    let times = answer.token.unwrap();
    assert_eq!(times.expires_at.since(times.refresh_after), 86_400 - 1800);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_that_goes_on_past_its_end_gets_tokens_and_can_be_stopped() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    for at in ["MAINTAIN", "ALLOW"] {
        let license = shop
            .issue(&[("expires_at", json!("2090-01-01T00:00:00Z"))])
            .await;
        let first = bed.activate(key(&license), "one").await;
        assert!(first.valid && !first.expired);
        shop.end(&license, 5);
        let refused = bed.refresh(&token(&first)).await;
        assert_eq!(
            (refused.code, refused.expired),
            (Code::LicenseExpired, false)
        );
        let change = json!({ "terms": { "expiry": at } });
        assert_eq!(
            shop.patch(&license, change).await.json(200)["status"],
            "EXPIRED"
        );
        let mut answers = Vec::new();
        for _ in 0..2 {
            for answer in [
                bed.refresh(&token(&first)).await,
                bed.activate(key(&license), "one").await,
                bed.activate(key(&license), "two").await,
            ] {
                assert!(answer.valid && answer.expired, "{at} {answer:?}");
                answers.push(shop.claims(&answer).await.lexp);
            }
            // The same once the row says so.
            let report = bed.database.command(&["jobs", "run"]).json();
            assert!(report["rows"]["license_expiry"].is_number(), "{report}");
        }
        assert!(
            answers
                .iter()
                .all(|end| *end == answers[0] && end.is_some())
        );
        assert_eq!(shop.now_of(&license).await["status"], "EXPIRED");
        let suspended = shop.act(&format!("{}/suspend", one(&license))).await;
        assert_eq!(suspended.json(200)["status"], "SUSPENDED");
        assert_eq!(bed.refresh(&token(&first)).await.code, Code::Suspended);
        let back = shop.act(&format!("{}/reinstate", one(&license))).await;
        assert_eq!(back.json(200)["status"], "EXPIRED");
        assert!(bed.refresh(&token(&first)).await.valid);
        // Under RESTRICT again there is nothing left to stop.
        shop.patch(&license, json!({ "terms": {} })).await.json(200);
        assert_eq!(bed.refresh(&token(&first)).await.code, Code::LicenseExpired);
        let refused = shop.act(&format!("{}/suspend", one(&license))).await;
        assert_eq!(refused.refused(409), "CONFLICT");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn time_begins_with_the_first_activation_and_once() {
    let shop = Shop::open().await;
    let day = 86_400;
    shop.policy(json!({
        "license_duration_s": 30 * day, "max_activations": 50,
        "terms": { "duration_from": "FIRST_ACTIVATION" },
    }))
    .await;
    let license = shop.issue(&[]).await;
    assert!(license["expires_at"].is_null());
    assert_eq!(license["pending_duration_s"], 30 * day);
    let renewal = shop.post(&license, "renew", json!({})).await;
    assert_eq!(renewal.refused(409), "CONFLICT");
    let before = now();
    let answers = join_all((0..12).map(|n| {
        let (shop, license) = (&shop, &license);
        async move {
            shop.bed
                .activate(key(license), &format!("device {n}"))
                .await
        }
    }))
    .await;
    let read = shop.now_of(&license).await;
    assert!(read["pending_duration_s"].is_null());
    let end: Timestamp = read["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(
        (0..=60).contains(&end.since(before.plus(30 * day))),
        "{end}"
    );
    for answer in &answers {
        assert_eq!(answer.license.as_ref().unwrap().expires_at, Some(end));
    }
    assert_eq!(shop.count_events("license.begun"), 1);
    // Later ones leave it alone.
    let later = shop.bed.activate(key(&license), "device 0").await;
    assert_eq!(later.license.unwrap().expires_at, Some(end));
    let renewed = shop.post(&license, "renew", json!({})).await.json(200);
    assert_eq!(renewed["expires_at"], json!(end.plus(30 * day)));
    // An end that was chosen begins nothing.
    let chosen = shop
        .issue(&[("expires_at", json!("2090-01-01T00:00:00Z"))])
        .await;
    assert!(chosen["pending_duration_s"].is_null());
    let waiting = shop.issue(&[]).await;
    let ended = json!({ "expires_at": "2090-01-01T00:00:00Z" });
    let ended = shop.patch(&waiting, ended).await.json(200);
    assert!(ended["pending_duration_s"].is_null());
    shop.bed.activate(key(&waiting), "one").await;
    assert_eq!(
        shop.now_of(&waiting).await["expires_at"],
        "2090-01-01T00:00:00Z"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_begins_what_waits_for_a_validation() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let license = shop.issue(&[]).await;
    let device = bed.activate(key(&license), "one").await;
    let policy = |name: &str, start: &str| json!({ "name": name, "license_duration_s": 1000, "terms": { "duration_from": start } });
    let restart = |policy: &str| json!({ "policy_id": policy, "expiry": "RESTART" });
    // It was activated before, so its first activation is past.
    let activation = shop.new_policy(policy("a", "FIRST_ACTIVATION")).await;
    let moved = shop
        .post(&license, "transfer", restart(&activation))
        .await
        .json(200);
    assert!(moved["expires_at"].is_string() && moved["pending_duration_s"].is_null());
    let fresh = shop.issue(&[]).await;
    let moved = shop
        .post(&fresh, "transfer", restart(&activation))
        .await
        .json(200);
    assert_eq!(moved["pending_duration_s"], 1000);
    let validation = shop.new_policy(policy("v", "FIRST_VALIDATION")).await;
    let moved = shop
        .post(&license, "transfer", restart(&validation))
        .await
        .json(200);
    assert_eq!(
        (&moved["expires_at"], &moved["pending_duration_s"]),
        (&json!(null), &json!(1000))
    );
    let refreshed =
        join_all((0..6).map(|_| bed.refresh(device.license_token.as_ref().unwrap()))).await;
    let end = shop.now_of(&license).await["expires_at"].clone();
    assert!(end.is_string());
    for answer in refreshed {
        assert!(answer.valid);
        assert_eq!(json!(answer.license.unwrap().expires_at), end);
    }
    assert_eq!(shop.count_events("license.begun"), 1);
    assert_eq!(
        bed.refresh(&token(&device))
            .await
            .license
            .unwrap()
            .expires_at
            .map(|at| json!(at)),
        Some(end)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_count_from_what_the_terms_say_unless_they_say_themselves() {
    let shop = Shop::open().await;
    let license = shop
        .issue(&[("expires_at", json!("2090-01-01T00:00:00Z"))])
        .await;
    for (terms, body, from_now) in [
        (json!({}), json!({ "duration_s": 864_000 }), false),
        (
            json!({ "renewal_from": "END" }),
            json!({ "duration_s": 864_000 }),
            false,
        ),
        (
            json!({ "renewal_from": "NOW" }),
            json!({ "duration_s": 3_000_000_000_i64 }),
            true,
        ),
        (
            json!({ "renewal_from": "NOW" }),
            json!({ "duration_s": 864_000, "from": "END" }),
            false,
        ),
    ] {
        shop.patch(&license, json!({ "terms": terms }))
            .await
            .json(200);
        let before = shop.now_of(&license).await["expires_at"].clone();
        let renewed = shop.post(&license, "renew", body.clone()).await.json(200);
        let at = |value: &Value| -> Timestamp { value.as_str().unwrap().parse().unwrap() };
        let duration = body["duration_s"].as_i64().unwrap();
        let start = at(&renewed["expires_at"]).plus(-duration);
        if from_now {
            assert!((0..=60).contains(&now().since(start)), "{start}");
        } else {
            assert_eq!(start, at(&before), "{terms}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_devices_come_in_than_the_overage_allows() {
    let shop = Shop::open().await;
    for (overage, limit) in [
        ("NONE", 4),
        ("X1_25", 5),
        ("X1_5", 6),
        ("X2", 8),
        ("UNLIMITED", 16),
    ] {
        let license = shop
            .issue(&[
                ("max_activations", json!(4)),
                ("terms", json!({ "overage": overage })),
            ])
            .await;
        let answers = join_all((0..16).map(|n| {
            let (shop, license) = (&shop, &license);
            async move {
                shop.bed
                    .activate(key(license), &format!("device {n}"))
                    .await
                    .code
            }
        }))
        .await;
        let taken = answers.iter().filter(|code| **code == Code::Valid).count();
        assert_eq!(taken, limit, "{overage}");
        let refused = answers
            .iter()
            .filter(|code| **code == Code::ActivationLimit)
            .count();
        assert_eq!(refused, 16 - limit, "{overage}");
        let read = shop.now_of(&license).await;
        assert_eq!(read["live_activations"], limit);
        assert_eq!(read["activations_over_limit"], limit - 4);
    }
    // The trail tells of each that is beyond the number.
    let over = shop.bed.database.admin(
        "SELECT details->>'over_limit' FROM licet.audit_events
         WHERE action = 'activation.created' AND details ? 'over_limit' ORDER BY seq",
    );
    assert_eq!(over.len(), 1 + 2 + 4 + 12);
    assert_eq!(over[0][0].as_deref(), Some("1"));
    assert_eq!(over.last().unwrap()[0].as_deref(), Some("12"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn devices_give_back_as_often_as_the_terms_allow() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let terms = json!({ "deactivations": { "max": 3, "period_s": 3600 } });
    let license = shop
        .issue(&[("max_activations", json!(20)), ("terms", terms)])
        .await;
    let devices = join_all((0..10).map(|n| {
        let license = &license;
        async move { bed.activate(key(license), &format!("device {n}")).await }
    }))
    .await;
    // The vendor's people are not bound by it, and don't count.
    let by_hand = devices[9].activation_id.unwrap();
    let path = format!("/api/v1/activations/{by_hand}/deactivate");
    shop.act(&path).await.json(200);
    // All at once, each twice.
    let tokens: Vec<String> = devices[..9]
        .iter()
        .chain(&devices[..9])
        .map(token)
        .collect();
    let answers = join_all(tokens.iter().map(|token| bed.deactivate(token))).await;
    let given_back = bed
        .database
        .admin("SELECT id FROM licet.activations WHERE given_back");
    assert_eq!(given_back.len(), 3);
    assert_eq!(shop.now_of(&license).await["live_activations"], 6);
    for (at, answer) in answers.iter().enumerate() {
        let id = devices[at % 9].activation_id.unwrap();
        let gone = bed
            .get(&shop.owner, &format!("/api/v1/activations/{id}"))
            .await;
        let gone = gone.json(200)["deactivated_at"].is_string();
        // Of the two requests of one device the earlier may have been refused.
        let expected = if gone {
            Code::Valid
        } else {
            Code::DeactivationLimit
        };
        assert_eq!((answer.code, answer.valid), (expected, gone), "{at}");
    }
    // Once more for what is given back is no more of it.
    let (given, kept): (Vec<_>, Vec<_>) = answers[..9]
        .iter()
        .enumerate()
        .partition(|(_, it)| it.valid);
    assert!(bed.deactivate(&tokens[given[0].0]).await.valid);
    assert_eq!(
        bed.deactivate(&tokens[kept[0].0]).await.code,
        Code::DeactivationLimit
    );
    // What is longer ago than the period counts no more.
    bed.database.admin(
        "UPDATE licet.activations SET deactivated_at = now() - interval '3601 seconds'
         WHERE id = (SELECT id FROM licet.activations WHERE given_back LIMIT 1)",
    );
    assert!(bed.deactivate(&tokens[kept[0].0]).await.valid);
    assert_eq!(
        bed.deactivate(&tokens[kept[1].0]).await.code,
        Code::DeactivationLimit
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_transferable_stays_where_it_is() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let license = shop
        .issue(&[("terms", json!({ "transferable": false }))])
        .await;
    let device = bed.activate(key(&license), "one").await;
    let refused = bed.deactivate(&token(&device)).await;
    assert_eq!(
        (refused.code, refused.valid),
        (Code::TransferRefused, false)
    );
    assert!(bed.refresh(&token(&device)).await.valid);
    let other = shop.new_policy(json!({ "name": "other" })).await;
    let to = |policy: &str| json!({ "policy_id": policy });
    let reply = shop.post(&license, "transfer", to(&other)).await;
    assert_eq!(reply.refused(409), "CONFLICT");
    assert!(reply.text().contains("transferable"), "{}", reply.text());
    shop.post(&license, "transfer", to(&shop.policy))
        .await
        .json(200);
    // By the vendor's hand, and where its own terms say otherwise than the policy's.
    let path = format!(
        "/api/v1/activations/{}/deactivate",
        device.activation_id.unwrap()
    );
    shop.act(&path).await.json(200);
    shop.terms(json!({ "transferable": false })).await;
    let free = shop
        .issue(&[("terms", json!({ "transferable": true }))])
        .await;
    let device = bed.activate(key(&free), "two").await;
    assert!(bed.deactivate(&token(&device)).await.valid);
    shop.post(&free, "transfer", to(&other)).await.json(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_device_tries_a_product_once() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let trial = shop
        .new_policy(json!({ "name": "trial", "tier": "TRIAL", "license_duration_s": 1_209_600 }))
        .await;
    let mut licenses = Vec::new();
    for _ in 0..8 {
        let license = shop.issue_under(&trial).await;
        assert_eq!(license["pending_duration_s"], 1_209_600);
        licenses.push(license);
    }
    // All at once on one device: each license has its own lock, and one of them gets it.
    let licenses = Arc::new(licenses);
    let answers = join_all(
        licenses
            .iter()
            .map(|license| bed.activate(key(license), "laptop")),
    )
    .await;
    let (used, tried): (Vec<_>, Vec<_>) =
        (0..8).partition(|at| answers[*at].code == Code::TrialUsed);
    assert_eq!((used.len(), tried.len()), (7, 1), "{answers:?}");
    let (first, second) = (&licenses[tried[0]], &licenses[used[0]]);
    assert!(answers[tried[0]].valid);
    assert_eq!(answers[used[0]].license_token, None);
    // Nothing has begun or been taken by being refused.
    let read = shop.now_of(second).await;
    assert_eq!(
        (&read["live_activations"], &read["pending_duration_s"]),
        (&json!(0), &json!(1_209_600))
    );
    assert_eq!(shop.count_events("license.begun"), 1);
    // The same license goes on there, also after it was given back; another device is another.
    let device = bed.activate(key(first), "laptop").await;
    assert!(bed.deactivate(&token(&device)).await.valid);
    assert!(bed.activate(key(first), "laptop").await.valid);
    assert_eq!(
        bed.activate(key(second), "laptop").await.code,
        Code::TrialUsed
    );
    assert!(bed.activate(key(second), "desktop").await.valid);
    // When it has ended, too.
    shop.end(first, 5);
    assert_eq!(
        bed.activate(key(first), "laptop").await.code,
        Code::LicenseExpired
    );
    let third = shop.issue_under(&trial).await;
    assert_eq!(
        bed.activate(key(&third), "laptop").await.code,
        Code::TrialUsed
    );
    let nameless = bed
        .call(activation_of(key(&third), json!({})))
        .await
        .answer();
    assert_eq!(nameless.code, Code::FingerprintRequired);
    // What is no trial asks for none.
    assert!(bed.activate(&shop.seeded.key, "laptop").await.valid);
    let beta = bed.database.seed("beta", 5);
    bed.database
        .admin("UPDATE licet.policies SET tier = 'TRIAL'");
    assert!(
        bed.activate(&beta.key, "laptop").await.valid,
        "another vendor's"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_of_several_products_are_used_by_each_of_them() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let product = |code: &str| json!({ "code": code, "name": code });
    let mut ids = Vec::new();
    for code in ["b_ide", "c_flow"] {
        let made = bed
            .post(&shop.owner, "/api/v1/products", &product(code))
            .await;
        ids.push(made.json(201)["id"].clone());
    }
    let path = format!("/api/v1/policies/{}", shop.policy);
    let cli = bed.get(&shop.owner, &path).await.json(200)["product_ids"][0].clone();
    let mut keys = Vec::new();
    for (name, products) in [
        ("cli and ide", json!([cli, ids[0]])),
        ("ide and flow", json!([ids[0], ids[1]])),
        ("flow", json!([ids[1]])),
    ] {
        let policy = json!({ "name": name, "tier": "TRIAL", "product_ids": products });
        let policy = shop.new_policy(policy).await;
        keys.push(key(&shop.issue_under(&policy).await).to_owned());
    }
    let ask = async |key: &str, product: &str| {
        let more = json!({ "product": product, "fingerprint": "laptop" });
        bed.call(activation_of(key, more)).await.answer().code
    };
    assert_eq!(ask(&keys[0], "local_cli").await, Code::Valid);
    // One of its products is, so that it notes neither.
    assert_eq!(ask(&keys[1], "c_flow").await, Code::TrialUsed);
    assert_eq!(ask(&keys[2], "c_flow").await, Code::Valid);
    assert_eq!(ask(&keys[2], "c_flow").await, Code::Valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_becomes_a_paid_license_without_a_new_activation() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let trial = json!({
        "name": "trial", "tier": "TRIAL", "license_duration_s": 1_209_600, "max_activations": 1,
        "terms": { "transferable": false },
    });
    let trial = shop.new_policy(trial).await;
    let paid = json!({ "name": "paid", "license_duration_s": 31_536_000 });
    let paid = shop.new_policy(paid).await;
    for over in [false, true] {
        let license = shop.issue_under(&trial).await;
        let device = bed
            .activate(key(&license), if over { "a" } else { "b" })
            .await;
        assert_eq!(shop.claims(&device).await.tier, Tier::Trial);
        if over {
            shop.end(&license, 60);
            assert_eq!(
                bed.refresh(&token(&device)).await.code,
                Code::LicenseExpired
            );
        }
        let converted = shop
            .post(&license, "transfer", json!({ "policy_id": paid }))
            .await
            .json(200);
        assert_eq!(
            (&converted["status"], &converted["tier"]),
            (&json!("ACTIVE"), &json!("PRO"))
        );
        let end: Timestamp = converted["expires_at"].as_str().unwrap().parse().unwrap();
        assert!(
            (-60..=0).contains(&(end.since(now()) - 31_536_000)),
            "{end}"
        );
        let refreshed = bed.refresh(&token(&device)).await;
        assert_eq!(refreshed.activation_id, device.activation_id);
        assert_eq!(shop.claims(&refreshed).await.tier, Tier::Pro);
    }
    // Its end may stay all the same.
    let license = shop.issue_under(&trial).await;
    bed.activate(key(&license), "c").await;
    let before = shop.now_of(&license).await["expires_at"].clone();
    let keep = json!({ "policy_id": paid, "expiry": "KEEP" });
    let kept = shop.post(&license, "transfer", keep).await.json(200);
    assert_eq!(kept["expires_at"], before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fingerprint_rule_says_what_a_device_must_name() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let ask = async |license: &Value, more: Value| {
        bed.call(activation_of(key(license), more)).await.answer()
    };
    let bound = json!({ "fingerprint": "one" });
    let license = shop.issue(&[]).await;
    assert_eq!(
        ask(&license, json!({})).await.code,
        Code::FingerprintRequired
    );
    assert_eq!(shop.now_of(&license).await["live_activations"], 0);
    assert!(ask(&license, bound.clone()).await.valid);

    let optional = json!({ "fingerprint": { "rule": "OPTIONAL" } });
    let license = shop
        .issue(&[("terms", optional), ("max_activations", json!(3))])
        .await;
    let with = shop.claims(&ask(&license, bound.clone()).await).await;
    assert_eq!(with.fp, Some(fingerprint_hash("one")));
    // Nothing tells them apart: each is another.
    let (first, second) = (
        ask(&license, json!({})).await,
        ask(&license, json!({})).await,
    );
    assert_ne!(first.activation_id, second.activation_id);
    assert_eq!(shop.claims(&first).await.fp, None);
    assert_eq!(
        shop.claims(&bed.refresh(&token(&first)).await).await.fp,
        None
    );
    assert_eq!(ask(&license, json!({})).await.code, Code::ActivationLimit);
    let shown = format!("/api/v1/activations/{}", first.activation_id.unwrap());
    assert!(bed.get(&shop.owner, &shown).await.json(200)["fingerprint_hash"].is_null());
    assert!(bed.deactivate(&token(&first)).await.valid);
    // With a key of its own a request that is sent again is the same one.
    let again = [0, 1].map(|_| activation_of(key(&license), json!({})).once("k1"));
    let again = join_all(again.map(|call| bed.call(call))).await;
    assert!(
        again
            .iter()
            .all(|reply| reply.status == 200 || reply.status == 409)
    );
    assert_eq!(shop.now_of(&license).await["live_activations"], 3);

    let none = json!({ "fingerprint": { "rule": "NONE" } });
    let license = shop.issue(&[("terms", none)]).await;
    assert_eq!(shop.claims(&ask(&license, bound).await).await.fp, None);
    // The policy's own rule, where no terms say otherwise.
    shop.policy(json!({ "fingerprint_rule": "FREE" })).await;
    let license = shop.issue(&[]).await;
    assert!(ask(&license, json!({})).await.valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_the_same_while_enough_of_its_components_are() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let terms = json!({ "fingerprint": { "match": 2 } });
    let license = shop
        .issue(&[("terms", terms), ("max_activations", json!(2))])
        .await;
    let ask = async |components: Value| {
        let more = json!({ "fingerprints": components });
        bed.call(activation_of(key(&license), more)).await.answer()
    };
    let first = ask(json!({ "board": "B1", "disk": "D1", "mac": "M1" })).await;
    let claims = shop.claims(&first).await;
    assert_eq!(claims.fp, None);
    let bound = claims.fpc.unwrap();
    assert_eq!((bound.n, bound.of.len()), (2, 3));
    assert_eq!(bound.of["disk"], fingerprint_hash("D1"));
    let refreshed = shop.claims(&bed.refresh(&token(&first)).await).await;
    assert_eq!(refreshed.fpc, Some(bound));
    let shown = format!("/api/v1/activations/{}", first.activation_id.unwrap());
    let shown = bed.get(&shop.owner, &shown).await.json(200);
    assert_eq!(shown["components"], json!(["board", "disk", "mac"]));
    // Another disk, and one that is not named: the same device. Two others: another.
    for same in [
        json!({ "board": "B1", "disk": "D2", "mac": "M1" }),
        json!({ "board": "B1", "mac": "M1" }),
    ] {
        assert_eq!(ask(same).await.activation_id, first.activation_id);
    }
    let other = ask(json!({ "board": "B1", "disk": "D2", "mac": "M2" })).await;
    assert!(other.valid);
    assert_ne!(other.activation_id, first.activation_id);
    assert_eq!(
        ask(json!({ "board": "B9", "disk": "D9" })).await.code,
        Code::ActivationLimit
    );
    assert_eq!(
        ask(json!({ "board": "B1" })).await.code,
        Code::FingerprintRequired
    );
    // Once it is given back it is none of them.
    assert!(bed.deactivate(&token(&first)).await.valid);
    let again = ask(json!({ "board": "B1", "disk": "D1", "mac": "M1" })).await;
    assert!(again.valid && again.activation_id != first.activation_id);

    // All of them, where no number is said; and by one text as well.
    let license = shop.issue(&[]).await;
    let ask = async |more: Value| bed.call(activation_of(key(&license), more)).await.answer();
    let both = json!({ "fingerprint": "one", "fingerprints": { "board": "B1", "disk": "D1" } });
    let by_text = ask(json!({ "fingerprint": "one" })).await;
    assert_eq!(shop.claims(&by_text).await.fpc, None);
    let by_both = ask(both).await;
    assert_eq!(by_both.activation_id, by_text.activation_id);
    assert_eq!(shop.claims(&by_both).await.fpc.unwrap().n, 2);
    let by_components = ask(json!({ "fingerprints": { "board": "B1", "disk": "D1" } })).await;
    assert_eq!(by_components.activation_id, by_text.activation_id);
    let partly = ask(json!({ "fingerprints": { "board": "B1", "disk": "D2" } })).await;
    assert_ne!(partly.activation_id, by_text.activation_id);
    for bad in [
        json!({}),
        json!([]),
        json!({ "A": "x" }),
        json!({ "a": "" }),
        json!({ "a": 1 }),
    ] {
        let call = activation_of(key(&license), json!({ "fingerprints": bad }));
        assert_eq!(bed.call(call).await.refused(400), "BAD_REQUEST", "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_device_that_comes_many_times_at_once_takes_one_seat() {
    let shop = Shop::open().await;
    let license = shop
        .issue(&[("terms", json!({ "fingerprint": { "match": 1 } }))])
        .await;
    let answers = join_all((0..12).map(|n| {
        let more = json!({ "fingerprints": { "board": "B1", "disk": format!("D{n}") } });
        let call = activation_of(key(&license), more);
        let bed = &shop.bed;
        async move { bed.call(call).await.answer() }
    }))
    .await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.activation_id == answers[0].activation_id)
    );
    assert_eq!(shop.now_of(&license).await["live_activations"], 1);
}
