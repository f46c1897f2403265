//! Secrets that people and machines carry: `licet_<kind>_<org tag><random><check>`. The prefix
//! lets scanners recognise them, the tag leads to the organization, the check refuses typos
//! before anything is asked of the database. At rest there is only a SHA-256.

use std::fmt;

use licet_shared::id::OrgTag;
use sha2::{Digest, Sha256};

use crate::{fault::Fault, random};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^32: 190 bits.
const RANDOM_SYMBOLS: usize = 32;
const CHECK_SYMBOLS: usize = 6;

/// What a secret is for. Never changes: scanners and people know these prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// Of a machine.
    ApiKey,
    /// Renews a session.
    RefreshToken,
    /// Lets a person join.
    Invitation,
}

impl SecretKind {
    /// What each begins with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "licet_sk_",
            Self::RefreshToken => "licet_rt_",
            Self::Invitation => "licet_iv_",
        }
    }
}

/// A well-formed secret. Whether it opens anything, only the database knows.
#[derive(Clone, PartialEq, Eq)]
pub struct OrgSecret {
    text: String,
    tag: OrgTag,
}

impl fmt::Debug for OrgSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrgSecret({}…)", self.tag)
    }
}

impl OrgSecret {
    /// A new one.
    ///
    /// # Errors
    /// [`Fault`] when there is no randomness.
    pub fn generate(kind: SecretKind, tag: OrgTag) -> Result<Self, Fault> {
        Ok(Self::with_body(kind, tag, &random_symbols()?))
    }

    /// One with a body of our own, of symbols that stand in no need of escaping.
    pub(crate) fn with_body(kind: SecretKind, tag: OrgTag, body: &str) -> Self {
        let mut text = format!("{}{tag}{body}", kind.prefix());
        text.push_str(&check(&text));
        Self { text, tag }
    }

    /// Reads one of this kind; none for what is not well-formed.
    #[must_use]
    pub fn parse(kind: SecretKind, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(kind.prefix())?;
        // ASCII first, so that no cut falls into a character.
        if text.len() > 256 || !text.is_ascii() || rest.len() <= OrgTag::LEN + CHECK_SYMBOLS {
            return None;
        }
        let (checked, given) = text.split_at(text.len() - CHECK_SYMBOLS);
        if check(checked) != given {
            return None;
        }
        let tag = rest.get(..OrgTag::LEN)?.parse().ok()?;
        Some(Self {
            text: text.to_owned(),
            tag,
        })
    }

    /// The organization that it says it is of.
    #[must_use]
    pub const fn tag(&self) -> OrgTag {
        self.tag
    }

    /// What is stored.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }

    /// The text, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The last symbols, by which people tell theirs apart.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.text[self.text.len() - 4..]
    }

    /// What stands between tag and check.
    pub(super) fn body(&self, kind: SecretKind) -> &str {
        &self.text[kind.prefix().len() + OrgTag::LEN..self.text.len() - CHECK_SYMBOLS]
    }
}

/// Uniform: bytes that would favour some symbols are dropped.
fn random_symbols() -> Result<String, Fault> {
    let mut symbols = String::with_capacity(RANDOM_SYMBOLS);
    while symbols.len() < RANDOM_SYMBOLS {
        let bytes = random::bytes::<RANDOM_SYMBOLS>()?;
        let fair = bytes.into_iter().filter(|byte| *byte < 62 * 4);
        symbols.extend(fair.map(|byte| char::from(BASE62[usize::from(byte % 62)])));
    }
    symbols.truncate(RANDOM_SYMBOLS);
    Ok(symbols)
}

/// CRC-32 of all that stands before it, in six symbols of base 62, the most significant first.
fn check(text: &str) -> String {
    let mut number = crc32fast::hash(text.as_bytes());
    let mut symbols = [b'0'; CHECK_SYMBOLS];
    for symbol in symbols.iter_mut().rev() {
        *symbol = BASE62[(number % 62) as usize];
        number /= 62;
    }
    symbols.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> OrgTag {
        "7Q2M4X9K".parse().unwrap()
    }

    #[test]
    fn has_its_form_and_reads_back() {
        let secret = OrgSecret::generate(SecretKind::ApiKey, tag()).unwrap();
        let text = secret.reveal();
        assert!(text.starts_with("licet_sk_7Q2M4X9K"), "{text}");
        assert_eq!(text.len(), 9 + 8 + 32 + 6);
        assert!(text[9..].bytes().all(|b| b.is_ascii_alphanumeric()));
        let read = OrgSecret::parse(SecretKind::ApiKey, text).unwrap();
        assert_eq!((read.tag(), read.hash()), (tag(), secret.hash()));
        assert!(text.ends_with(read.hint()));
        assert!(!format!("{secret:?}").contains(&text[17..]));
        assert_ne!(
            OrgSecret::generate(SecretKind::ApiKey, tag()).unwrap(),
            secret
        );
    }

    #[test]
    fn any_changed_symbol_and_any_other_kind_is_refused() {
        let secret = OrgSecret::generate(SecretKind::ApiKey, tag()).unwrap();
        let text = secret.reveal();
        for position in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] = if bytes[position] == b'x' { b'y' } else { b'x' };
            let altered = String::from_utf8(bytes).unwrap();
            assert_eq!(
                OrgSecret::parse(SecretKind::ApiKey, &altered),
                None,
                "{position}"
            );
            assert_eq!(
                OrgSecret::parse(SecretKind::ApiKey, &text[..position]),
                None
            );
        }
        assert_eq!(OrgSecret::parse(SecretKind::RefreshToken, text), None);
        assert_eq!(
            OrgSecret::parse(SecretKind::ApiKey, &"licet_sk_é".repeat(7)),
            None
        );
    }

    /// The form is a promise to secret scanners: pinned.
    #[test]
    fn the_check_is_what_it_was() {
        let secret = OrgSecret::with_body(SecretKind::ApiKey, tag(), &"a".repeat(32));
        assert_eq!(secret.reveal().len(), 55);
        assert_eq!(check("123456789"), {
            // CRC-32 of this text is 0xcbf43926.
            let mut number = 0xcbf4_3926_u32;
            let mut text = String::new();
            for _ in 0..6 {
                text.insert(0, char::from(BASE62[(number % 62) as usize]));
                number /= 62;
            }
            text
        });
    }
}
