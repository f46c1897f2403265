//! What is known of a token's status, how freshly, and by which clock.

use licet_shared::{
    decision::{Code, OriginState, Source},
    documents::Revision,
};

use super::{
    super::world::{DAY, Life, T0, World},
    Named, case,
    changes::an_hour_later,
};

pub(super) fn status() -> Vec<Named> {
    vec![
        case(
            "status changed since the token was made",
            |w| w.status = 12,
            Code::Valid,
        ),
        case(
            "every other status is refused",
            |w| w.status = 15,
            Code::StatusUnknown,
        ),
        case("no status list known", |w| w.list = None, Code::Stale),
        case("no features known", |w| w.features = None, Code::Stale),
        case(
            "an entry that a list as old as the token lacks",
            |w| w.list_entries = 4,
            Code::Valid,
        ),
        case(
            "an entry that a newer list lacks",
            |w| {
                w.list_entries = 4;
                w.list = Some(Life {
                    iat: T0 + 1,
                    exp: T0 + DAY,
                });
            },
            Code::StatusUnknown,
        ),
        case(
            "an entry that an older list lacks: as fresh as the token",
            |w| {
                w.list_entries = 4;
                w.list = Some(Life {
                    iat: T0 - 300,
                    exp: T0 + DAY,
                });
                w.context.max_staleness_s = Some(10);
            },
            Code::Valid,
        ),
        case(
            "the same, demanded fresher than the token",
            |w| {
                w.list_entries = 4;
                w.list = Some(Life {
                    iat: T0 - 300,
                    exp: T0 + DAY,
                });
                w.context.max_staleness_s = Some(9);
            },
            Code::Stale,
        ),
    ]
}

/// What counts while the origin can't be reached.
pub(super) fn degraded() -> Vec<Named> {
    let week = 7 * DAY;
    fn unusable(w: &mut World) {
        w.origin = OriginState::Unusable;
    }
    fn down(w: &mut World) {
        w.origin = OriginState::Unreachable;
        w.source = Source::Kv;
    }
    vec![
        case(
            "degraded: stale status is used, and said",
            |w| {
                down(w);
                w.now = T0 + 3600;
            },
            Code::Valid,
        ),
        case(
            "degraded: a demand for fresher is not met",
            |w| {
                down(w);
                w.now = T0 + 3600;
                w.context.max_staleness_s = Some(60);
            },
            Code::Stale,
        ),
        case(
            "degraded: last second of the token",
            |w| {
                down(w);
                w.now = T0 + DAY - 1;
            },
            Code::Valid,
        ),
        case(
            "degraded: first second of grace",
            |w| {
                down(w);
                w.now = T0 + DAY;
            },
            Code::Valid,
        ),
        case(
            "degraded: last second of grace",
            |w| {
                down(w);
                w.now = T0 + DAY + week - 1;
            },
            Code::Valid,
        ),
        case(
            "degraded: first second after grace",
            |w| {
                down(w);
                w.now = T0 + DAY + week;
            },
            Code::TokenExpired,
        ),
        case(
            "degraded: no grace granted",
            |w| {
                down(w);
                w.claims.grace = 0;
                w.now = T0 + DAY;
            },
            Code::TokenExpired,
        ),
        case(
            "in grace's span while the origin can be reached",
            |w| {
                w.list = Some(Life {
                    iat: T0 + DAY,
                    exp: T0 + 2 * DAY,
                });
                w.keys = w.list;
                w.features = w.list;
                w.now = T0 + DAY + 5;
            },
            Code::TokenExpired,
        ),
        case(
            "degraded: grace never outlasts the license",
            |w| {
                down(w);
                w.claims.lexp = Some(T0 + DAY + 100);
                w.now = T0 + DAY + 100;
            },
            Code::LicenseExpired,
        ),
        case(
            "degraded: grace is cut short by the license's end, and says so",
            |w| {
                down(w);
                w.claims.lexp = Some(T0 + DAY + 100);
                w.now = T0 + DAY + 99;
            },
            Code::Valid,
        ),
        case(
            "degraded: grace never overrides a known revocation",
            |w| {
                down(w);
                w.status = 1;
                w.now = T0 + DAY + 5;
            },
            Code::Revoked,
        ),
        case(
            "degraded: grace never overrides a known suspension",
            |w| {
                down(w);
                w.status = 2;
                w.now = T0 + DAY + 5;
            },
            Code::Suspended,
        ),
        case(
            "degraded: documents count for the token's grace past their end",
            |w| {
                down(w);
                w.token_life.exp = T0 + 30 * DAY;
                w.now = T0 + DAY + week - 1;
            },
            Code::Valid,
        ),
        case(
            "degraded: but no longer",
            |w| {
                down(w);
                w.token_life.exp = T0 + 30 * DAY;
                w.now = T0 + DAY + week;
            },
            Code::Stale,
        ),
        case(
            "unusable: stale status is used, and said",
            |w| {
                unusable(w);
                w.now = T0 + 3600;
            },
            Code::Valid,
        ),
        case(
            "unusable: an origin that answers is no reason for the token's grace",
            |w| {
                unusable(w);
                w.now = T0 + DAY;
            },
            Code::TokenExpired,
        ),
        case(
            "unusable: nor for the documents'",
            |w| {
                unusable(w);
                w.token_life.exp = T0 + 30 * DAY;
                w.now = T0 + DAY;
            },
            Code::Stale,
        ),
        case(
            "unusable: last second of the documents",
            |w| {
                unusable(w);
                w.token_life.exp = T0 + 30 * DAY;
                w.now = T0 + DAY - 1;
            },
            Code::Valid,
        ),
        case(
            "unusable: a known revocation stands",
            |w| {
                unusable(w);
                w.status = 1;
                w.now = T0 + 3600;
            },
            Code::Revoked,
        ),
        case(
            "unusable: a demand for fresher is not met",
            |w| {
                unusable(w);
                w.now = T0 + 3600;
                w.context.max_staleness_s = Some(60);
            },
            Code::Stale,
        ),
        case(
            "degraded: another device is refused all the same",
            |w| {
                down(w);
                w.context.fingerprint = Some("device-2".into());
            },
            Code::FingerprintMismatch,
        ),
    ]
}

/// What the host knows of times that have been, and the clock it decides by.
pub(super) fn clocks() -> Vec<Named> {
    let evidence = |name: &str, evidence: i64, expected: Code| {
        case(
            &format!("clock: {name}"),
            |w| w.newest_evidence = Some(evidence),
            expected,
        )
    };
    let now = World::good().now;
    vec![
        evidence("evidence from before", now - DAY, Code::Valid),
        evidence("evidence of this second", now, Code::Valid),
        evidence("60 s behind: two clocks may differ", now + 60, Code::Valid),
        evidence("61 s behind", now + 61, Code::ClockMovedBack),
        evidence("a year behind", now + 365 * DAY, Code::ClockMovedBack),
        evidence(
            "evidence at the end of time",
            i64::MAX,
            Code::ClockMovedBack,
        ),
        evidence("evidence at the beginning of time", i64::MIN, Code::Valid),
        case(
            "clock: moved back while the origin is gone",
            |w| {
                w.origin = OriginState::Unreachable;
                w.newest_evidence = Some(w.now + 61);
            },
            Code::ClockMovedBack,
        ),
        case(
            "clock: moved back before the token was made",
            |w| {
                w.now = T0 - 61;
                w.newest_evidence = Some(T0);
                w.keys = Some(Life {
                    iat: T0 - 100,
                    exp: T0 + DAY,
                });
                w.list = w.keys;
                w.features = w.keys;
            },
            Code::ClockMovedBack,
        ),
    ]
}

/// A list that is old, and the feed's word that it is still the newest.
pub(super) fn unchanged() -> Vec<Named> {
    let old = |name: &str, change: fn(&mut World), expected: Code| {
        let start = |w: &mut World| {
            an_hour_later(w);
            w.list = Some(Life {
                iat: T0,
                exp: T0 + DAY,
            });
            w.unchanged_at = Some(w.now - 5);
            change(w);
        };
        case(&format!("unchanged list: {name}"), start, expected)
    };
    vec![
        old("as of a moment ago", |_| {}, Code::Valid),
        old(
            "as of the ttl",
            |w| w.unchanged_at = Some(w.now - 30),
            Code::Valid,
        ),
        old(
            "as of longer ago than the ttl",
            |w| w.unchanged_at = Some(w.now - 31),
            Code::Stale,
        ),
        old(
            "as of before the list itself",
            |w| w.unchanged_at = Some(T0 - 100),
            Code::Stale,
        ),
        old("nobody says so", |w| w.unchanged_at = None, Code::Stale),
        old(
            "as fresh as the caller demands",
            |w| w.context.max_staleness_s = Some(5),
            Code::Valid,
        ),
        old(
            "not as fresh as the caller demands",
            |w| w.context.max_staleness_s = Some(4),
            Code::Stale,
        ),
        old(
            "the origin itself is to be asked",
            |w| w.context.max_staleness_s = Some(0),
            Code::Stale,
        ),
        old("what it says counts", |w| w.status = 1, Code::Revoked),
        old(
            "it has come to its end",
            |w| {
                w.list = Some(Life {
                    iat: T0,
                    exp: w.now,
                });
            },
            Code::Stale,
        ),
        old(
            "it tells of a change that nothing at hand shows",
            |w| {
                w.status = 12;
                w.changed = 200;
                w.claims.rev = Some(Revision {
                    license: 10,
                    list: 100,
                });
            },
            Code::Stale,
        ),
        old(
            "an entry that it lacks is not vouched for by it",
            |w| {
                w.list_entries = 2;
                w.token_life.iat = T0 + 100;
            },
            Code::Stale,
        ),
    ]
}
