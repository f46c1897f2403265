//! Texts that are no tokens, keys, and the edges of times.

use licet_shared::{
    decision::{Code, Source},
    id::OrgId,
};

use super::{
    super::world::{DAY, Life, T0, World, handmade, org_signer, with_header, with_payload},
    Named, Tamper, case,
};

pub(super) fn malformed() -> Vec<Named> {
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

pub(super) fn keys() -> Vec<Named> {
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
pub(super) fn boundaries() -> Vec<Named> {
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
