//! Every case by name: what is changed in the good world, and the code it must get.

use licet_shared::{
    components::Components,
    decision::{Code, OriginState, Source},
    documents::{
        AtExpiry, BoundComponents, FeatureOverrides, LicenseStateClaims, Period, Revision, Tier,
        Used,
    },
    id::{ActivationId, FeatureSetId, LicenseId, OrgId},
    time::Timestamp,
};
use serde_json::json;

use super::world::{DAY, Life, T0, World, handmade, org_signer, tag, with_header, with_payload};

type Change = fn(&mut World);
type Tamper = fn(String) -> String;

/// A name, a change, and the code that must come of it.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) world: World,
    pub(crate) expected: Code,
}

fn case(name: &str, change: impl Fn(&mut World), expected: Code) -> Named {
    let mut world = World::good();
    change(&mut world);
    Named {
        name: name.into(),
        world,
        expected,
    }
}

/// One way to earn each code, in the order in which the design tries them. Written out here, not
/// taken from `Code::ALL`, so that a changed order in the code shows.
const FAULTS: [(Code, Change); 21] = [
    (Code::Malformed, |w| {
        w.tamper = Some(|token| token.replacen('.', "..", 1));
    }),
    (Code::UnknownKey, |w| w.signer = org_signer(9)),
    (Code::SignatureInvalid, |w| w.tamper = Some(flip_signature)),
    (Code::Revoked, |w| w.status = 1),
    (Code::Suspended, |w| w.status = 2),
    (Code::Deactivated, |w| w.status = 3),
    (Code::StatusUnknown, |w| w.status = 7),
    (Code::NotYetValid, |w| w.nbf = Some(w.now + 3600)),
    (Code::LicenseExpired, |w| w.claims.lexp = Some(w.now - 1)),
    (Code::VersionNotCovered, |w| {
        w.claims.lexp = Some(w.now - 1);
        w.claims.xb = AtExpiry::Maintain;
    }),
    (Code::TokenExpired, |w| {
        w.token_life = Life {
            iat: T0 - DAY,
            exp: w.now - 1,
        }
    }),
    (Code::HeartbeatRequired, |w| w.claims.hb = Some(10)),
    (Code::LeaseInvalid, |w| w.float().signer = org_signer(9)),
    (Code::LeaseExpired, |w| w.float().life.exp = T0 + 10),
    (Code::ProductMismatch, |w| {
        w.context.product = "workflow_app".into();
    }),
    (Code::FingerprintRequired, |w| w.context.fingerprint = None),
    (Code::FingerprintMismatch, |w| {
        w.context.fingerprint = Some("device-2".into());
    }),
    (Code::ClockMovedBack, |w| {
        w.newest_evidence = Some(w.now + 3600);
    }),
    (Code::FeatureMissing, |w| {
        w.context.require = vec!["beta".into()];
    }),
    (Code::LeaseRequired, |w| w.claims.lr = true),
    (Code::Stale, |w| w.context.max_staleness_s = Some(0)),
];

/// Codes of which a request can earn one at the most: they read the same value.
const EXCLUSIVE: [&[Code]; 5] = [
    &[
        Code::Revoked,
        Code::Suspended,
        Code::Deactivated,
        Code::StatusUnknown,
    ],
    &[Code::LicenseExpired, Code::VersionNotCovered],
    &[Code::FingerprintRequired, Code::FingerprintMismatch],
    &[Code::LeaseInvalid, Code::LeaseExpired, Code::LeaseRequired],
    // Both change the text of the signed token.
    &[Code::Malformed, Code::SignatureInvalid],
];

#[allow(clippy::needless_pass_by_value)] // it is a `Tamper`
fn flip_signature(token: String) -> String {
    let at = token.len() - 40;
    let replacement = if token.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    format!("{}{replacement}{}", &token[..at], &token[at + 1..])
}

pub(crate) fn all() -> Vec<Named> {
    let mut cases = vec![case("all is well", |_| {}, Code::Valid)];
    cases.extend(
        FAULTS
            .iter()
            .map(|(code, fault)| case(&format!("{code} alone"), fault, *code)),
    );
    cases.extend(pairs());
    cases.extend(malformed());
    cases.extend(keys());
    cases.extend(boundaries());
    cases.extend(status());
    cases.extend(degraded());
    cases.extend(uses());
    cases.extend(overrides());
    cases.extend(ends());
    cases.extend(heartbeats());
    cases.extend(components());
    cases.extend(leases());
    cases.extend(clocks());
    cases.extend(unchanged());
    cases.extend(upgrades());
    cases.extend(quotas());
    cases
}

/// Of two codes that both apply, the one that stands first is given.
fn pairs() -> Vec<Named> {
    let mut cases = Vec::new();
    for (position, (first, fault)) in FAULTS.iter().enumerate() {
        for (second, other) in &FAULTS[position + 1..] {
            if EXCLUSIVE
                .iter()
                .any(|group| group.contains(first) && group.contains(second))
            {
                continue;
            }
            let both = |world: &mut World| {
                fault(world);
                other(world);
            };
            cases.push(case(&format!("{first} before {second}"), both, *first));
        }
    }
    cases
}

fn malformed() -> Vec<Named> {
    let changes: [(&str, Tamper); 27] = [
        ("an empty text", |_| String::new()),
        ("two segments", |t| t.rsplit_once('.').unwrap().0.into()),
        ("four segments", |t| format!("{t}.AA")),
        ("an empty signature", |t| {
            format!("{}.", t.rsplit_once('.').unwrap().0)
        }),
        ("a signature of 63 bytes", |t| {
            format!("{}.{}", t.rsplit_once('.').unwrap().0, "A".repeat(84))
        }),
        ("padding", |t| format!("{t}==")),
        ("a line break at the end", |t| format!("{t}\n")),
        ("base64 of the other alphabet", |t| t.replacen('.', "+.", 1)),
        ("bits set that base64url does not use", |t| {
            format!("{}_", &t[..t.len() - 1])
        }),
        ("9 KiB of text", |t| format!("{t}{}", "A".repeat(9 * 1024))),
        ("typ of another kind", |t| {
            with_header(&t, |h| h.replace("license+jwt", "features+jwt"))
        }),
        ("typ in capitals", |t| {
            with_header(&t, |h| h.replace("license+jwt", "LICENSE+JWT"))
        }),
        ("no typ", |t| {
            with_header(&t, |h| {
                h.replace("\"typ\":\"license+jwt\",", "")
                    .replace(",\"typ\":\"license+jwt\"", "")
            })
        }),
        ("alg none", |t| {
            with_header(&t, |h| h.replace("EdDSA", "none"))
        }),
        ("alg HS256", |t| {
            with_header(&t, |h| h.replace("EdDSA", "HS256"))
        }),
        ("alg Ed25519, the newer name", |t| {
            with_header(&t, |h| h.replace("EdDSA", "Ed25519"))
        }),
        ("crit", |t| {
            with_header(&t, |h| {
                h.replacen('{', r#"{"crit":["b64"],"b64":false,"#, 1)
            })
        }),
        ("jku", |t| {
            with_header(&t, |h| {
                h.replacen('{', r#"{"jku":"https://evil.example/k","#, 1)
            })
        }),
        ("a repeated header field", |t| {
            with_header(&t, |h| h.replacen('{', r#"{"alg":"EdDSA","#, 1))
        }),
        ("a repeated claim", |t| {
            with_payload(&t, |p| p.replacen('{', r#"{"tier":"FREE","#, 1))
        }),
        ("no exp", |t| {
            with_payload(&t, |p| p.replace("\"exp\":", "\"xxp\":"))
        }),
        ("no iat", |t| {
            with_payload(&t, |p| p.replace("\"iat\":", "\"jat\":"))
        }),
        ("no aud", |t| {
            with_payload(&t, |p| p.replace("\"aud\":", "\"bud\":"))
        }),
        ("exp as text", |t| {
            with_payload(&t, |p| {
                p.replace("\"exp\":1800086400", "\"exp\":\"1800086400\"")
            })
        }),
        ("exp at the end of time", |t| {
            with_payload(&t, |p| {
                p.replace("\"exp\":1800086400", "\"exp\":9223372036854775807")
            })
        }),
        ("a life of 401 days", |t| {
            with_payload(&t, |p| {
                p.replace("\"exp\":1800086400", "\"exp\":1834646400")
            })
        }),
        ("another token format", |t| {
            with_payload(&t, |p| p.replace("\"ver\":1", "\"ver\":2"))
        }),
    ];
    let mut cases: Vec<Named> = changes
        .into_iter()
        .map(|(name, tamper)| {
            case(
                &format!("malformed: {name}"),
                |w| w.tamper = Some(tamper),
                Code::Malformed,
            )
        })
        .collect();
    cases.push(case(
        "malformed: a header that is an array",
        |w| {
            w.tamper =
                Some(|t| with_header(&t, |_| r#"["EdDSA","license+jwt","0ACME0AG.1"]"#.into()));
        },
        Code::Malformed,
    ));
    cases.push(case(
        "malformed: nbf at the beginning of time",
        |w| {
            w.tamper = Some(|t| {
                with_payload(&t, |p| p.replacen('{', "{\"nbf\":-9223372036854775808,", 1))
            });
        },
        Code::Malformed,
    ));
    cases.push(case(
        "malformed: a status list elsewhere",
        |w| {
            w.claims.status.status_list.uri =
                "https://evil.example/api/v1/orgs/0ACME0AG/statuslists/0".into();
        },
        Code::Malformed,
    ));
    cases.push(case(
        "malformed: a status list number written oddly",
        |w| w.claims.status.status_list.uri.push('0'),
        Code::Malformed,
    ));
    cases
}

fn keys() -> Vec<Named> {
    vec![
        case(
            "signed by the second key while keys rotate",
            |w| w.signer = org_signer(2),
            Code::Valid,
        ),
        case(
            "no keys known",
            |w| {
                w.keys = None;
                w.list = None;
                w.features = None;
            },
            Code::UnknownKey,
        ),
        case(
            "a token that claims another organization",
            |w| w.claims.org = OrgId::new(1, [9; 10]),
            Code::UnknownKey,
        ),
        case(
            "a token of another issuer",
            |w| w.claims.iss = "https://staging.example".into(),
            Code::UnknownKey,
        ),
        case(
            "a kid of another organization",
            |w| {
                w.tamper = Some(|t| with_header(&t, |h| h.replace("0ACME0AG.1", "00000000.1")));
            },
            Code::UnknownKey,
        ),
        case(
            "one key's signature under another key's kid",
            |w| {
                w.tamper = Some(|t| with_header(&t, |h| h.replace("0ACME0AG.1", "0ACME0AG.2")));
            },
            Code::SignatureInvalid,
        ),
        case(
            "a signature whose S is not below L",
            |w| {
                w.tamper = Some(|t| {
                    // S of all ones: canonical base64url of 64 bytes, none of them a valid scalar.
                    let head = t.rsplit_once('.').unwrap().0;
                    format!("{head}.{}w", "_".repeat(85))
                });
            },
            Code::SignatureInvalid,
        ),
        case(
            "an all-zero signature",
            |w| {
                w.tamper =
                    Some(|t| format!("{}.{}", t.rsplit_once('.').unwrap().0, "A".repeat(86)));
            },
            Code::SignatureInvalid,
        ),
        case(
            "claims altered after signing",
            |w| {
                w.tamper = Some(|t| {
                    let forged = with_payload(&t, |p| p.replace("\"PRO\"", "\"ENTERPRISE\""));
                    let (head, _) = forged.rsplit_once('.').unwrap();
                    format!("{head}.{}", t.rsplit_once('.').unwrap().1)
                });
            },
            Code::SignatureInvalid,
        ),
        case(
            "an unknown claim is ignored",
            |w| {
                w.tamper = Some(|t| with_payload(&t, |p| p.replacen('{', "{\"note\":\"new\",", 1)));
            },
            Code::Valid,
        ),
        case(
            "a token whose header fields stand in another order",
            |w| {
                w.tamper = Some(|t| {
                    with_header(&t, |_| {
                        r#"{"typ":"license+jwt","alg":"EdDSA","kid":"0ACME0AG.1"}"#.into()
                    })
                });
            },
            Code::Valid,
        ),
        case(
            "a handmade token of nothing",
            |w| {
                w.tamper = Some(|_| {
                    handmade(
                        r#"{"alg":"EdDSA","typ":"license+jwt","kid":"0ACME0AG.1"}"#,
                        "{}",
                    )
                });
            },
            Code::Malformed,
        ),
    ]
}

/// Both sides of every second that matters.
fn boundaries() -> Vec<Named> {
    let long = Life {
        iat: T0,
        exp: T0 + 300 * DAY,
    };
    let mut cases = vec![
        case(
            "nbf 60 s ahead: two clocks may differ",
            |w| w.nbf = Some(w.now + 60),
            Code::Valid,
        ),
        case(
            "nbf 61 s ahead",
            |w| w.nbf = Some(w.now + 61),
            Code::NotYetValid,
        ),
        case(
            "last second of the license",
            |w| w.claims.lexp = Some(w.now + 1),
            Code::Valid,
        ),
        case(
            "first second after the license",
            |w| w.claims.lexp = Some(w.now),
            Code::LicenseExpired,
        ),
        case(
            "last second of the token",
            |w| w.token_life.exp = w.now + 1,
            Code::Valid,
        ),
        case(
            "first second after the token",
            |w| w.token_life.exp = w.now,
            Code::TokenExpired,
        ),
        case(
            "a license without end",
            |w| w.claims.lexp = None,
            Code::Valid,
        ),
        case(
            "a token of 400 days",
            |w| w.token_life.exp = T0 + 400 * DAY,
            Code::Valid,
        ),
        case("status as old as its ttl", |w| w.now = T0 + 30, Code::Valid),
        case(
            "status a second older than its ttl",
            |w| w.now = T0 + 31,
            Code::Stale,
        ),
        case(
            "status older than its ttl, but fetched just now",
            |w| {
                w.now = T0 + 31;
                w.source = Source::Origin;
            },
            Code::Valid,
        ),
        case(
            "as stale as demanded",
            |w| w.context.max_staleness_s = Some(10),
            Code::Valid,
        ),
        case(
            "a second staler than demanded",
            |w| w.context.max_staleness_s = Some(9),
            Code::Stale,
        ),
        case(
            "fetched just now, as old as its ttl and the clocks' difference",
            |w| {
                w.now = T0 + 90;
                w.source = Source::Origin;
            },
            Code::Valid,
        ),
        case(
            "fetched just now, yet a second older: somebody holds newer ones back",
            |w| {
                w.now = T0 + 91;
                w.source = Source::Origin;
            },
            Code::Stale,
        ),
        case(
            "a demand of 0 is met by the origin alone, not by a status of this second",
            |w| {
                w.now = T0;
                w.context.max_staleness_s = Some(0);
            },
            Code::Stale,
        ),
        case(
            "fetched for a demand of 0, 5 s under way",
            |w| {
                w.now = T0 + 5;
                w.source = Source::Origin;
                w.context.max_staleness_s = Some(0);
            },
            Code::Valid,
        ),
        case(
            "fetched for a demand of 0, yet 6 s old",
            |w| {
                w.now = T0 + 6;
                w.source = Source::Origin;
                w.context.max_staleness_s = Some(0);
            },
            Code::Stale,
        ),
        case(
            "a demand does not stretch the ttl",
            |w| {
                w.now = T0 + 31;
                w.context.max_staleness_s = Some(3600);
            },
            Code::Stale,
        ),
        case(
            "a status list made 60 s ahead: two clocks may differ",
            |w| {
                w.list = Some(Life {
                    iat: w.now + 60,
                    exp: w.now + DAY,
                });
            },
            Code::Valid,
        ),
    ];
    type Set = fn(&mut World, Life);
    let documents: [(&str, Set); 3] = [
        ("keys", |w, life| w.keys = Some(life)),
        ("status list", |w, life| w.list = Some(life)),
        ("features", |w, life| w.features = Some(life)),
    ];
    for (document, set) in documents {
        for (second, offset, expected) in [("last", 1, Code::Valid), ("first", 0, Code::Stale)] {
            let side = if offset == 1 { "of" } else { "after" };
            cases.push(case(
                &format!("{second} second {side} the {document}"),
                |w| {
                    w.keys = Some(long);
                    w.list = Some(long);
                    w.features = Some(long);
                    set(
                        w,
                        Life {
                            iat: T0,
                            exp: w.now + offset,
                        },
                    );
                },
                expected,
            ));
        }
    }
    cases
}

fn status() -> Vec<Named> {
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
fn degraded() -> Vec<Named> {
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

fn uses() -> Vec<Named> {
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
fn ends() -> Vec<Named> {
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
fn heartbeats() -> Vec<Named> {
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
fn components() -> Vec<Named> {
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
fn overrides() -> Vec<Named> {
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

/// Floating seats: what is shown beside a token whose license has them.
fn leases() -> Vec<Named> {
    let shown = |name: &str, change: fn(&mut super::world::Lease), expected: Code| {
        case(&format!("leases: {name}"), |w| change(w.float()), expected)
    };
    let mut cases = vec![
        shown("one of this activation's", |_| {}, Code::Valid),
        shown(
            "one that was borrowed",
            |it| it.claims.bor = true,
            Code::Valid,
        ),
        shown(
            "borrowed for a month",
            |it| {
                it.claims.bor = true;
                it.life.exp = T0 + 30 * DAY;
            },
            Code::Valid,
        ),
        shown(
            "the last second of it",
            |it| it.life.exp = T0 + 11,
            Code::Valid,
        ),
        shown(
            "the first second after it",
            |it| it.life.exp = T0 + 10,
            Code::LeaseExpired,
        ),
        shown(
            "signed by the second key while keys rotate",
            |it| it.signer = org_signer(2),
            Code::Valid,
        ),
        shown(
            "made a minute ahead: two clocks may differ",
            |it| it.life.iat = T0 + 70,
            Code::Valid,
        ),
        shown(
            "another activation's of the same license",
            |it| it.claims.act = ActivationId::new(1, [9; 10]),
            Code::LeaseInvalid,
        ),
        shown(
            "another license's",
            |it| it.claims.sub = LicenseId::new(1, [9; 10]),
            Code::LeaseInvalid,
        ),
        shown(
            "another organization's",
            |it| it.claims.org = OrgId::new(1, [9; 10]),
            Code::LeaseInvalid,
        ),
        shown(
            "another issuer's",
            |it| it.claims.iss = "https://staging.example".into(),
            Code::LeaseInvalid,
        ),
        shown("another format", |it| it.claims.ver = 2, Code::LeaseInvalid),
        shown(
            "a forged one that has ended",
            |it| {
                it.tamper = Some(flip_signature);
                it.life.exp = T0 + 10;
            },
            Code::LeaseInvalid,
        ),
    ];
    let texts: [(&str, Tamper); 8] = [
        ("a signature that does not fit", flip_signature),
        ("an empty text", |_| String::new()),
        ("no token at all", |_| "a seat, please".into()),
        ("the typ of a license", |t| {
            with_header(&t, |h| h.replace("lease+jwt", "license+jwt"))
        }),
        ("no holder", |t| {
            with_payload(&t, |p| p.replace("\"holder\":\"ada@workstation-7\",", ""))
        }),
        ("an end that is not written", |t| {
            with_payload(&t, |p| p.replace("\"exp\":1800000600,", ""))
        }),
        ("a later end, written in", |t| {
            let forged = with_payload(&t, |p| p.replace("1800000600", "1800086400"));
            let (head, _) = forged.rsplit_once('.').unwrap();
            format!("{head}.{}", t.rsplit_once('.').unwrap().1)
        }),
        ("9 KiB of text", |t| format!("{t}{}", "A".repeat(9 * 1024))),
    ];
    cases.extend(texts.into_iter().map(|(name, tamper)| {
        let change = |w: &mut World| w.float().tamper = Some(tamper);
        case(&format!("leases: {name}"), change, Code::LeaseInvalid)
    }));
    cases.extend([
        case(
            "leases: the license token in place of one",
            |w| {
                let token = w.token();
                w.claims.lr = true;
                w.context.lease = Some(token);
            },
            Code::LeaseInvalid,
        ),
        case(
            "leases: a license without floating seats does not look at one",
            |w| {
                w.float().tamper = Some(|_| "nonsense".into());
                w.claims.lr = false;
            },
            Code::Valid,
        ),
        case(
            "leases: nor at one that has ended",
            |w| {
                w.float().life.exp = T0 + 5;
                w.claims.lr = false;
            },
            Code::Valid,
        ),
        case(
            "leases: degraded, one goes on to its end",
            |w| {
                w.origin = OriginState::Unreachable;
                w.now = T0 + 599;
                w.float();
            },
            Code::Valid,
        ),
        case(
            "leases: degraded, and not beyond: there is no grace for a seat that is another's",
            |w| {
                w.origin = OriginState::Unreachable;
                w.now = T0 + 600;
                w.float();
            },
            Code::LeaseExpired,
        ),
        case(
            "leases: a borrowed one goes on in the token's grace",
            |w| {
                w.origin = OriginState::Unreachable;
                w.now = T0 + 3 * DAY;
                let lease = w.float();
                lease.claims.bor = true;
                lease.life.exp = T0 + 5 * DAY;
            },
            Code::Valid,
        ),
        case(
            "leases: and ends with it",
            |w| {
                w.origin = OriginState::Unreachable;
                w.now = T0 + 8 * DAY;
                let lease = w.float();
                lease.claims.bor = true;
                lease.life.exp = T0 + 30 * DAY;
            },
            Code::TokenExpired,
        ),
        case(
            "leases: a borrowed one of a revoked license",
            |w| {
                w.status = 1;
                w.float().claims.bor = true;
            },
            Code::Revoked,
        ),
        case(
            "leases: the claim that asks for none, written out",
            |w| {
                w.tamper = Some(|t| with_payload(&t, |p| p.replacen('{', "{\"lr\":false,", 1)));
            },
            Code::Valid,
        ),
        case(
            "leases: the claim is no number",
            |w| {
                w.tamper = Some(|t| with_payload(&t, |p| p.replacen('{', "{\"lr\":1,", 1)));
            },
            Code::Malformed,
        ),
        case(
            "leases: one is no substitute for features",
            |w| {
                w.float();
                w.features = None;
            },
            Code::Stale,
        ),
    ]);
    cases
}

/// What the host knows of times that have been, and the clock it decides by.
fn clocks() -> Vec<Named> {
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
fn unchanged() -> Vec<Named> {
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
fn an_hour_later(w: &mut World) {
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

fn upgrades() -> Vec<Named> {
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
fn quotas() -> Vec<Named> {
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
