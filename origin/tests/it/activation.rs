//! Activate, refresh, deactivate.

use std::{collections::BTreeSet, sync::Arc};

use licet_shared::{
    api::ActivationAnswer,
    decision::{Code, LicenseToken, fingerprint_hash},
    documents::OrgKeys,
    license_key::LicenseKey,
};
use serde_json::json;

use super::support::{
    Bed, ISSUER, Seeded,
    edge::{ACTIVATE, Call, activation, now},
    platform_keys,
};

impl Bed {
    pub async fn keys(&self, seeded: &Seeded) -> OrgKeys {
        let target = format!("/edge/v1/orgs/{}/keys", seeded.tag);
        let text = self.call(Call::get(&target)).await.text();
        OrgKeys::verify((&text).into(), ISSUER, seeded.tag, &platform_keys(), now()).unwrap()
    }

    fn operator(&self, command: &str, seeded: &Seeded) {
        let id = seeded.license.to_string();
        self.database
            .command(&["license", command, "--org", &seeded.slug, &id])
            .succeed();
    }
}

fn token(answer: &ActivationAnswer) -> String {
    answer.license_token.clone().unwrap()
}

#[tokio::test]
async fn an_activation_says_what_was_bought_in_a_token_that_edges_believe() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let answer = bed.activate(&seeded.key, "device one").await;
    assert!(answer.valid);
    assert_eq!(answer.code, Code::Valid);
    let license = answer.license.clone().unwrap();
    assert_eq!(
        (license.id, license.products),
        (seeded.license, vec!["local_cli".into()])
    );
    assert_eq!(answer.features.clone().unwrap()["projects.max"], 25);

    let text = token(&answer);
    let verified = LicenseToken::verify(&text, Some(&bed.keys(&seeded).await), now()).unwrap();
    let claims = verified.claims();
    assert_eq!((claims.sub, claims.org), (seeded.license, seeded.org));
    assert_eq!(Some(claims.act), answer.activation_id);
    assert_eq!(
        claims.fp.as_deref(),
        Some(fingerprint_hash("device one").as_str())
    );
    assert_eq!(claims.status.status_list.idx, 0);
    assert_eq!(claims.grace, 604_800);
    assert_eq!(Some(claims.fs), answer.feature_set.map(|set| set.id));
    let times = answer.token.unwrap();
    assert_eq!(times.expires_at, verified.times().expires_at);
    assert_eq!(
        times.refresh_after,
        verified.effective(None).refresh_after(verified.times())
    );
    assert_eq!(times.expires_at.since(verified.times().issued_at), 86_400);
}

#[tokio::test]
async fn the_same_device_keeps_its_seat_and_others_get_theirs_until_none_is_left() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 2);
    let one = bed.activate(&seeded.key, "one").await;
    let typed = seeded.key.to_lowercase().replace('-', " ");
    let again = bed.activate(&typed, "one").await;
    assert_eq!(one.activation_id, again.activation_id);
    assert_ne!(one.license_token, again.license_token);
    let two = bed.activate(&seeded.key, "two").await;
    assert_ne!(one.activation_id, two.activation_id);

    let three = bed.activate(&seeded.key, "three").await;
    assert_eq!((three.valid, three.code), (false, Code::ActivationLimit));
    assert_eq!(three.license_token, None);
    assert_eq!(three.license.unwrap().id, seeded.license);
    // Who has a seat keeps it.
    assert!(bed.activate(&seeded.key, "two").await.valid);

    assert!(bed.deactivate(&token(&one)).await.valid);
    let three = bed.activate(&seeded.key, "three").await;
    assert!(three.valid);
    assert_eq!(
        bed.activate(&seeded.key, "one").await.code,
        Code::ActivationLimit
    );
}

#[tokio::test]
async fn a_device_that_comes_back_is_a_new_activation_with_a_new_entry() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 1);
    let keys = bed.keys(&seeded).await;
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let answer = bed.activate(&seeded.key, "one").await;
        let text = token(&answer);
        let verified = LicenseToken::verify(&text, Some(&keys), now()).unwrap();
        assert!(seen.insert((
            answer.activation_id,
            verified.claims().status.status_list.idx
        )));
        assert!(bed.deactivate(&text).await.valid);
    }
    assert_eq!(
        seen.iter()
            .map(|(_, index)| *index)
            .collect::<BTreeSet<_>>(),
        [0, 1, 2].into()
    );
}

#[tokio::test]
async fn deactivating_twice_is_the_same_and_frees_one_seat() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 1);
    let one = bed.activate(&seeded.key, "one").await;
    let first = bed.deactivate(&token(&one)).await;
    let second = bed.deactivate(&token(&one)).await;
    assert_eq!(
        (first.valid, first.code, first.activation_id),
        (true, Code::Valid, one.activation_id)
    );
    assert_eq!((second.valid, &second.detail), (true, &first.detail));
    assert!(first.detail.contains("given back"));
    assert_eq!(first.license_token, None);

    let two = bed.activate(&seeded.key, "two").await;
    assert!(two.valid);
    // The old token frees nobody else's seat.
    assert!(bed.deactivate(&token(&one)).await.valid);
    assert_eq!(
        bed.activate(&seeded.key, "three").await.code,
        Code::ActivationLimit
    );
    assert_eq!(bed.refresh(&token(&one)).await.code, Code::Deactivated);
    assert!(bed.refresh(&token(&two)).await.valid);
}

#[tokio::test]
async fn a_refresh_makes_a_new_token_for_the_same_activation() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 1);
    let one = bed.activate(&seeded.key, "one").await;
    bed.database
        .admin("UPDATE licet.activations SET last_seen_at = now() - interval '1 hour'");
    let refreshed = bed.refresh(&token(&one)).await;
    assert!(refreshed.valid);
    assert_eq!(refreshed.activation_id, one.activation_id);
    assert_ne!(refreshed.license_token, one.license_token);
    assert_eq!(refreshed.features, one.features);
    let recent = bed
        .database
        .admin("SELECT last_seen_at > now() - interval '1 minute' FROM licet.activations");
    assert_eq!(recent[0][0].as_deref(), Some("t"));
    assert!(bed.refresh(&token(&refreshed)).await.valid);
}

#[tokio::test]
async fn a_licenses_status_is_weighed_in_the_order_of_the_codes() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 1);
    let one = token(&bed.activate(&seeded.key, "one").await);

    bed.operator("suspend", &seeded);
    assert_eq!(bed.activate(&seeded.key, "one").await.code, Code::Suspended);
    assert_eq!(bed.refresh(&one).await.code, Code::Suspended);
    bed.operator("reinstate", &seeded);
    assert_eq!(bed.refresh(&one).await.code, Code::Valid);

    bed.database
        .admin("UPDATE licet.licenses SET expires_at = now() - interval '1 second'");
    assert_eq!(
        bed.activate(&seeded.key, "one").await.code,
        Code::LicenseExpired
    );
    assert_eq!(bed.refresh(&one).await.code, Code::LicenseExpired);
    // A seat can always be given back.
    assert!(bed.deactivate(&one).await.valid);
    assert_eq!(bed.refresh(&one).await.code, Code::Deactivated);
    bed.operator("suspend", &seeded);
    assert_eq!(bed.refresh(&one).await.code, Code::Suspended);
    bed.operator("revoke", &seeded);
    assert_eq!(bed.refresh(&one).await.code, Code::Revoked);
    let refused = bed.activate(&seeded.key, "one").await;
    assert_eq!(
        (refused.code, refused.license.unwrap().id),
        (Code::Revoked, seeded.license)
    );
    let id = seeded.license.to_string();
    let ended = bed
        .database
        .command(&["license", "reinstate", "--org", "alpha", &id])
        .end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("is REVOKED"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_stored_expired_status_counts_as_ended() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 1);
    bed.database
        .admin("UPDATE licet.licenses SET status = 'EXPIRED'");
    assert_eq!(
        bed.activate(&seeded.key, "one").await.code,
        Code::LicenseExpired
    );
}

#[tokio::test]
async fn what_is_not_sold_is_refused_before_a_seat_is() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 1);
    bed.activate(&seeded.key, "one").await;
    let body = json!({ "license_key": seeded.key, "product": "cloud_ide", "fingerprint": "two" });
    let answer = bed.call(Call::post(ACTIVATE, &body)).await.answer();
    assert_eq!(answer.code, Code::ProductNotLicensed);
}

#[tokio::test]
async fn a_key_that_is_nobodys_and_one_of_an_unknown_organization_are_answered_alike() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 1);
    let unknown = [
        LicenseKey::new(seeded.tag, [1; 16]),
        LicenseKey::new("ZZZZZZZZ".parse().unwrap(), [1; 16]),
    ];
    for key in unknown {
        let mut answer = bed.activate(&key.reveal(), "one").await;
        answer.request_id = None;
        assert_eq!(answer, ActivationAnswer::plain(Code::LicenseNotFound));
    }
    let reply = bed.call(activation("ABCDEFGH-12345", "one")).await;
    assert_eq!(reply.code(), "LICENSE_KEY_MALFORMED");
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_answered_with_their_code() {
    let bed = Bed::new();
    let (alpha, beta) = (bed.database.seed("alpha", 5), bed.database.seed("beta", 5));
    let text = token(&bed.activate(&alpha.key, "one").await);
    let of_beta = token(&bed.activate(&beta.key, "one").await);
    let signature_at = text.rfind('.').unwrap() + 1;
    let flipped = {
        let mut bytes = text.clone().into_bytes();
        bytes[signature_at] = if bytes[signature_at] == b'A' {
            b'B'
        } else {
            b'A'
        };
        String::from_utf8(bytes).unwrap()
    };
    // The head of one organization's token over the body of another's.
    let (head, body) = (
        text.split('.').next().unwrap(),
        of_beta.split_once('.').unwrap().1,
    );
    for (bad, code) in [
        ("", Code::Malformed),
        ("nonsense", Code::Malformed),
        (&"x".repeat(9000), Code::Malformed),
        (&flipped, Code::SignatureInvalid),
        (&format!("{head}.{body}"), Code::SignatureInvalid),
    ] {
        assert_eq!(bed.refresh(bad).await.code, code, "{bad}");
        assert_eq!(bed.deactivate(bad).await.code, code, "{bad}");
    }
}

#[tokio::test]
async fn a_withdrawn_key_no_longer_vouches_though_it_is_remembered() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let text = token(&bed.activate(&seeded.key, "one").await);
    assert!(bed.refresh(&text).await.valid);
    // Rotated by hand: a second key signs, the first is withdrawn.
    let other = bed.database.seed("beta", 5);
    assert!(bed.activate(&other.key, "one").await.valid);
    bed.database.admin(&format!(
        "UPDATE licet.signing_keys SET state = 'WITHDRAWN' WHERE org_id = '{}'",
        super::support::sql::uuid(seeded.org)
    ));
    bed.database.admin(
        "UPDATE licet.organizations SET keys_version = keys_version + 1 WHERE slug = 'alpha'",
    );
    // It has no key left that signs: our fault, and nothing is answered under the old one.
    for target in [
        super::support::edge::REFRESH,
        super::support::edge::DEACTIVATE,
    ] {
        let reply = bed
            .call(Call::post(target, &json!({ "token": text })))
            .await;
        assert_eq!(reply.code(), "INTERNAL", "{target}");
    }
    let live = bed
        .database
        .admin("SELECT count(*) FROM licet.activations WHERE deactivated_at IS NULL");
    assert_eq!(live[0][0].as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_devices_race_for_five_seats() {
    let bed = Arc::new(Bed::new());
    for round in 0..10 {
        let seeded = bed.database.seed("alpha", 5);
        let devices = (0..64).map(|device| {
            let (bed, key) = (Arc::clone(&bed), seeded.key.clone());
            tokio::spawn(async move { bed.activate(&key, &format!("{round}-{device}")).await })
        });
        let mut won = BTreeSet::new();
        for device in devices.collect::<Vec<_>>() {
            let answer = device.await.unwrap();
            match answer.code {
                Code::Valid => assert!(won.insert(answer.activation_id.unwrap())),
                code => assert_eq!(code, Code::ActivationLimit),
            }
        }
        assert_eq!(won.len(), 5, "round {round}");
    }
    let entries = bed
        .database
        .admin("SELECT count(DISTINCT status_index), max(status_index) FROM licet.activations");
    assert_eq!(entries[0], [Some("50".into()), Some("49".into())]);
    let audited = bed
        .database
        .admin("SELECT count(*) FROM licet.audit_events WHERE action = 'activation.created'");
    assert_eq!(audited[0][0].as_deref(), Some("50"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_device_that_asks_many_times_at_once_gets_one_seat() {
    let bed = Arc::new(Bed::new());
    let seeded = bed.database.seed("alpha", 5);
    let asked = (0..32).map(|_| {
        let (bed, key) = (Arc::clone(&bed), seeded.key.clone());
        tokio::spawn(async move { bed.activate(&key, "one").await })
    });
    let mut ids = BTreeSet::new();
    for answer in asked.collect::<Vec<_>>() {
        ids.insert(answer.await.unwrap().activation_id.unwrap());
    }
    assert_eq!(ids.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_come_and_go_at_once_without_deadlock_or_a_seat_too_many() {
    let bed = Arc::new(Bed::new());
    let seeded = bed.database.seed("alpha", 3);
    let version = || {
        let rows = bed
            .database
            .admin("SELECT version FROM licet.status_versions");
        rows[0][0].clone().unwrap().parse::<u64>().unwrap()
    };
    let before = version();
    let devices = (0..24).map(|device| {
        let (bed, key) = (Arc::clone(&bed), seeded.key.clone());
        tokio::spawn(async move {
            for _ in 0..5 {
                let answer = bed.activate(&key, &format!("device {device}")).await;
                if let Some(token) = answer.license_token {
                    assert!(bed.refresh(&token).await.valid);
                    assert!(bed.deactivate(&token).await.valid);
                }
            }
        })
    });
    for device in devices.collect::<Vec<_>>() {
        device.await.unwrap();
    }
    let rows = bed.database.admin(
        "SELECT count(*) FILTER (WHERE deactivated_at IS NULL),
             count(*) = count(DISTINCT status_index), count(*)
         FROM licet.activations",
    );
    assert_eq!(rows[0][..2], [Some("0".into()), Some("t".into())]);
    let made: u64 = rows[0][2].clone().unwrap().parse().unwrap();
    assert!(version() >= before + made, "each counted up");
}

/// A deactivation takes no lock on the license, so it may come between an activation's look at the
/// device's seat and its end.
#[tokio::test]
async fn a_seat_that_is_given_back_meanwhile_is_taken_anew() {
    let bed = Arc::new(Bed::new());
    let seeded = bed.database.seed("alpha", 5);
    let old = bed.activate(&seeded.key, "one").await;
    let other = bed.database.app().await;
    super::support::sql::begin(&other, seeded.org).await;
    other
        .execute("UPDATE licet.activations SET deactivated_at = now()", &[])
        .await
        .unwrap();
    let (again, key) = (Arc::clone(&bed), seeded.key.clone());
    let again = tokio::spawn(async move { again.activate(&key, "one").await });
    // It has seen the old seat, and waits for the row.
    let waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while bed.database.admin(waits).is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    other.batch_execute("COMMIT").await.unwrap();
    let again = again.await.unwrap();
    assert!(again.valid);
    assert_ne!(again.activation_id, old.activation_id);
    assert_eq!(bed.refresh(&token(&again)).await.code, Code::Valid);
}

/// Whatever is answered VALID is in force, unless it was given back by a call that was not yet
/// answered when the activation was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_device_that_comes_and_goes_at_once_is_never_given_what_was_given_back() {
    let bed = Arc::new(Bed::new());
    let seeded = bed.database.seed("alpha", 1);
    let gone = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let devices = (0..8).map(|_| {
        let (bed, key, gone) = (Arc::clone(&bed), seeded.key.clone(), Arc::clone(&gone));
        tokio::spawn(async move {
            for _ in 0..20 {
                let before = gone.lock().unwrap().clone();
                let answer = bed.activate(&key, "one").await;
                assert_eq!(answer.code, Code::Valid, "one device, one seat");
                let id = answer.activation_id.unwrap();
                assert!(!before.contains(&id), "given back before it was asked for");
                assert!(bed.deactivate(&token(&answer)).await.valid);
                gone.lock().unwrap().insert(id);
            }
        })
    });
    for device in devices.collect::<Vec<_>>() {
        device.await.unwrap();
    }
    let live = "SELECT count(*) FROM licet.activations WHERE deactivated_at IS NULL";
    assert_eq!(bed.database.admin(live)[0][0].as_deref(), Some("0"));
}

/// Written past the limits, as by hand.
#[tokio::test]
async fn no_seat_is_taken_for_a_token_that_edges_would_not_take() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.database.admin(
        "INSERT INTO licet.products (org_id, id, code, name)
         SELECT org_id, gen_random_uuid(), 'p' || lpad(n::text, 63, '0'), 'n'
         FROM licet.organizations, generate_series(1, 85) n",
    );
    let cover = |count: u32| {
        bed.database.admin(&format!(
            "INSERT INTO licet.license_products (org_id, license_id, product_id)
             SELECT l.org_id, l.id, p.id FROM licet.licenses l, licet.products p
             WHERE p.code LIKE 'p0%' ORDER BY p.code LIMIT {count} ON CONFLICT DO NOTHING"
        ));
    };
    cover(63);
    let answer = bed.activate(&seeded.key, "one").await;
    let verified = LicenseToken::verify(&token(&answer), Some(&bed.keys(&seeded).await), now());
    assert_eq!(verified.unwrap().claims().aud.len(), 64);
    assert!(bed.refresh(&token(&answer)).await.valid);

    cover(85);
    let reply = bed.call(activation(&seeded.key, "two").once("k1")).await;
    assert_eq!(reply.code(), "INTERNAL");
    let body = json!({ "token": token(&answer) });
    let reply = bed
        .call(Call::post(super::support::edge::REFRESH, &body))
        .await;
    assert_eq!(reply.code(), "INTERNAL");
    let rows = bed.database.admin(
        "SELECT (SELECT count(*) FROM licet.activations), (SELECT count(*) FROM licet.idempotency_keys)",
    );
    assert_eq!(rows[0], [Some("1".into()), Some("0".into())]);
    // Who has a seat can give it back.
    assert!(bed.deactivate(&token(&answer)).await.valid);
}

#[tokio::test]
async fn a_full_list_is_followed_by_the_next() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.database
        .admin("UPDATE licet.status_versions SET next_index = 131071");
    let keys = bed.keys(&seeded).await;
    let mut entries = Vec::new();
    for device in ["one", "two", "three"] {
        let text = token(&bed.activate(&seeded.key, device).await);
        let verified = LicenseToken::verify(&text, Some(&keys), now()).unwrap();
        entries.push((
            verified.status_list_number(),
            verified.claims().status.status_list.idx,
        ));
    }
    assert_eq!(entries, [(0, 131_071), (1, 0), (1, 1)]);
    // Both lists are served, and a change of the license counts in both.
    bed.database
        .admin("UPDATE licet.status_versions SET version = 7");
    bed.operator("revoke", &seeded);
    let risen = bed
        .database
        .admin("SELECT number, version > 7 FROM licet.status_versions ORDER BY 1");
    assert_eq!(
        risen,
        [
            [Some("0".into()), Some("t".into())],
            [Some("1".into()), Some("t".into())]
        ]
    );
}

#[tokio::test]
async fn name_and_metadata_are_kept_and_renewed() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let body = |name: &str| {
        json!({ "license_key": seeded.key, "product": "local_cli", "fingerprint": "one",
                "name": name, "metadata": { "os": "linux", "deep": [1, { "a": null }] } })
    };
    for name in ["Laptop", "Old laptop"] {
        assert!(
            bed.call(Call::post(ACTIVATE, &body(name)))
                .await
                .answer()
                .valid
        );
        let row = bed
            .database
            .admin("SELECT name, metadata ->> 'os' FROM licet.activations");
        assert_eq!(row, [[Some(name.to_owned()), Some("linux".into())]]);
    }
    assert!(bed.activate(&seeded.key, "one").await.valid);
    let row = bed.database.admin("SELECT name FROM licet.activations");
    assert_eq!(row[0][0].as_deref(), Some("Old laptop"));
}

#[tokio::test]
async fn the_fingerprint_rule_decides_whether_a_token_names_its_device() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.database.admin("UPDATE licet.policies SET fingerprint_rule = 'FREE', token_lifetime_s = 600, grace_s = 0, tier = 'TRIAL'");
    let text = token(&bed.activate(&seeded.key, "one").await);
    let verified = LicenseToken::verify(&text, Some(&bed.keys(&seeded).await), now()).unwrap();
    assert_eq!(verified.claims().fp, None);
    assert_eq!(verified.claims().grace, 0);
    assert_eq!(
        verified
            .times()
            .expires_at
            .since(verified.times().issued_at),
        600
    );
}
