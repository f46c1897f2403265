//! The frame around every handler: load, time, panics, problem bodies, metrics, the access log.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use licet_shared::problem::{self, Problem, ProblemCode};

use super::{
    AppState,
    error::{HandlerError, Pending},
    request_id::RequestFacts,
};
use crate::fault::{Fault, FaultKind};

/// Answers a request within all limits, whatever its handler does.
pub(super) async fn frame(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let facts = RequestFacts::default();
    request.extensions_mut().insert(facts.clone());
    let method = known(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());

    let _in_flight = state.metrics().in_flight();
    let response = within_limits(&state, &route, request, next).await;
    let response = complete(response, &facts);

    let (status, time) = (response.status().as_u16(), started.elapsed());
    state.metrics().request_ended(&route, method, status, time);
    // Patterns and codes only: paths, queries, headers and bodies are the callers'.
    tracing::info!(
        target: "licet_origin::access",
        request_id = facts.id(), method, route, status,
        edge = facts.edge(), caller = facts.caller(), refused = facts.why_unauthorized().map(tracing::field::display),
        time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

async fn within_limits(state: &AppState, route: &str, request: Request, next: Next) -> Response {
    // Those who watch over us must not be shut out by the load they are to see.
    let watched = route.starts_with("/health/") || route == "/metrics";
    let permit = state.permits().try_acquire();
    if permit.is_err() && !watched {
        state.metrics().request_shed();
        return HandlerError::from(Fault::busy("too many requests at work")).into_response();
    }
    let work = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(state.request_timeout(), work).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            HandlerError::from(Fault::internal("a handler", "panicked")).into_response()
        }
        Err(_elapsed) => HandlerError::from(Fault::busy("a request took too long")).into_response(),
    }
}

/// Writes the problem body where there is to be one, and names the request.
fn complete(mut response: Response, facts: &RequestFacts) -> Response {
    if let Some(fault) = response.extensions_mut().remove::<Arc<Fault>>() {
        match fault.kind() {
            FaultKind::Internal => {
                tracing::error!(request_id = facts.id(), %fault, "fault");
            }
            FaultKind::Unavailable => {
                tracing::warn!(request_id = facts.id(), %fault, "unavailable");
            }
        }
    }
    let pending = response.extensions_mut().remove::<Pending>();
    if let Some(pending) = pending.or_else(|| of_status(response.status())) {
        write_problem(&mut response, pending, facts.id());
    }
    if let Ok(id) = HeaderValue::from_str(facts.id()) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// What the router itself refuses has no problem yet.
fn of_status(status: StatusCode) -> Option<Pending> {
    let (code, detail) = match status {
        StatusCode::NOT_FOUND => (ProblemCode::NotFound, "There is no such path."),
        StatusCode::METHOD_NOT_ALLOWED => (
            ProblemCode::MethodNotAllowed,
            "The methods that are allowed stand in the Allow header.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (ProblemCode::BodyTooLarge, "The body is too large."),
        status if status.is_client_error() => (ProblemCode::BadRequest, "The path can't be read."),
        status if status.is_server_error() => return Some(Pending::of_fault(FaultKind::Internal)),
        _ => return None,
    };
    Some(Pending::new(code, detail))
}

fn write_problem(response: &mut Response, pending: Pending, request_id: &str) {
    let Pending {
        code,
        detail,
        retry_after_s,
    } = pending;
    let problem = Problem::new(code, detail, request_id);
    let json = serde_json::to_vec(&problem).unwrap_or_default();
    *response.status_mut() =
        StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(problem::MEDIA_TYPE),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(json.len()));
    if let Some(seconds) = retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if code.status() == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    *response.body_mut() = Body::from(json);
}

/// A label for metrics: methods that nobody serves would make endless ones.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{Router, body::Body, http::Request, middleware, routing::get};
    use http_body_util::BodyExt;
    use licet_shared::problem::Problem;
    use tower::ServiceExt;

    use super::*;
    use crate::http::StateSettings;

    /// Handlers that misbehave, in the frame that must bear it. No database is ever reached.
    fn app() -> Router {
        let settings = StateSettings {
            request_timeout: Duration::from_millis(50),
            ..StateSettings::default()
        };
        let state = AppState::unreachable(settings);
        let fault = || async { HandlerError::from(Fault::internal("hush", "hush")) };
        Router::new()
            .route("/panic", get(|| async { panic!("hush") as () }))
            .route("/slow", get(std::future::pending::<()>))
            .route("/fault", get(fault))
            .route("/bare", get(|| async { (StatusCode::BAD_GATEWAY, "hush") }))
            .layer(middleware::from_fn_with_state(state, frame))
    }

    #[tokio::test]
    async fn whatever_a_handler_does_the_answer_is_a_problem_without_its_cause() {
        for (path, code) in [
            ("/panic", ProblemCode::Internal),
            ("/slow", ProblemCode::Unavailable),
            ("/fault", ProblemCode::Internal),
            ("/bare", ProblemCode::Internal),
        ] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = app().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8(body.to_vec()).unwrap();
            let problem: Problem = serde_json::from_str(&text).unwrap();
            assert_eq!((problem.code, problem.status), (code, status), "{path}");
            assert!(!text.contains("hush"), "{path}: {text}");
        }
    }
}
