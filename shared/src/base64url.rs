//! Base64url without padding (RFC 4648 §5), by a table.
//!
//! For tokens, which are no secret: what reads keys in constant time (`base64ct`) took a quarter of
//! what Wasm did for a new token.

/// No digit has this value, nor can several that are or-ed together.
const NONE: u8 = 0x80;

/// The value of each byte as a digit.
static VALUES: [u8; 256] = {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < digits.len() {
        values[digits[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// The bytes; none for a text that is not their one canonical form.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_chunks::<4>();
    // Room for all from the start: a `Vec` that grows looks at its capacity for every group.
    let mut bytes = vec![0; text.len() * 3 / 4];
    let (threes, last) = bytes.as_chunks_mut::<3>();
    let mut seen = 0;
    let mut value = |digit: u8| {
        let value = VALUES[usize::from(digit)];
        seen |= value;
        u32::from(value)
    };
    for (three, &[a, b, c, d]) in threes.iter_mut().zip(groups) {
        let bits = value(a) << 18 | value(b) << 12 | value(c) << 6 | value(d);
        [_, three[0], three[1], three[2]] = bits.to_be_bytes();
    }
    // One digit is less than a byte; of two or three, the bits that are left over have to be zero.
    let bits = rest.iter().fold(0, |bits, &digit| bits << 6 | value(digit));
    match (rest.len(), last) {
        (0, []) => {}
        (2, [one]) if bits & 0xf == 0 => *one = (bits >> 4) as u8,
        (3, [one, two]) if bits & 0x3 == 0 => [_, _, *one, *two] = (bits >> 2).to_be_bytes(),
        _ => return None,
    }
    (seen & NONE == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64UrlUnpadded, Encoding};

    use super::decode;

    #[track_caller]
    fn is_judged_alike(text: &[u8]) {
        let theirs = std::str::from_utf8(text)
            .ok()
            .and_then(|text| Base64UrlUnpadded::decode_vec(text).ok());
        assert_eq!(decode(text), theirs, "{text:?}");
    }

    #[test]
    fn all_short_texts_are_judged_as_by_the_library() {
        is_judged_alike(b"");
        for first in 0..=0x7f {
            is_judged_alike(&[first]);
            for second in 0..=0x7f {
                is_judged_alike(&[first, second]);
                is_judged_alike(&[first, b'A', second]);
                is_judged_alike(&[b'_', second, first, b'-']);
                is_judged_alike(&[b'-', b'_', b'0', b'z', b'9', first, second]);
            }
        }
    }

    #[test]
    fn a_wrong_byte_anywhere_is_noticed() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..bytes.len() {
            let text = Base64UrlUnpadded::encode_string(&bytes[..length]);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(&bytes[..length]));
            for place in 0..text.len() {
                for wrong in [b'=', b'+', b'/', b'.', b' ', b'\n', 0, 0x80, 0xff] {
                    let mut text = text.clone().into_bytes();
                    text[place] = wrong;
                    assert_eq!(decode(&text), None, "{place} of {length}");
                }
            }
        }
    }
}
