//! How signed documents are answered.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{documents::SignedDocument, fault::Fault, http::HandlerError};

/// The document, or 304 when the edge holds this very copy.
pub(super) fn respond(
    media_type: &'static str,
    document: &SignedDocument,
    request: &HeaderMap,
) -> Result<Response, HandlerError> {
    let etag = HeaderValue::from_str(document.etag())
        .map_err(|error| Fault::internal("an ETag", error))?;
    let mut response = if holds(request, document.etag()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = document.text().into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    // Edges keep documents by rules of their own; whatever stands between must not.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-store"),
    );
    Ok(response)
}

/// `If-None-Match` (RFC 9110 §13.1.2), compared weakly.
fn holds(request: &HeaderMap, etag: &str) -> bool {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == etag)
}

/// `max-age` of the request's `Cache-Control` (RFC 9111 §5.2.1.1), in seconds.
pub(super) fn max_age_s(request: &HeaderMap) -> Option<i64> {
    request
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|directive| {
            let directive = directive.trim();
            if directive.eq_ignore_ascii_case("no-cache") {
                return Some(0);
            }
            let (name, seconds) = directive.split_once('=')?;
            let ours = name.trim().eq_ignore_ascii_case("max-age");
            if ours {
                seconds.trim().parse::<u32>().ok().map(i64::from)
            } else {
                None
            }
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn etags_are_compared_weakly_and_in_lists() {
        for (given, held) in [
            (r#""7.100""#, true),
            (r#"W/"7.100""#, true),
            (r#""1.1", "7.100""#, true),
            ("*", true),
            (r#""7.101""#, false),
            ("7.100", false),
            ("", false),
        ] {
            assert_eq!(
                holds(&headers(header::IF_NONE_MATCH, given), r#""7.100""#),
                held,
                "{given}"
            );
        }
        assert!(!holds(&HeaderMap::new(), r#""7.100""#));
    }

    #[test]
    fn the_smallest_demand_counts_and_nonsense_does_not() {
        for (given, age) in [
            ("max-age=0", Some(0)),
            ("Max-Age = 30", Some(30)),
            ("no-cache", Some(0)),
            ("no-transform, max-age=7", Some(7)),
            ("max-age=-1", None),
            ("max-age", None),
            ("s-maxage=3", None),
        ] {
            assert_eq!(
                max_age_s(&headers(header::CACHE_CONTROL, given)),
                age,
                "{given}"
            );
        }
    }
}
