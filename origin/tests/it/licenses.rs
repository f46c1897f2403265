//! Licenses and their activations.

use std::collections::BTreeSet;

use axum::http::Method;
use licet_shared::{
    decision::Code,
    documents::{StatusDocument, StatusReference},
    status_list::status,
};
use serde_json::{Value, json};

use crate::support::{
    Bed, ISSUER, Seeded,
    account::{Caller, PASSWORD, Person},
    edge::{Call, Reply, now},
};

const PATH: &str = "/api/v1/licenses";

/// An organization that sells the demo's product, the first license of which is the demo's.
pub struct Shop {
    pub bed: Bed,
    pub person: Person,
    pub owner: Caller,
    pub seeded: Seeded,
    /// The demo's.
    pub policy: String,
}

impl Shop {
    pub async fn open() -> Self {
        let bed = Bed::new();
        let person = bed.sign_up("alpha").await;
        let owner = person.caller.clone();
        let seeded = bed.database.seed("alpha", 5);
        let one = format!("{PATH}/{}", seeded.license);
        let license = bed.get(&owner, &one).await.json(200);
        let policy = license["policy_id"].as_str().unwrap().to_owned();
        Self {
            bed,
            person,
            owner,
            seeded,
            policy,
        }
    }

    pub async fn issue(&self, more: &[(&str, Value)]) -> Value {
        let mut body = json!({ "policy_id": self.policy });
        for (name, value) in more {
            body[*name] = value.clone();
        }
        self.bed.post(&self.owner, PATH, &body).await.json(201)
    }

    /// A POST without a body.
    pub async fn act(&self, path: &str) -> Reply {
        let bed = &self.bed;
        bed.ask_with(&self.owner, Method::POST, path, None, &[])
            .await
    }

    pub async fn status_list(&self) -> StatusDocument {
        let tag = self.seeded.tag;
        let call = Call::get(&format!("/edge/v1/orgs/{tag}/statuslists/0"));
        let call = call.header("cache-control", "max-age=0");
        let text = self.bed.call(call).await.text();
        let uri = StatusReference::uri(ISSUER, tag, 0);
        let keys = self.bed.keys(&self.seeded).await;
        StatusDocument::verify((&text).into(), &uri, &keys, now()).unwrap()
    }

    pub async fn count(&self, path: &str) -> usize {
        let list = self.bed.get(&self.owner, path).await.json(200);
        list["data"].as_array().unwrap().len()
    }
}

pub fn one(license: &Value) -> String {
    format!("{PATH}/{}", license["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_is_issued_used_suspended_and_revoked() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let made = shop
        .issue(&[
            ("max_activations", json!(2)),
            ("metadata", json!({ "order": "A-17" })),
        ])
        .await;
    let key = made["key"].as_str().unwrap();
    assert_eq!(
        (&made["status"], &made["products"], &made["tier"]),
        (&json!("ACTIVE"), &json!(["local_cli"]), &json!("PRO"))
    );
    let read = bed.get(&shop.owner, &one(&made)).await;
    assert_eq!(read.header("etag"), "\"1\"");
    assert_eq!(read.json(200).get("key"), None);
    assert_eq!(read.json(200)["metadata"], json!({ "order": "A-17" }));

    let first = bed.activate(key, "first").await;
    assert!(first.valid && bed.activate(key, "second").await.valid);
    assert_eq!(bed.activate(key, "third").await.code, Code::ActivationLimit);
    // Activations are no version, so a copy of the same version is not as good.
    let again = bed
        .ask_with(
            &shop.owner,
            Method::GET,
            &one(&made),
            None,
            &[("if-none-match", "\"1\"")],
        )
        .await;
    assert_eq!(again.json(200)["live_activations"], 2);

    let suspended = shop.act(&format!("{}/suspend", one(&made))).await;
    assert_eq!(suspended.json(200)["status"], "SUSPENDED");
    assert_eq!(suspended.header("etag"), "\"2\"");
    assert_eq!(
        shop.status_list().await.list().get(0),
        Some(status::SUSPENDED)
    );
    assert_eq!(bed.activate(key, "first").await.code, Code::Suspended);
    let back = shop.act(&format!("{}/reinstate", one(&made))).await;
    assert_eq!(back.json(200)["status"], "ACTIVE");
    assert!(bed.activate(key, "first").await.valid);

    let before = shop.status_list().await.version();
    let revoked = shop.act(&format!("{}/revoke", one(&made))).await;
    assert_eq!(revoked.json(200)["status"], "REVOKED");
    let list = shop.status_list().await;
    assert!(list.version() > before);
    assert_eq!(
        (list.list().get(0), list.list().get(1)),
        (Some(status::REVOKED), Some(status::REVOKED))
    );
    assert_eq!(bed.activate(key, "first").await.code, Code::Revoked);
    // Again is no change; and there is no way back.
    let again = shop.act(&format!("{}/revoke", one(&made))).await;
    assert_eq!(again.header("etag"), revoked.header("etag"));
    let reinstated = shop.act(&format!("{}/reinstate", one(&made))).await;
    assert_eq!(reinstated.refused(409), "CONFLICT");
    let changed = bed
        .patch(&shop.owner, &one(&made), &json!({ "max_activations": 9 }))
        .await;
    assert_eq!(changed.refused(409), "CONFLICT");

    let subject = made["id"].as_str().unwrap();
    let sql =
        format!("SELECT action FROM licet.audit_events WHERE subject = '{subject}' ORDER BY seq");
    let actions: Vec<_> = bed.database.admin(&sql).concat();
    let actions: Vec<_> = actions.iter().flatten().map(String::as_str).collect();
    assert_eq!(
        actions,
        [
            "license.issued",
            "license.suspended",
            "license.reinstated",
            "license.revoked"
        ]
    );
    // Neither the key nor what the vendor keeps stands in the trail.
    for row in bed
        .database
        .admin("SELECT e::text FROM licet.audit_events e")
        .concat()
    {
        let row = row.unwrap();
        assert!(!row.contains(key) && !row.contains("A-17"), "{row}");
    }
    let verify = ["audit", "verify", "--org", "alpha"];
    bed.database.command(&verify).succeed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terms_change_for_the_version_that_was_meant() {
    let shop = Shop::open().await;
    let (bed, owner) = (&shop.bed, &shop.owner);
    let made = shop
        .issue(&[("expires_at", json!("2090-01-01T00:00:00Z"))])
        .await;
    let path = one(&made);
    let change = |body: Value, tag: &'static str| {
        let path = &path;
        async move {
            bed.ask_with(
                owner,
                Method::PATCH,
                path,
                Some(&body),
                &[("if-match", tag)],
            )
            .await
        }
    };
    let body = json!({ "max_activations": 3, "metadata": { "a": 1 } });
    let reply = change(body.clone(), "\"1\"").await;
    let changed = reply.json(200);
    assert_eq!(
        (&changed["max_activations"], &changed["metadata"]["a"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(changed["expires_at"], "2090-01-01T00:00:00Z");
    assert_eq!(reply.header("etag"), "\"2\"");
    assert_eq!(
        change(body, "\"1\"").await.refused(412),
        "PRECONDITION_FAILED"
    );
    let suspend = format!("{path}/suspend");
    let stale = bed
        .ask_with(
            owner,
            Method::POST,
            &suspend,
            None,
            &[("if-match", "\"1\"")],
        )
        .await;
    assert_eq!(stale.refused(412), "PRECONDITION_FAILED");

    let renew = format!("{path}/renew");
    let until = |end: &str| json!({ "expires_at": end });
    let renewed = bed
        .post(owner, &renew, &until("2091-01-01T00:00:00Z"))
        .await;
    assert_eq!(renewed.json(200)["expires_at"], "2091-01-01T00:00:00Z");
    let earlier = bed
        .post(owner, &renew, &until("2090-06-01T00:00:00Z"))
        .await;
    assert_eq!(earlier.refused(409), "CONFLICT");
    let endless = bed
        .patch(owner, &path, &json!({ "expires_at": null }))
        .await;
    assert_eq!(endless.json(200)["expires_at"], Value::Null);

    // One that has ended is in force again.
    bed.database.admin("UPDATE licet.licenses SET expires_at = now() - interval '1 day', status = CASE WHEN max_activations = 3 THEN 'EXPIRED' ELSE status END");
    assert_eq!(bed.get(owner, &path).await.json(200)["status"], "EXPIRED");
    assert_eq!(shop.count(&format!("{PATH}?status=EXPIRED")).await, 2);
    for ended in [path.clone(), format!("{PATH}/{}", shop.seeded.license)] {
        let renewed = bed
            .post(
                owner,
                &format!("{ended}/renew"),
                &until("2090-01-01T00:00:00Z"),
            )
            .await;
        assert_eq!(renewed.json(200)["status"], "ACTIVE");
    }
    assert!(bed.activate(&shop.seeded.key, "one").await.valid);

    for bad in [
        json!({ "max_activations": 0 }),
        json!({ "expires_at": "2001-01-01T00:00:00Z" }),
        json!({ "metadata": { "a": "x".repeat(4096) } }),
        json!({ "key": "x" }),
    ] {
        assert_eq!(
            bed.patch(owner, &path, &bad).await.refused(400),
            "BAD_REQUEST"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_order_is_one_and_its_keys_are_shown_once() {
    let shop = Shop::open().await;
    let (bed, owner) = (&shop.bed, &shop.owner);
    let send = |path: &'static str, body: Value, key: &'static str| async move {
        let key = [("idempotency-key", key)];
        bed.ask_with(owner, Method::POST, path, Some(&body), &key)
            .await
    };
    let body = json!({ "policy_id": shop.policy });
    let first = send(PATH, body.clone(), "order-1").await;
    let second = send(PATH, body, "order-1").await;
    assert!(first.json(201)["key"].is_string());
    assert!(second.json(201)["key"].is_null());
    assert_eq!(first.json(201)["id"], second.json(201)["id"]);
    assert_eq!(second.header("idempotency-replayed"), "true");
    let kept = bed
        .database
        .admin("SELECT k::text FROM licet.idempotency_keys k")
        .concat();
    let secret = first.json(201)["key"].as_str().unwrap().to_owned();
    assert!(kept.iter().flatten().all(|row| !row.contains(&secret)));

    let batch = json!({ "policy_id": shop.policy, "count": 300, "max_activations": 1 });
    let batch_path = "/api/v1/licenses/batch";
    let first = send(batch_path, batch.clone(), "order-2").await.json(201);
    let second = send(batch_path, batch, "order-2").await.json(201);
    let ids = |batch: &Value| {
        let data = batch["data"].as_array().unwrap().clone();
        data.iter()
            .map(|one| one["id"].to_string())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!((ids(&first).len(), ids(&first)), (300, ids(&second)));
    assert!(
        second["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["key"].is_null())
    );
    // Each key is the one of the license that it stands with.
    for index in [0, 299] {
        let one = &first["data"][index];
        let answer = bed.activate(one["key"].as_str().unwrap(), "device").await;
        assert_eq!(json!(answer.license.unwrap().id), one["id"]);
    }
    for count in [0, 1001] {
        let body = json!({ "policy_id": shop.policy, "count": count });
        assert_eq!(
            bed.post(owner, batch_path, &body).await.refused(400),
            "BAD_REQUEST"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quota_holds_when_many_ask_at_once() {
    let shop = Shop::open().await;
    let (bed, owner) = (&shop.bed, &shop.owner);
    bed.database
        .admin("UPDATE licet.organizations SET max_licenses = 6");
    let body = json!({ "policy_id": shop.policy });
    let all = (0..16).map(|_| bed.post(owner, PATH, &body));
    let replies = futures_util::future::join_all(all).await;
    let issued: Vec<_> = replies
        .iter()
        .filter(|reply| reply.status.as_u16() == 201)
        .collect();
    assert_eq!(issued.len(), 5);
    for reply in &replies {
        if reply.status.as_u16() != 201 {
            assert_eq!(reply.refused(403), "QUOTA_EXCEEDED");
        }
    }
    assert_eq!(shop.count(PATH).await, 6);
    // A revoked one makes room for one, and a batch comes whole or not at all.
    shop.act(&format!("{}/revoke", one(&issued[0].json(201))))
        .await
        .json(200);
    let batch = json!({ "policy_id": shop.policy, "count": 2 });
    let reply = bed.post(owner, "/api/v1/licenses/batch", &batch).await;
    assert_eq!(reply.refused(403), "QUOTA_EXCEEDED");
    shop.issue(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn licenses_are_listed_page_by_page_and_filtered() {
    let shop = Shop::open().await;
    let mut expected = vec![shop.seeded.license.to_string()];
    for number in 0..6 {
        let end = format!("20{}-01-01T00:00:00Z", 80 + number);
        let made = shop
            .issue(&[
                ("expires_at", json!(end)),
                ("metadata", json!({ "Order": format!("N{number}") })),
            ])
            .await;
        expected.push(made["id"].as_str().unwrap().to_owned());
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{PATH}?limit=2{cursor}");
        let page = shop.bed.get(&shop.owner, &path).await.json(200);
        for license in page["data"].as_array().unwrap() {
            seen.push(license["id"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    expected.sort();
    expected.reverse();
    assert_eq!(seen, expected);

    let policy = format!("policy={}", shop.policy);
    for (query, count) in [
        ("status=ACTIVE", 7),
        ("status=REVOKED", 0),
        ("tier=PRO", 7),
        ("tier=FREE", 0),
        ("product=local_cli", 7),
        ("product=other", 0),
        (policy.as_str(), 7),
        ("expiring_before=2082-01-01T00:00:00Z", 2),
        ("text=n3", 1),
        ("text=%25", 0),
        ("text=n3&status=ACTIVE&tier=PRO", 1),
    ] {
        assert_eq!(
            shop.count(&format!("{PATH}?{query}")).await,
            count,
            "{query}"
        );
    }
    for bad in ["status=active", "tier=x", "policy=x", "expiring_before=x"] {
        let reply = shop.bed.get(&shop.owner, &format!("{PATH}?{bad}")).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_shown_and_taken_off() {
    let shop = Shop::open().await;
    let (bed, owner) = (&shop.bed, &shop.owner);
    let key = &shop.seeded.key;
    let other = shop.issue(&[]).await;
    let first = bed.activate(key, "first").await;
    bed.activate(key, "second").await;
    bed.activate(other["key"].as_str().unwrap(), "third").await;
    let license = shop.seeded.license;
    let all = "/api/v1/activations";
    assert_eq!(shop.count(all).await, 3);
    assert_eq!(shop.count(&format!("{all}?license={license}")).await, 2);
    assert_eq!(
        shop.count(&format!("{PATH}/{license}/activations")).await,
        2
    );

    let path = format!("{all}/{}", first.activation_id.unwrap());
    let read = bed.get(owner, &path).await.json(200);
    assert_eq!(read["license_id"], json!(license));
    let before = shop.status_list().await.version();
    let gone = shop.act(&format!("{path}/deactivate")).await.json(200);
    assert!(gone["deactivated_at"].is_string());
    let list = shop.status_list().await;
    assert!(list.version() > before);
    assert_eq!(list.list().get(0), Some(3));
    let again = shop.act(&format!("{path}/deactivate")).await.json(200);
    assert_eq!(again, gone);
    assert_eq!(shop.status_list().await.version(), list.version());
    let refreshed = bed.refresh(&first.license_token.unwrap()).await;
    assert_eq!(refreshed.code, Code::Deactivated);
    assert_eq!(shop.count(&format!("{all}?live=true")).await, 2);
    assert_eq!(shop.count(&format!("{all}?live=false")).await, 1);
    let events = bed
        .database
        .admin("SELECT actor FROM licet.audit_events WHERE action = 'activation.deactivated'")
        .concat();
    assert_eq!(events, [Some(shop.person.id.clone())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anothers_licenses_and_devices_are_as_little_there_as_none() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let beta = bed.sign_up("beta").await.caller;
    let seeded = bed.database.seed("beta", 5);
    let own = bed
        .get(&beta, &format!("{PATH}/{}", seeded.license))
        .await
        .json(200)["policy_id"]
        .clone();
    let theirs = json!({ "license_key": shop.seeded.key });
    let activation = bed.activate(&shop.seeded.key, "first").await;
    let license = format!("{PATH}/{}", shop.seeded.license);
    let device = format!("/api/v1/activations/{}", activation.activation_id.unwrap());
    let none = "lic_01h455vb4pex5vsknk084sn02q";
    for path in [license.clone(), format!("{PATH}/{none}")] {
        let renewal = json!({ "expires_at": "2090-01-01T00:00:00Z" });
        let change = json!({ "max_activations": 7 });
        let transfer = json!({ "policy_id": own });
        let mut replies = vec![
            bed.get(&beta, &path).await,
            bed.get(&beta, &format!("{path}/activations")).await,
            bed.patch(&beta, &path, &change).await,
            bed.post(&beta, &format!("{path}/renew"), &renewal).await,
            bed.post(&beta, &format!("{path}/transfer"), &transfer)
                .await,
            bed.post(&beta, &format!("{PATH}/lookup"), &theirs).await,
        ];
        for action in ["suspend", "reinstate", "revoke"] {
            let path = format!("{path}/{action}");
            replies.push(bed.ask_with(&beta, Method::POST, &path, None, &[]).await);
        }
        for reply in replies {
            assert_eq!(reply.refused(404), "NOT_FOUND");
        }
    }
    assert_eq!(bed.get(&beta, &device).await.refused(404), "NOT_FOUND");
    let path = format!("{device}/deactivate");
    let reply = bed.ask_with(&beta, Method::POST, &path, None, &[]).await;
    assert_eq!(reply.refused(404), "NOT_FOUND");
    for path in [PATH, "/api/v1/licenses/batch"] {
        let mut body = json!({ "policy_id": shop.policy });
        if path != PATH {
            body["count"] = json!(2);
        }
        let reply = bed.post(&beta, path, &body).await;
        assert_eq!(reply.refused(404), "NOT_FOUND");
    }
    let path = format!("/api/v1/activations?license={}", shop.seeded.license);
    assert_eq!(bed.get(&beta, &path).await.json(200)["data"], json!([]));
    assert_eq!(shop.count(PATH).await, 1);
    assert!(bed.activate(&shop.seeded.key, "first").await.valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_and_scope_does_what_it_may() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let activation = bed.activate(&shop.seeded.key, "first").await;
    let id = activation.activation_id.unwrap();
    let body = json!({ "policy_id": shop.policy });
    // (reads licenses, writes licenses, reads activations, writes activations)
    let can = |caller: Caller| {
        let body = &body;
        async move {
            let device = format!("/api/v1/activations/{id}");
            let off = format!("{device}/deactivate");
            let replies = [
                bed.get(&caller, PATH).await,
                bed.post(&caller, PATH, body).await,
                bed.get(&caller, &device).await,
                bed.ask_with(&caller, Method::POST, &off, None, &[]).await,
            ];
            replies.map(|reply| {
                if !reply.status.is_success() {
                    assert_eq!(reply.refused(403), "FORBIDDEN");
                }
                reply.status.is_success()
            })
        }
    };
    for (scopes, may) in [
        (json!(["licenses:read"]), [true, false, false, false]),
        (json!(["licenses:write"]), [false, true, false, false]),
        (json!(["activations:read"]), [false, false, true, false]),
        (json!(["activations:write"]), [false, false, false, true]),
        (json!(["products:write"]), [false; 4]),
    ] {
        let key = json!({ "name": "a key", "scopes": scopes });
        let made = bed.post(&shop.owner, "/api/v1/api-keys", &key).await;
        let bearer = made.json(201)["secret"].as_str().unwrap().to_owned();
        assert_eq!(can(Caller { bearer }).await, may, "{scopes}");
    }
    for (role, may) in [
        ("OWNER", [true; 4]),
        ("ADMIN", [true; 4]),
        ("MEMBER", [true; 4]),
        ("GUEST", [true, false, true, false]),
    ] {
        bed.database
            .admin(&format!("UPDATE licet.users SET role = '{role}'"));
        let session = bed.log_in(&shop.person.email, PASSWORD, "alpha").await;
        let session = session.json(200);
        let bearer = session["access_token"].as_str().unwrap().to_owned();
        assert_eq!(can(Caller { bearer }).await, may, "{role}");
    }
}
