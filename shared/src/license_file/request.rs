//! The request of a machine that never connects.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};

use super::{
    MACHINE_KID,
    armour::{self, ArmourError, Label},
};
use crate::{
    decision::{MAX_TEXT_BYTES, fingerprint_hash},
    jws::{Kind, LocalSigner, SignError, Times, Untrusted, VerifyingKey, sign},
    license_key::{LicenseKey, LicenseKeyError},
    time::Timestamp,
};

const VERSION: u8 = 1;
/// Bytes of a request's nonce.
pub const NONCE_BYTES: usize = 16;
/// What its `exp` says; the clock of such a machine is nothing that is relied on.
const LIFE_S: i64 = 86_400;

/// `activationrequest+jwt`: signed by the machine with the key that it names.
#[derive(Serialize, Deserialize)]
struct RequestClaims {
    ver: u8,
    license_key: String,
    product: String,
    fp: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    mk: String,
    nonce: String,
}

impl Kind for RequestClaims {
    const TYP: &'static str = "activationrequest+jwt";
}

/// A machine's request for a license file. Holds the license key: who has it can activate.
#[derive(Clone, Debug)]
pub struct ActivationRequest {
    /// What the buyer typed there.
    pub license_key: LicenseKey,
    /// Code of the product that wants to run.
    pub product: String,
    /// Base64url of the SHA-256 of the machine's fingerprint.
    pub fingerprint_hash: String,
    /// What people call the machine.
    pub name: Option<String>,
    /// The machine's own key.
    pub machine_key: VerifyingKey,
    /// Tells this request from the machine's others, base64url of [`NONCE_BYTES`] random bytes.
    pub nonce: String,
}

/// Why a text is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// Its armour is not whole.
    Armour(ArmourError),
    /// What it holds is no request, or one of another version.
    Content,
    /// It was altered after the machine signed it.
    Signature,
    /// Its license key is none.
    LicenseKey(LicenseKeyError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Armour(error) => write!(f, "not an activation request: {error}"),
            Self::Content => f.write_str("not an activation request that is known here"),
            Self::Signature => f.write_str("the activation request was altered"),
            Self::LicenseKey(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}

impl ActivationRequest {
    /// A request of the machine with this fingerprint and key.
    #[must_use]
    pub fn new(
        license_key: LicenseKey,
        product: impl Into<String>,
        fingerprint: &str,
        machine: &LocalSigner,
        nonce: [u8; NONCE_BYTES],
    ) -> Self {
        Self {
            license_key,
            product: product.into(),
            fingerprint_hash: fingerprint_hash(fingerprint),
            name: None,
            machine_key: machine.verifying_key(),
            nonce: Base64UrlUnpadded::encode_string(&nonce),
        }
    }

    /// The request as a file, signed by the machine. `now` may be as wrong as the machine's clock.
    ///
    /// # Errors
    /// [`SignError`] when the key fails or is not the request's.
    pub fn sign(&self, machine: &LocalSigner, now: Timestamp) -> Result<String, SignError> {
        if machine.verifying_key() != self.machine_key {
            return Err(SignError("another machine's key".into()));
        }
        let claims = RequestClaims {
            ver: VERSION,
            license_key: self.license_key.reveal(),
            product: self.product.clone(),
            fp: self.fingerprint_hash.clone(),
            name: self.name.clone(),
            mk: self.machine_key.x(),
            nonce: self.nonce.clone(),
        };
        let token = sign(&claims, Times::starting(now, LIFE_S), machine)?;
        Ok(armour::wrap(Label::ActivationRequest, token.as_bytes()))
    }

    /// Reads a request that was signed by the key that it names.
    ///
    /// # Errors
    /// [`RequestError`] that says what is wrong.
    pub fn read(text: &str, now: Timestamp) -> Result<Self, RequestError> {
        let token = armour::unwrap(Label::ActivationRequest, text).map_err(RequestError::Armour)?;
        let token = std::str::from_utf8(&token).map_err(|_| RequestError::Content)?;
        let claims = self_signed(token, now)?;
        let content = |holds: bool| {
            if holds {
                Ok(())
            } else {
                Err(RequestError::Content)
            }
        };
        content(claims.ver == VERSION)?;
        content(is_base64url::<32>(&claims.fp))?;
        content(is_base64url::<NONCE_BYTES>(&claims.nonce))?;
        content(is_text(&claims.product) && claims.name.as_deref().is_none_or(is_text))?;
        Ok(Self {
            license_key: claims
                .license_key
                .parse()
                .map_err(RequestError::LicenseKey)?,
            product: claims.product,
            fingerprint_hash: claims.fp,
            name: claims.name,
            machine_key: VerifyingKey::from_x(MACHINE_KID, &claims.mk)
                .map_err(|_| RequestError::Content)?,
            nonce: claims.nonce,
        })
    }
}

/// The claims of a token that names the key it is signed by.
fn self_signed(token: &str, now: Timestamp) -> Result<RequestClaims, RequestError> {
    let untrusted =
        Untrusted::<RequestClaims>::parse(token, now).map_err(|_| RequestError::Content)?;
    let key = VerifyingKey::from_x(MACHINE_KID, &untrusted.claims().mk)
        .map_err(|_| RequestError::Content)?;
    let verified = untrusted
        .verify(&key)
        .map_err(|_| RequestError::Signature)?;
    Ok(verified.into_claims())
}

fn is_base64url<const BYTES: usize>(text: &str) -> bool {
    let mut bytes = [0; BYTES];
    Base64UrlUnpadded::decode(text, &mut bytes).is_ok_and(|decoded| decoded.len() == BYTES)
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.contains('\0')
}
