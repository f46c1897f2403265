//! Keys that sign and keys that verify.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_compact::{KeyPair, PublicKey, Seed, Signature};

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Not `<kid>:<base64url of 32 bytes>`.
    Form,
    /// The bytes are no point of the curve in canonical form, or one of small order
    /// under which forgeries exist.
    Weak,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "expected <kid>:<32 bytes in base64url without padding>",
            Self::Weak => "these bytes are not a safe Ed25519 public key",
        })
    }
}

impl std::error::Error for KeyError {}

fn decode_32(text: &str) -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 32];
    match Base64UrlUnpadded::decode(text, &mut bytes) {
        Ok(decoded) if decoded.len() == 32 => Ok(bytes),
        _ => Err(KeyError::Form),
    }
}

fn split_kid(text: &str) -> Result<(&str, &str), KeyError> {
    match text.split_once(':') {
        Some((kid, key)) if !kid.is_empty() && kid.len() <= 64 => Ok((kid, key)),
        _ => Err(KeyError::Form),
    }
}

/// A public key that may verify, with the `kid` it goes by. Never one of small order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    kid: String,
    key: PublicKey,
}

impl VerifyingKey {
    /// Takes the key's 32 bytes (RFC 8032 §5.1.2).
    ///
    /// # Errors
    /// [`KeyError::Weak`] unless they are the canonical form of a point that has not a small order.
    pub fn new(kid: impl Into<String>, bytes: [u8; 32]) -> Result<Self, KeyError> {
        let key = PublicKey::new(bytes);
        key.validate().map_err(|_| KeyError::Weak)?;
        Ok(Self {
            kid: kid.into(),
            key,
        })
    }

    /// Takes `x` of a JWK (RFC 8037 §2).
    ///
    /// # Errors
    /// [`KeyError`] when it is not 32 bytes of base64url or not a safe key.
    pub fn from_x(kid: impl Into<String>, x: &str) -> Result<Self, KeyError> {
        Self::new(kid, decode_32(x)?)
    }

    /// The name this key goes by.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key's 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        *self.key
    }

    /// `x` of the key's JWK.
    #[must_use]
    pub fn x(&self) -> String {
        Base64UrlUnpadded::encode_string(&*self.key)
    }

    /// Whether `signature` is this key's over `message` (RFC 8032 §5.1.7, and S below L, no small order).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|s| self.key.verify(message, &s).is_ok())
    }
}

impl std::str::FromStr for VerifyingKey {
    type Err = KeyError;

    /// Reads `<kid>:<x>`, as configuration has it.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (kid, x) = split_kid(text)?;
        Self::from_x(kid, x)
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kid, self.x())
    }
}

/// Signing failed, as it can where the key lives in another process or device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignError(pub String);

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signing failed: {}", self.0)
    }
}

impl std::error::Error for SignError {}

/// Something that signs with one Ed25519 key: bytes in this process, a KMS, an HSM.
pub trait Signer {
    /// The `kid` written into what it signs.
    fn kid(&self) -> &str;

    /// Ed25519 (RFC 8032 §5.1.6) over `message`.
    ///
    /// # Errors
    /// [`SignError`] when the key can't be reached or refuses.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// A seed of 32 random bytes (RFC 8032 §5.1.5) with its `kid`, as configuration has it, for hosts
/// that sign by means of their own. `Debug` shows the `kid` alone.
#[derive(Clone)]
pub struct SigningSeed {
    kid: String,
    seed: [u8; 32],
}

impl SigningSeed {
    /// The `kid` of what is signed with it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The seed. This is the secret itself.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        self.seed
    }
}

impl fmt::Debug for SigningSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSeed({})", self.kid)
    }
}

impl std::str::FromStr for SigningSeed {
    type Err = KeyError;

    /// Reads `<kid>:<seed>`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (kid, seed) = split_kid(text)?;
        Ok(Self {
            kid: kid.into(),
            seed: decode_32(seed)?,
        })
    }
}

/// A signer whose key is in this process's memory. `Debug` shows the `kid` alone.
#[derive(Clone)]
pub struct LocalSigner {
    kid: String,
    pair: KeyPair,
}

impl LocalSigner {
    /// The key made from a seed of 32 random bytes (RFC 8032 §5.1.5).
    #[must_use]
    pub fn from_seed(kid: impl Into<String>, seed: [u8; 32]) -> Self {
        Self {
            kid: kid.into(),
            pair: KeyPair::from_seed(Seed::new(seed)),
        }
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey {
            kid: self.kid.clone(),
            key: self.pair.pk,
        }
    }

    /// The seed, for hosts whose own Ed25519 is faster. This is the secret itself.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        *self.pair.sk.seed()
    }

    /// `<kid>:<seed>`, as configuration has it. This is the secret itself.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!(
            "{}:{}",
            self.kid,
            Base64UrlUnpadded::encode_string(&self.seed())
        )
    }
}

impl Signer for LocalSigner {
    fn kid(&self) -> &str {
        &self.kid
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        // No noise: the nonce comes from key and message alone, as RFC 8032 has it, so that no
        // randomness is needed here.
        Ok(*self.pair.sk.sign(message, None))
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalSigner({})", self.kid)
    }
}

impl std::str::FromStr for LocalSigner {
    type Err = KeyError;

    /// Reads `<kid>:<seed>`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let SigningSeed { kid, seed } = text.parse()?;
        Ok(Self::from_seed(kid, seed))
    }
}
