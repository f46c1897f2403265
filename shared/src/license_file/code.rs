//! The code: a machine's request short enough to be typed or read out on the telephone.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

use crate::crockford;

/// Symbols of a version and a SHA-256: 4 and 256 bits, five to a symbol.
const BODY_SYMBOLS: usize = 52;
const CHECK_SYMBOLS: usize = 4;
const GROUP: usize = 7;
const VERSION: u8 = 1;
/// More than any way of spacing the symbols; caps the work on junk.
const MAX_TYPED_CHARS: usize = 256;

/// What a machine shows when nothing but a voice or a keyboard leads away from it: which machine
/// it is. License key and product are said beside it.
///
/// 56 symbols of Crockford's base 32 in 8 groups of 7, the last four a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineCode {
    fingerprint: [u8; 32],
}

impl MachineCode {
    /// How many symbols a code has, hyphens not counted.
    pub const SYMBOLS: usize = BODY_SYMBOLS + CHECK_SYMBOLS;

    /// The code of the machine with this fingerprint.
    #[must_use]
    pub fn of(fingerprint: &str) -> Self {
        Self {
            fingerprint: Sha256::digest(fingerprint.as_bytes()).into(),
        }
    }

    /// Base64url of the fingerprint's SHA-256, as license files name their machine.
    #[must_use]
    pub fn fingerprint_hash(&self) -> String {
        use base64ct::{Base64UrlUnpadded, Encoding};
        Base64UrlUnpadded::encode_string(&self.fingerprint)
    }

    fn symbols(&self) -> String {
        let mut symbols = String::with_capacity(Self::SYMBOLS);
        // Four bits wait from the start, so that 256 more come out even.
        let (mut waiting, mut bits) = (u32::from(VERSION), 4);
        for byte in self.fingerprint {
            waiting = (waiting << 8) | u32::from(byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                // Truncation is the point: a symbol is of five bits.
                symbols.push(crockford::symbol((waiting >> bits) as u8));
            }
        }
        symbols.push_str(&check(&symbols));
        symbols
    }
}

/// 20 bits: one wrong code in a million passes.
fn check(symbols: &str) -> String {
    let digest = Sha256::new()
        .chain_update(b"licet machine code v1\0")
        .chain_update(symbols)
        .finalize();
    let bits = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> 12;
    crockford::encode(u128::from(bits), CHECK_SYMBOLS as u32)
}

impl fmt::Display for MachineCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbols = self.symbols();
        let mut rest = symbols.as_str();
        while rest.len() > GROUP {
            let (group, tail) = rest.split_at(GROUP);
            write!(f, "{group}-")?;
            rest = tail;
        }
        f.write_str(rest)
    }
}

/// Why a typed text is not a machine's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MachineCodeError {
    /// Not 56 symbols; the number found (hyphens and spaces do not count).
    Length(usize),
    /// A character that codes do not use.
    Symbol(char),
    /// The last four do not fit the rest: a typo somewhere.
    Check,
    /// Made by a version of the format that is not known here.
    Version,
}

impl fmt::Display for MachineCodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(found) => write!(
                f,
                "a machine's code has {} letters and digits, this has {found}",
                MachineCode::SYMBOLS
            ),
            Self::Symbol(symbol) => write!(f, "{symbol:?} does not occur in a machine's code"),
            Self::Check => {
                f.write_str("the code has a typo: its last four symbols do not fit the rest")
            }
            Self::Version => f.write_str("the code is of another version"),
        }
    }
}

impl std::error::Error for MachineCodeError {}

impl FromStr for MachineCode {
    type Err = MachineCodeError;

    /// Reads a code as people type it: any case, hyphens and spaces anywhere, `O` for 0, `I` or `L` for 1.
    fn from_str(text: &str) -> Result<Self, MachineCodeError> {
        if text.len() > MAX_TYPED_CHARS {
            return Err(MachineCodeError::Length(text.len()));
        }
        let mut symbols = String::with_capacity(Self::SYMBOLS);
        for c in text.chars().filter(|c| *c != '-' && !c.is_whitespace()) {
            let value = crockford::value(c).map_err(|error| MachineCodeError::Symbol(error.0))?;
            symbols.push(crockford::symbol(value));
        }
        if symbols.len() != Self::SYMBOLS {
            return Err(MachineCodeError::Length(symbols.len()));
        }
        let (body, given) = symbols.split_at(BODY_SYMBOLS);
        if check(body) != given {
            return Err(MachineCodeError::Check);
        }
        let mut values = body.chars().map(|c| crockford::value(c).unwrap_or(0));
        let first = values.next().unwrap_or(0);
        if first >> 1 != VERSION {
            return Err(MachineCodeError::Version);
        }
        let mut fingerprint = [0; 32];
        let (mut waiting, mut bits) = (u32::from(first & 1), 1);
        for byte in &mut fingerprint {
            while bits < 8 {
                waiting = (waiting << 5) | u32::from(values.next().unwrap_or(0));
                bits += 5;
            }
            bits -= 8;
            *byte = (waiting >> bits) as u8;
        }
        Ok(Self { fingerprint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::fingerprint_hash;

    #[test]
    fn codes_read_back_however_they_are_typed() {
        for fingerprint in [
            "",
            "device-1",
            "é",
            "a much longer fingerprint than the others",
        ] {
            let code = MachineCode::of(fingerprint);
            let shown = code.to_string();
            assert_eq!(shown.len(), 56 + 7, "{shown}");
            for typed in [
                shown.clone(),
                shown.to_lowercase(),
                shown.replace('-', " "),
                shown.replace('-', ""),
                shown.replace('0', "O").replace('1', "i"),
            ] {
                assert_eq!(typed.parse(), Ok(code), "{typed}");
            }
            assert_eq!(code.fingerprint_hash(), fingerprint_hash(fingerprint));
        }
    }

    #[test]
    fn any_one_wrong_symbol_is_noticed() {
        let shown = MachineCode::of("device-1").to_string().replace('-', "");
        for position in 0..shown.len() {
            for replacement in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars() {
                let mut typed: Vec<char> = shown.chars().collect();
                if typed[position] == replacement {
                    continue;
                }
                typed[position] = replacement;
                let typed: String = typed.into_iter().collect();
                let read = typed.parse::<MachineCode>();
                assert_eq!(read, Err(MachineCodeError::Check), "{typed}");
            }
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let shown = MachineCode::of("device-1").to_string();
        let read = |text: &str| text.parse::<MachineCode>();
        assert_eq!(read(""), Err(MachineCodeError::Length(0)));
        assert_eq!(read(&shown[..62]), Err(MachineCodeError::Length(55)));
        assert_eq!(read(&"é".repeat(200)), Err(MachineCodeError::Length(400)));
        let swapped = shown.replacen(|c: char| c.is_ascii_digit(), "U", 1);
        assert_eq!(read(&swapped), Err(MachineCodeError::Symbol('U')));
        // The next version's, with a check that fits.
        let body = format!("4{}", &shown.replace('-', "")[1..BODY_SYMBOLS]);
        let other = format!("{body}{}", check(&body));
        assert_eq!(read(&other), Err(MachineCodeError::Version));
    }
}
