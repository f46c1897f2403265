//! CORS for the account API (Fetch §3.2): pages of the configured origins may call it. Callers
//! show a bearer token, never a cookie, so no credentials are allowed.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};

use super::AppState;

const METHODS: &str = "GET, HEAD, POST, PATCH, DELETE";
const REQUEST_HEADERS: &str =
    "authorization, content-type, idempotency-key, if-match, if-none-match";
const ANSWER_HEADERS: &str = "deprecation, etag, idempotency-replayed, link, location, ratelimit, ratelimit-policy, retry-after, sunset, x-request-id";

pub(super) async fn cors(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let ours = request.uri().path().starts_with("/api/v1/");
    let configured = state.accounts().cors_origins();
    if !ours || configured.is_empty() {
        return next.run(request).await;
    }
    let allowed = allowed(configured, request.headers());
    let preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed else {
        return response;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let more: &[(HeaderName, &'static str)] = if preflight {
        &[
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, "7200"),
        ]
    } else {
        &[(header::ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS)]
    };
    for (name, value) in more {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The origin to name in the answer, if the caller's page may call.
fn allowed(configured: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    if configured.iter().any(|allowed| allowed == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    configured
        .iter()
        .any(|allowed| allowed.as_bytes() == origin.as_bytes())
        .then(|| origin.clone())
}
