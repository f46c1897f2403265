//! Somebody writes into the edge's storage (SECURITY 8, 22, 23): it can withhold, never invent.

use std::fs;
use std::path::{Path, PathBuf};

use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::status_list::status;
use licet_tests::fake_origin::Reply;
use licet_tests::forge::ForgedOrg;
use licet_tests::persisted::{Tier, damage, texts, values};
use licet_tests::wait::SOON;
use licet_tests::{Activation, LoneEdge, eventually};
use serde_json::{Value, json};

const TIERS: [Tier; 2] = [Tier::Cache, Tier::Kv];

/// An edge whose cache and KV hold the documents of two organizations.
struct Scene {
    edge: LoneEdge,
    ours: ForgedOrg,
    other: ForgedOrg,
    /// In force.
    good: Activation,
    /// Revoked since version 5.
    revoked: Activation,
    snapshot: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let mut edge = LoneEdge::start();
        let (ours, other) = (edge.org(), edge.org());
        let of = |org: &ForgedOrg, index| {
            org.installation(&edge.url(), org.sign(&org.license_claims(index)))
        };
        let (good, revoked, neighbour) = (of(&ours, 0), of(&ours, 1), of(&other, 1));
        for org in [&ours, &other] {
            org.shelve_all(&edge.origin, 1);
        }
        let list = ours.list_claims(5, 1, &[(1, status::REVOKED)]);
        ours.shelve_list(&edge.origin, &ours.sign(&list));
        for (activation, code) in [
            (&good, "VALID"),
            (&revoked, "REVOKED"),
            (&neighbour, "VALID"),
        ] {
            assert_eq!(activation.code(), code);
        }
        // The stores are written after the answers.
        eventually(
            "three documents of each organization in both tiers",
            SOON,
            || {
                let counts = TIERS.map(|tier| count_documents(&edge.persisted(), tier));
                if counts.iter().all(|count| *count >= 6) {
                    Ok(())
                } else {
                    Err(format!("{counts:?}"))
                }
            },
        );
        edge.worker.stop().unwrap();
        let snapshot = edge.dir().join("snapshot");
        copy(&edge.persisted(), &snapshot);
        Self {
            edge,
            ours,
            other,
            good,
            revoked,
            snapshot,
        }
    }

    /// Starts from the snapshot, changed, with the origin away; checks; then with the origin back.
    fn play(&mut self, what: &str, change: impl FnOnce(&Path), check: impl FnOnce(&Self)) {
        self.edge.worker.stop().unwrap();
        fs::remove_dir_all(self.edge.persisted()).unwrap();
        copy(&self.snapshot, &self.edge.persisted());
        change(&self.edge.persisted());
        self.edge
            .origin
            .always(Reply::new(503, "text/plain", "away"));
        self.edge.worker.restart().unwrap();
        check(self);
        self.edge.origin.be_normal();
        self.expect_truth(what);
    }

    /// With the origin back there is but one right answer.
    #[track_caller]
    fn expect_truth(&self, what: &str) {
        let list = self.ours.list_claims(5, 1, &[(1, status::REVOKED)]);
        for (activation, wanted) in [(&self.good, "VALID"), (&self.revoked, "REVOKED")] {
            eventually(
                &format!("{what}: {wanted} with the origin back"),
                SOON,
                || {
                    self.ours
                        .shelve_list(&self.edge.origin, &self.ours.sign(&list));
                    let answer = activation.ask(&json!({}));
                    let got = answer.status == 200 && answer.verdict()["code"] == wanted;
                    if got {
                        Ok(())
                    } else {
                        Err(format!("{answer:?}"))
                    }
                },
            );
        }
    }

    /// With the origin away nothing damaged may lead to a yes.
    #[track_caller]
    fn expect_no_yes(&self, what: &str) {
        for activation in [&self.good, &self.revoked] {
            for attempt in 0..3 {
                let answer = activation.ask(&json!({}));
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

/// A document as it is stored: its kind and its key's name.
fn kind_and_kid(text: &str) -> Option<(String, String)> {
    let header = text.split('.').next()?;
    let json: Value = serde_json::from_slice(&Base64UrlUnpadded::decode_vec(header).ok()?).ok()?;
    Some((
        json["typ"].as_str()?.to_owned(),
        json["kid"].as_str()?.to_owned(),
    ))
}

fn claims(text: &str) -> Value {
    let claims = text.split('.').nth(1).unwrap();
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(claims).unwrap()).unwrap()
}

fn count_documents(persisted: &Path, tier: Tier) -> usize {
    if !persisted.join(tier.dir()).exists() {
        return 0;
    }
    texts(persisted, tier)
        .iter()
        .filter(|text| kind_and_kid(text).is_some())
        .count()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Puts `with` in the place of each stored document of this kind that is about `org`.
#[track_caller]
fn replace(persisted: &Path, tiers: &[Tier], typ: &str, org: &ForgedOrg, with: &str) {
    for tier in tiers {
        let mut replaced = 0;
        for file in values(persisted, *tier) {
            let text = fs::read_to_string(&file).unwrap();
            let about = kind_and_kid(&text).is_some_and(|(kind, _)| kind == typ)
                && claims(&text).to_string().contains(org.tag.as_str());
            let ours =
                about || kind_and_kid(&text) == Some((typ.to_owned(), format!("{}.1", org.tag)));
            if ours {
                fs::write(&file, with).unwrap();
                replaced += 1;
            }
        }
        assert!(replaced > 0, "no {typ} of {} in {tier:?}", org.tag);
    }
}

fn flip(bytes: &mut [u8], place: usize) {
    if let Some(byte) = bytes.get_mut(place) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
}

#[test]
fn what_was_damaged_is_not_believed() {
    let mut scene = Scene::new();
    scene.play(
        "undamaged",
        |_| {},
        |scene| {
            // Otherwise the rest would prove nothing.
            assert_eq!(scene.good.code(), "VALID");
            assert_eq!(scene.revoked.code(), "REVOKED");
        },
    );
    type Damage = fn(&mut Vec<u8>);
    let kinds: [(&str, Damage); 6] = [
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
    ];
    for (what, change) in kinds {
        scene.play(
            what,
            |persisted| {
                for tier in TIERS {
                    assert!(damage(persisted, tier, change) >= 6, "{what}");
                }
            },
            |scene| scene.expect_no_yes(what),
        );
    }
}

#[test]
fn damage_in_one_tier_is_made_good_by_the_other() {
    let mut scene = Scene::new();
    for tier in TIERS {
        let what = format!("{tier:?} damaged");
        scene.play(
            &what,
            |persisted| assert!(damage(persisted, tier, |bytes| bytes.fill(b'x')) >= 6),
            |scene| {
                assert_eq!(scene.good.code(), "VALID", "{what}");
                assert_eq!(scene.revoked.code(), "REVOKED", "{what}");
            },
        );
    }
}

#[test]
fn another_organization_s_documents_do_not_count() {
    let mut scene = Scene::new();
    let (ours, other) = (scene.ours.clone(), scene.other.clone());
    let replacements = [
        ("statuslist+jwt", other.sign(&other.list_claims(9, 60, &[]))),
        ("statuslist+jwt", other.sign(&ours.list_claims(9, 60, &[]))),
        ("keys+jwt", other.sign_by_platform(&other.keys_claims(9))),
        (
            "features+jwt",
            other.sign(&other.features_claims(9, &json!({"everything": true}))),
        ),
        // Of the right organization, but in the wrong place.
        (
            "statuslist+jwt",
            ours.sign(&ours.features_claims(9, &json!({}))),
        ),
        ("features+jwt", ours.sign(&ours.list_claims(9, 60, &[]))),
        ("keys+jwt", ours.sign(&ours.list_claims(9, 60, &[]))),
    ];
    for (typ, with) in replacements {
        let what = format!("{typ} replaced by {}", claims(&with));
        scene.play(
            &what,
            |persisted| replace(persisted, &TIERS, typ, &ours, &with),
            |scene| scene.expect_no_yes(&what),
        );
    }
}

#[test]
fn an_older_list_in_one_tier_does_not_undo_a_revocation_known_to_the_other() {
    let mut scene = Scene::new();
    let ours = scene.ours.clone();
    let hour_ago = licet_tests::now().plus(-3600);
    let older = ours.sign_at(&ours.list_claims(4, 1, &[]), hour_ago);
    for tier in TIERS {
        let what = format!("an older list in {tier:?}");
        scene.play(
            &what,
            |persisted| replace(persisted, &[tier], "statuslist+jwt", &ours, &older),
            |scene| {
                for _ in 0..3 {
                    assert_eq!(scene.revoked.code(), "REVOKED", "{what}");
                    assert_eq!(scene.good.code(), "VALID", "{what}");
                }
            },
        );
    }
}

#[test]
fn an_older_list_everywhere_is_corrected_by_the_origin() {
    let mut scene = Scene::new();
    let ours = scene.ours.clone();
    let hour_ago = licet_tests::now().plus(-3600);
    let older = ours.sign_at(&ours.list_claims(4, 1, &[]), hour_ago);
    // `play` asks with the origin away first, which proves nothing here: nobody knows better.
    scene.play(
        "an older list everywhere",
        |persisted| replace(persisted, &TIERS, "statuslist+jwt", &ours, &older),
        |_| {},
    );
}

#[test]
fn a_list_signed_by_a_key_that_was_slipped_into_the_key_set_does_not_count() {
    let mut scene = Scene::new();
    let ours = scene.ours.clone();
    // Whoever can write KV makes a whole set that fits together, under a platform key of their own.
    let forger = ForgedOrg {
        key: licet_shared::jws::LocalSigner::from_seed(
            format!("{}.1", ours.tag),
            xtask::net::random().unwrap(),
        ),
        ..ForgedOrg::new(
            &ours.issuer,
            &licet_tests::edge_caller::stranger("platform.1"),
        )
    };
    let forger = ForgedOrg {
        id: ours.id,
        tag: ours.tag,
        feature_set: ours.feature_set,
        ..forger
    };
    let keys = forger.sign_by_platform(&forger.keys_claims(9));
    let list = forger.sign(&forger.list_claims(9, 60, &[]));
    let features = forger.sign(&forger.features_claims(9, &json!({"everything": true})));
    let forged = forger.installation(&scene.edge.url(), forger.sign(&forger.license_claims(0)));
    scene.play(
        "a forged set",
        |persisted| {
            replace(persisted, &TIERS, "keys+jwt", &ours, &keys);
            replace(persisted, &TIERS, "statuslist+jwt", &ours, &list);
            replace(persisted, &TIERS, "features+jwt", &ours, &features);
        },
        |scene| {
            scene.expect_no_yes("a forged set");
            let answer = forged.ask(&json!({}));
            assert!(
                answer.status != 200 || answer.verdict()["valid"] == false,
                "{answer:?}"
            );
        },
    );
}
