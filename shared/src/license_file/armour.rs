//! Armour: a document as text that survives mail, a clipboard and a USB stick, much as PEM
//! (RFC 7468) has it.
//!
//! One document in a text and nothing else. What editors and mail programs do on their own is
//! taken: a byte order mark, CRLF, blanks at the ends of lines, empty lines around. All else is
//! refused: other lengths of lines, blanks within, text around, base64 that is not canonical.

use std::fmt;

use base64ct::{Base64, Encoding};

const COLUMNS: usize = 64;

/// What an armoured text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    LicenseFile,
    ActivationRequest,
    DeactivationReceipt,
}

impl Label {
    const fn name(self) -> &'static str {
        match self {
            Self::LicenseFile => "LICET LICENSE FILE",
            Self::ActivationRequest => "LICET ACTIVATION REQUEST",
            Self::DeactivationReceipt => "LICET DEACTIVATION RECEIPT",
        }
    }

    /// Largest text that is looked at, in bytes. What it carries has limits of its own.
    const fn max_bytes(self) -> usize {
        match self {
            Self::LicenseFile => 320 * 1024,
            Self::ActivationRequest | Self::DeactivationReceipt => 16 * 1024,
        }
    }
}

/// Why a text is not such a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArmourError {
    /// Longer than such a text may be.
    TooLong,
    /// Not between the lines that such a text begins and ends with, or something stands around.
    Frame,
    /// A line that is not 64 columns of base64, or the last one that is not as many as are left.
    Base64,
}

impl fmt::Display for ArmourError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than such a file may be",
            Self::Frame => "it does not begin and end with the lines that such a file has",
            Self::Base64 => "what stands between its first and last line was altered",
        })
    }
}

impl std::error::Error for ArmourError {}

/// Puts `document` into armour. Ends with a line feed.
pub(crate) fn wrap(label: Label, document: &[u8]) -> String {
    let name = label.name();
    let base64 = Base64::encode_string(document);
    let mut text = String::with_capacity(base64.len() + base64.len() / COLUMNS + 128);
    text.push_str(&format!("-----BEGIN {name}-----\n"));
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(COLUMNS.min(rest.len()));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {name}-----\n"));
    text
}

/// Takes a document out of its armour.
pub(crate) fn unwrap(label: Label, text: &str) -> Result<Vec<u8>, ArmourError> {
    if text.len() > label.max_bytes() {
        return Err(ArmourError::TooLong);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines: Vec<&str> = text.split('\n').map(trim_end).collect();
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let empty = lines.iter().take_while(|line| line.is_empty()).count();
    let name = label.name();
    let [first, body @ .., last] = lines.get(empty..).unwrap_or_default() else {
        return Err(ArmourError::Frame);
    };
    if *first != format!("-----BEGIN {name}-----") || *last != format!("-----END {name}-----") {
        return Err(ArmourError::Frame);
    }
    let Some((end, full)) = body.split_last() else {
        return Err(ArmourError::Base64);
    };
    let columns = |line: &str| line.len() == COLUMNS;
    if !full.iter().all(|line| columns(line)) || end.is_empty() || end.len() > COLUMNS {
        return Err(ArmourError::Base64);
    }
    Base64::decode_vec(&body.concat()).map_err(|_| ArmourError::Base64)
}

/// Without the line's CR, if it has one, and the blanks before it.
fn trim_end(line: &str) -> &str {
    line.strip_suffix('\r')
        .unwrap_or(line)
        .trim_end_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: Label = Label::DeactivationReceipt;

    fn read(text: &str) -> Result<Vec<u8>, ArmourError> {
        unwrap(LABEL, text)
    }

    #[test]
    fn documents_of_every_length_read_back() {
        for length in 1..300 {
            let document: Vec<u8> = (0..length).map(|byte| (byte * 7) as u8).collect();
            let text = wrap(LABEL, &document);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(read(&text), Ok(document), "{text}");
        }
    }

    #[test]
    fn what_editors_and_mail_do_is_taken() {
        let document = [7; 100];
        let text = wrap(LABEL, &document);
        for changed in [
            text.trim_end().to_owned(),
            text.replace('\n', "\r\n"),
            text.replacen('\n', "\r\n", 2),
            text.replace('\n', "  \n"),
            text.replace('\n', " \t\r\n"),
            format!("\u{feff}{text}"),
            format!("\n \r\n{text}\n\t\n"),
        ] {
            assert_eq!(read(&changed), Ok(document.into()), "{changed:?}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        let text = wrap(LABEL, &[7; 100]);
        let (first, rest) = text.split_once('\n').unwrap();
        let body = &rest[..64];
        for changed in [
            String::new(),
            "\n".into(),
            first.into(),
            format!("{first}\n{first}\n"),
            format!("Dear Ada,\n{text}"),
            format!("{text}Regards"),
            format!("{text}{text}"),
            format!(" {text}"),
            text.replace("RECEIPT", "REQUEST"),
            text.replace("-----BEGIN", "----BEGIN"),
            text.replacen(body, &format!(" {body}"), 1),
            text.replacen(body, &format!("\n{body}"), 1),
            text.replacen(body, &format!("{body}\n"), 1),
            text.replacen(body, &format!("{}\n{}", &body[..32], &body[32..]), 1),
            text.replacen(body, &format!("{} {}", &body[..32], &body[32..]), 1),
            text.replacen(body, &body.replacen('B', "-", 1), 1),
            text.replace('=', ""),
            text.replace('\n', "\r"),
            text.replace('\n', "\n\n"),
            text.replace('\n', "\u{a0}\n"),
            format!("-----BEGIN {0}-----\n-----END {0}-----\n", LABEL.name()),
        ] {
            assert!(read(&changed).is_err(), "{changed:?}");
        }
    }

    #[test]
    fn base64_has_one_spelling() {
        let text = wrap(LABEL, b"1");
        assert!(text.contains("MQ=="));
        assert!(read(&text.replace("MQ==", "MR==")).is_err());
        assert!(read(&text.replace("MQ==", "MQ")).is_err());
    }

    #[test]
    fn long_texts_are_not_looked_at() {
        let text = wrap(LABEL, &[0; 20 * 1024]);
        assert_eq!(read(&text), Err(ArmourError::TooLong));
    }
}
