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
