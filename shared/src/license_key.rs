//! License keys: `<org tag 8>-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX-CCCC`, Crockford's base 32.
//!
//! 125 random bits make it unguessable; a 20-bit check lets the edge refuse a typo by itself;
//! the org tag tells the origin whose it is before anything is looked up.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};
use sha2::{Digest, Sha256};

use crate::{crockford, id::OrgTag};

const RANDOM_SYMBOLS: usize = 25;
const CHECK_SYMBOLS: usize = 4;
const SYMBOLS: usize = OrgTag::LEN + RANDOM_SYMBOLS + CHECK_SYMBOLS;
/// More than any way of spacing 37 symbols; caps the work on junk.
const MAX_TYPED_CHARS: usize = 128;

/// A license key whose check is right. `Debug` shows the org tag alone.
#[derive(Clone, PartialEq, Eq)]
pub struct LicenseKey {
    org: OrgTag,
    /// All 37 symbols, upper case, without hyphens.
    symbols: String,
}

impl LicenseKey {
    /// A new key for an organization from 16 random bytes, of which 125 bits are used.
    #[must_use]
    pub fn new(org: OrgTag, random: [u8; 16]) -> Self {
        let body = crockford::encode(u128::from_be_bytes(random), RANDOM_SYMBOLS as u32);
        let mut symbols = format!("{org}{body}");
        symbols.push_str(&check(&symbols));
        Self { org, symbols }
    }

    /// The organization that issued it.
    #[must_use]
    pub const fn org(&self) -> OrgTag {
        self.org
    }

    /// SHA-256 of the 37 symbols: what the origin stores in the key's place.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.symbols.as_bytes()).into()
    }

    /// The key as the buyer is to see it. This is the secret itself: show it once, log it never.
    #[must_use]
    pub fn reveal(&self) -> String {
        let groups = [8, 5, 5, 5, 5, 5, 4];
        let mut rest = self.symbols.as_str();
        let mut parts = Vec::with_capacity(groups.len());
        for length in groups {
            let (part, tail) = rest.split_at(length);
            parts.push(part);
            rest = tail;
        }
        parts.join("-")
    }
}

impl fmt::Debug for LicenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LicenseKey({}-…)", self.org)
    }
}

/// The first 20 bits of a domain-separated SHA-256, in four symbols: one wrong key in a million passes.
fn check(symbols: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"licet license key v1\0");
    hash.update(symbols.as_bytes());
    let digest = hash.finalize();
    let bits = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> 12;
    crockford::encode(u128::from(bits), CHECK_SYMBOLS as u32)
}

/// Why a typed text is not a license key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LicenseKeyError {
    /// Not 37 symbols; the number found (hyphens and spaces do not count).
    Length(usize),
    /// A character that keys do not use.
    Symbol(char),
    /// The last group does not fit the rest: a typo somewhere.
    Check,
}

impl fmt::Display for LicenseKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(found) => {
                write!(
                    f,
                    "a license key has {SYMBOLS} letters and digits, this has {found}"
                )
            }
            Self::Symbol(symbol) => write!(f, "{symbol:?} does not occur in license keys"),
            Self::Check => {
                f.write_str("the license key has a typo: its last group does not fit the rest")
            }
        }
    }
}

impl std::error::Error for LicenseKeyError {}

impl FromStr for LicenseKey {
    type Err = LicenseKeyError;

    /// Reads a key as people type it: any case, hyphens and spaces anywhere, `O` for 0, `I` or `L` for 1.
    fn from_str(text: &str) -> Result<Self, LicenseKeyError> {
        if text.len() > MAX_TYPED_CHARS {
            return Err(LicenseKeyError::Length(text.len()));
        }
        let mut symbols = String::with_capacity(SYMBOLS);
        for c in text.chars().filter(|c| *c != '-' && !c.is_whitespace()) {
            let value = crockford::value(c).map_err(|error| LicenseKeyError::Symbol(error.0))?;
            symbols.push(crockford::symbol(value));
        }
        if symbols.len() != SYMBOLS {
            return Err(LicenseKeyError::Length(symbols.len()));
        }
        let (payload, given) = symbols.split_at(SYMBOLS - CHECK_SYMBOLS);
        if check(payload) != given {
            return Err(LicenseKeyError::Check);
        }
        let org = symbols[..OrgTag::LEN]
            .parse()
            .map_err(|_| LicenseKeyError::Check)?;
        Ok(Self { org, symbols })
    }
}

impl<'de> Deserialize<'de> for LicenseKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'_, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> LicenseKey {
        LicenseKey::new("ABCDEFGH".parse().unwrap(), *b"0123456789abcdef")
    }

    #[test]
    fn a_key_reads_back_however_it_is_typed() {
        let shown = key().reveal();
        assert_eq!(shown.len(), 8 + 5 * 6 + 5);
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            shown.replace('-', " "),
            shown.replace('-', ""),
            shown.replace('0', "O").replace('1', "l"),
        ] {
            assert_eq!(typed.parse(), Ok(key()), "{typed}");
        }
        assert_eq!(key().org().as_str(), "ABCDEFGH");
    }

    #[test]
    fn any_one_wrong_symbol_and_any_swap_is_noticed() {
        let shown = key().reveal().replace('-', "");
        for position in 0..shown.len() {
            for replacement in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars() {
                let mut typed: Vec<char> = shown.chars().collect();
                if typed[position] == replacement {
                    continue;
                }
                typed[position] = replacement;
                let typed: String = typed.into_iter().collect();
                assert_eq!(
                    typed.parse::<LicenseKey>(),
                    Err(LicenseKeyError::Check),
                    "{typed}"
                );
            }
        }
        for position in 1..shown.len() {
            let mut typed: Vec<char> = shown.chars().collect();
            typed.swap(position - 1, position);
            let typed: String = typed.into_iter().collect();
            assert!(
                typed == shown || typed.parse::<LicenseKey>().is_err(),
                "{typed}"
            );
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let shown = key().reveal();
        assert_eq!("".parse::<LicenseKey>(), Err(LicenseKeyError::Length(0)));
        assert_eq!(
            shown[..40].parse::<LicenseKey>(),
            Err(LicenseKeyError::Length(34))
        );
        assert_eq!(
            shown.replacen('A', "U", 1).parse::<LicenseKey>(),
            Err(LicenseKeyError::Symbol('U'))
        );
        assert_eq!(
            "é".repeat(200).parse::<LicenseKey>(),
            Err(LicenseKeyError::Length(400))
        );
    }

    #[test]
    fn debug_hides_the_secret_and_hashes_differ() {
        assert_eq!(format!("{:?}", key()), "LicenseKey(ABCDEFGH-…)");
        let other = LicenseKey::new("ABCDEFGH".parse().unwrap(), *b"0123456789abcdeg");
        assert_ne!(key().hash(), other.hash());
    }
}
