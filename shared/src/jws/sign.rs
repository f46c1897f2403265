//! Making tokens.

use std::{borrow::Cow, cell::RefCell};

use chrono::{DateTime, Utc};
use ed25519_compact::{PublicKey, Signature};
use jwt_compact::{Algorithm, AlgorithmExt as _, Claims, Header};

use super::{Kind, SignError, Signer, Times};
use crate::time::Timestamp;

/// jwt-compact's view of a [`Signer`]: its algorithms can't fail, a signer can.
struct Via<'a> {
    signer: &'a dyn Signer,
    failure: RefCell<Option<SignError>>,
}

impl Algorithm for Via<'_> {
    type SigningKey = ();
    type VerifyingKey = PublicKey;
    type Signature = Signature;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed("EdDSA")
    }

    fn sign(&self, (): &(), message: &[u8]) -> Signature {
        let signature = self.signer.sign(message).unwrap_or_else(|error| {
            *self.failure.borrow_mut() = Some(error);
            [0; 64]
        });
        Signature::new(signature)
    }

    fn verify_signature(&self, signature: &Signature, key: &PublicKey, message: &[u8]) -> bool {
        key.verify(message, signature).is_ok()
    }
}

fn date(time: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.unix(), 0)
}

/// Signs `claims` as a token of their kind, valid within `times`.
///
/// # Errors
/// [`SignError`] when the signer fails or the claims can't be written as JSON.
pub fn sign<K: Kind>(claims: &K, times: Times, signer: &dyn Signer) -> Result<String, SignError> {
    let header = Header::empty()
        .with_token_type(K::TYP)
        .with_key_id(signer.kid());
    let mut complete = Claims::new(claims);
    complete.issued_at = date(times.issued_at);
    complete.expiration = date(times.expires_at);
    complete.not_before = times.not_before.and_then(date);

    let algorithm = Via {
        signer,
        failure: RefCell::new(None),
    };
    let token = algorithm.token(&header, &complete, &());
    match (algorithm.failure.into_inner(), token) {
        (Some(failure), _) => Err(failure),
        (None, Ok(token)) => Ok(token),
        (None, Err(error)) => Err(SignError(error.to_string())),
    }
}
