//! How an edge renews what it knows: forwards, never back, and what it does when that fails.

use std::time::{Duration, Instant};

use licet_shared::id::OrgTag;
use licet_shared::problem::ProblemCode;
use licet_shared::status_list::status;
use licet_tests::fake_origin::Reply;
use licet_tests::forge::DAY_S;
use licet_tests::persisted::{Tier, wipe};
use licet_tests::wait::SOON;
use licet_tests::{LoneEdge, Request, eventually, now};

use crate::documents::{expect_yes_soon, installation, says_yes, stranger};

#[test]
fn a_lower_version_never_replaces_a_higher() {
    let mut edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 1);
    let activation = installation(&edge, &org);
    assert!(says_yes(&activation));

    let revoked = org.list_claims(6, 1, &[(0, status::REVOKED)]);
    org.shelve_list(&edge.origin, &org.sign(&revoked));
    eventually("revoked", SOON, || {
        let code = activation.code();
        if code == "REVOKED" { Ok(()) } else { Err(code) }
    });
    // The same list as before, freshly signed by the right key: somebody replays a backup.
    let replay =
        |edge: &LoneEdge| org.shelve_list(&edge.origin, &org.sign(&org.list_claims(5, 60, &[])));
    replay(&edge);
    for _ in 0..8 {
        assert!(!says_yes(&activation), "an older list was believed");
        std::thread::sleep(Duration::from_millis(400));
        replay(&edge);
    }
    // Nor in a new isolate, which has the higher one from the cache.
    edge.worker.restart().unwrap();
    for _ in 0..4 {
        replay(&edge);
        assert!(
            !says_yes(&activation),
            "an older list was believed by a new isolate"
        );
        std::thread::sleep(Duration::from_millis(400));
    }
    org.shelve_list(&edge.origin, &org.sign(&org.list_claims(7, 1, &[])));
    expect_yes_soon(&activation, "a higher version that has it in force again");
}

#[test]
fn a_withdrawn_key_does_not_come_back_with_an_older_key_set() {
    let mut edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 1);
    let activation = installation(&edge, &org);
    assert!(says_yes(&activation));

    // Key 1 goes, key 2 comes; all documents are signed anew.
    let mut next = org.clone();
    next.key = stranger(&format!("{}.2", org.tag));
    next.shelve_all(&edge.origin, 1);
    next.shelve_keys(&edge.origin, &next.sign_by_platform(&next.keys_claims(6)));
    let successor = installation(&edge, &next);
    expect_yes_soon(&successor, "a token of the new key");
    eventually("the old key's token is refused", SOON, || {
        let verdict = activation.validate();
        if verdict["code"] == "UNKNOWN_KEY" {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });

    org.shelve_all(&edge.origin, 1);
    for restart in [false, true] {
        if restart {
            edge.worker.restart().unwrap();
        }
        for _ in 0..4 {
            assert!(
                !says_yes(&activation),
                "the withdrawn key counts again (new isolate: {restart})"
            );
            std::thread::sleep(Duration::from_millis(400));
        }
    }
}

/// What may come in the place of a document: not 502 to 504 nor silence, after which an edge asks
/// for nothing at all for a while.
fn failures(elsewhere: &str) -> [Reply; 6] {
    [
        Reply::new(500, "application/problem+json", r#"{"code":"INTERNAL"}"#),
        Reply::new(404, "text/html", "<h1>no such site</h1>"),
        Reply::new(403, "text/plain", "go away"),
        Reply::new(200, "text/html", "<h1>Welcome to the hotel's network</h1>"),
        Reply::new(204, "text/plain", ""),
        Reply::new(302, "text/plain", "").header("Location", elsewhere),
    ]
}

#[test]
fn an_origin_s_failures_degrade_the_answer_and_are_not_kept() {
    let edge = LoneEdge::start();
    let elsewhere = format!("{}/elsewhere", edge.origin.url());
    let mut all = Vec::new();
    // One organization for each kind of failure, so that they are tried side by side.
    for failure in failures(&elsewhere) {
        let org = edge.org();
        org.shelve_all(&edge.origin, 1);
        let activation = installation(&edge, &org);
        expect_yes_soon(&activation, "before the failure");
        edge.origin.put(&org.path("statuslists/0"), failure.clone());
        all.push((failure, org, activation));
    }
    edge.origin.take_received();
    for (failure, _, activation) in &all {
        eventually("degraded, but yes", SOON, || {
            let verdict = activation.validate();
            assert_eq!(verdict["code"], "VALID", "{failure:?}: {verdict}");
            let degraded = verdict["freshness"]["degraded"] == "origin_unusable";
            if degraded {
                Ok(())
            } else {
                Err(format!("{failure:?}: {verdict}"))
            }
        });
    }
    let asked = edge.origin.take_received();
    let was_asked = |target: &str| asked.iter().any(|one| one.target == target);
    for (failure, org, _) in &all {
        assert!(
            was_asked(&org.path("statuslists/0")),
            "never sent: {failure:?}"
        );
    }
    assert!(!was_asked("/elsewhere"), "followed a redirect");
    for (failure, org, activation) in &all {
        eventually("as before", SOON, || {
            org.shelve_list(&edge.origin, &org.sign(&org.list_claims(5, 1, &[])));
            let verdict = activation.validate();
            let fresh = verdict["freshness"]["degraded"].is_null();
            if verdict["code"] == "VALID" && fresh {
                Ok(())
            } else {
                Err(format!("{failure:?}: {verdict}"))
            }
        });
    }
}

#[test]
fn an_origin_that_answers_badly_is_no_reason_for_grace() {
    let edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 1);
    // It ended ten seconds ago, and has an hour of grace.
    let ended = org.sign_at(&org.license_claims(0), now().plus(-DAY_S - 10));
    let activation = org.installation(&edge.url(), ended);
    assert_eq!(activation.code(), "TOKEN_EXPIRED");
    let list = org.path("statuslists/0");
    edge.origin
        .put(&list, Reply::new(500, "text/plain", "oops"));
    eventually("the failure is met", SOON, || {
        let verdict = activation.validate();
        assert_eq!(verdict["code"], "TOKEN_EXPIRED", "{verdict}");
        let degraded = verdict["freshness"]["degraded"] == "origin_unusable";
        if degraded {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
    edge.origin.always(Reply::new(503, "text/plain", "away"));
    eventually("grace while it can't be reached", SOON, || {
        let verdict = activation.validate();
        let degraded = verdict["freshness"]["degraded"] == "origin_unreachable";
        if verdict["code"] == "VALID" && degraded {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
}

#[test]
fn not_found_takes_nothing_away_that_still_holds() {
    let mut edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 1);
    let activation = installation(&edge, &org);
    assert!(says_yes(&activation));
    edge.origin.always(Reply::problem(ProblemCode::NotFound));
    for (restart, tier) in [(false, None), (true, None), (true, Some(Tier::Cache))] {
        if let Some(tier) = tier {
            edge.worker.stop().unwrap();
            wipe(&edge.persisted(), tier);
        }
        if restart {
            edge.worker.restart().unwrap();
        }
        eventually("goes on with what it holds", SOON, || {
            let verdict = activation.validate();
            assert_eq!(verdict["code"], "VALID", "{tier:?}: {verdict}");
            if verdict["freshness"]["degraded"] == "origin_unusable" {
                Ok(())
            } else {
                Err(verdict.to_string())
            }
        });
    }
    edge.origin.be_normal();
    org.shelve_list(&edge.origin, &org.sign(&org.list_claims(5, 30, &[])));
    eventually("as before", SOON, || {
        let verdict = activation.validate();
        if verdict["freshness"]["degraded"].is_null() {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
}

#[test]
fn a_gateway_that_says_its_origin_is_dead_is_an_outage() {
    for status in [502, 504, 520, 522, 523, 530] {
        let edge = LoneEdge::start();
        let org = edge.org();
        org.shelve_all(&edge.origin, 1);
        let ended = org.sign_at(&org.license_claims(0), now().plus(-DAY_S - 10));
        let activation = org.installation(&edge.url(), ended);
        assert_eq!(activation.code(), "TOKEN_EXPIRED");
        let reply = Reply::new(status, "text/html", "<h1>Web server is down</h1>");
        edge.origin.always(reply);
        eventually("grace while it can't be reached", SOON, || {
            let verdict = activation.validate();
            let degraded = verdict["freshness"]["degraded"] == "origin_unreachable";
            if verdict["code"] == "VALID" && degraded {
                Ok(())
            } else {
                Err(format!("{status}: {verdict}"))
            }
        });
    }
}

#[test]
fn one_organization_s_failing_list_is_no_matter_of_the_others() {
    let edge = LoneEdge::start();
    let (one, other) = (edge.org(), edge.org());
    for org in [&one, &other] {
        org.shelve_all(&edge.origin, 1);
    }
    let (victim, bystander) = (installation(&edge, &one), installation(&edge, &other));
    assert!(says_yes(&victim) && says_yes(&bystander));
    let list = one.path("statuslists/0");
    edge.origin
        .put(&list, Reply::problem(ProblemCode::Unavailable));
    let begin = Instant::now();
    let mut met = false;
    while begin.elapsed() < Duration::from_secs(8) {
        other.shelve_list(&edge.origin, &other.sign(&other.list_claims(5, 1, &[])));
        let verdict = bystander.validate();
        assert!(
            verdict["freshness"]["degraded"].is_null() && verdict["code"] == "VALID",
            "{verdict}"
        );
        let verdict = victim.validate();
        assert_eq!(verdict["code"], "VALID", "{verdict}");
        assert_ne!(
            verdict["freshness"]["degraded"], "origin_unreachable",
            "{verdict}"
        );
        met |= verdict["freshness"]["degraded"] == "origin_unusable";
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(met, "the failure was never met");
}

#[test]
fn made_up_organizations_are_rationed() {
    let edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 30);
    let activation = installation(&edge, &org);
    assert!(says_yes(&activation));
    edge.origin.take_received();
    edge.origin.always(Reply::problem(ProblemCode::NotFound));
    let begin = Instant::now();
    let mut refused = 0;
    for _ in 0..400 {
        let tag = OrgTag::new(xtask::net::random().unwrap());
        let url = format!("{}/api/v1/orgs/{tag}/jwks.json", edge.url());
        let answer = Request::get(&url).send();
        match answer.status {
            404 => drop(answer.problem(404, "NOT_FOUND")),
            _ => {
                answer.problem(429, "RATE_LIMITED");
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                refused += 1;
            }
        }
    }
    let asked = edge.origin.take_received().len() as u64;
    let most = 100 + 5 * (begin.elapsed().as_secs() + 1);
    assert!(asked <= most, "{asked} calls");
    assert!(refused > 0, "none refused of 400, with {asked} calls");
    assert!(says_yes(&activation), "who is known is served");

    let url = |number: u32| {
        let tag = org.tag;
        format!("{}/api/v1/orgs/{tag}/statuslists/{number}", edge.url())
    };
    assert_eq!(Request::get(&url(0)).send().status, 200);
    Request::get(&url(4_097)).send().problem(404, "NOT_FOUND");
    assert!(
        edge.origin.take_received().len() < 3,
        "asked about list 4097"
    );
}

#[test]
fn an_organization_first_asked_for_while_the_origin_fails_is_found_once_it_works() {
    let edge = LoneEdge::start();
    for failure in [
        Reply::new(500, "text/plain", "oops"),
        Reply::new(503, "text/plain", "busy"),
    ] {
        let org = edge.org();
        let activation = installation(&edge, &org);
        edge.origin.always(failure);
        assert!(!says_yes(&activation));
        edge.origin.be_normal();
        org.shelve_all(&edge.origin, 1);
        // Under traffic that never pauses, as a busy product's does not.
        expect_yes_soon(&activation, "the failure itself became the answer");
    }
}

#[test]
fn a_confirmation_without_a_new_signature_does_not_keep_a_status_fresh() {
    let edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 2);
    let activation = installation(&edge, &org);
    assert!(says_yes(&activation));
    edge.origin.put(
        &org.path("statuslists/0"),
        Reply::new(304, "application/statuslist+jwt", ""),
    );
    eventually("no longer passed off as fresh", SOON, || {
        let verdict = activation.validate();
        let fresh = verdict["code"] == "VALID" && verdict["freshness"]["degraded"].is_null();
        let age = verdict["freshness"]["age_s"].as_i64().unwrap_or_default();
        assert!(!fresh || age <= 3, "{verdict}");
        if fresh {
            Err(verdict.to_string())
        } else {
            Ok(())
        }
    });
}

#[test]
fn a_new_key_is_learnt_when_its_first_token_comes() {
    let edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 30);
    assert!(says_yes(&installation(&edge, &org)));
    let mut next = org.clone();
    next.key = stranger(&format!("{}.2", org.tag));
    let mut keys = org.keys_claims(6);
    keys.keys.extend(next.keys_claims(6).keys);
    org.shelve_keys(&edge.origin, &org.sign_by_platform(&keys));
    expect_yes_soon(&installation(&edge, &next), "a token of the added key");
    assert!(
        says_yes(&installation(&edge, &org)),
        "the key before still counts"
    );
}
