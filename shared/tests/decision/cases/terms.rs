//! What is asked, and the terms by which it is judged.

use licet_shared::{
    components::Components,
    decision::{Code, OriginState, Source},
    documents::{AtExpiry, BoundComponents},
    time::Timestamp,
};
use serde_json::json;

use super::{
    super::world::{DAY, T0, World, tag, with_payload},
    Change, Named, Tamper, case,
};

pub(super) fn uses() -> Vec<Named> {
    let mut cases = vec![
        case(
            "the second product of the license",
            |w| w.context.product = "cloud_ide".into(),
            Code::Valid,
        ),
        case(
            "a product's code in capitals",
            |w| w.context.product = "LOCAL_CLI".into(),
            Code::ProductMismatch,
        ),
        case(
            "the product's own vendor is named",
            |w| w.context.org = Some(tag()),
            Code::Valid,
        ),
        case(
            "another vendor's license, for a product of the same code",
            |w| w.context.org = Some("ZZZZZZZZ".parse().unwrap()),
            Code::ProductMismatch,
        ),
        case(
            "an empty product code",
            |w| w.context.product = String::new(),
            Code::ProductMismatch,
        ),
        case(
            "a license for any device",
            |w| {
                w.claims.fp = None;
                w.context.fingerprint = None;
            },
            Code::Valid,
        ),
        case(
            "a license for any device, and one that is named",
            |w| w.claims.fp = None,
            Code::Valid,
        ),
        case(
            "a fingerprint beyond ASCII",
            |w| {
                w.claims.fp = Some(licet_shared::decision::fingerprint_hash("Gerät-№1"));
                w.context.fingerprint = Some("Gerät-№1".into());
            },
            Code::Valid,
        ),
        case(
            "several features, all granted",
            |w| {
                w.context.require =
                    vec!["export.pdf".into(), "projects.max".into(), "limits".into()];
            },
            Code::Valid,
        ),
        case(
            "several features, one of them not",
            |w| {
                w.context.require = vec!["export.pdf".into(), "beta".into()];
            },
            Code::FeatureMissing,
        ),
        case(
            "a feature set without features",
            |w| w.feature_values.clear(),
            Code::Valid,
        ),
    ];
    for (feature, expected) in [
        ("export.pdf", Code::Valid),
        ("projects.max", Code::Valid),
        ("theme", Code::Valid),
        ("limits", Code::Valid),
        ("beta", Code::FeatureMissing),
        ("exports.none", Code::FeatureMissing),
        ("theme.none", Code::FeatureMissing),
        ("nothing", Code::FeatureMissing),
        ("no.such", Code::FeatureMissing),
    ] {
        cases.push(case(
            &format!("requires {feature}"),
            |w| {
                w.context.require = vec![feature.into()];
            },
            expected,
        ));
    }
    cases.push(case(
        "requires an empty list, which is a value",
        |w| {
            w.feature_values.insert("regions".into(), json!([]));
            w.context.require = vec!["regions".into()];
        },
        Code::Valid,
    ));
    cases
}

/// What the end of a license means, on both sides of it.
pub(super) fn ends() -> Vec<Named> {
    use AtExpiry::{Allow, Maintain, Restrict};
    // The behaviour, seconds since the end, seconds from the version's release to the end.
    let end = |name: &str, at: AtExpiry, since: i64, release: Option<i64>, expected: Code| {
        let change = |w: &mut World| {
            w.claims.lexp = Some(w.now - since);
            w.claims.xb = at;
            w.context.released_at =
                release.map(|before| Timestamp::from_unix(w.now - since - before));
        };
        case(&format!("end: {name}"), change, expected)
    };
    let mut cases = vec![
        end("last second, RESTRICT", Restrict, -1, None, Code::Valid),
        end(
            "RESTRICT asks for no version",
            Restrict,
            0,
            Some(DAY),
            Code::LicenseExpired,
        ),
        end(
            "last second, MAINTAIN asks for no version",
            Maintain,
            -1,
            None,
            Code::Valid,
        ),
        end(
            "last second, MAINTAIN, a version of the future",
            Maintain,
            -1,
            Some(-DAY),
            Code::Valid,
        ),
        end(
            "first second after, MAINTAIN, no version named",
            Maintain,
            0,
            None,
            Code::VersionNotCovered,
        ),
        end(
            "first second after, MAINTAIN, released a second before",
            Maintain,
            0,
            Some(1),
            Code::Valid,
        ),
        end(
            "first second after, MAINTAIN, released at the end",
            Maintain,
            0,
            Some(0),
            Code::VersionNotCovered,
        ),
        end(
            "first second after, MAINTAIN, released a second after",
            Maintain,
            0,
            Some(-1),
            Code::VersionNotCovered,
        ),
        end(
            "years after, MAINTAIN, released years before",
            Maintain,
            900 * DAY,
            Some(900 * DAY),
            Code::Valid,
        ),
        end("last second, ALLOW", Allow, -1, None, Code::Valid),
        end("first second after, ALLOW", Allow, 0, None, Code::Valid),
        end(
            "years after, ALLOW, released today",
            Allow,
            900 * DAY,
            Some(-900 * DAY),
            Code::Valid,
        ),
    ];
    let without_end = |at: AtExpiry| {
        let change = |w: &mut World| {
            w.claims.lexp = None;
            w.claims.xb = at;
        };
        case(&format!("end: none, {at:?}"), change, Code::Valid)
    };
    cases.extend([Restrict, Maintain, Allow].map(without_end));
    for (name, fault, expected) in [
        ("revoked", (|w| w.status = 1) as Change, Code::Revoked),
        ("suspended", |w| w.status = 2, Code::Suspended),
        (
            "with a token that has ended",
            |w| w.token_life.exp = w.now,
            Code::TokenExpired,
        ),
        (
            "without a required feature",
            |w| w.context.require = vec!["beta".into()],
            Code::FeatureMissing,
        ),
    ] {
        for at in [Maintain, Allow] {
            let change = |w: &mut World| {
                w.claims.lexp = Some(w.now - DAY);
                w.claims.xb = at;
                w.context.released_at = Some(Timestamp::from_unix(w.now - 2 * DAY));
                fault(w);
            };
            cases.push(case(&format!("end: {name}, {at:?}"), change, expected));
        }
    }
    for (name, at, expected) in [
        ("is cut short by the end of use", Restrict, Code::Valid),
        (
            "goes on beyond the end of a license that does",
            Allow,
            Code::Valid,
        ),
    ] {
        let change = |w: &mut World| {
            w.origin = OriginState::Unreachable;
            w.source = Source::Kv;
            w.claims.lexp = Some(T0 + DAY + 100);
            w.claims.xb = at;
            w.now = T0 + DAY + 99;
        };
        cases.push(case(&format!("end: grace {name}"), change, expected));
    }
    let claim: [(&str, Tamper, Code); 3] = [
        (
            "RESTRICT written out",
            |t| with_claim(&t, r#""xb":"RESTRICT""#),
            Code::Valid,
        ),
        (
            "an unknown behaviour",
            |t| with_claim(&t, r#""xb":"EXTEND""#),
            Code::Malformed,
        ),
        (
            "no behaviour",
            |t| with_claim(&t, r#""xb":null"#),
            Code::Malformed,
        ),
    ];
    cases.extend(claim.into_iter().map(|(name, tamper, expected)| {
        let change = |w: &mut World| w.tamper = Some(tamper);
        case(&format!("end: {name}"), change, expected)
    }));
    cases
}

/// Tokens that must be refreshed before they end, and when they are best refreshed.
pub(super) fn heartbeats() -> Vec<Named> {
    let beat = |name: &str, change: Change, expected: Code| {
        case(&format!("heartbeat: {name}"), change, expected)
    };
    let down = |w: &mut World| {
        w.origin = OriginState::Unreachable;
        w.source = Source::Kv;
        w.claims.hb = Some(3600);
    };
    let mut cases = vec![
        beat("last second", |w| w.claims.hb = Some(11), Code::Valid),
        beat(
            "first second after",
            |w| w.claims.hb = Some(10),
            Code::HeartbeatRequired,
        ),
        beat(
            "longer than the token's life",
            |w| {
                w.claims.hb = Some(2 * DAY as u32);
                w.token_life.exp = w.now;
            },
            Code::TokenExpired,
        ),
        beat(
            "a license that has ended comes first",
            |w| {
                w.claims.hb = Some(10);
                w.claims.lexp = Some(w.now);
            },
            Code::LicenseExpired,
        ),
        beat(
            "an overdue one before another device",
            |w| {
                w.claims.hb = Some(10);
                w.context.fingerprint = Some("device-2".into());
            },
            Code::HeartbeatRequired,
        ),
        beat(
            "an origin that answers is no reason for grace",
            |w| {
                w.claims.hb = Some(10);
                w.origin = OriginState::Unusable;
            },
            Code::HeartbeatRequired,
        ),
        beat(
            "in half of its time, a refresh is best",
            |w| w.claims.hb = Some(3600),
            Code::Valid,
        ),
        beat(
            "best refreshed as the policy says",
            |w| w.claims.ra = Some(300),
            Code::Valid,
        ),
        beat(
            "best refreshed before it must be",
            |w| {
                w.claims.hb = Some(3600);
                w.claims.ra = Some(7200);
            },
            Code::Valid,
        ),
    ];
    for (name, after, expected) in [
        ("first second of grace", 3600, Code::Valid),
        ("last second of grace", 3600 + 7 * DAY - 1, Code::Valid),
        (
            "first second after grace",
            3600 + 7 * DAY,
            Code::HeartbeatRequired,
        ),
    ] {
        let change = |w: &mut World| {
            down(w);
            w.token_life.exp = T0 + 30 * DAY;
            w.now = T0 + after;
        };
        cases.push(case(&format!("heartbeat: {name}"), change, expected));
    }
    cases
}

/// Devices that are told by any n of several fingerprints.
pub(super) fn components() -> Vec<Named> {
    let named = |all: &[(&str, &str)]| -> Components {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        all.iter().map(owned).collect()
    };
    let device = [("board", "B1"), ("disk", "D1"), ("mac", "M1")];
    let bound = |n: u8| BoundComponents {
        n,
        of: named(&device).hashes(),
    };
    let given = |name: &str, n: u8, given: &[(&str, &str)], expected: Code| {
        let change = |w: &mut World| {
            w.claims.fp = None;
            w.claims.fpc = Some(bound(n));
            w.context.fingerprint = None;
            w.context.fingerprints = Some(named(given));
        };
        case(&format!("components: {name}"), change, expected)
    };
    let mut cases = vec![
        given("all three of three", 3, &device, Code::Valid),
        given(
            "two of three, another disk",
            2,
            &[("board", "B1"), ("disk", "D2"), ("mac", "M1")],
            Code::Valid,
        ),
        given(
            "two of three, one not named",
            2,
            &[("board", "B1"), ("mac", "M1")],
            Code::Valid,
        ),
        given(
            "one of two",
            2,
            &[("board", "B1"), ("disk", "D2"), ("mac", "M2")],
            Code::FingerprintMismatch,
        ),
        given(
            "two of all three",
            3,
            &[("board", "B1"), ("disk", "D1"), ("mac", "M2")],
            Code::FingerprintMismatch,
        ),
        given("one of one", 1, &[("mac", "M1")], Code::Valid),
        given(
            "none of one",
            1,
            &[("mac", "M9")],
            Code::FingerprintMismatch,
        ),
        given(
            "right texts under others' names",
            1,
            &[("mac", "B1"), ("board", "D1")],
            Code::FingerprintMismatch,
        ),
        given(
            "one text under many names counts once",
            2,
            &[("mac", "M1"), ("mac2", "M1"), ("mac3", "M1")],
            Code::FingerprintMismatch,
        ),
        given(
            "more than were activated",
            2,
            &[
                ("board", "B1"),
                ("cpu", "C1"),
                ("disk", "D1"),
                ("tpm", "T1"),
            ],
            Code::Valid,
        ),
        case(
            "components: none named",
            |w| {
                w.claims.fp = None;
                w.claims.fpc = Some(bound(2));
                w.context.fingerprint = None;
            },
            Code::FingerprintRequired,
        ),
        case(
            "components: only one text named",
            |w| {
                w.claims.fp = None;
                w.claims.fpc = Some(bound(2));
            },
            Code::FingerprintRequired,
        ),
        case(
            "components: named for a token that is bound to one text",
            |w| {
                w.context.fingerprints = Some(named(&device));
            },
            Code::Valid,
        ),
        case(
            "components: for a token that is bound to nothing",
            |w| {
                w.claims.fp = None;
                w.context.fingerprint = None;
                w.context.fingerprints = Some(named(&device));
            },
            Code::Valid,
        ),
        case(
            "components: not in place of the one text",
            |w| {
                w.context.fingerprint = None;
                w.context.fingerprints = Some(named(&device));
            },
            Code::FingerprintRequired,
        ),
        case(
            "components: beside the one text, both right",
            |w| {
                w.claims.fpc = Some(bound(2));
                w.context.fingerprints = Some(named(&device));
            },
            Code::Valid,
        ),
        case(
            "components: beside the one text, which is another",
            |w| {
                w.claims.fpc = Some(bound(2));
                w.context.fingerprint = Some("device-2".into());
                w.context.fingerprints = Some(named(&device));
            },
            Code::FingerprintMismatch,
        ),
        case(
            "components: beside the one text, too few",
            |w| {
                w.claims.fpc = Some(bound(2));
                w.context.fingerprints = Some(named(&[("mac", "M1")]));
            },
            Code::FingerprintMismatch,
        ),
        case(
            "components: another product comes first",
            |w| {
                w.claims.fp = None;
                w.claims.fpc = Some(bound(2));
                w.context.product = "workflow_app".into();
            },
            Code::ProductMismatch,
        ),
    ];
    let claim: [(&str, Tamper); 3] = [
        ("a number that is none", |t| {
            with_claim(&t, r#""fpc":{"n":-1,"of":{}}"#)
        }),
        ("no number", |t| with_claim(&t, r#""fpc":{"of":{}}"#)),
        ("no components", |t| with_claim(&t, r#""fpc":{"n":1}"#)),
    ];
    cases.extend(claim.into_iter().map(|(name, tamper)| {
        let change = |w: &mut World| w.tamper = Some(tamper);
        case(&format!("components: {name}"), change, Code::Malformed)
    }));
    cases
}

/// A token of the good world with this claim added.
fn with_claim(token: &str, claim: &str) -> String {
    with_payload(token, |p| p.replacen('{', &format!("{{{claim},"), 1))
}

/// A license's own feature values, over those of its set.
pub(super) fn overrides() -> Vec<Named> {
    let own = |name: &str, features: &serde_json::Value, require: &[&str], expected: Code| {
        let features = features.as_object().unwrap().clone();
        let require: Vec<String> = require.iter().map(ToString::to_string).collect();
        case(
            &format!("overrides: {name}"),
            |w| {
                w.claims.fo = features.clone().into_iter().collect();
                w.context.require.clone_from(&require);
            },
            expected,
        )
    };
    let mut cases = vec![
        own(
            "values of every type in place of the set's, beside it and instead of it",
            &json!({
                "export.pdf": "watermarked", "projects.max": 250, "beta": true, "rate": 0.5,
                "limits": {"cpu": 8, "hosts": ["a", null]}, "theme": null, "not.there": null,
            }),
            &["export.pdf", "projects.max", "beta", "rate", "limits"],
            Code::Valid,
        ),
        own(
            "a feature taken away",
            &json!({"export.pdf": null}),
            &["export.pdf"],
            Code::FeatureMissing,
        ),
        own(
            "a feature switched off",
            &json!({"export.pdf": false}),
            &["export.pdf"],
            Code::FeatureMissing,
        ),
        own(
            "a feature that only the license has",
            &json!({"only.here": 1}),
            &["only.here"],
            Code::Valid,
        ),
        own(
            "one that is not asked for changes nothing else",
            &json!({"theme": null}),
            &["export.pdf", "projects.max"],
            Code::Valid,
        ),
        own(
            "the set's own null is shown, as without them",
            &json!({"theme": "light"}),
            &[],
            Code::Valid,
        ),
    ];
    let claims: [(&str, Tamper, Code); 6] = [
        ("none", |t| with_own(&t, "{}"), Code::Valid),
        (
            "a name that is there twice",
            |t| with_own(&t, r#"{"a":1,"a":2}"#),
            Code::Malformed,
        ),
        ("null", |t| with_own(&t, "null"), Code::Malformed),
        ("an array", |t| with_own(&t, "[]"), Code::Malformed),
        (
            "the claim twice",
            |t| with_own(&with_own(&t, "{}"), "{}"),
            Code::Malformed,
        ),
        (
            "65 of them",
            |t| {
                let many: Vec<String> = (0..65).map(|n| format!("\"{n}\":1")).collect();
                with_own(&t, &format!("{{{}}}", many.join(",")))
            },
            Code::Malformed,
        ),
    ];
    cases.extend(claims.into_iter().map(|(name, tamper, expected)| {
        let change = |w: &mut World| w.tamper = Some(tamper);
        case(&format!("overrides: {name}"), change, expected)
    }));
    cases
}

/// A token of the good world with this as its `fo`.
fn with_own(token: &str, fo: &str) -> String {
    with_payload(token, |p| p.replacen('{', &format!("{{\"fo\":{fo},"), 1))
}
