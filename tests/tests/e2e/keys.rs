//! Keys that change while products ask: an organization's, the platform's, an edge's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use licet_shared::documents::LicenseClaims;
use licet_shared::jws::{LocalSigner, Untrusted};
use licet_shared::time::Timestamp;
use licet_tests::device::code;
use licet_tests::{Activation, Stack, StackOptions};
use serde_json::json;

const TTL_S: u32 = 3;

fn stack() -> Stack {
    Stack::start(&StackOptions {
        status_ttl_s: TTL_S,
        ..StackOptions::default()
    })
}

#[track_caller]
fn kid_of(activation: &Activation) -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let now = Timestamp::from_unix(i64::try_from(since).unwrap());
    let token = Untrusted::<LicenseClaims>::parse(&activation.token, now).unwrap();
    token.kid().to_owned()
}

#[track_caller]
fn refreshed(activation: &Activation) -> Activation {
    let answer = activation.refresh().send().verdict();
    assert_eq!(code(&answer), "VALID", "{answer}");
    activation.with_token(answer["license_token"].as_str().unwrap())
}

#[test]
fn while_an_organizations_key_changes_nobody_is_refused() {
    let mut stack = stack();
    let license = stack.license("rotation", 9);
    let old = stack.device(&license, "laptop").activated();
    let done = AtomicBool::new(false);
    let (new, refused) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut refused = Vec::new();
            while !done.load(Ordering::Relaxed) {
                for more in [json!({}), json!({"max_staleness_s": 0})] {
                    let verdict = old.validate_with(&more);
                    if verdict["code"] != "VALID" {
                        refused.push(verdict);
                    }
                }
            }
            refused
        });
        let keys =
            |args: &[&str]| stack.operate(&[&["keys"], args, &["--org", "rotation"]].concat());
        let made = keys(&["create"]);
        let kid = made["id"].as_str().unwrap();
        // As if it had been published two minutes ago.
        stack
            .superuser()
            .rows("UPDATE licet.signing_keys SET created_at = created_at - interval '2 minutes'");
        keys(&["activate", kid]);
        let new = stack.device(&license, "phone").activated();
        assert_eq!(kid_of(&new), kid);
        for _ in 0..20 {
            assert_eq!(new.code(), "VALID");
            assert_eq!(kid_of(&refreshed(&old)), kid);
        }
        done.store(true, Ordering::Relaxed);
        (new, asking.join().unwrap())
    });
    assert!(refused.is_empty(), "{refused:?}");
    // Old and new alike, for a new isolate, and when the origin is gone.
    for which in ["new isolate", "origin gone", "new isolate, origin gone"] {
        if which != "origin gone" {
            stack.worker().restart().unwrap();
        } else {
            stack.origin.stop().unwrap();
        }
        for activation in [&old, &new] {
            assert_eq!(activation.code(), "VALID", "{which}");
        }
    }
}

#[test]
fn what_a_withdrawn_key_has_signed_is_refused_at_the_edge() {
    let stack = stack();
    let license = stack.license("compromised", 9);
    let old = stack.device(&license, "laptop").activated();
    let other = stack.license("neighbour", 9);
    let neighbour = stack.device(&other, "laptop").activated();
    assert_eq!(old.code(), "VALID");
    assert_eq!(old.features().send().status, 200);

    let first = kid_of(&old);
    let org = ["--org", "compromised"];
    let withdraw = ["keys", "withdraw", &first, "--reason", "key-compromise"];
    stack.operate(&[&withdraw[..], &org].concat());
    let withdrawn = Instant::now();
    // Who insists on fresh news is refused at once.
    let fresh = old.validate_with(&json!({"max_staleness_s": 0}));
    assert_eq!(code(&fresh), "UNKNOWN_KEY", "{fresh}");
    // From then on this isolate knows.
    assert_eq!(old.code(), "UNKNOWN_KEY", "{:?}", withdrawn.elapsed());
    for request in [old.refresh(), old.deactivate(), old.features()] {
        let answer = request.send();
        assert_eq!(code(&answer.verdict()), "UNKNOWN_KEY", "{answer:?}");
    }
    let new = stack.device(&license, "laptop").activated();
    assert_ne!(kid_of(&new), first);
    assert_eq!((new.code(), new.id), ("VALID".to_owned(), old.id.clone()));
    assert_eq!(neighbour.code(), "VALID");
}

/// Who does not insist is refused when the list at hand has come to its end.
#[test]
fn a_withdrawn_key_is_known_within_the_ttl() {
    let stack = stack();
    let license = stack.license("compromised", 9);
    let old = stack.device(&license, "laptop").activated();
    assert_eq!(old.code(), "VALID");
    let first = kid_of(&old);
    let org = ["--org", "compromised"];
    let withdraw = ["keys", "withdraw", &first, "--reason", "unspecified"];
    stack.operate(&[&withdraw[..], &org].concat());
    let withdrawn = Instant::now();
    let bound = Duration::from_secs(u64::from(TTL_S) + 1);
    loop {
        let asked = withdrawn.elapsed();
        let verdict = old.validate();
        if verdict["code"] == "UNKNOWN_KEY" {
            break;
        }
        assert!(
            asked <= bound,
            "asked {asked:?} after it was withdrawn: {verdict}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn next(kid: &str, seed: u8) -> (String, String) {
    let key = LocalSigner::from_seed(kid, [seed; 32]);
    (key.reveal(), key.verifying_key().to_string())
}

#[test]
fn the_platforms_key_changes_by_way_of_two_that_are_pinned() {
    let mut stack = stack();
    let license = stack.license("platform", 9);
    let old = stack.device(&license, "laptop").activated();
    assert_eq!(old.code(), "VALID");
    let (private, public) = next("platform.2", 0x52);
    let both = format!("{},{public}", stack.keys().platform_public);

    // Edges first.
    stack.worker().set_var("PLATFORM_KEYS", &both).unwrap();
    stack.worker().restart().unwrap();
    assert_eq!(old.code(), "VALID");
    // Then the origin signs by the next.
    stack.origin.set_env("LICET_PLATFORM_KEY", private);
    stack.origin.set_env("LICET_PLATFORM_KEYS", both);
    stack.origin.restart().unwrap();
    let new = stack.device(&license, "phone").activated();
    for activation in [&old, &new] {
        assert_eq!(activation.code(), "VALID");
        assert_eq!(refreshed(activation).code(), "VALID");
    }
    // Then edges let go of the former.
    stack.worker().set_var("PLATFORM_KEYS", &public).unwrap();
    stack.worker().restart().unwrap();
    stack.origin.set_env("LICET_PLATFORM_KEYS", public);
    stack.origin.restart().unwrap();
    for activation in [&old, &new] {
        assert_eq!(activation.code(), "VALID");
    }
}

#[test]
fn an_edges_key_changes_by_way_of_two_that_are_taken() {
    let mut stack = stack();
    let license = stack.license("edge-key", 9);
    let (private, public) = next("edge.2", 0x45);
    let former = stack.caller();
    let both = format!("{},{public}", stack.keys().edge_public);

    stack.origin.set_env("LICET_EDGE_KEYS", both);
    stack.origin.restart().unwrap();
    let activation = stack.device(&license, "laptop").activated();
    stack.worker().set_secret("EDGE_KEY", private).unwrap();
    stack.worker().restart().unwrap();
    assert_eq!(refreshed(&activation).code(), "VALID");

    let path = format!("/edge/v1/orgs/{}/keys", license.org.tag);
    assert_eq!(former.get(&path).send().status, 200);
    stack.origin.set_env("LICET_EDGE_KEYS", public);
    stack.origin.restart().unwrap();
    assert_eq!(refreshed(&activation).code(), "VALID");
    assert_eq!(former.get(&path).send().status, 401);
}
