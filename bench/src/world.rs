//! A vendor world made of arithmetic: organizations, their keys, documents and tokens, all derived
//! from numbers. Large ones cost nothing to set up, which a database of the same size would.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use licet_shared::{
    decision::fingerprint_hash,
    documents::{
        AtExpiry, FeatureOverrides, FeaturesClaims, Jwk, KeysClaims, LicenseClaims, Revision,
        Status, StatusListClaims, StatusReference, TOKEN_VERSION, Tier, Ttl,
    },
    id::{ActivationId, EventId, FeatureSetId, LicenseId, OrgId, OrgTag},
    jws::{Kind, LocalSigner, Times, sign},
    status_list::{Bits, StatusList},
    time::Timestamp,
};
use serde_json::{Value, json};

/// The installation's public base URL.
pub(crate) const ISSUER: &str = "https://bench.licet.example";
const DAY_S: i64 = 86_400;
const PRODUCT: &str = "local_cli";

/// The key that vouches for the organizations' keys.
pub(crate) fn platform_key() -> LocalSigner {
    LocalSigner::from_seed("platform.1", [7; 32])
}

/// The edge's own key.
pub(crate) fn edge_key() -> LocalSigner {
    LocalSigner::from_seed("edge.1", [9; 32])
}

/// One of the organizations.
pub(crate) struct Org {
    number: u32,
    tag: OrgTag,
    signer: LocalSigner,
}

fn id(kind: u8, number: u32) -> [u8; 16] {
    let mut bytes = [kind; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let seconds = since.unwrap_or_default().as_secs();
    Timestamp::from_unix(seconds.cast_signed())
}

impl Org {
    /// The organization of that number.
    pub(crate) fn new(number: u32) -> Self {
        let mut random = [0; 5];
        random[1..].copy_from_slice(&number.to_be_bytes());
        let tag = OrgTag::new(random);
        let mut seed = [1; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let signer = LocalSigner::from_seed(format!("{tag}.1"), seed);
        Self {
            number,
            tag,
            signer,
        }
    }

    /// The organization of a tag.
    pub(crate) fn of_tag(tag: &str) -> Option<Self> {
        const SYMBOLS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let number = tag.chars().try_fold(0_u64, |number, symbol| {
            Some(number << 5 | SYMBOLS.find(symbol)? as u64)
        })?;
        u32::try_from(number).ok().map(Self::new)
    }

    fn id(&self) -> OrgId {
        OrgId::from_uuid_bytes(id(1, self.number))
    }

    fn features_id(&self) -> FeatureSetId {
        FeatureSetId::from_uuid_bytes(id(2, self.number))
    }

    fn list_uri(&self) -> String {
        StatusReference::uri(ISSUER, self.tag, 0)
    }

    /// The document that a path below the organization's names.
    pub(crate) fn document(&self, path: &str) -> Result<String> {
        match path.split_once('/').map_or(path, |(kind, _)| kind) {
            "keys" => {
                let claims = KeysClaims {
                    iss: ISSUER.into(),
                    sub: self.id(),
                    tag: self.tag,
                    ver: 1,
                    ep: 0,
                    keys: vec![Jwk::of(&self.signer.verifying_key())],
                };
                signed(&claims, &platform_key())
            }
            "statuslists" => {
                let claims = StatusListClaims {
                    iss: ISSUER.into(),
                    org: self.id(),
                    sub: self.list_uri(),
                    ver: 1,
                    chg: 0,
                    ep: 0,
                    ttl: Ttl(30),
                    status_list: StatusList::new(Bits::Four, 1024)?.encode(),
                };
                signed(&claims, &self.signer)
            }
            "feature-sets" => {
                let claims = FeaturesClaims {
                    iss: ISSUER.into(),
                    org: self.id(),
                    sub: self.features_id(),
                    rev: 1,
                    ep: 0,
                    features: BTreeMap::from([
                        ("export.pdf".into(), true.into()),
                        ("projects.max".into(), 25.into()),
                    ]),
                };
                signed(&claims, &self.signer)
            }
            other => anyhow::bail!("no document {other}"),
        }
    }

    /// A body for `validate`: one of the organization's licenses, each of one device. Tokens that
    /// differ in `issue` are of the same license.
    pub(crate) fn body(&self, license: u32, issue: u32) -> Result<Value> {
        let fingerprint = format!("device-{license}");
        let claims = LicenseClaims {
            iss: ISSUER.into(),
            aud: vec![PRODUCT.into()],
            sub: LicenseId::from_uuid_bytes(id(3, self.number ^ license.rotate_left(16))),
            jti: EventId::from_uuid_bytes(id(4, issue)),
            org: self.id(),
            act: ActivationId::from_uuid_bytes(id(5, license)),
            fp: Some(fingerprint_hash(&fingerprint)),
            fpc: None,
            tier: Tier::Pro,
            lexp: None,
            xb: AtExpiry::Restrict,
            ra: None,
            hb: None,
            grace: 3_600,
            fs: self.features_id(),
            fo: FeatureOverrides::default(),
            lr: false,
            rev: Some(Revision {
                license: 1,
                list: 1,
            }),
            status: Status {
                status_list: StatusReference {
                    idx: license % 1024,
                    uri: self.list_uri(),
                },
            },
            ver: TOKEN_VERSION,
        };
        let token = signed(&claims, &self.signer)?;
        Ok(json!({"token": token, "product": PRODUCT, "fingerprint": fingerprint}))
    }
}

fn signed(claims: &impl Kind, signer: &LocalSigner) -> Result<String> {
    sign(claims, Times::starting(now(), DAY_S), signer).context("can't sign")
}
