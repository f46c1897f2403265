//! Crockford's base 32: ids in lower case, license keys and org tags in upper case.

use std::fmt;

const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LOWER_SYMBOLS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

const NONE: u8 = u8::MAX;
/// The values of the lower-case symbols, by byte.
static LOWER_VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 32 {
        values[LOWER_SYMBOLS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// A character that is no symbol of Crockford's alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolError(pub char);

impl fmt::Display for SymbolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not used in a key", self.0)
    }
}

impl std::error::Error for SymbolError {}

/// The upper-case symbol for the low five bits of `value`.
pub(crate) fn symbol(value: u8) -> char {
    char::from(SYMBOLS[usize::from(value & 31)])
}

/// The lower-case symbol for the low five bits of `value`.
pub(crate) fn lower_symbol(value: u8) -> u8 {
    LOWER_SYMBOLS[usize::from(value & 31)]
}

/// The value of a lower-case symbol, in its one spelling.
pub(crate) fn lower_value(symbol: u8) -> Option<u8> {
    let value = LOWER_VALUES[usize::from(symbol)];
    (value != NONE).then_some(value)
}

/// The value of a symbol as a person may type it: any case, `O` for 0, `I` and `L` for 1.
pub(crate) fn value(symbol: char) -> Result<u8, SymbolError> {
    let upper = match symbol.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    SYMBOLS
        .iter()
        .position(|&s| char::from(s) == upper)
        .and_then(|position| u8::try_from(position).ok())
        .ok_or(SymbolError(symbol))
}

/// `count` symbols of the low `5 * count` bits of `number`, most significant first.
pub(crate) fn encode(number: u128, count: u32) -> String {
    (0..count)
        .rev()
        // Truncation is the point: `symbol` looks at five bits.
        .map(|group| symbol((number >> (5 * group)) as u8))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_reads_back_in_either_case() {
        for expected in 0..32 {
            let symbol = symbol(expected);
            assert_eq!(value(symbol), Ok(expected));
            assert_eq!(value(symbol.to_ascii_lowercase()), Ok(expected));
        }
    }

    #[test]
    fn look_alikes_read_as_digits_and_u_is_refused() {
        assert_eq!(value('o'), Ok(0));
        assert_eq!(value('I'), Ok(1));
        assert_eq!(value('l'), Ok(1));
        for symbol in ['u', 'U', '-', ' ', 'é', '\0'] {
            assert_eq!(value(symbol), Err(SymbolError(symbol)));
        }
    }
}
