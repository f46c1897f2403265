//! Texts that have the form of an organization's token, before anybody has vouched for them.

use super::{Code, LicenseToken, TokenRefused};
use crate::{
    documents::OrgKeys,
    id::{FeatureSetId, OrgTag},
    jws::{Kind, Untrusted, Verified, VerifyingKey},
    time::Timestamp,
};

/// A kind of token that an organization signs, once its signature has been checked.
pub trait OrgToken: Sized {
    /// What it says.
    type Claims: Kind;

    /// The token, if it is one of the keys' organization. `key` is the one that signed it.
    ///
    /// # Errors
    /// [`Code::UnknownKey`] when it is another's, [`Code::Malformed`] when it can't be read.
    fn of(
        verified: Verified<Self::Claims>,
        key: &VerifyingKey,
        keys: &OrgKeys,
    ) -> Result<Self, TokenRefused>;
}

/// A text that has the form of such a token. Nothing in it is to be believed yet.
pub struct Presented<'a, T: OrgToken>(Untrusted<'a, T::Claims>);

impl<'a, T: OrgToken> Presented<'a, T> {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`Code::Malformed`] when it is no such token.
    pub fn parse(text: &'a str, now: Timestamp) -> Result<Self, TokenRefused> {
        match Untrusted::parse(text, now) {
            Ok(untrusted) => Ok(Self(untrusted)),
            Err(_) => Err(Code::Malformed),
        }
    }

    /// The org tag that it names: where to look for keys.
    ///
    /// # Errors
    /// [`Code::UnknownKey`] when its `kid` names no organization.
    pub fn org_tag(&self) -> Result<OrgTag, TokenRefused> {
        OrgTag::of_kid(self.0.kid()).ok_or(Code::UnknownKey)
    }

    /// The key that it says has signed it, if it is among `keys`.
    ///
    /// # Errors
    /// [`Code::UnknownKey`] when it is not.
    pub fn key<'k>(&self, keys: &'k OrgKeys) -> Result<&'k VerifyingKey, TokenRefused> {
        keys.find(self.0.kid()).ok_or(Code::UnknownKey)
    }

    /// What the signature is over.
    #[must_use]
    pub fn signed_bytes(&self) -> &'a [u8] {
        self.0.signed_bytes()
    }

    /// The signature, 64 bytes.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.0.signature()
    }

    /// Checks the signature and what else makes it a token of the keys' organization.
    ///
    /// # Errors
    /// [`Code::UnknownKey`], [`Code::SignatureInvalid`] or [`Code::Malformed`].
    pub fn verify(self, keys: &OrgKeys) -> Result<T, TokenRefused> {
        let key = self.key(keys)?;
        let token = self.0.verify(key).map_err(|_| Code::SignatureInvalid)?;
        T::of(token, key, keys)
    }

    /// Likewise, on the host's word that [`signature`](Self::signature) is its
    /// [`key`](Self::key)'s over [`signed_bytes`](Self::signed_bytes), or is not.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn accept(self, keys: &OrgKeys, holds: bool) -> Result<T, TokenRefused> {
        let key = self.key(keys)?;
        let token = self.0.accept(key, holds);
        T::of(token.map_err(|_| Code::SignatureInvalid)?, key, keys)
    }

    /// Lets go of the text, for a host that hears only later whether the signature holds.
    ///
    /// # Errors
    /// [`Code::UnknownKey`] when its key is not among `keys`.
    pub fn awaiting(self, keys: &OrgKeys) -> Result<Awaiting<T>, TokenRefused> {
        let key = self.key(keys)?.clone();
        let token = self.0.accept(&key, true);
        let token = token.map_err(|_| Code::SignatureInvalid)?;
        Ok(Awaiting { token, key })
    }
}

impl Presented<'_, LicenseToken> {
    /// The organization, its status list's number and its feature set, as the text names them: good for asking for them
    /// while the keys that may vouch for it are on their way, and for nothing else. None where an issuer other
    /// than this is named.
    #[must_use]
    pub fn names(&self, issuer: &str) -> Option<(OrgTag, u32, FeatureSetId)> {
        let (org, claims) = (self.org_tag().ok()?, self.0.unverified());
        let list = claims.status.status_list.list_number(issuer, org)?;
        Some((org, list, claims.fs))
    }
}

/// What a text says, which counts once its signature is known to hold: nothing of it can be seen
/// before.
pub struct Awaiting<T: OrgToken> {
    token: Verified<T::Claims>,
    key: VerifyingKey,
}

impl<T: OrgToken> Awaiting<T> {
    /// The key that the signature is checked with.
    #[must_use]
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// As [`Presented::accept`], with the organization's keys as they are by now.
    ///
    /// # Errors
    /// As [`Presented::verify`].
    pub fn accept(self, keys: &OrgKeys, holds: bool) -> Result<T, TokenRefused> {
        if keys.find(self.key.kid()) != Some(&self.key) {
            return Err(Code::UnknownKey);
        }
        if !holds {
            return Err(Code::SignatureInvalid);
        }
        T::of(self.token, &self.key, keys)
    }
}
