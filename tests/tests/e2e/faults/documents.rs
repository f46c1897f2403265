//! Documents that no honest origin sends, once the edge holds good ones. What it believes without any
//! is `documents.rs`, what it believes of its own stores is `tampering.rs`.

use licet_shared::jws::{Times, sign};
use licet_shared::time::Timestamp;
use licet_tests::forge::{DAY_S, ForgedOrg};
use licet_tests::wait::SOON;
use licet_tests::{Activation, LoneEdge, eventually, now};
use serde_json::json;

use crate::documents::{expect_yes_soon, installation, says_yes};

const YEAR_S: i64 = 366 * DAY_S;

/// Yes, as before, and degraded because of what was sent.
#[track_caller]
fn goes_on_with_what_it_holds(activation: &Activation, what: &str) {
    eventually(what, SOON, || {
        let verdict = activation.validate();
        assert_eq!(verdict["code"], "VALID", "{what}: {verdict}");
        if verdict["freshness"]["degraded"] == "origin_unusable" {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
}

#[test]
fn a_list_from_the_far_future_neither_counts_nor_stays() {
    let edge = LoneEdge::start();
    let from = |at: Timestamp| {
        move |org: &ForgedOrg| {
            let list = org.list_claims(u64::MAX, 1, &[(0, 1)]);
            sign(&list, Times::starting(at, DAY_S), &org.key).unwrap()
        }
    };
    let mut all = Vec::new();
    for ahead_s in [90, 3_600, YEAR_S, 99 * YEAR_S, 150 * YEAR_S] {
        let org = edge.org();
        org.shelve_all(&edge.origin, 1);
        let activation = installation(&edge, &org);
        assert!(says_yes(&activation));
        org.shelve_list(&edge.origin, &from(now().plus(ahead_s))(&org));
        all.push((ahead_s, org, activation));
    }
    for (ahead_s, _, activation) in &all {
        goes_on_with_what_it_holds(activation, &format!("{ahead_s} s ahead"));
    }
    for (ahead_s, org, activation) in &all {
        org.shelve_list(&edge.origin, &org.sign(&org.list_claims(6, 1, &[(0, 1)])));
        eventually("the next true one counts", SOON, || {
            let code = activation.code();
            if code == "REVOKED" {
                Ok(())
            } else {
                Err(format!("{ahead_s} s ahead: {code}"))
            }
        });
    }
}

#[test]
fn another_tenants_document_in_place_of_a_held_ones_renewal_changes_nothing() {
    let edge = LoneEdge::start();
    let (one, other) = (edge.org(), edge.org());
    for org in [&one, &other] {
        org.shelve_all(&edge.origin, 1);
    }
    let (victim, bystander) = (installation(&edge, &one), installation(&edge, &other));
    assert!(says_yes(&victim) && says_yes(&bystander));
    let everything = json!({"everything": true});
    // Each is genuine, higher than what is held, and stands where the one's own should be.
    one.shelve_keys(&edge.origin, &other.sign_by_platform(&other.keys_claims(9)));
    one.shelve_list(
        &edge.origin,
        &other.sign(&other.list_claims(9, 1, &[(0, 1)])),
    );
    one.shelve_features(
        &edge.origin,
        &other.sign(&other.features_claims(9, &everything)),
    );
    goes_on_with_what_it_holds(&victim, "another tenant's");
    let features = victim.validate()["features"].clone();
    assert_eq!(features["everything"], json!(null), "{features}");
    other.shelve_all(&edge.origin, 1);
    expect_yes_soon(&bystander, "nothing of it is the other's");
    one.shelve_all(&edge.origin, 30);
    eventually("as before", SOON, || {
        let verdict = victim.validate();
        if verdict["code"] == "VALID" && verdict["freshness"]["degraded"].is_null() {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
}
