//! A situation in which all is well, whose parts a case changes.

use std::collections::BTreeMap;

use licet_shared::{
    decision::{OriginState, Source, fingerprint_hash},
    documents::{
        AtExpiry, FeatureOverrides, FeaturesClaims, Jwk, KeysClaims, LeaseClaims, LicenseClaims,
        LicenseStateClaims, Status, StatusListClaims, StatusReference, Tier, Ttl,
    },
    id::{ActivationId, EventId, FeatureSetId, LeaseId, LicenseId, OrgId, OrgTag},
    jws::{LocalSigner, Times, sign},
    status_list::{Bits, StatusList},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::CaseContext;

/// The second at which the good world's documents and token were made: 2027-01-15T08:00:00Z.
pub(crate) const T0: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;
pub(crate) const ISSUER: &str = "https://edge.licet.example";
pub(crate) const INDEX: u32 = 5;

pub(crate) fn platform_signer() -> LocalSigner {
    LocalSigner::from_seed("platform.1", [1; 32])
}

pub(crate) fn tag() -> OrgTag {
    "0ACME0AG".parse().unwrap()
}

pub(crate) fn org_id() -> OrgId {
    OrgId::new(T0 as u64 * 1000, [1; 10])
}

pub(crate) fn feature_set_id() -> FeatureSetId {
    FeatureSetId::new(T0 as u64 * 1000, [2; 10])
}

pub(crate) fn license_id() -> LicenseId {
    LicenseId::new(T0 as u64 * 1000, [3; 10])
}

pub(crate) fn org_signer(number: u32) -> LocalSigner {
    LocalSigner::from_seed(format!("{}.{number}", tag()), [10 + number as u8; 32])
}

pub(crate) fn list_uri() -> String {
    StatusReference::uri(ISSUER, tag(), 0)
}

/// The lives of a document.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) iat: i64,
    pub(crate) exp: i64,
}

impl Life {
    fn times(self) -> Times {
        Times {
            issued_at: Timestamp::from_unix(self.iat),
            expires_at: Timestamp::from_unix(self.exp),
            not_before: None,
        }
    }
}

/// A lease as it is shown beside the token.
#[derive(Clone)]
pub(crate) struct Lease {
    pub(crate) claims: LeaseClaims,
    pub(crate) life: Life,
    pub(crate) signer: LocalSigner,
    /// Done to it after it was signed.
    pub(crate) tamper: Option<fn(String) -> String>,
}

impl Lease {
    /// Of the good world's token, for ten minutes.
    fn good() -> Self {
        Self {
            claims: LeaseClaims {
                iss: ISSUER.into(),
                sub: LicenseId::new(T0 as u64 * 1000, [3; 10]),
                org: org_id(),
                act: ActivationId::new(T0 as u64 * 1000, [5; 10]),
                lea: LeaseId::new(T0 as u64 * 1000, [6; 10]),
                holder: "ada@workstation-7".into(),
                bor: false,
                status: Status {
                    status_list: StatusReference {
                        idx: INDEX,
                        uri: list_uri(),
                    },
                },
                ver: 1,
            },
            life: Life {
                iat: T0,
                exp: T0 + 600,
            },
            signer: org_signer(1),
            tamper: None,
        }
    }

    fn text(&self) -> String {
        let text = sign(&self.claims, self.life.times(), &self.signer).unwrap();
        self.tamper.map_or(text.clone(), |tamper| tamper(text))
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) claims: LicenseClaims,
    pub(crate) token_life: Life,
    pub(crate) nbf: Option<i64>,
    pub(crate) lease: Option<Lease>,
    pub(crate) signer: LocalSigner,
    /// Done to the token after it was signed.
    pub(crate) tamper: Option<fn(String) -> String>,
    pub(crate) keys: Option<Life>,
    pub(crate) list: Option<Life>,
    pub(crate) ttl: u32,
    /// As of when the feed says that the list has not changed.
    pub(crate) unchanged_at: Option<i64>,
    pub(crate) status: u8,
    pub(crate) list_entries: usize,
    /// The list's version, and that in which an entry was last marked as changed.
    pub(crate) list_version: u64,
    pub(crate) changed: u64,
    /// The license's own document.
    pub(crate) license: Option<(LicenseStateClaims, Life)>,
    pub(crate) features: Option<Life>,
    pub(crate) feature_set: FeatureSetId,
    pub(crate) feature_values: BTreeMap<String, Value>,
    pub(crate) context: CaseContext,
    pub(crate) source: Source,
    pub(crate) origin: OriginState,
    pub(crate) newest_evidence: Option<i64>,
}

impl World {
    pub(crate) fn good() -> Self {
        let life = Life {
            iat: T0,
            exp: T0 + DAY,
        };
        let feature_values = [
            ("export.pdf", json!(true)),
            ("projects.max", json!(25)),
            ("beta", json!(false)),
            ("exports.none", json!(0)),
            ("theme", json!("dark")),
            ("theme.none", json!("")),
            ("limits", json!({"cpu": 2})),
            ("nothing", json!(null)),
        ];
        Self {
            now: T0 + 10,
            claims: LicenseClaims {
                iss: ISSUER.into(),
                aud: vec!["local_cli".into(), "cloud_ide".into()],
                sub: license_id(),
                jti: EventId::new(T0 as u64 * 1000, [4; 10]),
                org: org_id(),
                act: ActivationId::new(T0 as u64 * 1000, [5; 10]),
                fp: Some(fingerprint_hash("device-1")),
                fpc: None,
                tier: Tier::Pro,
                lexp: Some(T0 + 365 * DAY),
                xb: AtExpiry::Restrict,
                ra: None,
                hb: None,
                grace: 7 * DAY as u32,
                fs: feature_set_id(),
                fo: FeatureOverrides::default(),
                lr: false,
                rev: None,
                status: Status {
                    status_list: StatusReference {
                        idx: INDEX,
                        uri: list_uri(),
                    },
                },
                ver: 1,
            },
            token_life: life,
            nbf: None,
            lease: None,
            signer: org_signer(1),
            tamper: None,
            keys: Some(life),
            list: Some(life),
            ttl: 30,
            unchanged_at: None,
            status: 0,
            list_entries: 16,
            list_version: 1,
            changed: 0,
            license: None,
            features: Some(life),
            feature_set: feature_set_id(),
            feature_values: feature_values
                .map(|(name, value)| (name.into(), value))
                .into(),
            context: CaseContext {
                product: "local_cli".into(),
                fingerprint: Some("device-1".into()),
                ..CaseContext::default()
            },
            source: Source::Memory,
            origin: OriginState::Answering,
            newest_evidence: None,
        }
    }

    /// Has the license float, and a lease of it be shown.
    pub(crate) fn float(&mut self) -> &mut Lease {
        self.claims.lr = true;
        self.lease.insert(Lease::good())
    }

    pub(crate) fn context(&self) -> CaseContext {
        CaseContext {
            lease: (self.lease.as_ref().map(Lease::text)).or_else(|| self.context.lease.clone()),
            ..self.context.clone()
        }
    }

    pub(crate) fn token(&self) -> String {
        let times = Times {
            not_before: self.nbf.map(Timestamp::from_unix),
            ..self.token_life.times()
        };
        let token = sign(&self.claims, times, &self.signer).unwrap();
        self.tamper.map_or(token.clone(), |tamper| tamper(token))
    }

    pub(crate) fn keys_document(&self) -> Option<String> {
        let keys = [1, 2].map(|number| Jwk::of(&org_signer(number).verifying_key()));
        let claims = KeysClaims {
            iss: ISSUER.into(),
            sub: org_id(),
            tag: tag(),
            ver: 1,
            ep: 0,
            keys: keys.into(),
        };
        self.keys
            .map(|life| sign(&claims, life.times(), &platform_signer()).unwrap())
    }

    pub(crate) fn list_document(&self) -> Option<String> {
        let life = self.list?;
        let mut list = StatusList::new(Bits::Four, self.list_entries).unwrap();
        if (INDEX as usize) < list.len() {
            list.set(INDEX as usize, self.status).unwrap();
        }
        let claims = StatusListClaims {
            iss: ISSUER.into(),
            org: org_id(),
            sub: list_uri(),
            ver: self.list_version,
            ttl: Ttl(self.ttl),
            chg: self.changed,
            ep: 0,
            status_list: list.encode(),
        };
        Some(sign(&claims, life.times(), &org_signer(1)).unwrap())
    }

    /// What the token says of its license, as the license's own document of this version that was
    /// made at `iat` from list 0 of that version.
    pub(crate) fn state_of_license(
        &self,
        version: u64,
        list: u64,
        iat: i64,
    ) -> (LicenseStateClaims, Life) {
        let claims = &self.claims;
        let state = LicenseStateClaims {
            iss: ISSUER.into(),
            org: org_id(),
            sub: claims.sub,
            ver: version,
            ttl: Ttl(30),
            lists: vec![(0, list)],
            products: claims.aud.clone(),
            tier: claims.tier,
            lexp: claims.lexp,
            xb: claims.xb,
            ra: claims.ra,
            hb: claims.hb,
            lr: claims.lr,
            grace: claims.grace,
            fs: claims.fs,
            fo: claims.fo.clone(),
            usage: BTreeMap::new(),
        };
        let life = Life {
            iat,
            exp: iat + DAY,
        };
        (state, life)
    }

    pub(crate) fn license_document(&self) -> Option<String> {
        let (claims, life) = self.license.as_ref()?;
        Some(sign(claims, life.times(), &org_signer(1)).unwrap())
    }

    pub(crate) fn features_document(&self) -> Option<String> {
        let claims = FeaturesClaims {
            iss: ISSUER.into(),
            org: org_id(),
            sub: self.feature_set,
            rev: 7,
            ep: 0,
            features: self.feature_values.clone(),
        };
        self.features
            .map(|life| sign(&claims, life.times(), &org_signer(1)).unwrap())
    }
}

/// A token with any header and payload, honestly signed by the organization's first key.
pub(crate) fn handmade(header: &str, payload: &str) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    use licet_shared::jws::Signer;
    let encode = |text: &[u8]| Base64UrlUnpadded::encode_string(text);
    let message = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(payload.as_bytes())
    );
    let signature = org_signer(1).sign(message.as_bytes()).unwrap();
    format!("{message}.{}", encode(&signature))
}

/// A token of the good world with its payload rewritten as text, and signed again.
pub(crate) fn with_payload(token: &str, rewrite: impl Fn(String) -> String) -> String {
    let (header, payload) = parts(token);
    handmade(&header, &rewrite(payload))
}

/// A token of the good world with its header rewritten as text, and signed again.
pub(crate) fn with_header(token: &str, rewrite: impl Fn(String) -> String) -> String {
    let (header, payload) = parts(token);
    handmade(&rewrite(header), &payload)
}

fn parts(token: &str) -> (String, String) {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let decode =
        |segment: &str| String::from_utf8(Base64UrlUnpadded::decode_vec(segment).unwrap()).unwrap();
    let mut segments = token.split('.');
    (
        decode(segments.next().unwrap()),
        decode(segments.next().unwrap()),
    )
}
