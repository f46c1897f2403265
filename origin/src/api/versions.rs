//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110 §13.1): a version is the row's own counter.

use axum::http::{HeaderMap, HeaderName, Method, header};
use licet_shared::problem::ProblemCode;

use super::call::Sent;
use crate::rejection::Rejection;

/// What the caller believes to be changing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Whatever is there.
    Any,
    /// One of these.
    OneOf(Vec<String>),
}

impl IfMatch {
    /// Refuses with 412 when it is not this version that is there.
    pub(crate) fn check(&self, version: i32) -> Result<(), Rejection> {
        let current = format!("\"{version}\"");
        match self {
            Self::OneOf(tags) if !tags.contains(&current) => Err(Rejection::new(
                ProblemCode::PreconditionFailed,
                "It is not the version of your If-Match any more. Read it again, then decide.",
            )),
            _ => Ok(()),
        }
    }
}

impl Sent {
    /// `If-Match`; anything goes where it is not sent.
    pub(crate) fn if_match(&self) -> IfMatch {
        if_match(self.headers())
    }
}

fn if_match(headers: &HeaderMap) -> IfMatch {
    match tags(headers, &header::IF_MATCH) {
        Some(tags) if !tags.iter().any(|tag| tag == "*") => IfMatch::OneOf(tags),
        _ => IfMatch::Any,
    }
}

/// Refuses what is no list of tags: it can name no version, so the caller is mistaken, and is told
/// in what.
pub(super) fn check_if_match(headers: &HeaderMap) -> Result<(), Rejection> {
    let quoted = |tag: &str| {
        let inner = tag
            .strip_prefix("W/")
            .unwrap_or(tag)
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        inner.is_some_and(|inner| inner.bytes().all(|b| b.is_ascii_graphic() && b != b'"'))
    };
    let tags = tags(headers, &header::IF_MATCH).unwrap_or_default();
    if tags.iter().all(|tag| tag == "*" || quoted(tag)) {
        Ok(())
    } else {
        Err(Rejection::new(
            ProblemCode::PreconditionFailed,
            "If-Match: must be the ETag as it was sent, with its quotes, or *",
        ))
    }
}

/// How the description tells of it: as tags look here. Lists of them are taken as well.
pub(super) const IF_MATCH_PATTERN: &str = r#"^(\*|"[0-9]{1,10}")$"#;

/// Whether a read need not be answered: the caller has this version.
pub(crate) fn is_unchanged(method: &Method, asked: &HeaderMap, etag: Option<&str>) -> bool {
    let read = method == Method::GET || method == Method::HEAD;
    let (true, Some(etag)) = (read, etag) else {
        return false;
    };
    let known = tags(asked, &header::IF_NONE_MATCH).unwrap_or_default();
    known
        .iter()
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// All tags of a header; none where it is not sent.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let texts = values.map(|value| value.to_str().unwrap_or_default());
    Some(
        texts
            .flat_map(|text| text.split(','))
            .map(|tag| tag.trim().to_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(value))])
    }

    #[test]
    fn what_is_no_tag_is_told_from_another_version() {
        for good in ["*", "\"1\"", "W/\"1\"", "\"1\", \"x\"", "\"\""] {
            assert_eq!(check_if_match(&headers(good)), Ok(()), "{good}");
        }
        for bad in ["", "1", "\"1", "\"a b\"", "\"1\" \"2\"", "\"1\","] {
            assert!(check_if_match(&headers(bad)).is_err(), "{bad}");
        }
        assert_eq!(check_if_match(&HeaderMap::new()), Ok(()));
    }

    #[test]
    fn only_the_version_that_is_there_matches() {
        assert!(if_match(&HeaderMap::new()).check(7).is_ok());
        for (sent, matches) in [
            ("\"7\"", true),
            ("\"6\", \"7\"", true),
            ("*", true),
            ("\"6\"", false),
            ("7", false),
            // A weak tag never matches here (RFC 9110 §13.1.1).
            ("W/\"7\"", false),
            ("", false),
        ] {
            assert_eq!(if_match(&headers(sent)).check(7).is_ok(), matches, "{sent}");
        }
    }
}
