//! What an edge believes of what an origin (or whoever sits in its place) sends.

use licet_shared::documents::StatusReference;
use licet_shared::jws::{LocalSigner, Times, sign};
use licet_shared::status_list::{Bits, Encoded};
use licet_tests::fake_origin::Reply;
use licet_tests::forge::{DAY_S, ForgedOrg};
use licet_tests::wait::SOON;
use licet_tests::{Activation, LoneEdge, eventually, now};
use serde_json::json;

pub(super) fn installation(edge: &LoneEdge, org: &ForgedOrg) -> Activation {
    org.installation(&edge.url(), org.sign(&org.license_claims(0)))
}

/// Whether the edge says yes. Anything but a verdict or a problem is the test's failure.
#[track_caller]
pub(super) fn says_yes(activation: &Activation) -> bool {
    let answer = activation.ask(&json!({}));
    match answer.status {
        200 => answer.verdict()["valid"] == true,
        502 => answer.problem(502, "ORIGIN_ERROR").is_null(),
        _ => answer.problem(503, "ORIGIN_UNREACHABLE").is_null(),
    }
}

#[track_caller]
pub(super) fn expect_yes_soon(activation: &Activation, what: &str) {
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

pub(super) fn stranger(kid: &str) -> LocalSigner {
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
fn a_document_that_verifies_but_holds_no_more_is_no_yes() {
    let edge = LoneEdge::start();
    let (hour_ago, month_ago) = (now().plus(-3600), now().plus(-30 * DAY_S));
    let poisons: Vec<Poison<'_>> = vec![
        (
            "keys long past their end",
            Box::new(|org| {
                let times = Times::starting(month_ago, DAY_S);
                let keys = sign(&org.keys_claims(5), times, &org.platform).unwrap();
                org.shelve_keys(&edge.origin, &keys);
            }),
        ),
        (
            "a list long past its end",
            Box::new(|org| {
                let list = org.sign_at(&org.list_claims(5, 30, &[]), month_ago);
                org.shelve_list(&edge.origin, &list);
            }),
        ),
        (
            "a list signed longer ago than its ttl",
            Box::new(|org| {
                let list = org.sign_at(&org.list_claims(5, 30, &[]), hour_ago);
                org.shelve_list(&edge.origin, &list);
            }),
        ),
        (
            "features long past their end",
            Box::new(|org| {
                let features = org.features_claims(5, &json!({"everything": true}));
                org.shelve_features(&edge.origin, &org.sign_at(&features, month_ago));
            }),
        ),
        (
            "a status that nobody knows",
            Box::new(|org| {
                let list = org.sign(&org.list_claims(5, 30, &[(0, 7)]));
                org.shelve_list(&edge.origin, &list);
            }),
        ),
    ];
    for (what, poison) in poisons {
        let org = edge.org();
        org.shelve_all(&edge.origin, 30);
        poison(&org);
        assert!(!says_yes(&installation(&edge, &org)), "{what}");
    }
}
