//! Somebody writes into the edge's storage (SECURITY 8, 22, 23): it can withhold, never invent.
//!
//! Each case has organizations of its own, so that one stopped and restarted Worker serves many.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::jws::LocalSigner;
use licet_shared::status_list::status;
use licet_tests::edge_caller::stranger;
use licet_tests::fake_origin::Reply;
use licet_tests::forge::ForgedOrg;
use licet_tests::persisted::{Tier, texts, values};
use licet_tests::wait::SOON;
use licet_tests::{Activation, LoneEdge, eventually, now};
use serde_json::{Value, json};

const BOTH: [Tier; 2] = [Tier::Cache, Tier::Kv];
const KINDS: [&str; 3] = ["keys+jwt", "statuslist+jwt", "features+jwt"];

/// Two organizations whose documents are stored, and what is done to the first one's.
struct Case {
    what: String,
    ours: ForgedOrg,
    other: ForgedOrg,
    /// In force.
    good: Activation,
    /// Revoked since version 5 of the list.
    revoked: Activation,
    tamper: Tamper,
    expect: Expect,
}

type Tamper = Box<dyn Fn(&Path, &Case)>;

/// What must come of it while the origin is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// No yes for anybody.
    NoYes,
    /// The answers that were right before: another copy is at hand.
    Truth,
    /// Nobody can know better: only that the origin corrects it.
    Nothing,
}

impl Case {
    fn new(edge: &LoneEdge, what: impl Into<String>, expect: Expect, tamper: Tamper) -> Self {
        let (ours, other) = (edge.org(), edge.org());
        let of = |org: &ForgedOrg, index| {
            org.installation(&edge.url(), org.sign(&org.license_claims(index)))
        };
        Self {
            what: what.into(),
            good: of(&ours, 0),
            revoked: of(&ours, 1),
            ours,
            other,
            tamper,
            expect,
        }
    }

    fn shelve(&self, edge: &LoneEdge) {
        let list = self.ours.list_claims(5, 1, &[(1, status::REVOKED)]);
        for org in [&self.ours, &self.other] {
            org.shelve_all(&edge.origin, 1);
        }
        self.ours.shelve_list(&edge.origin, &self.ours.sign(&list));
    }

    fn expect_truth(&self) {
        assert_eq!(self.good.code(), "VALID", "{}", self.what);
        assert_eq!(self.revoked.code(), "REVOKED", "{}", self.what);
    }

    fn expect_no_yes(&self) {
        for activation in [&self.good, &self.revoked] {
            for attempt in 0..3 {
                let answer = activation.ask(&json!({}));
                let what = &self.what;
                match answer.status {
                    200 => assert_eq!(
                        answer.verdict()["valid"],
                        false,
                        "{what}, {attempt}: {answer:?}"
                    ),
                    _ => drop(answer.problem(503, "ORIGIN_UNREACHABLE")),
                }
            }
        }
    }
}

/// Stores all documents, tampers with them while the Worker is stopped, checks with the origin
/// away, and then that the origin puts everything right.
fn play(mut edge: LoneEdge, cases: &[Case]) {
    for case in cases {
        case.shelve(&edge);
        case.expect_truth();
        let neighbour = case.other.sign(&case.other.license_claims(1));
        let neighbour = case.other.installation(&edge.url(), neighbour);
        assert_eq!(neighbour.code(), "VALID");
    }
    // The stores are written after the answers.
    eventually(
        "every document in both tiers",
        SOON,
        || match missing_documents(&edge.persisted(), cases) {
            missing if missing.is_empty() => Ok(()),
            missing => Err(missing.join(", ")),
        },
    );
    edge.worker.stop().unwrap();
    for case in cases {
        (case.tamper)(&edge.persisted(), case);
    }
    edge.origin.always(Reply::new(503, "text/plain", "away"));
    edge.worker.restart().unwrap();
    for case in cases {
        match case.expect {
            Expect::NoYes => case.expect_no_yes(),
            Expect::Truth => case.expect_truth(),
            Expect::Nothing => {}
        }
    }
    edge.origin.be_normal();
    for case in cases {
        for (activation, wanted) in [(&case.good, "VALID"), (&case.revoked, "REVOKED")] {
            let what = format!("{}: {wanted} with the origin back", case.what);
            eventually(&what, SOON, || {
                case.shelve(&edge);
                let answer = activation.ask(&json!({}));
                let right = answer.status == 200 && answer.verdict()["code"] == wanted;
                if right {
                    Ok(())
                } else {
                    Err(format!("{answer:?}"))
                }
            });
        }
    }
}

/// A part of a stored document: its header is 0, its claims are 1.
fn part(text: &str, number: usize) -> Option<Value> {
    let part = Base64UrlUnpadded::decode_vec(text.split('.').nth(number)?).ok()?;
    serde_json::from_slice(&part).ok()
}

/// The documents that are not stored yet. There are others in the tiers, such as the feed.
fn missing_documents(persisted: &Path, cases: &[Case]) -> Vec<String> {
    let orgs = || cases.iter().flat_map(|case| [&case.ours, &case.other]);
    let missing_in = |tier: Tier| {
        let there = texts(persisted, tier);
        let there: BTreeSet<_> = there.iter().filter_map(|text| kind_and_org(text)).collect();
        let wanted = orgs().flat_map(|org| KINDS.map(|typ| (typ.to_owned(), org.id.to_string())));
        let missing = wanted.filter(|wanted| !there.contains(wanted));
        missing
            .map(|(typ, org)| format!("{typ} of {org} in {tier:?}"))
            .collect::<Vec<_>>()
    };
    BOTH.into_iter().flat_map(missing_in).collect()
}

/// A stored document's kind, and the organization that it is about.
fn kind_and_org(text: &str) -> Option<(String, String)> {
    let (header, claims) = (part(text, 0)?, part(text, 1)?);
    let typ = header["typ"].as_str()?;
    // An organization's keys are about the organization itself.
    let org = claims["org"].as_str().or_else(|| claims["sub"].as_str())?;
    Some((typ.to_owned(), org.to_owned()))
}

/// Where a tier keeps its documents of this kind about this organization.
#[track_caller]
fn find(persisted: &Path, tier: Tier, typ: &str, org: &ForgedOrg) -> Vec<PathBuf> {
    let wanted = (typ.to_owned(), org.id.to_string());
    let is_it = |text: &str| kind_and_org(text).as_ref() == Some(&wanted);
    let mut files = values(persisted, tier);
    files.retain(|file| is_it(&fs::read_to_string(file).unwrap_or_default()));
    assert!(!files.is_empty(), "no {typ} of {} in {tier:?}", org.tag);
    files
}

/// Changes each stored document of this kind about `org`.
#[track_caller]
fn change(
    persisted: &Path,
    tiers: &[Tier],
    typ: &str,
    org: &ForgedOrg,
    how: impl Fn(&mut Vec<u8>),
) {
    for tier in tiers {
        for file in find(persisted, *tier, typ, org) {
            let before = fs::read(&file).unwrap();
            let mut after = before.clone();
            how(&mut after);
            assert_ne!(before, after);
            fs::write(&file, after).unwrap();
        }
    }
}

/// Puts `with` in the place of a document.
fn replace(persisted: &Path, tiers: &[Tier], typ: &str, org: &ForgedOrg, with: &str) {
    change(persisted, tiers, typ, org, |bytes| {
        *bytes = with.as_bytes().to_vec();
    });
}

fn flip(bytes: &mut [u8], place: usize) {
    bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
}

type Damage = fn(&mut Vec<u8>);

/// Ways to damage a document.
fn damages() -> Vec<(&'static str, Damage)> {
    vec![
        ("a byte of the signature", |bytes| {
            let place = bytes.len() - 20;
            flip(bytes, place);
        }),
        ("a byte of the claims", |bytes| {
            let place = bytes.len() / 2;
            flip(bytes, place);
        }),
        ("a byte of the header", |bytes| flip(bytes, 30)),
        ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("emptied", Vec::clear),
        ("overwritten", |bytes| bytes.fill(b'{')),
        ("no text", |bytes| bytes.fill(0xff)),
    ]
}

#[test]
fn what_was_damaged_is_not_believed_but_made_good_by_another_copy() {
    let edge = LoneEdge::start();
    // Without it, the rest would prove nothing.
    let untouched = Case::new(&edge, "untouched", Expect::Truth, Box::new(|_, _| {}));
    let mut cases = vec![untouched];
    for (what, how) in damages() {
        let everything: Tamper = Box::new(move |persisted, case| {
            for typ in KINDS {
                change(persisted, &BOTH, typ, &case.ours, how);
            }
        });
        cases.push(Case::new(&edge, what, Expect::NoYes, everything));
    }
    for typ in KINDS {
        let one: Tamper = Box::new(move |persisted, case| {
            change(persisted, &BOTH, typ, &case.ours, |bytes| bytes.fill(b'x'));
        });
        cases.push(Case::new(&edge, format!("{typ} alone"), Expect::NoYes, one));
    }
    for tier in BOTH {
        let in_one_tier: Tamper = Box::new(move |persisted, case| {
            for typ in KINDS {
                change(persisted, &[tier], typ, &case.ours, |bytes| {
                    bytes.fill(b'x');
                });
            }
        });
        let what = format!("everything in {tier:?}");
        cases.push(Case::new(&edge, what, Expect::Truth, in_one_tier));
    }
    play(edge, &cases);
}

/// What is put in the place of a document of `ours`.
type Forgery = fn(&Case) -> String;

#[test]
fn documents_of_another_organization_or_of_another_kind_do_not_count() {
    let edge = LoneEdge::start();
    let forgeries: [(&str, &str, Forgery); 8] = [
        ("keys+jwt", "another organization's", |case| {
            case.other.sign_by_platform(&case.other.keys_claims(9))
        }),
        ("keys+jwt", "signed by the organization itself", |case| {
            case.ours.sign(&case.ours.keys_claims(9))
        }),
        ("keys+jwt", "its own list", |case| {
            case.ours.sign(&case.ours.list_claims(9, 60, &[]))
        }),
        ("statuslist+jwt", "another organization's", |case| {
            case.other.sign(&case.other.list_claims(9, 60, &[]))
        }),
        ("statuslist+jwt", "signed by another organization", |case| {
            case.other.sign(&case.ours.list_claims(9, 60, &[]))
        }),
        ("statuslist+jwt", "its own features", |case| {
            case.ours.sign(&case.ours.features_claims(9, &json!({})))
        }),
        ("features+jwt", "another organization's", |case| {
            let everything = json!({"everything": true});
            case.other.sign(&case.other.features_claims(9, &everything))
        }),
        ("features+jwt", "its own list", |case| {
            case.ours.sign(&case.ours.list_claims(9, 60, &[]))
        }),
    ];
    let mut cases = Vec::new();
    for (typ, what, forgery) in forgeries {
        let what = format!("{typ}: {what}");
        let tamper: Tamper = Box::new(move |persisted, case| {
            replace(persisted, &BOTH, typ, &case.ours, &forgery(case));
        });
        cases.push(Case::new(&edge, what, Expect::NoYes, tamper));
    }
    // Two lists that change places: each is genuine, and as fresh as the other.
    let swapped: Tamper = Box::new(|persisted, case| {
        for tier in BOTH {
            let of = |org| find(persisted, tier, "statuslist+jwt", org);
            for (ours, other) in of(&case.ours).iter().zip(&of(&case.other)) {
                let (one, another) = (fs::read(ours).unwrap(), fs::read(other).unwrap());
                fs::write(ours, another).unwrap();
                fs::write(other, one).unwrap();
            }
        }
    });
    cases.push(Case::new(&edge, "swapped lists", Expect::NoYes, swapped));
    cases.push(Case::new(
        &edge,
        "a set under a forger's platform key",
        Expect::NoYes,
        forged_set(),
    ));
    play(edge, &cases);
}

/// Whoever can write KV makes a set that fits together, under a platform key of their own.
fn forged_set() -> Tamper {
    Box::new(|persisted, case| {
        let kid = format!("{}.1", case.ours.tag);
        let forger = ForgedOrg {
            key: LocalSigner::from_seed(kid, xtask::net::random().unwrap()),
            platform: stranger("platform.1").parse().unwrap(),
            ..case.ours.clone()
        };
        let features = forger.features_claims(9, &json!({"everything": true}));
        let forged = [
            forger.sign_by_platform(&forger.keys_claims(9)),
            forger.sign(&forger.list_claims(9, 60, &[])),
            forger.sign(&features),
        ];
        for (typ, token) in KINDS.iter().zip(&forged) {
            replace(persisted, &BOTH, typ, &case.ours, token);
        }
    })
}

#[test]
fn an_older_list_does_not_undo_a_revocation_that_another_tier_or_the_origin_knows_of() {
    let edge = LoneEdge::start();
    let older = |tiers: &'static [Tier]| -> Tamper {
        Box::new(move |persisted, case| {
            let list = case.ours.list_claims(4, 1, &[]);
            let older = case.ours.sign_at(&list, now().plus(-3600));
            replace(persisted, tiers, "statuslist+jwt", &case.ours, &older);
        })
    };
    let cases = [
        Case::new(&edge, "in the cache", Expect::Truth, older(&[Tier::Cache])),
        Case::new(&edge, "in KV", Expect::Truth, older(&[Tier::Kv])),
        Case::new(&edge, "everywhere", Expect::Nothing, older(&BOTH)),
    ];
    play(edge, &cases);
}
