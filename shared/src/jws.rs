//! Compact JWS (RFC 7515 §7.1) with Ed25519 alone (RFC 8037 §3.1): made by jwt-compact, and read by a
//! parser that refuses whatever Licet's own tokens never contain.

mod keys;
mod parse;
mod registered;
mod sign;
mod signed;

pub use keys::{KeyError, LocalSigner, SignError, Signer, SigningSeed, VerifyingKey};
pub use parse::{ParseError, SignatureInvalid, Times, Untrusted, Verified};
pub use sign::{Unsigned, sign};
pub use signed::{SignatureParts, SignedText};

use serde::{Serialize, de::DeserializeOwned};

/// Longest life a token may claim, `exp - iat`, in seconds: 400 days.
pub const MAX_LIFE_S: i64 = 400 * 86_400;

/// Largest token that a client may present, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A kind of token, told apart by its exact `typ` (RFC 8725 §3.11).
pub trait Kind: Serialize + DeserializeOwned {
    /// The header's `typ`.
    const TYP: &'static str;
    /// Size above which a text is not even looked at, in bytes.
    const MAX_BYTES: usize = MAX_TOKEN_BYTES;
}
