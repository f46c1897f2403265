//! What nearly every request to the edge runs through: its body, its token, its verdict.
//!
//! The Worker is compiled for size. Reading and writing JSON is generic code, compiled where it is
//! used for a type; here it is compiled less so (`profile.edge` in the workspace's `Cargo.toml`).

mod text;

use licet_shared::{
    api::{self, ValidateRequest},
    decision::{Freshness, PresentedToken, Ruling, TokenRefused, Verdict},
    id::RequestId,
    time::Timestamp,
};
use serde::Serialize;

use crate::text::Text;

/// The request in a body, if it is in order.
#[must_use]
pub fn read_request(body: &[u8]) -> Option<ValidateRequest> {
    api::parse(body).ok()
}

/// Whether two texts are the same: eight bytes at a time, where Wasm's `memcmp` takes one.
#[must_use]
pub fn are_same(one: &str, other: &str) -> bool {
    let (one_words, one_rest) = one.as_bytes().as_chunks();
    let (other_words, other_rest) = other.as_bytes().as_chunks();
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    one.len() == other.len()
        && one_words.iter().map(word).eq(other_words.iter().map(word))
        && one_rest == other_rest
}

/// A text as a token that nobody has vouched for yet.
///
/// # Errors
/// As [`PresentedToken::parse`](licet_shared::decision::Presented::parse).
pub fn read_token(text: &str, now: Timestamp) -> Result<PresentedToken<'_>, TokenRefused> {
    PresentedToken::parse(text, now)
}

/// A verdict as JSON, its request's id last.
#[must_use]
pub fn write(verdict: &Verdict<'_>) -> String {
    // All of its parts have a JSON form, and memory takes all that is written.
    json(verdict).unwrap_or_default()
}

/// The end of what [`write`] makes of a verdict of this ruling: all that differs between two answers whose
/// code, license and features are the same.
#[must_use]
pub fn write_end(ruling: &Ruling, request_id: RequestId) -> String {
    /// The last members of a [`Verdict`].
    #[derive(Serialize)]
    struct End {
        freshness: Freshness,
        grace_remaining_s: i64,
        request_id: RequestId,
    }
    let mut text = json(&End {
        freshness: ruling.freshness,
        grace_remaining_s: ruling.grace_remaining_s,
        request_id,
    })
    .unwrap_or_default();
    // The brace that the answer began with long before.
    if !text.is_empty() {
        text.remove(0);
    }
    text
}

/// A value as JSON. The edge writes all that it writes by this: one copy of serde_json's code for one writer.
///
/// # Errors
/// Where a part of the value has no JSON form.
pub fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    // Most answers are of some 600 bytes.
    let mut text = Text::with_capacity(1024);
    serde_json::to_writer(&mut text, value)?;
    Ok(text.into_string())
}

#[cfg(test)]
mod tests {
    use super::are_same;

    #[test]
    fn texts_are_the_same_where_their_bytes_are() {
        let alphabet = |length| ('a'..='z').cycle().take(length).collect::<String>();
        let text = alphabet(40);
        for length in 0..40 {
            let one = &text[..length];
            // The letters come again after 26, elsewhere in memory.
            assert!(are_same(one, &alphabet(66)[26..][..length]), "{one}");
            assert!(!are_same(one, &text[..length + 1]), "{one}");
            for place in 0..length {
                let mut other = one.to_owned();
                other.replace_range(place..=place, "-");
                assert!(!are_same(one, &other), "{one}, {other}");
            }
        }
    }
}
