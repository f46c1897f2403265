//! Who may sign what: platform keys pinned in configuration, org keys in signed documents.

use super::{DocumentError, Jwk, KeysClaims, not_from_the_future};
use crate::{
    id::{OrgId, OrgTag},
    jws::{KeyError, Kind, ParseError, SignedText, Times, Untrusted, Verified, VerifyingKey},
    time::Timestamp,
};

/// The platform's public keys, pinned in the host's configuration: one, or two while rotating.
#[derive(Clone, Debug)]
pub struct PlatformKeys(Vec<VerifyingKey>);

impl PlatformKeys {
    /// At most this many, so that a forgotten key is noticed.
    const MAX: usize = 2;

    /// The key of that name.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.iter().find(|key| key.kid() == kid)
    }
}

impl std::str::FromStr for PlatformKeys {
    type Err = KeyError;

    /// Reads `<kid>:<x>` or two of them with a comma between.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let keys = text
            .split(',')
            .map(|key| key.trim().parse())
            .collect::<Result<Vec<_>, _>>()?;
        if keys.len() > Self::MAX {
            Err(KeyError::Form)
        } else {
            Ok(Self(keys))
        }
    }
}

/// An organization's verified public keys.
#[derive(Clone, Debug)]
pub struct OrgKeys {
    issuer: String,
    org: OrgId,
    tag: OrgTag,
    version: u64,
    epoch: u64,
    keys: Vec<VerifyingKey>,
    times: Times,
}

impl OrgKeys {
    /// Verifies a `keys+jwt` as that of the organization `tag`, issued by `issuer`.
    ///
    /// Says nothing of its expiry, which [`crate::decision::decide`] weighs against grace.
    ///
    /// # Errors
    /// [`DocumentError`] when any of it does not hold.
    pub fn verify(
        text: SignedText<'_>,
        issuer: &str,
        tag: OrgTag,
        platform: &PlatformKeys,
        now: Timestamp,
    ) -> Result<Self, DocumentError> {
        let document = signed_by::<KeysClaims>(text, platform, now)?;
        not_from_the_future(document.times(), now)?;
        if document.claims().iss != issuer {
            return Err(DocumentError::Subject);
        }
        Self::of(document, tag)
    }

    /// Verifies a `keys+jwt` as that of the organization `tag`, of whatever issuer. Says nothing
    /// of its times but that they lie within a century of `about`.
    ///
    /// # Errors
    /// [`DocumentError`] when any of it does not hold.
    pub(crate) fn verify_of_any_time(
        text: &str,
        tag: OrgTag,
        platform: &PlatformKeys,
        about: Timestamp,
    ) -> Result<Self, DocumentError> {
        Self::of(signed_by(text.into(), platform, about)?, tag)
    }

    /// The same keys, held for as long as what they vouch for.
    pub(crate) fn held(self, times: Times) -> Self {
        Self { times, ..self }
    }

    fn of(document: Verified<KeysClaims>, tag: OrgTag) -> Result<Self, DocumentError> {
        let times = document.times();
        let claims = document.into_claims();
        if claims.tag != tag {
            return Err(DocumentError::Subject);
        }
        let keys = claims
            .keys
            .iter()
            .map(|jwk| key_of(jwk, tag))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            issuer: claims.iss,
            org: claims.sub,
            tag,
            version: claims.ver,
            epoch: claims.ep,
            keys,
            times,
        })
    }

    /// Who issued them: the `iss` that this organization's tokens must carry.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whose keys they are.
    #[must_use]
    pub const fn org(&self) -> OrgId {
        self.org
    }

    /// The organization's tag.
    #[must_use]
    pub const fn tag(&self) -> OrgTag {
        self.tag
    }

    /// Counted up with each change.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// How far the feed had come when they were read; 0 where that is not told.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the document was made, and until when it holds.
    #[must_use]
    pub const fn times(&self) -> Times {
        self.times
    }

    /// The key named `kid`, if the organization has it.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.iter().find(|key| key.kid() == kid)
    }

    /// The keys as JWKs, for a JWK Set (RFC 7517 §5).
    pub fn jwks(&self) -> impl Iterator<Item = Jwk> + '_ {
        self.keys.iter().map(Jwk::of)
    }

    /// Verifies a token of this organization's.
    pub(super) fn verify_document<K: Kind>(
        &self,
        text: SignedText<'_>,
        now: Timestamp,
    ) -> Result<Verified<K>, DocumentError> {
        let untrusted = Untrusted::<K>::parse(text.text(), now).map_err(DocumentError::Parse)?;
        let key = self
            .find(untrusted.kid())
            .ok_or(DocumentError::UnknownKey)?;
        let document = text
            .verify(untrusted, key)
            .map_err(|_| DocumentError::Signature)?;
        not_from_the_future(document.times(), now)?;
        Ok(document)
    }
}

pub(super) fn signed_by<K: Kind>(
    text: SignedText<'_>,
    platform: &PlatformKeys,
    now: Timestamp,
) -> Result<Verified<K>, DocumentError> {
    let untrusted = Untrusted::<K>::parse(text.text(), now)?;
    let key = platform
        .find(untrusted.kid())
        .ok_or(DocumentError::UnknownKey)?;
    text.verify(untrusted, key)
        .map_err(|_| DocumentError::Signature)
}

fn key_of(jwk: &Jwk, tag: OrgTag) -> Result<VerifyingKey, DocumentError> {
    let ours = jwk.kty == "OKP" && jwk.crv == "Ed25519" && jwk.alg == "EdDSA" && jwk.use_ == "sig";
    if !ours || OrgTag::of_kid(&jwk.kid) != Some(tag) {
        return Err(DocumentError::Content);
    }
    VerifyingKey::from_x(jwk.kid.as_str(), &jwk.x).map_err(|_| DocumentError::Content)
}

impl From<ParseError> for DocumentError {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}
