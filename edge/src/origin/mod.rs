//! Calls to the origin: signed, bounded in time and size, with headers made here and no others.

pub(crate) mod forward;
mod health;
mod signing;

pub(crate) use health::{Health, pause_ms};

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

/// What the origin answered; below 500 or exactly 500.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) etag: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// No connection, no answer in time, or a gateway that says as much. Worth one more try.
    Unreachable,
    /// An answer too large or broken, or a call that could not even be made.
    Unusable,
}

/// A [`CallError`] with its cause, for the log.
enum Failure {
    Unreachable(String),
    Unusable(String),
}

/// Makes one call, and notes in [`Health`] how it went.
pub(crate) async fn call(scope: &Scope, call: Call<'_>) -> Result<Reply, CallError> {
    let result = attempt(scope, call).await;
    let health = &scope.isolate.origin;
    match &result {
        Ok(_) | Err(Failure::Unusable(_)) => health.answered(clock::now_ms()),
        // A write may take long for reasons of its own, and must not make others use old documents.
        Err(Failure::Unreachable(_)) if call.body.is_none() => health.failed(clock::now_ms()),
        Err(Failure::Unreachable(_)) => {}
    }
    result.map_err(|failure| {
        let (error, why) = match failure {
            Failure::Unreachable(why) => (CallError::Unreachable, why),
            Failure::Unusable(why) => (CallError::Unusable, why),
        };
        let detail = format!("{} {}: {why}", call.method, call.path);
        scope.log(Level::Warn, "a call to the origin failed", &detail);
        error
    })
}

async fn attempt(scope: &Scope, call: Call<'_>) -> Result<Reply, Failure> {
    let config = &scope.isolate.config;
    let url = format!("{}{}", config.origin_url, call.path);
    let init = request_init(scope, call).map_err(|error| Failure::Unusable(thrown(&error)))?;
    let answer = bindings::fetch(&url, &init)
        .await
        .map_err(|error| Failure::Unreachable(thrown(&error)))?;
    let response: Response = answer
        .dyn_into()
        .map_err(|_| Failure::Unusable("not a response".into()))?;
    let status = response.status();
    if matches!(status, 502..=504) {
        return Err(Failure::Unreachable(format!("status {status}")));
    }
    let header = |name| response.headers().get(name).ok().flatten();
    let media_type = header("content-type").unwrap_or_default();
    let media_type = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let (etag, retry_after) = (header("etag"), header("retry-after"));
    let body = read_at_most(response.body(), call.max_answer_bytes);
    let body = body.await.map_err(|error| match error {
        ReadError::TooLarge => Failure::Unusable("too large".into()),
        ReadError::Broken => Failure::Unreachable("broke off".into()),
    })?;
    Ok(Reply {
        status,
        media_type,
        etag,
        retry_after,
        body,
    })
}

fn request_init(scope: &Scope, call: Call<'_>) -> Result<RequestInit, JsValue> {
    let config = &scope.isolate.config;
    let token = signing::edge_token(&config.edge_key, call, scope.now)
        .map_err(|error| JsValue::from_str(&error.to_string()))?;

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
    // Covers the body too.
    init.set_signal(Some(&AbortSignal::timeout_with_u32(
        config.origin_timeout_ms,
    )));
    Ok(init)
}
