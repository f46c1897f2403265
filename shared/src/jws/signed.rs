//! A signed text together with what the host says of its signature.

use super::{
    Kind, SignatureInvalid, Untrusted, Verified, VerifyingKey,
    parse::{SIGNATURE_BYTES, read_header, read_signature},
};

/// A compact JWS (RFC 7515 §7.1). Its signature is checked here, unless the host has done so: for hosts whose own
/// Ed25519 is faster than this crate's.
#[derive(Clone, Copy, Debug)]
pub struct SignedText<'a> {
    text: &'a str,
    word: Option<(&'a VerifyingKey, bool)>,
}

impl<'a> SignedText<'a> {
    /// One that the host has checked: whether what [`SignatureParts`] has of it is `key`'s signature.
    #[must_use]
    pub const fn checked(text: &'a str, key: &'a VerifyingKey, holds: bool) -> Self {
        let word = Some((key, holds));
        Self { text, word }
    }

    /// The text.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// Gives the claims away if `key` signed them.
    pub(crate) fn verify<K: Kind>(
        &self,
        untrusted: Untrusted<'_, K>,
        key: &VerifyingKey,
    ) -> Result<Verified<K>, SignatureInvalid> {
        let holds = self.holds(key, untrusted.signed_bytes(), untrusted.signature());
        untrusted.accept(key, holds)
    }

    /// The host's word counts for the key that it was given for.
    fn holds(&self, key: &VerifyingKey, signed: &[u8], signature: &[u8]) -> bool {
        match self.word {
            Some((by, holds)) if by == key => holds,
            _ => key.verify(signed, signature),
        }
    }
}

impl<'a> From<&'a str> for SignedText<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, word: None }
    }
}

impl<'a> From<&'a String> for SignedText<'a> {
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

/// What it takes to check the signature of a text of whatever kind.
#[derive(Clone, Debug)]
pub struct SignatureParts<'a> {
    /// The key that the text says has signed it.
    pub kid: String,
    /// What the signature is over (RFC 7515 §5.2).
    pub signed: &'a [u8],
    /// The signature.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl<'a> SignatureParts<'a> {
    /// Those of a text; none where it has not the form of a JWS.
    #[must_use]
    pub fn of(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, _) = signed.split_once('.')?;
        Some(Self {
            kid: read_header(header).ok()?.1,
            signed: signed.as_bytes(),
            signature: read_signature(signature).ok()?,
        })
    }
}
