//! Claims as they stand in the tokens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FeatureOverrides, Period};
use crate::{
    id::{ActivationId, EventId, FeatureSetId, LeaseId, LicenseId, OrgId, OrgTag, UserId},
    jws::Kind,
};

/// The token format that this code writes, and the only one it reads.
pub const TOKEN_VERSION: u8 = 1;

/// What was bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Tier {
    /// At no charge.
    Free,
    /// Paid, for one person or a small team.
    Pro,
    /// Paid, for an organization.
    Enterprise,
    /// For a time, to try it.
    Trial,
}

/// What the end of a license means to those who use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum AtExpiry {
    /// No use beyond it.
    #[default]
    Restrict,
    /// Versions of the product that were released before it go on.
    Maintain,
    /// Use goes on, marked as expired.
    Allow,
}

impl AtExpiry {
    /// Whether all use ends with the license.
    #[must_use]
    pub const fn is_restrict(&self) -> bool {
        matches!(self, Self::Restrict)
    }
}

/// `license+jwt`: this activation may use these products. Signed by an org key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseClaims {
    /// Issuer: the public base URL of the installation.
    pub iss: String,
    /// Codes of the products that may be used.
    pub aud: Vec<String>,
    /// The license.
    pub sub: LicenseId,
    /// Names this token.
    pub jti: EventId,
    /// The organization that issued the license.
    pub org: OrgId,
    /// The activation that the token was made for.
    pub act: ActivationId,
    /// SHA-256 of the device's fingerprint, base64url; absent where any device may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fp: Option<String>,
    /// The device's component fingerprints; absent where it is not told by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fpc: Option<BoundComponents>,
    /// What was bought.
    pub tier: Tier,
    /// End of the license itself, seconds since the epoch; absent where it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexp: Option<i64>,
    /// What that end means; absent where it is the end of all use.
    #[serde(default, skip_serializing_if = "AtExpiry::is_restrict")]
    pub xb: AtExpiry,
    /// Seconds after `iat` from which a client does well to refresh; absent for half of the life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ra: Option<u32>,
    /// Seconds after `iat` within which a client must refresh; absent where `exp` is all there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hb: Option<u32>,
    /// Seconds past `exp` for which the token counts while the origin can't be reached.
    pub grace: u32,
    /// The feature set.
    pub fs: FeatureSetId,
    /// The license's own feature values, in place of the set's; absent where it has none.
    #[serde(default, skip_serializing_if = "FeatureOverrides::is_empty")]
    pub fo: FeatureOverrides,
    /// Whether a lease of a floating seat is needed beside it; absent where none is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lr: bool,
    /// What it was made from; absent from tokens of before there was such a thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<Revision>,
    /// Where its status stands.
    pub status: Status,
    /// [`TOKEN_VERSION`].
    pub ver: u8,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The `fpc` claim: components of which so many must be as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundComponents {
    /// How many.
    pub n: u8,
    /// Name to the SHA-256 of the text, base64url.
    pub of: BTreeMap<String, String>,
}

impl Kind for LicenseClaims {
    const TYP: &'static str = "license+jwt";
}

/// `lease+jwt`: somebody holds a floating seat of the license until its `exp`. Signed by an org key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseClaims {
    /// Issuer.
    pub iss: String,
    /// The license.
    pub sub: LicenseId,
    /// The organization that issued the license.
    pub org: OrgId,
    /// The activation that the lease was taken with: it counts beside that one's tokens alone.
    pub act: ActivationId,
    /// The lease.
    pub lea: LeaseId,
    /// Who holds it, as they called themselves.
    pub holder: String,
    /// Whether it was borrowed for work offline; absent where it was not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bor: bool,
    /// Where its status stands: it is the activation's.
    pub status: Status,
    /// [`TOKEN_VERSION`].
    pub ver: u8,
}

impl Kind for LeaseClaims {
    const TYP: &'static str = "lease+jwt";
}

/// How far the origin had come when it made a token, read in one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The license's version.
    #[serde(rename = "l")]
    pub license: u64,
    /// The version of the status list that the token's entry stands in: a change that the list
    /// tells of with no higher version is in the token.
    #[serde(rename = "s")]
    pub list: u64,
}

/// `license-state+jwt`: what a license is now, in place of what older tokens of it say. Signed by
/// an org key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseStateClaims {
    /// Issuer.
    pub iss: String,
    /// The organization.
    pub org: OrgId,
    /// The license.
    pub sub: LicenseId,
    /// Version, counted up with each change of what tokens say; a lower one never replaces a
    /// higher.
    pub ver: u64,
    /// Seconds after `iat` for which [`usage`](Self::usage) counts as fresh.
    pub ttl: Ttl,
    /// Each status list that it has entries in, with the list's version.
    pub lists: Vec<(u32, u64)>,
    /// Codes of the products that may be used.
    pub products: Vec<String>,
    /// What was bought.
    pub tier: Tier,
    /// End of the license itself, seconds since the epoch; absent where it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexp: Option<i64>,
    /// What that end means; absent where it is the end of all use.
    #[serde(default, skip_serializing_if = "AtExpiry::is_restrict")]
    pub xb: AtExpiry,
    /// Seconds after `iat` of its tokens from which a client does well to refresh; absent for
    /// half of their lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ra: Option<u32>,
    /// Seconds after `iat` of its tokens within which a client must refresh; absent where `exp`
    /// is all there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hb: Option<u32>,
    /// Whether a lease of a floating seat is needed beside its tokens; absent where none is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lr: bool,
    /// Seconds past `exp` for which its tokens count while the origin can't be reached.
    pub grace: u32,
    /// The feature set.
    pub fs: FeatureSetId,
    /// The license's own feature values, in place of the set's; absent where it has none.
    #[serde(default, skip_serializing_if = "FeatureOverrides::is_empty")]
    pub fo: FeatureOverrides,
    /// What was used of metered features in the periods that `iat` is in; absent where nothing was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub usage: BTreeMap<String, Vec<Used>>,
}

impl Kind for LicenseStateClaims {
    const TYP: &'static str = "license-state+jwt";
    const MAX_BYTES: usize = 256 * 1024;
}

/// What was used of one metered feature in one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// In which kind of period.
    #[serde(rename = "p")]
    pub period: Period,
    /// When the period began, seconds since the epoch.
    #[serde(rename = "t")]
    pub start: i64,
    /// How much.
    #[serde(rename = "n")]
    pub used: u64,
}

/// The `status` claim (Token Status List §6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The reference.
    pub status_list: StatusReference,
}

/// An entry of a status list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReference {
    /// Position within the list.
    pub idx: u32,
    /// The list, `<iss>/api/v1/orgs/<tag>/statuslists/<n>`.
    pub uri: String,
}

impl StatusReference {
    /// The URI of list `number` of an organization.
    #[must_use]
    pub fn uri(issuer: &str, tag: OrgTag, number: u32) -> String {
        format!("{issuer}/api/v1/orgs/{tag}/statuslists/{number}")
    }

    /// The list's number, when the URI is one of this issuer and organization in canonical form.
    #[must_use]
    pub fn list_number(&self, issuer: &str, tag: OrgTag) -> Option<u32> {
        let (_, number) = self.uri.rsplit_once('/')?;
        let number = number.parse().ok()?;
        (self.uri == Self::uri(issuer, tag, number)).then_some(number)
    }
}

/// `features+jwt`: the values of a feature set's revision. Signed by an org key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeaturesClaims {
    /// Issuer.
    pub iss: String,
    /// The organization.
    pub org: OrgId,
    /// The feature set.
    pub sub: FeatureSetId,
    /// Revision, counted from 1; a lower one never replaces a higher.
    pub rev: u32,
    /// How far the feed had come when this was read; absent where that is not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ep: u64,
    /// Name to value.
    pub features: BTreeMap<String, serde_json::Value>,
}

impl Kind for FeaturesClaims {
    const TYP: &'static str = "features+jwt";
    const MAX_BYTES: usize = 256 * 1024;
}

/// `statuslist+jwt` (Token Status List §5.1), and who it is for. Signed by an org key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusListClaims {
    /// Issuer.
    pub iss: String,
    /// The organization.
    pub org: OrgId,
    /// The list's URI.
    pub sub: String,
    /// Version, counted up with each change; a lower one never replaces a higher.
    pub ver: u64,
    /// Seconds after `iat` for which the list counts as fresh.
    pub ttl: Ttl,
    /// The version in which an entry last became, or was again, 12 ("changed"); absent where none
    /// ever did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chg: u64,
    /// How far the feed had come when this was read; absent where that is not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ep: u64,
    /// The entries.
    pub status_list: crate::status_list::Encoded,
}

impl Kind for StatusListClaims {
    const TYP: &'static str = "statuslist+jwt";
    const MAX_BYTES: usize = 512 * 1024;
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A span of freshness in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ttl(pub u32);

impl Ttl {
    /// The span in seconds.
    #[must_use]
    pub fn seconds(self) -> i64 {
        i64::from(self.0)
    }
}

/// `revocations+jwt`: which documents have changed, of all organizations. Signed by a platform key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedClaims {
    /// Issuer.
    pub iss: String,
    /// Generation: a higher one begins anew, for the database was put back to an earlier state.
    pub r#gen: u64,
    /// All changes after this epoch are named.
    pub since: u64,
    /// The epoch up to which that is so: what to ask for next.
    pub ep: u64,
    /// The documents that have changed, each with its newest version.
    pub changed: Vec<Change>,
}

impl Kind for FeedClaims {
    const TYP: &'static str = "revocations+jwt";
    const MAX_BYTES: usize = 512 * 1024;
}

/// A document that has changed: a status list or a feature set, or else the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whose.
    #[serde(rename = "o")]
    pub org: OrgTag,
    /// The status list's number.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub status_list: Option<u32>,
    /// The feature set.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub feature_set: Option<FeatureSetId>,
    /// Its newest version.
    #[serde(rename = "v")]
    pub version: u64,
}

/// `keys+jwt`: an organization's public keys. Signed by a platform key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysClaims {
    /// Issuer.
    pub iss: String,
    /// The organization.
    pub sub: OrgId,
    /// Its tag, the first part of each `kid`.
    pub tag: OrgTag,
    /// Version, counted up with each change; a lower one never replaces a higher.
    pub ver: u64,
    /// How far the feed had come when this was read; absent where that is not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ep: u64,
    /// The keys that verify.
    pub keys: Vec<Jwk>,
}

impl Kind for KeysClaims {
    const TYP: &'static str = "keys+jwt";
    const MAX_BYTES: usize = 64 * 1024;
}

/// An Ed25519 public key as JSON Web Key (RFC 8037 §2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Jwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// The key's name, `<org tag>.<n>`.
    pub kid: String,
    /// The key's 32 bytes in base64url.
    pub x: String,
    /// `EdDSA`.
    pub alg: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub use_: String,
}

impl Jwk {
    /// The JWK of a key.
    #[must_use]
    pub fn of(key: &crate::jws::VerifyingKey) -> Self {
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            kid: key.kid().into(),
            x: key.x(),
            alg: "EdDSA".into(),
            use_: "sig".into(),
        }
    }
}

/// `edge+jwt`: one call from an edge to the origin. Signed by the edge's key.
///
/// Like a DPoP proof (RFC 9449 §4.2) it covers method and target; unlike one, the body too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeClaims {
    /// The edge, by its key's `kid`.
    pub iss: String,
    /// [`EdgeClaims::AUDIENCE`].
    pub aud: String,
    /// Method.
    pub htm: String,
    /// Path and query.
    pub htu: String,
    /// SHA-256 of the body, base64url.
    pub bh: String,
    /// The `Idempotency-Key` header, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idk: Option<String>,
    /// Names this call; counts once.
    pub jti: String,
}

impl EdgeClaims {
    /// Who such tokens are for.
    pub const AUDIENCE: &'static str = "licet-origin";
    /// How long such a token lives, in seconds.
    pub const LIFE_S: i64 = 60;

    /// The `bh` of a body: base64url of its SHA-256.
    #[must_use]
    pub fn body_hash(body: &[u8]) -> String {
        use base64ct::{Base64UrlUnpadded, Encoding};
        Base64UrlUnpadded::encode_string(&Sha256::digest(body))
    }
}

impl Kind for EdgeClaims {
    const TYP: &'static str = "edge+jwt";
}

/// `at+jwt`: a person's access to the origin (RFC 9068 §2.2). Signed by a platform key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Issuer.
    pub iss: String,
    /// The API it is for.
    pub aud: String,
    /// The person.
    pub sub: UserId,
    /// The person's organization.
    pub org: OrgId,
    /// The client that asked for it.
    pub client_id: String,
    /// Space-separated scopes.
    pub scope: String,
    /// The session it belongs to, so that ending the session ends it.
    pub sid: EventId,
    /// Names this token.
    pub jti: EventId,
}

impl Kind for AccessClaims {
    const TYP: &'static str = "at+jwt";
}
