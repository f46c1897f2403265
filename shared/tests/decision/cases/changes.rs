//! Licenses that have changed since, and what is left of quotas.

use licet_shared::{
    decision::{Code, OriginState, Source},
    documents::{AtExpiry, FeatureOverrides, LicenseStateClaims, Period, Revision, Tier, Used},
    id::FeatureSetId,
    time::Timestamp,
};
use serde_json::json;

use super::{
    super::world::{DAY, Life, T0, World},
    Named, case,
};

/// A license that has changed: a token of version 10, made from list version 100, and a list that
/// tells of a change in version 200.
fn changed(name: &str, change: impl Fn(&mut World), expected: Code) -> Named {
    let start = |w: &mut World| {
        w.claims.rev = Some(Revision {
            license: 10,
            list: 100,
        });
        w.status = 12;
        w.changed = 200;
        w.list_version = 300;
        change(w);
    };
    case(&format!("changed: {name}"), start, expected)
}

/// With the license's own document of version 20, made after the change, and what is different in
/// it.
fn renewed(
    name: &str,
    differs: impl Fn(&mut LicenseStateClaims),
    change: impl Fn(&mut World),
    expected: Code,
) -> Named {
    let upgrade = |w: &mut World| {
        let (mut claims, life) = w.state_of_license(20, 250, T0);
        differs(&mut claims);
        w.license = Some((claims, life));
        change(w);
    };
    changed(name, upgrade, expected)
}

/// Everybody's clock is an hour later than the token, and all documents are of now.
pub(super) fn an_hour_later(w: &mut World) {
    let life = Life {
        iat: T0 + 3600,
        exp: T0 + 3600 + DAY,
    };
    w.now = T0 + 3610;
    (w.keys, w.list, w.features) = (Some(life), Some(life), Some(life));
}

fn other_set() -> FeatureSetId {
    FeatureSetId::new(T0 as u64 * 1000, [9; 10])
}

pub(super) fn upgrades() -> Vec<Named> {
    let nothing = |_: &mut LicenseStateClaims| {};
    let mut cases = vec![
        renewed(
            "another tier",
            |d| d.tier = Tier::Enterprise,
            |_| {},
            Code::Valid,
        ),
        renewed(
            "a product that was added",
            |d| d.products.push("workflow_app".into()),
            |w| w.context.product = "workflow_app".into(),
            Code::Valid,
        ),
        renewed(
            "a product that was taken away",
            |d| d.products = vec!["cloud_ide".into()],
            |_| {},
            Code::ProductMismatch,
        ),
        renewed(
            "a later end",
            |d| d.lexp = Some(T0 + 365 * DAY),
            |w| w.claims.lexp = Some(w.now - 1),
            Code::Valid,
        ),
        renewed("no end any more", |d| d.lexp = None, |_| {}, Code::Valid),
        renewed(
            "an end that has come",
            |d| d.lexp = Some(T0 + 10),
            |_| {},
            Code::LicenseExpired,
        ),
        renewed(
            "an end that comes next",
            |d| d.lexp = Some(T0 + 11),
            |_| {},
            Code::Valid,
        ),
        renewed(
            "a feature of its own that was given",
            |d| d.fo = [("beta".to_owned(), json!(true))].into_iter().collect(),
            |w| w.context.require = vec!["beta".into()],
            Code::Valid,
        ),
        renewed(
            "a feature of its own that was taken back",
            |d| d.fo = FeatureOverrides::default(),
            |w| {
                w.claims.fo = [("beta".to_owned(), json!(true))].into_iter().collect();
                w.context.require = vec!["beta".into()];
            },
            Code::FeatureMissing,
        ),
        renewed(
            "another feature set",
            |d| d.fs = other_set(),
            |w| w.feature_set = other_set(),
            Code::Valid,
        ),
        renewed(
            "another feature set, and that of the token at hand",
            |d| d.fs = other_set(),
            |_| {},
            Code::Stale,
        ),
        renewed(
            "less grace than the token says",
            |d| d.grace = 0,
            |w| {
                w.origin = OriginState::Unreachable;
                w.token_life.exp = T0 + 5;
            },
            Code::TokenExpired,
        ),
        renewed(
            "an end that lets no version go on any more",
            |d| (d.lexp, d.xb) = (Some(T0 + 10), AtExpiry::Maintain),
            |w| w.context.released_at = Some(Timestamp::from_unix(T0 + 10)),
            Code::VersionNotCovered,
        ),
        renewed(
            "an end that ends no use",
            |d| (d.lexp, d.xb) = (Some(T0 + 10), AtExpiry::Allow),
            |_| {},
            Code::Valid,
        ),
        renewed(
            "a heartbeat that was missed before anybody asked for one",
            |d| d.hb = Some(60),
            |w| {
                an_hour_later(w);
            },
            Code::HeartbeatRequired,
        ),
        renewed(
            "no heartbeat any more",
            |d| d.hb = None,
            |w| {
                an_hour_later(w);
                w.claims.hb = Some(60);
            },
            Code::Valid,
        ),
        renewed(
            "another time to refresh",
            |d| d.ra = Some(60),
            |_| {},
            Code::Valid,
        ),
        renewed(
            "seats that float now",
            |d| d.lr = true,
            |_| {},
            Code::LeaseRequired,
        ),
        renewed(
            "seats that float now, and a lease",
            |d| d.lr = true,
            |w| {
                w.float();
                w.claims.lr = false;
            },
            Code::Valid,
        ),
        renewed(
            "seats that float no more",
            |d| d.lr = false,
            |w| w.claims.lr = true,
            Code::Valid,
        ),
        renewed(
            "a token that has ended is renewed by nothing",
            |d| d.lexp = None,
            |w| w.token_life.exp = T0 + 5,
            Code::TokenExpired,
        ),
        renewed(
            "the device stays the token's",
            nothing,
            |w| w.context.fingerprint = Some("device-2".into()),
            Code::FingerprintMismatch,
        ),
        renewed(
            "fresh to the second",
            nothing,
            |w| {
                an_hour_later(w);
                w.source = Source::Origin;
                w.now = T0 + 3600;
                w.context.max_staleness_s = Some(0);
            },
            Code::Valid,
        ),
        renewed(
            "a document from long before the list that was made after the change",
            nothing,
            an_hour_later,
            Code::Valid,
        ),
        renewed(
            "an older document than the token",
            |d| (d.ver, d.tier) = (9, Tier::Free),
            |_| {},
            Code::Valid,
        ),
        renewed(
            "a document of the token's version",
            |d| (d.ver, d.tier) = (10, Tier::Free),
            |_| {},
            Code::Valid,
        ),
        renewed(
            "revoked all the same",
            nothing,
            |w| w.status = 1,
            Code::Revoked,
        ),
        renewed(
            "a newer document, and a list that tells of no change yet",
            |d| d.tier = Tier::Enterprise,
            |w| w.status = 0,
            Code::Valid,
        ),
        renewed(
            "a newer document that has ended while the origin is gone",
            |d| d.products = vec!["cloud_ide".into()],
            |w| {
                w.license = w.license.clone().map(|(claims, _)| {
                    (
                        claims,
                        Life {
                            iat: T0 - 2 * DAY,
                            exp: T0 - DAY,
                        },
                    )
                });
                w.origin = OriginState::Unreachable;
            },
            Code::ProductMismatch,
        ),
        changed(
            "a token that was made from the changed list",
            |w| {
                an_hour_later(w);
                w.claims.rev = Some(Revision {
                    license: 20,
                    list: 200,
                });
            },
            Code::Valid,
        ),
        changed(
            "a token that was made from the list before it",
            |w| {
                an_hour_later(w);
                w.claims.rev = Some(Revision {
                    license: 20,
                    list: 199,
                });
            },
            Code::Stale,
        ),
        changed(
            "no document, within the ttl of the token",
            |_| {},
            Code::Valid,
        ),
        changed("no document an hour later", an_hour_later, Code::Stale),
        changed(
            "no document an hour later, list fetched now",
            |w| {
                an_hour_later(w);
                w.source = Source::Origin;
            },
            Code::Stale,
        ),
        changed(
            "no document, origin out of reach",
            |w| {
                an_hour_later(w);
                w.origin = OriginState::Unreachable;
            },
            Code::Valid,
        ),
        changed(
            "no document, origin unusable",
            |w| {
                an_hour_later(w);
                w.origin = OriginState::Unusable;
            },
            Code::Valid,
        ),
        changed(
            "no document, origin out of reach, fresher demanded",
            |w| {
                an_hour_later(w);
                w.origin = OriginState::Unreachable;
                w.context.max_staleness_s = Some(60);
            },
            Code::Stale,
        ),
        changed(
            "no document, and a token of before versions",
            |w| {
                an_hour_later(w);
                w.claims.rev = None;
            },
            Code::Stale,
        ),
        changed(
            "a list that does not tell when",
            |w| w.changed = 0,
            Code::Valid,
        ),
    ];
    let before = |name: &str, origin, expected| {
        renewed(
            name,
            |d| {
                d.lists = vec![(0, 199)];
                d.tier = Tier::Enterprise;
            },
            |w| {
                an_hour_later(w);
                w.origin = origin;
            },
            expected,
        )
    };
    cases.push(before(
        "a document from before the last change",
        OriginState::Answering,
        Code::Stale,
    ));
    cases.push(before(
        "a document from before the last change, origin out of reach",
        OriginState::Unreachable,
        Code::Valid,
    ));
    cases.push(renewed(
        "a document that is silent about the list",
        |d| d.lists = vec![(1, 999)],
        an_hour_later,
        Code::Stale,
    ));
    cases
}

/// Metered features: what is left is shown, and `require` asks for the quota alone.
pub(super) fn quotas() -> Vec<Named> {
    let metered =
        |name: &str, used: &[(Period, i64, u64)], change: &dyn Fn(&mut World), expected| {
            let set = |w: &mut World| {
                let month = json!({ "quota": 500, "period": "month" });
                w.feature_values.insert("exports.monthly".into(), month);
                let none = json!({ "quota": 0, "period": "day" });
                w.feature_values.insert("scans.daily".into(), none);
                w.claims.rev = Some(Revision {
                    license: 10,
                    list: 100,
                });
                let (mut claims, life) = w.state_of_license(10, 100, T0);
                let used = used.iter().map(|(period, start, used)| Used {
                    period: *period,
                    start: *start,
                    used: *used,
                });
                claims
                    .usage
                    .insert("exports.monthly".into(), used.collect());
                w.license = Some((claims, life));
                change(w);
            };
            case(&format!("quotas: {name}"), set, expected)
        };
    /// 2027-01-01.
    const JANUARY: i64 = 1_798_761_600;
    let require =
        |feature: &'static str| move |w: &mut World| w.context.require = vec![feature.into()];
    vec![
        metered("nothing used", &[], &|_| {}, Code::Valid),
        metered(
            "some used",
            &[(Period::Month, JANUARY, 123)],
            &|_| {},
            Code::Valid,
        ),
        metered(
            "all used is still granted",
            &[(Period::Month, JANUARY, 500)],
            &require("exports.monthly"),
            Code::Valid,
        ),
        metered(
            "more used than there is by now",
            &[(Period::Month, JANUARY, 700)],
            &|_| {},
            Code::Valid,
        ),
        metered(
            "used in another kind of period",
            &[(Period::Day, JANUARY, 9), (Period::Month, JANUARY, 2)],
            &|_| {},
            Code::Valid,
        ),
        metered(
            "used in an earlier period",
            &[(Period::Month, JANUARY - 31 * DAY, 499)],
            &|_| {},
            Code::Valid,
        ),
        metered(
            "a quota of 0 is not granted",
            &[],
            &require("scans.daily"),
            Code::FeatureMissing,
        ),
        metered(
            "the last second of a period",
            &[(Period::Month, JANUARY, 123)],
            &|w| to_the_end_of_january(w, -1),
            Code::Valid,
        ),
        metered(
            "a period has begun since the document was made",
            &[(Period::Month, JANUARY, 123)],
            &|w| to_the_end_of_january(w, 0),
            Code::Valid,
        ),
        metered(
            "the license's own in place of the set's",
            &[(Period::Month, JANUARY, 5)],
            &|w| {
                let own = json!({ "quota": 5, "period": "month" });
                w.claims.fo = [("exports.monthly".to_owned(), own)].into_iter().collect();
            },
            Code::Valid,
        ),
        metered(
            "one that never begins anew",
            &[(Period::Once, 0, 4)],
            &|w| {
                let own = json!({ "quota": 10, "period": "once" });
                w.claims.fo = [("exports.monthly".to_owned(), own)].into_iter().collect();
            },
            Code::Valid,
        ),
        metered(
            "by the year",
            &[(Period::Year, JANUARY, 4)],
            &|w| {
                let own = json!({ "quota": 10, "period": "year" });
                w.claims.fo = [("exports.monthly".to_owned(), own)].into_iter().collect();
            },
            Code::Valid,
        ),
        metered(
            "taken away",
            &[(Period::Month, JANUARY, 5)],
            &|w| {
                w.claims.fo = [("exports.monthly".to_owned(), json!(null))]
                    .into_iter()
                    .collect();
            },
            Code::Valid,
        ),
        metered(
            "without a document nothing is said of what is left",
            &[],
            &|w| w.license = None,
            Code::Valid,
        ),
        metered(
            "what only looks like a quota is a value",
            &[],
            &|w| {
                let odd = json!({ "quota": -1, "period": "month" });
                w.feature_values.insert("odd".into(), odd);
                w.context.require = vec!["odd".into()];
            },
            Code::Valid,
        ),
        metered(
            "none with a no",
            &[(Period::Month, JANUARY, 5)],
            &|w| w.status = 2,
            Code::Suspended,
        ),
    ]
}

/// So many seconds from the end of the month, with all documents renewed but the license's.
fn to_the_end_of_january(w: &mut World, seconds: i64) {
    let now = 1_801_440_000 + seconds;
    let life = Life {
        iat: now - 5,
        exp: now + DAY,
    };
    w.now = now;
    (w.keys, w.list, w.features) = (Some(life), Some(life), Some(life));
    w.token_life = life;
}
