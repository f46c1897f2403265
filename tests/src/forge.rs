//! Tokens and documents of the tests' own making: an organization whose keys the test holds,
//! vouched for by whichever platform key the test holds.

use std::collections::BTreeMap;

use licet_shared::documents::{
    AtExpiry, FeatureOverrides, FeaturesClaims, Jwk, KeysClaims, LicenseClaims, Status,
    StatusListClaims, StatusReference, TOKEN_VERSION, Tier, Ttl,
};
use licet_shared::id::{ActivationId, EventId, FeatureSetId, LicenseId, OrgId, OrgTag};
use licet_shared::jws::{Kind, LocalSigner, Times, sign};
use licet_shared::status_list::{Bits, StatusList};
use licet_shared::time::Timestamp;
use serde_json::{Value, json};

use crate::device::Activation;
use crate::fake_origin::{FakeOrigin, Reply};
use crate::wait::{now, unix_ms};

/// How long documents live that the origin makes, in seconds.
pub const DAY_S: i64 = 86_400;

/// An organization whose private key the test holds.
#[derive(Clone, Debug)]
pub struct ForgedOrg {
    /// Its id.
    pub id: OrgId,
    /// Its tag.
    pub tag: OrgTag,
    /// Its signing key, `<tag>.1`.
    pub key: LocalSigner,
    /// Its one feature set.
    pub feature_set: FeatureSetId,
    /// Who issues its documents: an edge's base URL.
    pub issuer: String,
    /// The platform key that vouches for it.
    pub platform: LocalSigner,
}

impl ForgedOrg {
    /// A new organization, vouched for by `platform_key` (`kid:seed`).
    pub fn new(issuer: &str, platform_key: &str) -> Self {
        let tag = OrgTag::new(random());
        Self {
            id: OrgId::new(unix_ms(), random()),
            tag,
            key: LocalSigner::from_seed(format!("{tag}.1"), random()),
            feature_set: FeatureSetId::new(unix_ms(), random()),
            issuer: issuer.to_owned(),
            platform: platform_key.parse().expect("kid:seed"),
        }
    }

    /// URI of its list 0.
    pub fn list_uri(&self) -> String {
        StatusReference::uri(&self.issuer, self.tag, 0)
    }

    /// Its `keys+jwt`.
    pub fn keys_claims(&self, version: u64) -> KeysClaims {
        KeysClaims {
            ep: 0,
            iss: self.issuer.clone(),
            sub: self.id,
            tag: self.tag,
            ver: version,
            keys: vec![Jwk::of(&self.key.verifying_key())],
        }
    }

    /// Its list 0, in which each of `entries` has its value.
    pub fn list_claims(
        &self,
        version: u64,
        ttl_s: u32,
        entries: &[(usize, u8)],
    ) -> StatusListClaims {
        let mut list = StatusList::new(Bits::Four, 64).unwrap();
        for (index, value) in entries {
            list.set(*index, *value).unwrap();
        }
        StatusListClaims {
            ep: 0,
            iss: self.issuer.clone(),
            org: self.id,
            sub: self.list_uri(),
            ver: version,
            ttl: Ttl(ttl_s),
            chg: 0,
            status_list: list.encode(),
        }
    }

    /// Its feature set.
    pub fn features_claims(&self, revision: u32, features: &Value) -> FeaturesClaims {
        let features: BTreeMap<String, Value> = features
            .as_object()
            .expect("an object")
            .clone()
            .into_iter()
            .collect();
        FeaturesClaims {
            ep: 0,
            iss: self.issuer.clone(),
            org: self.id,
            sub: self.feature_set,
            rev: revision,
            features,
        }
    }

    /// Claims of a token for entry `index` of list 0, bound to no device.
    pub fn license_claims(&self, index: u32) -> LicenseClaims {
        LicenseClaims {
            iss: self.issuer.clone(),
            aud: vec!["local_cli".to_owned()],
            sub: LicenseId::new(unix_ms(), random()),
            jti: EventId::new(unix_ms(), random()),
            org: self.id,
            act: ActivationId::new(unix_ms(), random()),
            fp: None,
            fpc: None,
            tier: Tier::Pro,
            lexp: None,
            xb: AtExpiry::Restrict,
            ra: None,
            hb: None,
            grace: 3600,
            fs: self.feature_set,
            fo: FeatureOverrides::default(),
            lr: false,
            rev: None,
            status: Status {
                status_list: StatusReference {
                    idx: index,
                    uri: self.list_uri(),
                },
            },
            ver: TOKEN_VERSION,
        }
    }

    /// Signs with the organization's key, from `issued_at` on for a day.
    pub fn sign_at<K: Kind>(&self, claims: &K, issued_at: Timestamp) -> String {
        sign(claims, Times::starting(issued_at, DAY_S), &self.key).unwrap()
    }

    /// Signs with the organization's key, from now on for a day.
    pub fn sign<K: Kind>(&self, claims: &K) -> String {
        self.sign_at(claims, now())
    }

    /// Signs with the platform's key, from now on for a day.
    pub fn sign_by_platform<K: Kind>(&self, claims: &K) -> String {
        sign(claims, Times::starting(now(), DAY_S), &self.platform).unwrap()
    }

    /// Path of the organization's documents at the origin.
    pub fn path(&self, what: &str) -> String {
        format!("/edge/v1/orgs/{}/{what}", self.tag)
    }

    /// Puts a key set on a fake origin's shelf.
    pub fn shelve_keys(&self, origin: &FakeOrigin, token: &str) {
        let reply = Reply::new(200, "application/keys+jwt", token).header("ETag", &etag(token));
        origin.put(&self.path("keys"), reply);
    }

    /// Puts list 0 on a fake origin's shelf.
    pub fn shelve_list(&self, origin: &FakeOrigin, token: &str) {
        let reply =
            Reply::new(200, "application/statuslist+jwt", token).header("ETag", &etag(token));
        origin.put(&self.path("statuslists/0"), reply);
    }

    /// Puts the feature set on a fake origin's shelf.
    pub fn shelve_features(&self, origin: &FakeOrigin, token: &str) {
        let reply = Reply::new(200, "application/features+jwt", token).header("ETag", &etag(token));
        origin.put(
            &self.path(&format!("feature-sets/{}", self.feature_set)),
            reply,
        );
    }

    /// Puts all three on the shelf, in order and with version 5 each.
    pub fn shelve_all(&self, origin: &FakeOrigin, ttl_s: u32) {
        self.shelve_keys(origin, &self.sign_by_platform(&self.keys_claims(5)));
        self.shelve_list(origin, &self.sign(&self.list_claims(5, ttl_s, &[])));
        let features = self.features_claims(5, &json!({"export.pdf": true, "projects.max": 25}));
        self.shelve_features(origin, &self.sign(&features));
    }

    /// An installation with this token near an edge.
    pub fn installation(&self, edge: &str, token: impl Into<String>) -> Activation {
        Activation {
            token: token.into(),
            id: String::new(),
            edge: edge.to_owned(),
            product: "local_cli".to_owned(),
            fingerprint: "any".to_owned(),
        }
    }
}

fn etag(token: &str) -> String {
    let signature = token.rsplit('.').next().unwrap_or_default();
    format!("\"{}\"", signature.get(..22).unwrap_or(signature))
}

fn random<const N: usize>() -> [u8; N] {
    xtask::net::random().unwrap()
}
