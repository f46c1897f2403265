//! `Idempotency-Key` on activation.

use std::{sync::Arc, time::Duration};

use licet_shared::{decision::Code, license_key::LicenseKey};
use serde_json::json;

use super::support::{
    Bed, BedOptions, TestDatabase,
    edge::{ACTIVATE, Call, activation},
};
use licet_origin::db::DatabaseSettings;

#[tokio::test]
async fn a_repeated_request_does_not_act_twice() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 1);
    let first = bed
        .call(activation(&seeded.key, "one").once("k1"))
        .await
        .answer();
    let again = bed
        .call(activation(&seeded.key, "one").once("k1"))
        .await
        .answer();
    assert_eq!(first.activation_id, again.activation_id);
    assert!(again.license_token.is_some());
    let refused = bed
        .call(activation(&seeded.key, "two").once("k2"))
        .await
        .answer();
    assert_eq!(refused.code, Code::ActivationLimit);
    // Even when there is a seat now: the answer to this request was no.
    bed.deactivate(&first.license_token.unwrap()).await;
    let repeated = bed
        .call(activation(&seeded.key, "two").once("k2"))
        .await
        .answer();
    assert_eq!(repeated.code, Code::ActivationLimit);
    let anew = bed
        .call(activation(&seeded.key, "two").once("k3"))
        .await
        .answer();
    assert!(anew.valid);
    // And a yes is not one for ever.
    let gone = bed
        .call(activation(&seeded.key, "one").once("k1"))
        .await
        .answer();
    assert_eq!((gone.code, gone.license_token), (Code::Deactivated, None));
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    assert!(
        bed.call(activation(&seeded.key, "one").once("k1"))
            .await
            .answer()
            .valid
    );
    let reply = bed.call(activation(&seeded.key, "two").once("k1")).await;
    assert_eq!(reply.code(), "IDEMPOTENCY_KEY_REUSED");
    let live = bed.database.admin("SELECT count(*) FROM licet.activations");
    assert_eq!(live[0][0].as_deref(), Some("1"));
    let unknown = LicenseKey::new(seeded.tag, [1; 16]).reveal();
    let answer = bed.call(activation(&unknown, "one").once("k1")).await;
    assert_eq!(answer.answer().code, Code::LicenseNotFound);
    // Another organization's keys are its own.
    let other = bed.database.seed("beta", 5);
    assert!(
        bed.call(activation(&other.key, "two").once("k1"))
            .await
            .answer()
            .valid
    );
}

/// Customers of one vendor choose their keys without knowing of each other.
#[tokio::test]
async fn a_key_counts_for_its_license_alone() {
    let bed = Bed::new();
    let (one, two) = (bed.database.seed("alpha", 5), bed.database.seed("alpha", 5));
    let mut ids = Vec::new();
    for key in [&one.key, &two.key] {
        let answer = bed
            .call(activation(key, "device").once("k1"))
            .await
            .answer();
        assert!(answer.valid);
        ids.push(answer.activation_id);
    }
    assert_ne!(ids[0], ids[1]);
    for (key, id) in [(&one.key, ids[0]), (&two.key, ids[1])] {
        let again = bed.call(activation(key, "device").once("k1")).await;
        assert_eq!(again.answer().activation_id, id);
        let reply = bed.call(activation(key, "other").once("k1")).await;
        assert_eq!(reply.code(), "IDEMPOTENCY_KEY_REUSED");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_get_the_same_activation() {
    let bed = Arc::new(Bed::new());
    for round in 0..10 {
        let seeded = bed.database.seed("alpha", 5);
        let twins = (0..8).map(|_| {
            let call = activation(&seeded.key, "one").once(&format!("k{round}"));
            let bed = Arc::clone(&bed);
            tokio::spawn(async move { bed.call(call).await.answer().activation_id.unwrap() })
        });
        let mut ids = Vec::new();
        for twin in twins.collect::<Vec<_>>() {
            ids.push(twin.await.unwrap());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1);
    }
}

#[tokio::test]
async fn a_twin_that_is_still_at_work_is_not_waited_for_without_end() {
    let database = DatabaseSettings {
        lock_timeout: Duration::from_millis(200),
        ..DatabaseSettings::default()
    };
    let options = BedOptions {
        database,
        ..BedOptions::default()
    };
    let bed = Bed::with(TestDatabase::migrated(), &options);
    let seeded = bed.database.seed("alpha", 5);
    let twin = bed.database.app().await;
    super::support::sql::begin(&twin, seeded.org).await;
    twin.execute(
        "INSERT INTO licet.idempotency_keys (org_id, key, request_hash)
         SELECT org_id, rtrim(translate(encode(sha256('activate\\000'::bytea || key_hash || 'k1'::bytea), 'base64'), '+/', '-_'), '='),
             sha256('') FROM licet.licenses",
        &[],
    )
    .await
    .unwrap();
    let reply = bed.call(activation(&seeded.key, "one").once("k1")).await;
    assert_eq!(
        (reply.code(), reply.header("retry-after")),
        ("IDEMPOTENCY_IN_FLIGHT", "1")
    );
    // Waiting for the license itself is our own trouble, not the client's.
    twin.batch_execute("ROLLBACK").await.unwrap();
    super::support::sql::begin(&twin, seeded.org).await;
    twin.execute("SELECT FROM licet.licenses FOR UPDATE", &[])
        .await
        .unwrap();
    let reply = bed.call(activation(&seeded.key, "one").once("k1")).await;
    assert_eq!(
        (reply.code(), reply.header("retry-after")),
        ("UNAVAILABLE", "1")
    );
    twin.batch_execute("ROLLBACK").await.unwrap();
    assert!(
        bed.call(activation(&seeded.key, "one").once("k1"))
            .await
            .answer()
            .valid
    );
}

#[tokio::test]
async fn keys_are_forgotten_after_a_day_and_cleared_away_few_at_a_time() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 50);
    for number in 0..20 {
        bed.call(activation(&seeded.key, "one").once(&format!("k{number}")))
            .await
            .answer();
    }
    bed.database
        .admin("UPDATE licet.idempotency_keys SET created_at = now() - interval '25 hours'");
    // Its own outworn key is taken over for another request.
    assert!(
        bed.call(activation(&seeded.key, "two").once("k0"))
            .await
            .answer()
            .valid
    );
    let left = || {
        bed.database
            .admin("SELECT count(*) FROM licet.idempotency_keys")[0][0]
            .clone()
    };
    assert_eq!(left().as_deref(), Some("12"));
    for key in ["l1", "l2"] {
        bed.call(activation(&seeded.key, "two").once(key))
            .await
            .answer();
    }
    assert_eq!(left().as_deref(), Some("3"));
}

#[tokio::test]
async fn only_a_sound_key_is_taken() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    for bad in ["", "with space", &"x".repeat(256)] {
        let reply = bed.call(activation(&seeded.key, "one").once(bad)).await;
        assert_eq!(reply.code(), "BAD_REQUEST", "{bad:?}");
        assert!(reply.problem().detail.starts_with("Idempotency-Key"));
    }
    assert!(
        bed.call(activation(&seeded.key, "one").once(&"x".repeat(255)))
            .await
            .answer()
            .valid
    );
}

/// Anybody can make up license keys, and each call has a key of its own.
#[tokio::test]
async fn nothing_is_written_for_a_license_that_is_not_there() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let unknown = LicenseKey::new(seeded.tag, [1; 16]).reveal();
    for _ in 0..2 {
        let answer = bed
            .call(activation(&unknown, "one").once("k1"))
            .await
            .answer();
        assert_eq!(answer.code, Code::LicenseNotFound);
    }
    assert_eq!(
        bed.database
            .admin("SELECT key FROM licet.idempotency_keys")
            .len(),
        0
    );
    // So the key is still free.
    assert!(
        bed.call(activation(&seeded.key, "one").once("k1"))
            .await
            .answer()
            .valid
    );
}

/// Whoever gives none may still repeat: the device has its seat.
#[tokio::test]
async fn nothing_is_kept_without_a_key_and_nothing_secret_with_one() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    assert!(bed.activate(&seeded.key, "one").await.valid);
    assert_eq!(
        bed.database
            .admin("SELECT key FROM licet.idempotency_keys")
            .len(),
        0
    );
    let body = json!({ "license_key": seeded.key, "product": "local_cli", "fingerprint": "plain-fingerprint" });
    let answer = bed
        .call(Call::post(ACTIVATE, &body).once("k1"))
        .await
        .answer();
    let stored = bed
        .database
        .admin("SELECT row_to_json(k)::text FROM licet.idempotency_keys k")[0][0]
        .clone()
        .unwrap();
    for secret in [
        seeded.key.as_str(),
        "plain-fingerprint",
        answer.license_token.as_deref().unwrap(),
    ] {
        assert!(!stored.contains(secret), "{stored}");
    }
}
