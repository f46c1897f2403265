//! Reading tokens: an [`Untrusted`] text first, [`Verified`] claims after its signature has been checked.

use std::{borrow::Cow, fmt};

use serde::Deserialize;

use super::{
    Kind, MAX_LIFE_S, VerifyingKey,
    registered::{self, RegisteredClaims},
};
use crate::{base64url, time::Timestamp};

/// A header has three short fields; anything longer is not ours.
const MAX_HEADER_CHARS: usize = 512;
pub(super) const SIGNATURE_BYTES: usize = 64;
/// Times further than this from now are nonsense, and could overflow arithmetic: 100 years.
const TIME_HORIZON_S: i64 = 100 * 366 * 86_400;

/// Why a text is not a token of the expected kind. All of these show before any key is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Longer than its kind may be.
    TooLong,
    /// Not three segments of canonical base64url, or the signature is not 64 bytes.
    Form,
    /// Not exactly `alg` `EdDSA`, the kind's `typ`, and a `kid`, each once.
    Header,
    /// A claim is missing, twice there, or of the wrong type.
    Claims,
    /// `iat` or `exp` is missing, or the times are absurd or further apart than 400 days.
    Times,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than such a token may be",
            Self::Form => "it is not three parts of base64url joined by dots",
            Self::Header => "its header is not one of this kind of token",
            Self::Claims => "its claims are not those of this kind of token",
            Self::Times => "its times are missing or out of range",
        })
    }
}

impl std::error::Error for ParseError {}

/// The signature is not the key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureInvalid;

impl fmt::Display for SignatureInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signature does not fit")
    }
}

impl std::error::Error for SignatureInvalid {}

/// The registered times of a token (RFC 7519 §§4.1.4 to 4.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`: refused at and after this second.
    pub expires_at: Timestamp,
    /// `nbf`.
    pub not_before: Option<Timestamp>,
}

impl Times {
    /// From `now` for `life_s` seconds, cut to what a token may claim.
    #[must_use]
    pub fn starting(now: Timestamp, life_s: i64) -> Self {
        Self {
            issued_at: now,
            expires_at: now.plus(life_s.clamp(1, MAX_LIFE_S)),
            not_before: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    typ: Cow<'a, str>,
    #[serde(borrow)]
    kid: Cow<'a, str>,
}

/// A well-formed token nobody has vouched for yet. Only its `kid` may be looked at.
pub struct Untrusted<'a, K> {
    /// Header and claims, the first two segments.
    signed: &'a str,
    signature: [u8; SIGNATURE_BYTES],
    kid: String,
    claims: K,
    times: Times,
}

impl<'a, K: Kind> Untrusted<'a, K> {
    /// Parses `text` strictly: size, segments, base64url, header, claims, times, in this order.
    ///
    /// # Errors
    /// The first [`ParseError`] met. Never panics.
    pub fn parse(text: &'a str, now: Timestamp) -> Result<Self, ParseError> {
        if text.len() > K::MAX_BYTES {
            return Err(ParseError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(ParseError::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(ParseError::Form)?;
        let kid = check_header(header, K::TYP)?;
        let signature = read_signature(signature)?;
        // Base64url has no dot, so a fourth segment shows here.
        let json = segment(claims)?;
        let (claims, registered) = registered::claims(&json).map_err(|_| ParseError::Claims)?;
        let times = check_times(&registered, now)?;
        Ok(Self {
            signed,
            signature,
            kid,
            claims,
            times,
        })
    }

    /// What the text says, and nobody vouches for.
    pub(crate) const fn unverified(&self) -> &K {
        &self.claims
    }

    /// The key that the token says has signed it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What the signature is over: header and claims as they were sent (RFC 7515 §5.2).
    #[must_use]
    pub fn signed_bytes(&self) -> &'a [u8] {
        self.signed.as_bytes()
    }

    /// The signature, 64 bytes.
    #[must_use]
    pub const fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Checks the signature, and only then gives the claims away.
    ///
    /// # Errors
    /// [`SignatureInvalid`] when `key` did not sign this.
    pub fn verify(self, key: &VerifyingKey) -> Result<Verified<K>, SignatureInvalid> {
        let holds = key.verify(self.signed.as_bytes(), &self.signature);
        self.accept(key, holds)
    }

    /// What it claims, before anybody has vouched for it: only to find out whose key to ask.
    pub(crate) const fn claims(&self) -> &K {
        &self.claims
    }

    /// Gives the claims away on the host's word that it has checked the signature by itself:
    /// [`signature`](Self::signature) over [`signed_bytes`](Self::signed_bytes) under `key`. For
    /// hosts whose own Ed25519 is faster than this crate's.
    ///
    /// # Errors
    /// [`SignatureInvalid`] when it does not hold, or `key` is not the one that the token names.
    pub fn accept(self, key: &VerifyingKey, holds: bool) -> Result<Verified<K>, SignatureInvalid> {
        if holds && key.kid() == self.kid {
            Ok(self.trusted())
        } else {
            Err(SignatureInvalid)
        }
    }

    fn trusted(self) -> Verified<K> {
        Verified {
            claims: self.claims,
            kid: self.kid,
            times: self.times,
        }
    }
}

/// Claims whose signature has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<K> {
    claims: K,
    kid: String,
    times: Times,
}

impl<K> Verified<K> {
    /// What the token says.
    #[must_use]
    pub const fn claims(&self) -> &K {
        &self.claims
    }

    /// The key that signed it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When it was made, and until when it holds.
    #[must_use]
    pub const fn times(&self) -> Times {
        self.times
    }

    /// The claims by themselves.
    #[must_use]
    pub fn into_claims(self) -> K {
        self.claims
    }

    /// A part of the claims, which the same signature vouches for.
    pub(crate) fn part<P>(&self, part: impl FnOnce(&K) -> P) -> Verified<P> {
        Verified {
            claims: part(&self.claims),
            kid: self.kid.clone(),
            times: self.times,
        }
    }
}

fn segment(text: &str) -> Result<Vec<u8>, ParseError> {
    base64url::decode(text.as_bytes()).ok_or(ParseError::Form)
}

pub(super) fn read_signature(text: &str) -> Result<[u8; SIGNATURE_BYTES], ParseError> {
    let bytes = segment(text)?;
    bytes.try_into().map_err(|_| ParseError::Form)
}

fn check_header(text: &str, typ: &str) -> Result<String, ParseError> {
    let (found, kid) = read_header(text)?;
    if found == typ {
        Ok(kid)
    } else {
        Err(ParseError::Header)
    }
}

/// Its `typ` and its `kid`.
pub(super) fn read_header(text: &str) -> Result<(String, String), ParseError> {
    if text.len() > MAX_HEADER_CHARS {
        return Err(ParseError::Header);
    }
    let json = segment(text)?;
    // serde alone would take an array for a struct, its fields by position.
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(ParseError::Header);
    }
    let header: StrictHeader<'_> = serde_json::from_slice(&json).map_err(|_| ParseError::Header)?;
    if header.alg != "EdDSA" || header.kid.is_empty() {
        return Err(ParseError::Header);
    }
    Ok((header.typ.into_owned(), header.kid.into_owned()))
}

fn check_times(claims: &RegisteredClaims, now: Timestamp) -> Result<Times, ParseError> {
    // Compared before they become times, whose arithmetic saturates.
    let within = |seconds: i64| {
        (seconds.abs_diff(now.unix()) <= TIME_HORIZON_S.unsigned_abs())
            .then(|| Timestamp::from_unix(seconds))
            .ok_or(ParseError::Times)
    };
    let times = Times {
        issued_at: within(claims.iat.flatten().ok_or(ParseError::Times)?)?,
        expires_at: within(claims.exp.flatten().ok_or(ParseError::Times)?)?,
        not_before: claims.nbf.flatten().map(within).transpose()?,
    };
    let life = times.expires_at.since(times.issued_at);
    if (1..=MAX_LIFE_S).contains(&life) {
        Ok(times)
    } else {
        Err(ParseError::Times)
    }
}
