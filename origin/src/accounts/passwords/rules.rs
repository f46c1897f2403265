//! Which passwords are taken.

use std::collections::BTreeSet;

use licet_shared::problem::ProblemCode;

use super::common::COMMON;
use crate::rejection::Rejection;

const MIN_CHARS: usize = 8;
const MAX_CHARS: usize = 128;
const MAX_BYTES: usize = 512;
/// Fewer different characters are no password, however long.
const MIN_DIFFERENT: usize = 5;

/// Refuses what is too short, too long, too common or the person's own e-mail.
pub(crate) fn check(password: &str, email: &str) -> Result<(), Rejection> {
    match objection(password, email) {
        None => Ok(()),
        Some(why) => Err(Rejection::new(ProblemCode::PasswordRefused, why)),
    }
}

fn objection(password: &str, email: &str) -> Option<&'static str> {
    let chars = password.chars().count();
    if chars < MIN_CHARS {
        return Some("A password must have at least 8 characters.");
    }
    if chars > MAX_CHARS || password.len() > MAX_BYTES {
        return Some("A password may have at most 128 characters and 512 bytes.");
    }
    let lower = password.to_lowercase();
    let name = email.split('@').next().unwrap_or_default();
    if lower == email
        || (name.len() >= 4 && lower.trim_matches(|c: char| !c.is_alphabetic()) == name)
    {
        return Some("The password must not be the e-mail address.");
    }
    let different: BTreeSet<char> = lower.chars().collect();
    let letters = lower.trim_end_matches(|c: char| c.is_ascii_digit() || c.is_ascii_punctuation());
    if different.len() < MIN_DIFFERENT
        || COMMON.contains(&lower.as_str())
        || COMMON.contains(&letters)
        || is_run(&lower)
    {
        return Some(
            "This password is among those that are tried first. Several unrelated words make a good one.",
        );
    }
    None
}

/// Whether it only counts up or down, as `abcdefgh` and `87654321` do.
fn is_run(text: &str) -> bool {
    let codes: Vec<i64> = text.chars().map(|c| i64::from(u32::from(c))).collect();
    [1, -1]
        .into_iter()
        .any(|step| codes.windows(2).all(|pair| pair[1] - pair[0] == step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_characters() {
        assert!(check("ä&ö?ü!ß", "").is_err());
        assert!(check("ä&ö?ü!ß7", "").is_ok());
        let long = "correct horse battery staple ".repeat(5);
        assert!(check(&long[..128], "").is_ok());
        assert!(check(&long[..129], "").is_err());
        assert!(check(&"🔒a🔑b🗝c".repeat(21), "").is_ok());
        assert!(check(&"🔒🔑🗝🧱🪟".repeat(26), "").is_err());
    }

    #[test]
    fn what_is_tried_first_is_refused() {
        for bad in [
            "password",
            "Password1",
            "P@ssw0rd",
            "qwertyuiop",
            "iloveyou2024!",
            "12345678",
            "87654321",
            "abcdefghij",
            "aaaaaaaaaaaa",
            "abababababab",
            "Ada.Lovelace@example.com",
            "lovelace1815",
        ] {
            let email = if bad.contains("1815") {
                "lovelace@x.test"
            } else {
                "ada.lovelace@example.com"
            };
            assert!(check(bad, email).is_err(), "{bad}");
        }
        for good in [
            "correct horse battery staple",
            "t0-market-2-market",
            "zwölf Boxkämpfer",
        ] {
            assert!(check(good, "ada@example.com").is_ok(), "{good}");
        }
    }
}
