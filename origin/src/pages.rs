//! Documents that are the same for everybody: the description, its reference page, the pages of
//! problems. Nothing in them comes from another host.

mod problems;
mod reference;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
    routing::get,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};

use crate::{api, http::AppState};

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What a page may do: use our own files, and call this origin. No inline script or style, no
/// `eval`, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Everything that is served here.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/openapi.json", get(reference::description))
        .route("/docs", get(reference::page))
        .route("/docs/", get(reference::page))
        .route("/docs/{file}", get(reference::asset))
        .route("/problems", get(problems::list))
        .route("/problems/{page}", get(problems::page))
}

/// A document, and the tag that its content has.
struct Document {
    media_type: &'static str,
    body: Bytes,
    tag: String,
    more: Vec<(HeaderName, &'static str)>,
}

impl Document {
    fn new(media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = Sha256::digest(&body);
        let tag = format!("\"{}\"", Base64UrlUnpadded::encode_string(&digest[..12]));
        let more = match media_type {
            HTML => vec![(header::CONTENT_SECURITY_POLICY, POLICY)],
            _ => Vec::new(),
        };
        Self {
            media_type,
            body,
            tag,
            more,
        }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.more.push((name, value));
        self
    }

    /// 200, or 304 for whoever has it.
    fn answer(&self, method: &Method, asked: &HeaderMap) -> Response {
        let unchanged = api::is_unchanged(method, asked, Some(&self.tag));
        let mut response = Response::new(if unchanged {
            Body::empty()
        } else {
            Body::from(self.body.clone())
        });
        let headers = response.headers_mut();
        for (name, value) in &self.more {
            headers.append(name, HeaderValue::from_static(value));
        }
        for (name, value) in [
            (header::CACHE_CONTROL, "public, max-age=3600"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(header::ETAG, tag);
        }
        if unchanged {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            let media_type = HeaderValue::from_static(self.media_type);
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, media_type);
        }
        response
    }

    fn answer_to(&self, request: &Request) -> Response {
        self.answer(request.method(), request.headers())
    }
}
