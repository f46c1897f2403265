//! Who holds seats, as their vendor sees and changes it.

use axum::http::Method;
use licet_shared::decision::Code;
use serde_json::{Value, json};

use super::{id, text};
use crate::licenses::Shop;

impl Shop {
    async fn leases(&self, query: &str) -> Vec<Value> {
        let path = format!("/api/v1/licenses/{}/leases{query}", self.seeded.license);
        let page = self.bed.get(&self.owner, &path).await.json(200);
        page["data"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn a_vendor_says_how_many_seats_there_are_by_its_terms() {
    let shop = Shop::open().await;
    let path = format!("/api/v1/policies/{}", shop.policy);
    let terms = json!({ "terms": { "seats": { "max": 1 } } });
    let policy = shop.bed.patch(&shop.owner, &path, &terms).await.json(200);
    assert_eq!(
        policy["terms"]["seats"],
        json!({ "max": 1, "per": "LICENSE", "lease_s": 600, "borrow_max_s": 0 })
    );
    let token = shop.bed.device(&shop.seeded, "device 1").await;
    assert!(shop.bed.acquire(&token, "ada").await.valid);
    assert_eq!(
        shop.bed.acquire(&token, "grace").await.code,
        Code::SeatLimit
    );
    // A license's own are in place of them.
    let path = format!("/api/v1/licenses/{}", shop.seeded.license);
    let terms = json!({ "terms": { "seats": { "max": 2, "per": "USER" } } });
    let license = shop.bed.patch(&shop.owner, &path, &terms).await.json(200);
    assert_eq!(license["effective_terms"]["seats"]["max"], 2);
    for holder in ["grace", "grace", "ada"] {
        assert!(shop.bed.acquire(&token, holder).await.valid, "{holder}");
    }
    let none = json!({ "terms": { "seats": { "max": 0 } } });
    let refused = shop.bed.patch(&shop.owner, &path, &none).await;
    assert_eq!(refused.refused(400), "BAD_REQUEST");
}

#[tokio::test]
async fn a_vendor_sees_who_holds_seats_and_takes_them_back() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    bed.float(&shop.seeded, &json!({ "max": 3, "borrow_max_s": 86_400 }));
    let token = bed.device(&shop.seeded, "device 1").await;
    let ada = bed.acquire(&token, "ada").await;
    let grace = bed.acquire(&token, "grace").await;
    let borrow = json!({ "borrow_s": 86_400 });
    let edsger = bed.acquire_with(&token, "edsger", &borrow).await;

    let all = shop.leases("").await;
    let holders: Vec<&str> = all
        .iter()
        .map(|it| it["holder"].as_str().unwrap())
        .collect();
    assert_eq!(holders, ["edsger", "grace", "ada"], "the newest first");
    assert_eq!(all[0]["borrowed"], true);
    assert_eq!(all[2]["license_id"], shop.seeded.license.to_string());
    assert_eq!(all[2]["activation_id"], json!(ada.activation_id.unwrap()));
    assert_eq!(all[2]["machine_hash"].as_str().unwrap().len(), 43);
    assert_eq!(all[2]["expires_at"], json!(ada.lease.unwrap().expires_at));
    assert!(all.iter().all(|it| it["ended_at"].is_null()), "{all:?}");

    // One whose holder was not heard of any more, which nobody has written down.
    bed.age(id(&ada), 606);
    assert_eq!(shop.leases("?live=true").await.len(), 2);
    let ended = shop.leases("?live=false").await;
    assert_eq!(
        (ended.len(), &ended[0]["ended_why"], &ended[0]["ended_at"]),
        (1, &json!("EXPIRED"), &ended[0]["expires_at"])
    );

    let one = format!("/api/v1/leases/{}", id(&edsger));
    let take = async || {
        let path = format!("{one}/release");
        let taken = bed.ask_with(&shop.owner, Method::POST, &path, None, &[]);
        taken.await.json(200)
    };
    let taken = take().await;
    assert_eq!(taken["ended_why"], "TAKEN_BACK");
    assert_eq!(taken, take().await, "twice is once");
    assert_eq!(taken, bed.get(&shop.owner, &one).await.json(200));
    assert_eq!(bed.heartbeat(text(&edsger)).await.code, Code::LeaseNotFound);
    // What was signed counts to its end, unless the activation goes too.
    let verdict = async || bed.verdict(&shop.seeded, &token, Some(text(&edsger))).await;
    assert_eq!(verdict().await, Code::Valid);
    for holder in ["a", "b"] {
        assert!(bed.acquire(&token, holder).await.valid);
    }
    bed.deactivate(&token).await;
    assert_eq!(verdict().await, Code::Deactivated);
    let why: Vec<Value> = shop
        .leases("")
        .await
        .iter()
        .map(|it| it["ended_why"].clone())
        .collect();
    assert_eq!(
        why,
        [
            "DEACTIVATED",
            "DEACTIVATED",
            "TAKEN_BACK",
            "DEACTIVATED",
            "EXPIRED"
        ]
    );
    assert_eq!(bed.heartbeat(text(&grace)).await.code, Code::Deactivated);

    let events = bed.database.admin(
        "SELECT action, actor, details::text FROM licet.audit_events
         WHERE action LIKE 'lease.%' ORDER BY seq",
    );
    let actions: Vec<&str> = events
        .iter()
        .map(|row| row[0].as_deref().unwrap())
        .collect();
    assert_eq!(actions, ["lease.borrowed", "lease.taken_back"]);
    assert_eq!(events[0][1].as_deref(), Some("edge.1"));
    assert_eq!(events[1][1].as_deref(), Some(shop.person.id.as_str()));
    for row in &events {
        assert!(!row[2].as_deref().unwrap().contains("edsger"), "{row:?}");
    }
}

#[tokio::test]
async fn leases_are_listed_across_licenses_and_go_a_week_after_their_end() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    bed.float(&shop.seeded, &json!({ "max": 9 }));
    let other = bed.database.seed("alpha", 5);
    bed.float(&other, &json!({ "max": 9 }));
    let token = bed.device(&shop.seeded, "device 1").await;
    let elsewhere = bed.device(&other, "device 1").await;
    for (token, holder) in [(&token, "a"), (&elsewhere, "b"), (&token, "c")] {
        let lease = bed.acquire(token, holder).await;
        if holder == "c" {
            bed.release(text(&lease)).await;
        }
    }
    let listed = async |path: &str| -> Vec<String> {
        let page = bed.get(&shop.owner, path).await.json(200);
        let data = page["data"].as_array().unwrap().clone();
        let holder = |it: &Value| it["holder"].as_str().unwrap().to_owned();
        data.iter().map(holder).collect()
    };
    assert_eq!(listed("/api/v1/leases").await, ["c", "b", "a"]);
    let of = format!("/api/v1/leases?license={}", other.license);
    assert_eq!(listed(&of).await, ["b"]);

    let jobs = async || {
        let run = bed.database.command(&["jobs", "run"]).json();
        run["rows"]["leases_deleted"].as_u64().unwrap()
    };
    assert_eq!(jobs().await, 0);
    // One ended by itself, one was given back, one is still there.
    bed.database.admin(
        "UPDATE licet.leases SET expires_at = now() - interval '8 days' WHERE holder = 'a';
         UPDATE licet.leases SET ended_at = now() - interval '8 days' WHERE holder = 'c'",
    );
    assert_eq!(jobs().await, 2);
    assert_eq!(listed("/api/v1/leases").await, ["b"]);
}
