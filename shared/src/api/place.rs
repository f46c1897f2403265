//! Where in a JSON text an error lies, as people write it: `seat.holder`, `require[1]`.
//!
//! The text is walked once more, up to where serde_json stopped. Deserialisers that keep track of
//! the path do the same work for bodies that are in order, and double the code of every type.

use std::fmt::Write as _;

/// A container that the walk is in.
enum Container<'a> {
    /// The key last met, as it stands between its quotes; whether the next text is a key.
    Object(Option<&'a [u8]>, bool),
    /// Position of the element.
    Array(usize),
}

/// The path to what `error` found wrong in `json`; empty for the text as a whole.
pub(super) fn of(error: &serde_json::Error, json: &[u8]) -> String {
    let mut end = offset(json, error.line(), error.column());
    if error.is_syntax() {
        // What can't stand there may look like the container's end.
        end = end.saturating_sub(1);
    }
    path(json.get(..end).unwrap_or(json))
}

/// The byte that a line and a column of serde_json's stand for: both count from 1, and a column's
/// bytes have been read.
fn offset(json: &[u8], line: usize, column: usize) -> usize {
    let lines = json.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    before + column
}

/// The path to the end of a JSON text that was cut off.
fn path(json: &[u8]) -> String {
    let mut containers = Vec::new();
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let rest = json.get(at..).unwrap_or_default();
                let length = length_of_text(rest);
                if let Some(Container::Object(key, wanted @ true)) = containers.last_mut() {
                    *key = rest.get(..length);
                    *wanted = false;
                }
                at += length + 1;
            }
            b'{' => containers.push(Container::Object(None, true)),
            b'[' => containers.push(Container::Array(0)),
            b'}' | b']' => {
                containers.pop();
            }
            b',' => match containers.last_mut() {
                Some(Container::Object(key, wanted)) => (*key, *wanted) = (None, true),
                Some(Container::Array(position)) => *position += 1,
                None => {}
            },
            _ => {}
        }
    }
    let mut path = String::new();
    for container in containers {
        match container {
            Container::Object(None, _) => {}
            Container::Object(Some(key), _) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&String::from_utf8_lossy(key));
            }
            // Writing into a string does not fail.
            Container::Array(position) => _ = write!(path, "[{position}]"),
        }
    }
    path
}

/// Bytes before the closing quote.
fn length_of_text(rest: &[u8]) -> usize {
    let mut escaped = false;
    let end = rest.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    end.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn paths_lead_to_the_end() {
        for (json, expected) in [
            ("", ""),
            ("{", ""),
            (r#"{"a"#, "a"),
            (r#"{"a":"#, "a"),
            (r#"{"a":1"#, "a"),
            (r#"{"a":1,"#, ""),
            (r#"{"a":1}"#, ""),
            (r#"{"a":{"b":{}"#, "a.b"),
            (r#"{"a":{"b":{}}"#, "a"),
            (r#"{"a":[{"b":1},{"c""#, "a[1].c"),
            (r#"{"a":[[],[1,2"#, "a[1][1]"),
            (r#"{"a,{":"}],\"","b\"{":["#, r#"b\"{[0]"#),
            (r#"[1,"#, "[1]"),
            ("]}],", ""),
        ] {
            assert_eq!(path(json.as_bytes()), expected, "{json}");
        }
    }
}
