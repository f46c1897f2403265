//! A revocation feed that is not what it should be. The feed itself is the edge's `documents/feed.rs`
//! and the origin's `feed`; here is what a product notices.

use licet_shared::documents::{Change, FeedClaims};
use licet_shared::jws::{Times, sign};
use licet_shared::status_list::status;
use licet_shared::time::Timestamp;
use licet_tests::fake_origin::Reply;
use licet_tests::forge::{DAY_S, ForgedOrg};
use licet_tests::wait::SOON;
use licet_tests::{Activation, LoneEdge, eventually, now};
use serde_json::Value;

use crate::documents::{installation, says_yes, stranger};

/// So long that only a feed can bring news.
const LONG_S: u32 = 3_600;
/// Every feed, whatever it is asked to begin with.
const ANY: &str = "/edge/v1/revocations/*";

/// A feed of these epochs, by which the list of `org` has come to a version.
fn feed(org: &ForgedOrg, generation: u64, since: u64, ep: u64, list: Option<u64>) -> FeedClaims {
    let change = |version| Change {
        org: org.tag,
        status_list: Some(0),
        feature_set: None,
        version,
    };
    FeedClaims {
        iss: org.issuer.clone(),
        r#gen: generation,
        since,
        ep,
        changed: list.map(change).into_iter().collect(),
    }
}

fn signed_at(org: &ForgedOrg, feed: &FeedClaims, at: Timestamp) -> String {
    sign(feed, Times::starting(at, DAY_S), &org.platform).unwrap()
}

/// Whoever looks at the feed from now on gets this.
fn shelve(edge: &LoneEdge, text: &str) {
    let reply = Reply::new(200, "application/revocations+jwt", text);
    edge.origin.put(ANY, reply);
    edge.origin.take_received();
}

/// The list as of epoch 40, in version 5 and in force.
fn shelve_all(edge: &LoneEdge, org: &ForgedOrg, ttl_s: u32) {
    org.shelve_all(&edge.origin, ttl_s);
    let mut list = org.list_claims(5, ttl_s, &[]);
    list.ep = 40;
    org.shelve_list(&edge.origin, &org.sign(&list));
}

fn shelve_revocation(edge: &LoneEdge, org: &ForgedOrg, ttl_s: u32) {
    let mut list = org.list_claims(6, ttl_s, &[(0, status::REVOKED)]);
    list.ep = 60;
    org.shelve_list(&edge.origin, &org.sign(&list));
}

/// An edge that holds the list and has heard by a feed, as of now, that it is the newest.
fn well_informed(edge: &LoneEdge, ttl_s: u32) -> (ForgedOrg, Activation) {
    let org = edge.org();
    shelve_all(edge, &org, ttl_s);
    shelve(edge, &signed_at(&org, &feed(&org, 1, 0, 50, None), now()));
    let activation = installation(edge, &org);
    assert!(says_yes(&activation));
    asked_again(edge, &activation);
    (org, activation)
}

/// Keeps asking until the edge has looked at what is shelved. Each verdict is a yes, the last is
/// handed back.
#[track_caller]
fn asked_again(edge: &LoneEdge, activation: &Activation) -> Value {
    let mut looks = 0;
    eventually("it looks at the feed", SOON * 4, || {
        let verdict = activation.validate();
        assert_eq!(verdict["code"], "VALID", "{verdict}");
        let asked = edge.origin.take_received();
        let stem = ANY.trim_end_matches('*');
        let is_feed = |target: &str| target.starts_with(stem);
        looks += asked.iter().filter(|one| is_feed(&one.target)).count();
        // Taken in after the answer: one more question sees it.
        if looks > 0 {
            std::thread::sleep(std::time::Duration::from_millis(300));
            Ok(activation.validate())
        } else {
            Err(verdict.to_string())
        }
    })
}

#[track_caller]
fn revoked_in_the_end(activation: &Activation, what: &str) {
    eventually(what, SOON * 4, || match activation.code() {
        code if code == "REVOKED" => Ok(()),
        code => Err(code),
    });
}

fn as_of(verdict: &Value) -> Timestamp {
    let text = verdict["freshness"]["as_of"].as_str().unwrap();
    text.parse().unwrap()
}

#[test]
fn a_frozen_feed_keeps_nothing_fresh() {
    let edge = LoneEdge::start();
    let (org, activation) = well_informed(&edge, 6);
    // The feed stays what it is; the list does not.
    let frozen = now();
    shelve_revocation(&edge, &org, 6);
    eventually("its own time counts", SOON * 2, || {
        let verdict = activation.validate();
        if verdict["code"] == "REVOKED" {
            return Ok(());
        }
        assert!(as_of(&verdict) <= frozen, "{verdict}");
        Err(verdict.to_string())
    });
}

#[test]
fn a_feed_brings_what_it_names_and_its_replay_does_not_take_it_back() {
    let edge = LoneEdge::start();
    let (org, activation) = well_informed(&edge, LONG_S);
    let before = signed_at(&org, &feed(&org, 1, 0, 50, None), now());
    std::thread::sleep(std::time::Duration::from_secs(1));
    // It names a newer list, which somebody holds back.
    shelve(
        &edge,
        &signed_at(&org, &feed(&org, 1, 50, 60, Some(6)), now()),
    );
    eventually("it is known to be outdone", SOON, || {
        let verdict = activation.validate();
        assert_eq!(verdict["code"], "VALID", "{verdict}");
        if verdict["freshness"]["degraded"] == "origin_unusable" {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
    // Then the feed of before, and one that goes back behind the epoch, newly signed.
    let back = signed_at(&org, &feed(&org, 1, 0, 55, None), now());
    for replay in [before, back] {
        shelve(&edge, &replay);
        let verdict = asked_again(&edge, &activation);
        let degraded = &verdict["freshness"]["degraded"];
        assert_eq!(degraded, "origin_unusable", "{verdict}");
        // One that can't be used twice in a row is left alone for a minute.
        shelve(
            &edge,
            &signed_at(&org, &feed(&org, 1, 50, 60, Some(6)), now()),
        );
        asked_again(&edge, &activation);
    }
    shelve_revocation(&edge, &org, LONG_S);
    revoked_in_the_end(&activation, "what was named has come");
}

#[test]
fn a_feed_that_is_broken_forged_or_from_the_future_is_none_and_the_next_true_one_counts() {
    let edge = LoneEdge::start();
    let (org, activation) = well_informed(&edge, LONG_S);
    let named = feed(&org, 1, 50, 60, Some(6));
    let good = || signed_at(&org, &named, now());
    let mut forger = org.clone();
    forger.platform = stranger("platform.1");
    let mut elsewhere = named.clone();
    elsewhere.iss = "https://licet.example".to_owned();
    let cut = good();
    let all = [
        ("cut off", cut[..cut.len() / 2].to_owned()),
        ("forged", signed_at(&forger, &named, now())),
        ("another installation's", signed_at(&org, &elsewhere, now())),
        ("a list", org.sign(&org.list_claims(9, 1, &[]))),
        (
            "from the future",
            signed_at(
                &org,
                &feed(&org, 1, 50, u64::MAX, Some(6)),
                now().plus(3_600),
            ),
        ),
    ];
    for (what, text) in all {
        shelve(&edge, &text);
        let verdict = asked_again(&edge, &activation);
        let degraded = &verdict["freshness"]["degraded"];
        assert!(degraded.is_null(), "{what} was believed: {verdict}");
        // One that can't be used twice in a row is left alone for a minute.
        shelve(&edge, &signed_at(&org, &feed(&org, 1, 0, 50, None), now()));
        asked_again(&edge, &activation);
    }
    shelve_revocation(&edge, &org, LONG_S);
    shelve(&edge, &good());
    revoked_in_the_end(&activation, "the true one");
}

#[test]
fn a_gap_in_the_feed_is_no_word_that_nothing_happened() {
    let edge = LoneEdge::start();
    let (org, activation) = well_informed(&edge, 8);
    // What happened up to 70 is not told: the list has changed at 60.
    shelve_revocation(&edge, &org, 8);
    eventually("its own time counts", SOON * 2, || {
        shelve(&edge, &signed_at(&org, &feed(&org, 1, 70, 80, None), now()));
        match activation.code() {
            code if code == "REVOKED" => Ok(()),
            code => Err(code),
        }
    });
}

#[test]
fn a_feed_of_another_generation_begins_anew() {
    let edge = LoneEdge::start();
    let (org, activation) = well_informed(&edge, LONG_S);
    // The database was put back: epochs are lower, and the list was made again.
    shelve_revocation(&edge, &org, LONG_S);
    shelve(
        &edge,
        &signed_at(&org, &feed(&org, 2, 0, 20, Some(6)), now()),
    );
    revoked_in_the_end(&activation, "by the new generation");
}

#[test]
fn without_any_feed_each_documents_own_time_counts() {
    let edge = LoneEdge::start();
    let org = edge.org();
    shelve_all(&edge, &org, 2);
    edge.origin.put(ANY, Reply::new(404, "text/html", "none"));
    let activation = installation(&edge, &org);
    assert!(says_yes(&activation));
    shelve_revocation(&edge, &org, 2);
    revoked_in_the_end(&activation, "by its ttl");
}
