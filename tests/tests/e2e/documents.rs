//! What an edge believes of what an origin (or whoever sits in its place) sends.

use licet_shared::documents::StatusReference;
use licet_shared::jws::{LocalSigner, Times, sign};
use licet_shared::status_list::{Bits, Encoded, status};
use licet_tests::fake_origin::Reply;
use licet_tests::forge::{DAY_S, ForgedOrg};
use licet_tests::wait::SOON;
use licet_tests::{Activation, LoneEdge, eventually, now};
use serde_json::json;

fn installation(edge: &LoneEdge, org: &ForgedOrg) -> Activation {
    org.installation(&edge.url(), org.sign(&org.license_claims(0)))
}

/// Whether the edge says yes. Anything but a verdict or a problem is the test's failure.
#[track_caller]
fn says_yes(activation: &Activation) -> bool {
    let answer = activation.ask(&json!({}));
    match answer.status {
        200 => answer.verdict()["valid"] == true,
        502 => answer.problem(502, "ORIGIN_ERROR").is_null(),
        _ => answer.problem(503, "ORIGIN_UNREACHABLE").is_null(),
    }
}

#[track_caller]
fn expect_yes_soon(activation: &Activation, what: &str) {
    eventually(what, SOON, || {
        let answer = activation.ask(&json!({}));
        if answer.status == 200 && answer.verdict()["valid"] == true {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
}

/// One way in which a shelf can be wrong: what is wrong, and how it gets there.
type Poison<'a> = (&'a str, Box<dyn Fn(&ForgedOrg) + 'a>);

/// A shelf that is right but for one document: no yes. Then the right document: yes, so that
/// it was this document and nothing else, and nothing of it was kept.
#[track_caller]
fn expect_disbelief(edge: &LoneEdge, poisons: &[Poison<'_>]) {
    let mut asked = Vec::new();
    for (what, poison) in poisons {
        let org = edge.org();
        org.shelve_all(&edge.origin, 30);
        poison(&org);
        let activation = installation(edge, &org);
        for attempt in 0..2 {
            assert!(
                !says_yes(&activation),
                "{what}: believed at attempt {attempt}"
            );
        }
        asked.push((what, org, activation));
    }
    // Each is left alone for a while after the failure: all of them at the same time.
    for (what, org, activation) in &asked {
        org.shelve_all(&edge.origin, 30);
        expect_yes_soon(activation, what);
    }
}

fn stranger(kid: &str) -> LocalSigner {
    LocalSigner::from_seed(kid, xtask::net::random().unwrap())
}

#[test]
fn a_key_set_that_does_not_verify_is_not_believed() {
    let edge = LoneEdge::start();
    let day = || Times::starting(now(), DAY_S);
    let shelve = |org: &ForgedOrg, token: &str| org.shelve_keys(&edge.origin, token);
    let poisons: Vec<Poison<'_>> = vec![
        (
            "signed by a stranger under the platform's kid",
            Box::new(|org| {
                shelve(
                    org,
                    &sign(&org.keys_claims(5), day(), &stranger("platform.1")).unwrap(),
                );
            }),
        ),
        (
            "signed by an unknown platform key",
            Box::new(|org| {
                shelve(
                    org,
                    &sign(&org.keys_claims(5), day(), &stranger("platform.2")).unwrap(),
                );
            }),
        ),
        (
            "signed by the organization itself",
            Box::new(|org| shelve(org, &org.sign(&org.keys_claims(5)))),
        ),
        (
            "another organization's",
            Box::new(|org| {
                let other = edge.org();
                shelve(org, &other.sign_by_platform(&other.keys_claims(5)));
            }),
        ),
        (
            "another installation's",
            Box::new(|org| {
                let mut claims = org.keys_claims(5);
                claims.iss = "https://licet.example".to_owned();
                shelve(org, &org.sign_by_platform(&claims));
            }),
        ),
        (
            "made in the future",
            Box::new(|org| {
                let platform: LocalSigner = edge.keys.platform_key.parse().unwrap();
                let times = Times::starting(now().plus(3600), DAY_S);
                shelve(
                    org,
                    &sign(&org.keys_claims(u64::MAX), times, &platform).unwrap(),
                );
            }),
        ),
        (
            "long past its end",
            Box::new(|org| {
                let platform: LocalSigner = edge.keys.platform_key.parse().unwrap();
                let times = Times::starting(now().plus(-30 * DAY_S), DAY_S);
                shelve(org, &sign(&org.keys_claims(5), times, &platform).unwrap());
            }),
        ),
        (
            "holding a key of small order",
            Box::new(|org| {
                let mut claims = org.keys_claims(5);
                claims.keys[0].x = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned();
                shelve(org, &org.sign_by_platform(&claims));
            }),
        ),
        (
            "holding another organization's key",
            Box::new(|org| {
                let mut claims = org.keys_claims(5);
                claims.keys[0].kid = "00000000.1".to_owned();
                shelve(org, &org.sign_by_platform(&claims));
            }),
        ),
        (
            "a license token",
            Box::new(|org| shelve(org, &org.sign_by_platform(&org.license_claims(0)))),
        ),
        (
            "cut off",
            Box::new(|org| {
                let whole = org.sign_by_platform(&org.keys_claims(5));
                shelve(org, &whole[..whole.len() - 2]);
            }),
        ),
        ("empty", Box::new(|org| shelve(org, ""))),
        (
            "a web page",
            Box::new(|org| {
                edge.origin.put(
                    &org.path("keys"),
                    Reply::new(200, "text/html", "<h1>It works!</h1>"),
                );
            }),
        ),
        (
            "too large",
            Box::new(|org| shelve(org, &"A".repeat(2_000_000))),
        ),
        (
            "not text",
            Box::new(|org| {
                let reply = Reply::new(200, "application/keys+jwt", vec![0xff, 0xfe, 0x00]);
                edge.origin.put(&org.path("keys"), reply);
            }),
        ),
    ];
    expect_disbelief(&edge, &poisons);
}

#[test]
fn a_status_list_that_does_not_verify_is_not_believed() {
    let edge = LoneEdge::start();
    let shelve = |org: &ForgedOrg, token: &str| org.shelve_list(&edge.origin, token);
    let broken = |org: &ForgedOrg, bits: Bits, lst: &str| {
        let mut claims = org.list_claims(5, 30, &[]);
        claims.status_list = Encoded {
            bits,
            lst: lst.to_owned(),
        };
        shelve(org, &org.sign(&claims));
    };
    let poisons: Vec<Poison<'_>> = vec![
        (
            "signed by a stranger under the right kid",
            Box::new(|org| {
                let times = Times::starting(now(), DAY_S);
                let stranger = stranger(&format!("{}.1", org.tag));
                shelve(
                    org,
                    &sign(&org.list_claims(5, 30, &[]), times, &stranger).unwrap(),
                );
            }),
        ),
        (
            "signed by the platform",
            Box::new(|org| shelve(org, &org.sign_by_platform(&org.list_claims(5, 30, &[])))),
        ),
        (
            "signed by another organization",
            Box::new(|org| {
                let other = edge.org();
                other.shelve_all(&edge.origin, 30);
                shelve(org, &other.sign(&org.list_claims(5, 30, &[])));
            }),
        ),
        (
            "another organization's",
            Box::new(|org| {
                let other = edge.org();
                shelve(org, &other.sign(&other.list_claims(5, 30, &[])));
            }),
        ),
        (
            "another list of the same organization",
            Box::new(|org| {
                let mut claims = org.list_claims(5, 30, &[]);
                claims.sub = StatusReference::uri(&org.issuer, org.tag, 1);
                shelve(org, &org.sign(&claims));
            }),
        ),
        (
            "made in the future",
            Box::new(|org| {
                shelve(
                    org,
                    &org.sign_at(&org.list_claims(u64::MAX, 30, &[]), now().plus(3600)),
                );
            }),
        ),
        (
            "long past its end",
            Box::new(|org| {
                shelve(
                    org,
                    &org.sign_at(&org.list_claims(5, 30, &[]), now().plus(-30 * DAY_S)),
                );
            }),
        ),
        (
            "fresh no more",
            Box::new(|org| {
                shelve(
                    org,
                    &org.sign_at(&org.list_claims(5, 30, &[]), now().plus(-3600)),
                );
            }),
        ),
        (
            "with a status that nobody knows",
            Box::new(|org| {
                shelve(org, &org.sign(&org.list_claims(5, 30, &[(0, 7)])));
            }),
        ),
        ("no zlib", Box::new(|org| broken(org, Bits::Four, "AAAA"))),
        (
            "no base64url",
            Box::new(|org| broken(org, Bits::Four, "not base64!")),
        ),
        (
            "features",
            Box::new(|org| shelve(org, &org.sign(&org.features_claims(5, &json!({}))))),
        ),
        (
            "too large",
            Box::new(|org| shelve(org, &"A".repeat(2_000_000))),
        ),
        ("empty", Box::new(|org| shelve(org, ""))),
    ];
    expect_disbelief(&edge, &poisons);
}

#[test]
fn a_feature_set_that_does_not_verify_is_not_believed() {
    let edge = LoneEdge::start();
    let shelve = |org: &ForgedOrg, token: &str| org.shelve_features(&edge.origin, token);
    let all = json!({"everything": true});
    let poisons: Vec<Poison<'_>> = vec![
        (
            "signed by a stranger under the right kid",
            Box::new(|org| {
                let times = Times::starting(now(), DAY_S);
                let stranger = stranger(&format!("{}.1", org.tag));
                shelve(
                    org,
                    &sign(&org.features_claims(5, &all), times, &stranger).unwrap(),
                );
            }),
        ),
        (
            "another organization's",
            Box::new(|org| {
                let other = edge.org();
                shelve(org, &other.sign(&other.features_claims(5, &all)));
            }),
        ),
        (
            "another set of the same organization",
            Box::new(|org| {
                let mut claims = org.features_claims(5, &all);
                claims.sub = edge.org().feature_set;
                shelve(org, &org.sign(&claims));
            }),
        ),
        (
            "made in the future",
            Box::new(|org| {
                shelve(
                    org,
                    &org.sign_at(&org.features_claims(u32::MAX, &all), now().plus(3600)),
                );
            }),
        ),
        (
            "a status list",
            Box::new(|org| shelve(org, &org.sign(&org.list_claims(5, 30, &[])))),
        ),
    ];
    expect_disbelief(&edge, &poisons);
}

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
        std::thread::sleep(std::time::Duration::from_millis(400));
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
        std::thread::sleep(std::time::Duration::from_millis(400));
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
            std::thread::sleep(std::time::Duration::from_millis(400));
        }
    }
}

#[test]
fn an_origin_s_failures_degrade_the_answer_and_are_not_kept() {
    let edge = LoneEdge::start();
    let org = edge.org();
    let activation = installation(&edge, &org);
    // An unknown organization at first: the failure itself must not become the answer.
    edge.origin.always(Reply::new(500, "text/plain", "oops"));
    assert!(!says_yes(&activation));
    edge.origin.be_normal();
    org.shelve_all(&edge.origin, 1);
    expect_yes_soon(&activation, "the first documents, after a failure");

    let elsewhere = format!("{}/elsewhere", edge.origin.url());
    let failures = [
        Reply::new(500, "application/problem+json", r#"{"code":"INTERNAL"}"#),
        Reply::new(503, "text/plain", "busy"),
        Reply::new(404, "text/html", "<h1>no such site</h1>"),
        Reply::new(403, "text/plain", "go away"),
        Reply::new(200, "text/html", "<h1>Welcome to the hotel's network</h1>"),
        Reply::new(204, "text/plain", ""),
        Reply::new(302, "text/plain", "").header("Location", &elsewhere),
    ];
    for failure in failures {
        edge.origin.always(failure.clone());
        eventually("degraded, but yes", SOON, || {
            let verdict = activation.validate();
            assert_eq!(verdict["code"], "VALID", "{failure:?}: {verdict}");
            let degraded = verdict["freshness"]["degraded"] == "origin_unreachable";
            if degraded {
                Ok(())
            } else {
                Err(verdict.to_string())
            }
        });
        let asked = edge.origin.take_received();
        assert!(
            asked.iter().all(|one| one.target != "/elsewhere"),
            "followed a redirect"
        );
        edge.origin.be_normal();
        eventually("as before", SOON, || {
            org.shelve_list(&edge.origin, &org.sign(&org.list_claims(5, 1, &[])));
            let verdict = activation.validate();
            if verdict["code"] == "VALID" && verdict["freshness"]["degraded"].is_null() {
                Ok(())
            } else {
                Err(verdict.to_string())
            }
        });
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
