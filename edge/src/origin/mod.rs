//! Calls to the origin: signed, bounded in time and size, with headers made here and no others.

mod answered;
pub(crate) mod forward;
mod health;
mod signing;

pub(crate) use answered::Answered;
pub(crate) use health::{Health, pause_ms};
pub(crate) use signing::EdgeKey;

use licet_shared::problem::{MEDIA_TYPE, Problem, ProblemCode};
use worker::{
    wasm_bindgen::{JsCast, JsValue},
    web_sys::{AbortSignal, Headers, RequestInit, RequestRedirect, Response},
};

use crate::{
    bindings::{self, thrown},
    clock,
    http::{ReadError, read_at_most},
    isolate::Scope,
    log::Level,
    metrics::Called,
};

/// A call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Call<'a> {
    /// `GET` or `POST`.
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) path: &'a str,
    /// JSON, for `POST`.
    pub(crate) body: Option<&'a str>,
    /// Covered by the signature too.
    pub(crate) idempotency_key: Option<&'a str>,
    /// The client's address as the runtime reports it.
    pub(crate) client_ip: Option<&'a str>,
    /// Tag of the copy at hand.
    pub(crate) if_none_match: Option<&'a str>,
    /// Oldest signature wanted, in seconds.
    pub(crate) max_age_s: Option<u32>,
    /// Bytes above which the answer is not read.
    pub(crate) max_answer_bytes: usize,
}

/// What the origin answered, other than that it can't.
#[derive(Debug)]
pub(crate) struct Reply {
    /// When it was asked for.
    pub(crate) asked_ms: u64,
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) etag: Option<String>,
    pub(crate) retry_after_s: Option<u32>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// No connection, or a gateway that has none.
    Unreachable,
    /// No whole answer in time, or one that broke off.
    TimedOut,
    /// It can't now (503), says the origin itself.
    Busy { retry_after_s: Option<u32> },
    /// It can't now (503), says something in between.
    BusyGateway { retry_after_s: Option<u32> },
    /// An answer too large or broken, or a call that could not even be made.
    Unusable,
}

/// A [`CallError`] with its cause, for the log.
type Failure = (CallError, String);

/// Makes one call, and notes in [`Health`] how it went. Takes its time, so the clock is read again.
pub(crate) async fn call(scope: &Scope, call: Call<'_>) -> Result<Reply, CallError> {
    let begin_ms = clock::now_ms();
    let result = attempt(scope, call).await;
    scope.read_clock();
    let (health, now_ms) = (&scope.isolate.origin, clock::now_ms());
    scope.timing.called(now_ms.saturating_sub(begin_ms));
    scope.isolate.metrics.called(match &result {
        Ok(_) => Called::Answered,
        Err((CallError::Unreachable, _)) => Called::Unreachable,
        Err((CallError::TimedOut, _)) => Called::TimedOut,
        Err((CallError::Busy { .. } | CallError::BusyGateway { .. }, _)) => Called::Busy,
        Err((CallError::Unusable, _)) => Called::Unusable,
    });
    match &result {
        Ok(_) | Err((CallError::Unusable, _)) => health.answered(now_ms),
        // A write may take long for reasons of its own, and must not make others use old documents.
        Err(_) if call.body.is_some() => {}
        Err((CallError::Unreachable | CallError::BusyGateway { .. }, _)) => health.failed(now_ms),
        Err((CallError::TimedOut | CallError::Busy { .. }, _)) => {
            health.left_unanswered(call.path, now_ms);
        }
    }
    result.map_err(|(error, why)| {
        let detail = format!("{} {}: {why}", call.method, call.path);
        scope.log(Level::Warn, "a call to the origin failed", &detail);
        error
    })
}

async fn attempt(scope: &Scope, call: Call<'_>) -> Result<Reply, Failure> {
    let begin_ms = clock::now_ms();
    let config = &scope.isolate.config;
    let url = format!("{}{}", config.origin_url, call.path);
    // Covers the body too.
    let limit = AbortSignal::timeout_with_u32(config.origin_timeout_ms);
    let unusable = |why: &str| (CallError::Unusable, why.to_owned());
    let token = signing::edge_token(&scope.isolate.edge_key, call).await;
    let token = token.map_err(|error| unusable(&error.to_string()))?;
    let init = request_init(scope, call, &token, &limit);
    let init = init.map_err(|error| unusable(&thrown(&error)))?;
    let answer = bindings::fetch(&url, &init).await.map_err(|error| {
        let in_vain = if limit.aborted() {
            CallError::TimedOut
        } else {
            CallError::Unreachable
        };
        (in_vain, thrown(&error))
    })?;
    let response: Response = answer.dyn_into().map_err(|_| unusable("not a response"))?;
    let status = response.status();
    // A dead origin behind Cloudflare is a status of its own making, 520 to 530.
    if matches!(status, 502 | 504 | 520..=530) {
        return Err((CallError::Unreachable, format!("status {status}")));
    }
    let header = |name| response.headers().get(name).ok().flatten();
    let media_type = header("content-type").unwrap_or_default();
    let media_type = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let etag = header("etag");
    let retry_after_s = header("retry-after").and_then(|text| text.parse().ok());
    // The signal would end it, too; but not a body that stands still elsewhere.
    let until_ms = clock::now_ms() + u64::from(config.origin_timeout_ms);
    let body = read_at_most(response.body(), call.max_answer_bytes, until_ms);
    let body = body.await.map_err(|error| match error {
        ReadError::TooLarge => unusable("too large"),
        ReadError::Broken => (CallError::TimedOut, "broke off".into()),
        ReadError::TooSlow => (CallError::TimedOut, "too slow".into()),
    })?;
    let reply = Reply {
        asked_ms: begin_ms,
        status,
        media_type,
        etag,
        retry_after_s,
        body,
    };
    match status {
        503 if reply.problem() == Some(ProblemCode::Unavailable) => {
            Err((CallError::Busy { retry_after_s }, "busy".into()))
        }
        503 => Err((
            CallError::BusyGateway { retry_after_s },
            "status 503".into(),
        )),
        _ => Ok(reply),
    }
}

impl Reply {
    /// The code of the problem it is, if it is one: anybody in between can send a status, but only
    /// the origin says it like this.
    pub(crate) fn problem(&self) -> Option<ProblemCode> {
        (self.media_type == MEDIA_TYPE)
            .then(|| serde_json::from_slice::<Problem>(&self.body).ok())
            .flatten()
            .map(|problem| problem.code)
    }
}

fn request_init(
    scope: &Scope,
    call: Call<'_>,
    token: &str,
    limit: &AbortSignal,
) -> Result<RequestInit, JsValue> {
    let headers = Headers::new()?;
    headers.set("authorization", &format!("Bearer {token}"))?;
    headers.set("x-request-id", &scope.request_id.to_string())?;
    if let Some(client_ip) = call.client_ip {
        headers.set("licet-client-ip", client_ip)?;
    }
    if let Some(key) = call.idempotency_key {
        headers.set("idempotency-key", key)?;
    }
    if let Some(tag) = call.if_none_match {
        headers.set("if-none-match", tag)?;
    }
    if let Some(seconds) = call.max_age_s {
        headers.set("cache-control", &format!("max-age={seconds}"))?;
    }

    let init = RequestInit::new();
    init.set_method(call.method);
    if let Some(body) = call.body {
        headers.set("content-type", "application/json")?;
        init.set_body(&JsValue::from_str(body));
    }
    init.set_headers_headers(&headers);
    // A redirect would carry the signed call elsewhere.
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(limit));
    Ok(init)
}
