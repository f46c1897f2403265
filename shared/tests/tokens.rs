//! Tokens and documents under attack: what is altered, borrowed or mislabelled is refused.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

mod support;

use licet_shared::{
    documents::{
        AccessClaims, DocumentError, EdgeClaims, FeatureSet, FeaturesClaims, Jwk, KeysClaims,
        LicenseClaims, OrgKeys, PlatformKeys, StatusDocument, StatusListClaims, StatusReference,
        Ttl,
    },
    id::{EventId, FeatureSetId, OrgId, OrgTag, UserId},
    jws::{
        Kind, LocalSigner, MAX_TOKEN_BYTES, ParseError, SignError, SignatureParts, SignedText,
        Signer, Times, Untrusted, VerifyingKey, sign,
    },
    status_list::{Bits, StatusList},
    time::Timestamp,
};
use support::both_targets;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const ISSUER: &str = "https://edge.licet.example";

fn tag(text: &str) -> OrgTag {
    text.parse().unwrap()
}

fn org(number: u8) -> OrgId {
    OrgId::new(1, [number; 10])
}

fn signer(kid: &str) -> LocalSigner {
    let mut seed = [0; 32];
    seed[..kid.len()].copy_from_slice(kid.as_bytes());
    LocalSigner::from_seed(kid, seed)
}

fn platform() -> PlatformKeys {
    signer("platform.1")
        .verifying_key()
        .to_string()
        .parse()
        .unwrap()
}

fn edge_claims() -> EdgeClaims {
    EdgeClaims {
        iss: "edge.1".into(),
        aud: EdgeClaims::AUDIENCE.into(),
        htm: "POST".into(),
        htu: "/edge/v1/activations".into(),
        bh: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU".into(),
        idk: Some("k".into()),
        jti: "j".into(),
    }
}

fn access_claims() -> AccessClaims {
    AccessClaims {
        iss: ISSUER.into(),
        aud: "licet".into(),
        sub: UserId::new(1, [1; 10]),
        org: org(1),
        client_id: "web".into(),
        scope: "licenses:read".into(),
        sid: EventId::new(1, [2; 10]),
        jti: EventId::new(1, [3; 10]),
    }
}

fn keys_claims(name: &str, kids: &[&str]) -> KeysClaims {
    KeysClaims {
        iss: ISSUER.into(),
        sub: org(1),
        tag: tag(name),
        ver: 3,
        ep: 0,
        keys: kids
            .iter()
            .map(|kid| Jwk::of(&signer(kid).verifying_key()))
            .collect(),
    }
}

fn signed<K: Kind>(claims: &K, kid: &str) -> String {
    sign(claims, Times::starting(NOW, 60), &signer(kid)).unwrap()
}

fn org_keys() -> OrgKeys {
    let text = signed(&keys_claims("AAAAAAAA", &["AAAAAAAA.1"]), "platform.1");
    OrgKeys::verify((&text).into(), ISSUER, tag("AAAAAAAA"), &platform(), NOW).unwrap()
}

fn verified<K: Kind>(text: &str, key: &VerifyingKey) -> Option<K> {
    Some(
        Untrusted::<K>::parse(text, NOW)
            .ok()?
            .verify(key)
            .ok()?
            .into_claims(),
    )
}

both_targets! {
    fn what_the_parser_takes_another_library_reads_likewise() {
        use jwt_compact::{AlgorithmExt as _, UntrustedToken, alg::Ed25519};
        let claims = edge_claims();
        let text = sign(&claims, Times::starting(NOW, 60), &signer("edge.1")).unwrap();
        let ours = Untrusted::<EdgeClaims>::parse(&text, NOW).unwrap();
        let key = signer("edge.1").verifying_key();
        assert_eq!(ours.verify(&key).unwrap().claims(), &claims);
        let theirs = UntrustedToken::new(&text).unwrap();
        let key = ed25519_compact::PublicKey::new(key.bytes());
        let theirs = Ed25519.validator::<EdgeClaims>(&key).validate(&theirs).unwrap();
        assert_eq!(theirs.claims().custom, claims);
        assert_eq!(theirs.claims().expiration.unwrap().timestamp(), NOW.unix() + 60);
    }

    fn a_token_reads_back_as_it_was_signed() {
        let key = signer("edge.1").verifying_key();
        assert_eq!(verified(&signed(&edge_claims(), "edge.1"), &key), Some(edge_claims()));
        let key = signer("platform.1").verifying_key();
        assert_eq!(verified(&signed(&access_claims(), "platform.1"), &key), Some(access_claims()));
    }

    fn the_hosts_word_counts_for_the_key_that_it_was_given_for() {
        let claims = keys_claims("AAAAAAAA", &["AAAAAAAA.1"]);
        let text = signed(&claims, "platform.1");
        let namesake = LocalSigner::from_seed("platform.1", [77; 32]);
        let forged = sign(&claims, Times::starting(NOW, 60), &namesake).unwrap();
        let [key, other] = [signer("platform.1"), namesake].map(|one| one.verifying_key());
        let read = |text: SignedText<'_>| {
            OrgKeys::verify(text, ISSUER, tag("AAAAAAAA"), &platform(), NOW).map(|keys| keys.version())
        };
        let refused = Err(DocumentError::Signature);
        assert_eq!(read(SignedText::checked(&text, &key, true)), Ok(3));
        assert_eq!(read(SignedText::checked(&text, &key, false)), refused);
        assert_eq!(read(SignedText::checked(&text, &other, false)), Ok(3), "checked here");
        assert_eq!(read(SignedText::checked(&forged, &other, true)), refused, "checked here");
        let parts = SignatureParts::of(&text).unwrap();
        assert_eq!(parts.kid, "platform.1");
        assert!(key.verify(parts.signed, &parts.signature));
        for text in ["", "..", &text[1..], &text[..text.len() - 1], text.split_once('.').unwrap().1] {
            assert!(SignatureParts::of(text).is_none(), "{text}");
        }
    }

    fn signing_is_deterministic_as_rfc_8032_has_it() {
        assert_eq!(signed(&edge_claims(), "edge.1"), signed(&edge_claims(), "edge.1"));
    }

    /// Each character of a token is replaced, left out and doubled in turn.
    fn no_altered_token_verifies() {
        let token = signed(&edge_claims(), "edge.1");
        let key = signer("edge.1").verifying_key();
        for at in 0..token.len() {
            let (head, tail) = token.split_at(at);
            let next = &tail[1..];
            let other = if tail.starts_with('A') { 'B' } else { 'A' };
            for altered in [
                format!("{head}{other}{next}"),
                format!("{head}{next}"),
                format!("{head}{}{tail}", &tail[..1]),
                format!("{head}.{next}"),
            ] {
                assert!(altered == token || verified::<EdgeClaims>(&altered, &key).is_none(), "{altered}");
            }
        }
    }

    fn no_cut_or_junk_panics() {
        let token = signed(&edge_claims(), "edge.1");
        let key = signer("edge.1").verifying_key();
        for length in 0..token.len() {
            assert!(verified::<EdgeClaims>(&token[..length], &key).is_none());
        }
        for junk in ["", ".", "..", "...", "a.b.c", "é.é.é", "\0", "e30.e30.e30", "bnVsbA.bnVsbA.AA"] {
            assert!(Untrusted::<LicenseClaims>::parse(junk, NOW).is_err(), "{junk}");
        }
    }

    fn one_kind_is_never_taken_for_another() {
        let key = signer("platform.1").verifying_key();
        let tokens = [
            signed(&edge_claims(), "platform.1"),
            signed(&access_claims(), "platform.1"),
            signed(&keys_claims("AAAAAAAA", &[]), "platform.1"),
        ];
        let as_kinds = |token: &str| {
            [
                verified::<EdgeClaims>(token, &key).is_some(),
                verified::<AccessClaims>(token, &key).is_some(),
                verified::<KeysClaims>(token, &key).is_some(),
                verified::<LicenseClaims>(token, &key).is_some(),
                verified::<FeaturesClaims>(token, &key).is_some(),
                verified::<StatusListClaims>(token, &key).is_some(),
            ]
        };
        for (position, token) in tokens.iter().enumerate() {
            let mut expected = [false; 6];
            expected[position] = true;
            assert_eq!(as_kinds(token), expected);
        }
    }

    fn a_key_under_another_name_does_not_verify() {
        let token = signed(&edge_claims(), "edge.1");
        let renamed = VerifyingKey::new("edge.2", signer("edge.1").verifying_key().bytes()).unwrap();
        assert_eq!(verified::<EdgeClaims>(&token, &renamed), None);
    }

    fn size_is_checked_before_anything_is_parsed() {
        let long = "é".repeat(MAX_TOKEN_BYTES);
        let error = Untrusted::<LicenseClaims>::parse(&long, NOW).err();
        assert_eq!(error, Some(ParseError::TooLong));
    }

    fn a_signer_that_fails_makes_no_token() {
        struct Broken;
        impl Signer for Broken {
            fn kid(&self) -> &str {
                "edge.1"
            }
            fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignError> {
                Err(SignError("the device is gone".into()))
            }
        }
        let result = sign(&edge_claims(), Times::starting(NOW, 60), &Broken);
        assert_eq!(result, Err(SignError("the device is gone".into())));
    }

    fn keys_are_believed_from_the_platform_for_their_own_org_alone() {
        let verify = |text: &str, name: &str, now| {
            OrgKeys::verify(text.into(), ISSUER, tag(name), &platform(), now).map(|keys| keys.version())
        };
        let claims = keys_claims("AAAAAAAA", &["AAAAAAAA.1", "AAAAAAAA.2"]);
        let good = signed(&claims, "platform.1");
        assert_eq!(verify(&good, "AAAAAAAA", NOW), Ok(3));
        assert_eq!(verify(&good, "BBBBBBBB", NOW), Err(DocumentError::Subject));
        assert_eq!(verify(&good, "AAAAAAAA", NOW.plus(-60)), Ok(3));
        assert_eq!(verify(&good, "AAAAAAAA", NOW.plus(-61)), Err(DocumentError::FromTheFuture));
        assert_eq!(verify(&signed(&claims, "platform.9"), "AAAAAAAA", NOW), Err(DocumentError::UnknownKey));
        assert_eq!(verify(&signed(&claims, "AAAAAAAA.1"), "AAAAAAAA", NOW), Err(DocumentError::UnknownKey));

        let impostor = LocalSigner::from_seed("platform.1", [9; 32]);
        let forged = sign(&claims, Times::starting(NOW, 60), &impostor).unwrap();
        assert_eq!(verify(&forged, "AAAAAAAA", NOW), Err(DocumentError::Signature));

        let foreign = keys_claims("AAAAAAAA", &["BBBBBBBB.1"]);
        assert_eq!(verify(&signed(&foreign, "platform.1"), "AAAAAAAA", NOW), Err(DocumentError::Content));
        let mut weak = keys_claims("AAAAAAAA", &["AAAAAAAA.1"]);
        weak.keys[0].x = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
        assert_eq!(verify(&signed(&weak, "platform.1"), "AAAAAAAA", NOW), Err(DocumentError::Content));
        let other = KeysClaims { iss: "https://evil.example".into(), ..claims };
        assert_eq!(verify(&signed(&other, "platform.1"), "AAAAAAAA", NOW), Err(DocumentError::Subject));
    }

    fn a_status_list_is_believed_for_its_own_uri_and_org_alone() {
        let uri = StatusReference::uri(ISSUER, tag("AAAAAAAA"), 0);
        let claims = StatusListClaims {
            iss: ISSUER.into(),
            org: org(1),
            sub: uri.clone(),
            ver: 1,
            ep: 0,
            chg: 0,
            ttl: Ttl(30),
            status_list: StatusList::new(Bits::Four, 16).unwrap().encode(),
        };
        let keys = org_keys();
        let verify = |claims: &StatusListClaims, kid: &str| {
            StatusDocument::verify((&signed(claims, kid)).into(), &uri, &keys, NOW).map(|list| list.version())
        };
        assert_eq!(verify(&claims, "AAAAAAAA.1"), Ok(1));
        assert_eq!(verify(&claims, "BBBBBBBB.1"), Err(DocumentError::UnknownKey));
        assert_eq!(verify(&claims, "platform.1"), Err(DocumentError::UnknownKey));
        let elsewhere = StatusListClaims { sub: format!("{uri}1"), ..claims.clone() };
        assert_eq!(verify(&elsewhere, "AAAAAAAA.1"), Err(DocumentError::Subject));
        let foreign = StatusListClaims { org: org(2), ..claims.clone() };
        assert_eq!(verify(&foreign, "AAAAAAAA.1"), Err(DocumentError::Subject));
        let mut broken = claims;
        broken.status_list.lst = "AAAA".into();
        assert_eq!(verify(&broken, "AAAAAAAA.1"), Err(DocumentError::Content));
    }

    fn features_are_believed_for_their_own_set_and_org_alone() {
        let id = FeatureSetId::new(1, [1; 10]);
        let claims = FeaturesClaims {
            iss: ISSUER.into(),
            org: org(1),
            sub: id,
            rev: 4,
            ep: 0,
            features: [("a".to_owned(), serde_json::json!(true))].into(),
        };
        let keys = org_keys();
        let verify = |claims: &FeaturesClaims| {
            FeatureSet::verify((&signed(claims, "AAAAAAAA.1")).into(), id, &keys, NOW).map(|set| set.revision())
        };
        assert_eq!(verify(&claims), Ok(4));
        let other_set = FeaturesClaims { sub: FeatureSetId::new(1, [2; 10]), ..claims.clone() };
        assert_eq!(verify(&other_set), Err(DocumentError::Subject));
        let foreign = FeaturesClaims { org: org(2), ..claims };
        assert_eq!(verify(&foreign), Err(DocumentError::Subject));
    }

    fn configured_keys_say_what_is_wrong_and_secrets_stay_hidden() {
        let signer = signer("edge.1");
        assert_eq!(format!("{signer:?}"), "LocalSigner(edge.1)");
        let again: LocalSigner = signer.reveal().parse().unwrap();
        assert_eq!(again.verifying_key(), signer.verifying_key());
        for broken in ["", "edge.1", ":AA", "edge.1:AA", "edge.1:!", "edge.1:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(broken.parse::<VerifyingKey>().is_err(), "{broken}");
        }
        let key = signer.verifying_key().to_string();
        assert!(format!("{key},{key}").parse::<PlatformKeys>().is_ok());
        assert!(format!("{key},{key},{key}").parse::<PlatformKeys>().is_err());
    }
}
