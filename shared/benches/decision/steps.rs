//! The steps.

use divan::{Bencher, black_box};
use licet_shared::{
    api::{self, ValidateRequest},
    decision::{
        Context, LicenseToken, OriginState, PresentedToken, Source, State, decide_verified,
        fingerprint_hash,
    },
    documents::{
        AtExpiry, FeatureOverrides, FeatureSet, FeaturesClaims, Jwk, KeysClaims, LicenseClaims,
        OrgKeys, PlatformKeys, Revision, Status, StatusDocument, StatusListClaims, StatusReference,
        TOKEN_VERSION, Tier, Ttl,
    },
    id::{ActivationId, EventId, FeatureSetId, LicenseId, OrgId, OrgTag},
    jws::{Kind, LocalSigner, Times, sign},
    status_list::{Bits, Encoded, StatusList},
    time::Timestamp,
};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const ISSUER: &str = "https://edge.licet.example";
const DEVICE: &str = "device 1";
const INDEX: u32 = 4711;
/// A full list: 64 KiB unpacked.
const ENTRIES: usize = 1 << 17;

/// A token with the documents that an edge has in memory.
struct World {
    token: String,
    keys: OrgKeys,
    list: StatusDocument,
    features: FeatureSet,
    body: String,
}

fn tag() -> OrgTag {
    "0ACME0AG".parse().unwrap()
}

fn list() -> StatusList {
    let mut list = StatusList::new(Bits::Four, ENTRIES).unwrap();
    // One in a hundred is not as it was.
    for index in (0..ENTRIES).step_by(100) {
        list.set(index, (index / 100 % 4) as u8).unwrap();
    }
    list
}

impl World {
    fn new() -> Self {
        let platform = LocalSigner::from_seed("platform.1", [1; 32]);
        let signer = LocalSigner::from_seed(format!("{}.1", tag()), [2; 32]);
        let signed = |claims: &LicenseClaims| signed(claims, &signer);
        let org = OrgId::new(1, [1; 10]);
        let set = FeatureSetId::new(1, [2; 10]);
        let uri = StatusReference::uri(ISSUER, tag(), 0);
        let keys = KeysClaims {
            iss: ISSUER.into(),
            sub: org,
            tag: tag(),
            ver: 1,
            ep: 0,
            keys: vec![Jwk::of(&signer.verifying_key())],
        };
        let platform_keys: PlatformKeys = platform.verifying_key().to_string().parse().unwrap();
        let keys = self::signed(&keys, &platform);
        let keys = OrgKeys::verify((&keys).into(), ISSUER, tag(), &platform_keys, NOW).unwrap();
        let list = StatusListClaims {
            iss: ISSUER.into(),
            org,
            sub: uri.clone(),
            ver: 1,
            chg: 0,
            ep: 0,
            ttl: Ttl(30),
            status_list: list().encode(),
        };
        let list = self::signed(&list, &signer);
        let features = FeaturesClaims {
            iss: ISSUER.into(),
            org,
            sub: set,
            rev: 7,
            ep: 0,
            features: [
                ("export.pdf".to_owned(), true.into()),
                ("projects.max".to_owned(), 25.into()),
            ]
            .into(),
        };
        let features = self::signed(&features, &signer);
        let token = signed(&LicenseClaims {
            iss: ISSUER.into(),
            aud: vec!["local_cli".into()],
            sub: LicenseId::new(1, [3; 10]),
            jti: EventId::new(1, [4; 10]),
            org,
            act: ActivationId::new(1, [5; 10]),
            fp: Some(fingerprint_hash(DEVICE)),
            fpc: None,
            tier: Tier::Pro,
            lexp: None,
            xb: AtExpiry::Restrict,
            ra: None,
            hb: None,
            grace: 3_600,
            fs: set,
            fo: FeatureOverrides::default(),
            lr: false,
            rev: Some(Revision {
                license: 1,
                list: 1,
            }),
            status: Status {
                status_list: StatusReference {
                    idx: INDEX,
                    uri: uri.clone(),
                },
            },
            ver: TOKEN_VERSION,
        });
        let body =
            serde_json::json!({"token": token, "product": "local_cli", "fingerprint": DEVICE});
        Self {
            list: StatusDocument::verify((&list).into(), &uri, &keys, NOW).unwrap(),
            features: FeatureSet::verify((&features).into(), set, &keys, NOW).unwrap(),
            keys,
            token,
            body: body.to_string(),
        }
    }

    fn state(&self) -> State<'_> {
        State {
            keys: Some(&self.keys),
            status_list: Some(&self.list),
            status_unchanged_at: None,
            license: None,
            features: Some(&self.features),
            source: Source::Memory,
            origin: OriginState::Answering,
            newest_evidence: None,
        }
    }
}

fn signed(claims: &impl Kind, signer: &LocalSigner) -> String {
    sign(claims, Times::starting(NOW, 86_400), signer).unwrap()
}

const CONTEXT: Context<'_> = Context {
    product: "local_cli",
    org: None,
    fingerprint: Some(DEVICE),
    fingerprints: None,
    require: &[],
    max_staleness_s: None,
    released_at: None,
    lease: licet_shared::decision::ShownLease::None,
};

#[divan::bench]
fn body_parse(bencher: Bencher<'_, '_>) {
    let world = World::new();
    bencher.bench(|| api::parse::<ValidateRequest>(black_box(world.body.as_bytes())));
}

#[divan::bench]
fn token_parse(bencher: Bencher<'_, '_>) {
    let world = World::new();
    bencher.bench(|| PresentedToken::parse(black_box(&world.token), NOW).is_ok());
}

#[divan::bench]
fn token_verify(bencher: Bencher<'_, '_>) {
    let world = World::new();
    bencher
        .with_inputs(|| PresentedToken::parse(&world.token, NOW).unwrap())
        .bench_values(|token| token.verify(&world.keys));
}

#[divan::bench]
fn decide(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let token = LicenseToken::verify(&world.token, Some(&world.keys), NOW).unwrap();
    let state = world.state();
    let verdict = decide_verified(&token, &CONTEXT, &state, NOW);
    assert!(verdict.valid, "{verdict:?}");
    bencher.bench(|| decide_verified(black_box(&token), &CONTEXT, &state, NOW));
}

#[divan::bench]
fn verdict_to_json(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let token = LicenseToken::verify(&world.token, Some(&world.keys), NOW).unwrap();
    let state = world.state();
    let verdict = decide_verified(&token, &CONTEXT, &state, NOW);
    bencher.bench(|| serde_json::to_vec(black_box(&verdict)));
}

#[divan::bench]
fn status_lookup(bencher: Bencher<'_, '_>) {
    let list = list();
    bencher.bench(|| list.get(black_box(INDEX as usize)));
}

#[divan::bench]
fn list_decode(bencher: Bencher<'_, '_>) {
    let encoded: Encoded = list().encode();
    bencher.bench(|| black_box(&encoded).decode());
}
