//! Clocks that are off. Between an edge and its origin only the difference shows, so one of the two
//! is set: the real Worker's, by a line in front of its script; or that of an origin whose documents
//! the test signs. How far off an edge's calls may be is the origin's `edge_auth`.

use std::fs;

use licet_shared::jws::{Times, sign};
use licet_shared::time::Timestamp;
use licet_tests::device::code;
use licet_tests::forge::{DAY_S, ForgedOrg};
use licet_tests::wait::SOON;
use licet_tests::{LoneEdge, Stack, StackOptions, eventually, now};
use serde_json::{Value, json};

use crate::documents::{installation, says_yes};
use crate::outage::recovered_from_nothing;

const HOUR_S: i64 = 3_600;

/// Restarts a stack's Worker with a clock that is this far ahead.
fn set_the_edges_clock(stack: &mut Stack, ahead_s: i64) {
    const MARK: &str = "// The right time\n";
    stack.worker().stop().unwrap();
    let script = stack.dir().join("edge/worker/entry.js");
    let text = fs::read_to_string(&script).unwrap();
    let ours = text.split_once(MARK).map_or(&*text, |(_, ours)| ours);
    let ahead_ms = ahead_s * 1_000;
    let line = format!("{{ const right = Date.now; Date.now = () => right() + {ahead_ms}; }}");
    fs::write(&script, format!("{line}\n{MARK}{ours}")).unwrap();
    stack.worker().restart().unwrap();
}

/// What the edge takes for the time, by an answer's own word.
#[track_caller]
fn age_of(verdict: &Value) -> i64 {
    verdict["freshness"]["age_s"].as_i64().unwrap()
}

#[test]
fn a_clock_that_is_a_minute_off_changes_no_verdict() {
    let mut stack = Stack::start(&StackOptions::default());
    for (ahead_s, slug) in [(60, "ahead"), (-60, "behind")] {
        set_the_edges_clock(&mut stack, ahead_s);
        let license = stack.license(slug, 3);
        let activation = stack.device(&license, "laptop").activated();
        let verdict = activation.validate();
        assert_eq!(verdict["code"], "VALID", "{slug}: {verdict}");
        assert_eq!(verdict["freshness"]["degraded"], json!(null), "{verdict}");
        if ahead_s > 0 {
            assert!(
                age_of(&verdict) >= ahead_s,
                "its clock was not set: {verdict}"
            );
        }
        let refreshed = activation.refresh().send().verdict();
        assert_eq!(code(&refreshed), "VALID", "{slug}: {refreshed}");
        let newer = activation.with_token(refreshed["license_token"].as_str().unwrap());
        assert_eq!(newer.code(), "VALID", "{slug}");

        stack.license_command("suspend", &license);
        eventually("suspended", SOON * 3, || match activation.code() {
            code if code == "SUSPENDED" => Ok(()),
            code => Err(format!("{slug}: {code}")),
        });
        stack.license_command("reinstate", &license);
        eventually("reinstated", SOON * 3, || match activation.code() {
            code if code == "VALID" => Ok(()),
            code => Err(format!("{slug}: {code}")),
        });
        let deactivated = activation.deactivate().send().verdict();
        assert_eq!(code(&deactivated), "VALID", "{slug}: {deactivated}");
        assert_eq!(activation.code(), "DEACTIVATED", "{slug}");
    }
}

/// Nothing that a newcomer asks is answered with a yes, nor with anything that is not said to be
/// for later.
#[test]
fn a_clock_that_is_an_hour_off_says_yes_to_nothing_new_and_recovers() {
    let mut stack = Stack::start(&StackOptions::default());
    let license = stack.license("hour", 9);
    let revoked = stack.license("hour-revoked", 9);
    let activation = stack.device(&license, "laptop").activated();
    let refused = stack.device(&revoked, "laptop").activated();
    assert_eq!(
        (activation.code(), refused.code()),
        ("VALID".into(), "VALID".into())
    );
    stack.license_command("revoke", &revoked);
    let fresh = json!({"max_staleness_s": 0});
    assert_eq!(code(&refused.validate_with(&fresh)), "REVOKED");
    for ahead_s in [HOUR_S, -HOUR_S] {
        set_the_edges_clock(&mut stack, ahead_s);
        let device = stack.device(&license, "phone");
        device.activate().problem(502, "ORIGIN_ERROR");
        let answer = stack.caller().post("/edge/v1/activations", &device.body());
        let new = device.activation_in(&answer.send());
        for (what, asked) in [("known", &activation), ("new", &new), ("revoked", &refused)] {
            for more in [json!({}), json!({"max_staleness_s": 0})] {
                let answer = asked.ask(&more);
                let what = format!("{what}, {more}, {ahead_s} s ahead");
                if answer.status != 200 {
                    answer.problem(503, "ORIGIN_UNREACHABLE");
                    continue;
                }
                let verdict = answer.verdict();
                if verdict["valid"] == true {
                    // By what was held before its clock went wrong, and said to be old.
                    assert_ne!(what.split(',').next(), Some("revoked"), "{verdict}");
                    assert_eq!(more, json!({}), "{what}: {verdict}");
                    let degraded = &verdict["freshness"]["degraded"];
                    assert_eq!(degraded, "origin_unusable", "{what}: {verdict}");
                }
            }
        }
        let log = stack.worker().log();
        eventually("the log says it", SOON, || {
            let text = fs::read_to_string(&log).unwrap();
            if text.contains("does not take this edge's calls") {
                Ok(())
            } else {
                Err(text)
            }
        });
        set_the_edges_clock(&mut stack, 0);
        for asked in [&activation, &new] {
            recovered_from_nothing(asked);
        }
        assert_eq!(refused.code(), "REVOKED");
    }
}

/// The shelf of an origin whose clock is this far ahead.
fn shelve(edge: &LoneEdge, org: &ForgedOrg, version: u64, ahead_s: i64, entries: &[(usize, u8)]) {
    let times = Times::starting(now().plus(ahead_s), DAY_S);
    let features = org.features_claims(5, &json!({"export.pdf": true}));
    let keys = sign(&org.keys_claims(5), times, &org.platform).unwrap();
    let list = sign(&org.list_claims(version, 5, entries), times, &org.key).unwrap();
    let features = sign(&features, times, &org.key).unwrap();
    org.shelve_keys(&edge.origin, &keys);
    org.shelve_list(&edge.origin, &list);
    org.shelve_features(&edge.origin, &features);
}

#[test]
fn an_origins_clock_a_minute_off_is_taken_and_an_hour_off_is_not() {
    let edge = LoneEdge::start();
    for ahead_s in [60, -60] {
        let org = edge.org();
        shelve(&edge, &org, 5, ahead_s, &[]);
        let activation = installation(&edge, &org);
        let verdict = activation.validate();
        assert_eq!(verdict["code"], "VALID", "{ahead_s}: {verdict}");
        eventually("a revocation gets through", SOON * 4, || {
            shelve(&edge, &org, 6, ahead_s, &[(0, 1)]);
            match activation.code() {
                code if code == "REVOKED" => Ok(()),
                code => Err(format!("{ahead_s}: {code}")),
            }
        });
    }
    for ahead_s in [HOUR_S, -HOUR_S] {
        let org = edge.org();
        shelve(&edge, &org, 5, ahead_s, &[]);
        assert!(!says_yes(&installation(&edge, &org)), "{ahead_s}");
        // What is held from before goes on until it is too old, and never passes for newer.
        let org = edge.org();
        let began = now();
        shelve(&edge, &org, 5, 0, &[]);
        let activation = installation(&edge, &org);
        assert!(says_yes(&activation));
        eventually("not passed off as fresh", SOON * 4, || {
            shelve(&edge, &org, 5, ahead_s, &[]);
            let verdict = activation.validate();
            let as_of = verdict["freshness"]["as_of"].as_str().unwrap().parse();
            assert!(
                as_of.is_ok_and(|at: Timestamp| at <= began.plus(1)),
                "{verdict}"
            );
            let degraded = verdict["freshness"]["degraded"] == "origin_unusable";
            match verdict["code"].as_str().unwrap() {
                "VALID" if degraded => Ok(()),
                "VALID" => Err(verdict.to_string()),
                code => {
                    assert_eq!(code, "STALE", "{ahead_s}: {verdict}");
                    Ok(())
                }
            }
        });
    }
}
