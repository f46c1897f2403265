//! Making tokens.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use chrono::{DateTime, Utc};
use ed25519_compact::{PublicKey, Signature};
use jwt_compact::{Algorithm, AlgorithmExt as _, Claims, Header};

use super::{Kind, SignError, Signer, Times};
use crate::time::Timestamp;

/// What jwt-compact signs with here: it makes all of a token but the signature, since its algorithms
/// can neither fail nor be waited for, and a signer may do both.
struct Blank;

impl Algorithm for Blank {
    type SigningKey = ();
    type VerifyingKey = PublicKey;
    type Signature = Signature;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed("EdDSA")
    }

    fn sign(&self, (): &(), _: &[u8]) -> Signature {
        Signature::new([0; 64])
    }

    fn verify_signature(&self, signature: &Signature, key: &PublicKey, message: &[u8]) -> bool {
        key.verify(message, signature).is_ok()
    }
}

fn date(time: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.unix(), 0)
}

/// A token that has everything but its signature: the JWS Signing Input (RFC 7515 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned(String);

impl Unsigned {
    /// `claims` as a token of their kind, valid within `times`, to be signed with the key `kid`.
    ///
    /// # Errors
    /// [`SignError`] when the claims can't be written as JSON.
    pub fn new<K: Kind>(claims: &K, times: Times, kid: &str) -> Result<Self, SignError> {
        let header = Header::empty().with_token_type(K::TYP).with_key_id(kid);
        let mut complete = Claims::new(claims);
        complete.issued_at = date(times.issued_at);
        complete.expiration = date(times.expires_at);
        complete.not_before = times.not_before.and_then(date);
        let token = Blank.token(&header, &complete, &());
        let mut text = token.map_err(|error| SignError(error.to_string()))?;
        text.truncate(text.rfind('.').unwrap_or_default());
        Ok(Self(text))
    }

    /// What is to be signed.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The token, given its signature.
    #[must_use]
    pub fn complete(self, signature: &[u8; 64]) -> String {
        let signature = Base64UrlUnpadded::encode_string(signature);
        format!("{}.{signature}", self.0)
    }
}

/// Signs `claims` as a token of their kind, valid within `times`.
///
/// # Errors
/// [`SignError`] when the signer fails or the claims can't be written as JSON.
pub fn sign<K: Kind>(claims: &K, times: Times, signer: &dyn Signer) -> Result<String, SignError> {
    let unsigned = Unsigned::new(claims, times, signer.kid())?;
    let signature = signer.sign(unsigned.signed_bytes())?;
    Ok(unsigned.complete(&signature))
}
