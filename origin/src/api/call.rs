//! A call on its way to its handler: who calls, how often, may they, and what do they send.

use std::{net::IpAddr, ops::Deref, str::FromStr, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
    response::{IntoResponse, Response},
};
use licet_shared::{api, problem::ProblemCode, time::Timestamp};

use super::{Access, Accounts, Operation, operation::Handler, versions};
use crate::{
    accounts::principal::{self, Actor, Principal},
    buckets::Level,
    clock,
    db::{Database, Tenant},
    http::{AppState, HandlerError, RequestFacts, body, client_address},
    keys::Keyrings,
    licensing::Origin,
    metrics::Metrics,
    rejection::Rejection,
};

/// What was sent, within its limits and in its form.
pub(crate) struct Sent {
    state: AppState,
    operation: &'static str,
    target: String,
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    address: IpAddr,
    request_id: String,
    /// The time at which it came.
    pub(crate) now: Timestamp,
}

/// A call by anybody.
pub(crate) struct OpenCall(Sent);

/// A call by somebody who is known and has the permission that the operation needs. Made in this
/// module alone, so that no handler can run before its checks.
pub(crate) struct Call {
    sent: Sent,
    principal: Principal,
    actor: String,
}

impl Deref for OpenCall {
    type Target = Sent;

    fn deref(&self) -> &Sent {
        &self.0
    }
}

impl Deref for Call {
    type Target = Sent;

    fn deref(&self) -> &Sent {
        &self.sent
    }
}

impl OpenCall {
    /// For those modules that find out who somebody is.
    pub(crate) fn database(&self) -> &Database {
        self.0.state.database()
    }
}

impl Call {
    /// The caller's organization: all that a handler can reach.
    pub(crate) const fn tenant(&self) -> &Tenant {
        self.principal.tenant()
    }

    pub(crate) const fn actor(&self) -> &Actor {
        &self.principal.actor
    }

    /// The actor as the audit trail names it.
    pub(crate) fn actor_name(&self) -> &str {
        &self.actor
    }

    /// Who asks, for the audit trail.
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            actor: &self.actor,
            request_id: Some(&self.sent.request_id),
        }
    }
}

impl Sent {
    pub(crate) fn accounts(&self) -> &Accounts {
        self.state.accounts()
    }

    pub(crate) fn keyrings(&self) -> &Keyrings {
        self.state.keyrings()
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(self.state.metrics())
    }

    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Operation, target and body: what tells one request from another.
    pub(super) fn identity(&self) -> [&[u8]; 3] {
        [
            self.operation.as_bytes(),
            self.target.as_bytes(),
            &self.body,
        ]
    }

    /// Reads the body as JSON of this form.
    pub(crate) fn json<T: api::Body>(&self) -> Result<T, HandlerError> {
        if !body::is_json(&self.headers) {
            return Err(HandlerError::problem(
                ProblemCode::UnsupportedMediaType,
                "Send the body with content-type: application/json.",
            ));
        }
        // The database can't hold it, and no name needs it.
        if self.body.windows(6).any(|six| six == b"\\u0000") {
            return Err(Rejection::field("body", "must not contain the character U+0000").into());
        }
        api::parse(&self.body)
            .map_err(|error| HandlerError::problem(ProblemCode::BadRequest, error.to_string()))
    }

    /// The path's `{id}`. What is no id of this kind is not there.
    pub(crate) fn id<T: FromStr>(&self) -> Result<T, HandlerError> {
        self.segment("id")
    }

    /// A segment of the path by its name. What can't be read is not there.
    pub(crate) fn segment<T: FromStr>(&self, name: &str) -> Result<T, HandlerError> {
        let found = self.path.iter().find(|(key, _)| key == name);
        let (_, text) = found.ok_or_else(Rejection::not_found)?;
        text.parse().map_err(|_| Rejection::not_found().into())
    }

    /// A query parameter that the operation declares.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The same, read as what it is.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, HandlerError>
    where
        T::Err: std::fmt::Display,
    {
        let read = |text: &str| {
            text.parse()
                .map_err(|error| Rejection::field(name, error).into())
        };
        self.param(name).map(read).transpose()
    }

    /// A header's one value.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>, HandlerError> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value
                .to_str()
                .map(Some)
                .map_err(|_| Rejection::field(name, "must be visible ASCII").into()),
            (Some(_), Some(_)) => Err(Rejection::field(name, "must be there once").into()),
        }
    }

    pub(super) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// Answers a request: all that comes before a handler, and the handler.
pub(super) async fn serve(state: &AppState, operation: &Operation, request: Request) -> Response {
    let now = clock::now();
    let (mut parts, body) = request.into_parts();
    let facts = parts
        .extensions
        .get::<RequestFacts>()
        .cloned()
        .unwrap_or_default();
    let handler = match operation.handler {
        Handler::Open(handler) => {
            let sent = receive(state, operation, &mut parts, body, &facts, now).await;
            return match sent {
                Ok(sent) => finish(&parts, handler(OpenCall(sent)).await),
                Err(error) => error.into_response(),
            };
        }
        Handler::Known(handler) => handler,
    };
    let principal = match identify(state, &parts, now).await {
        Ok(principal) => principal,
        Err(error) => return error.into_response(),
    };
    let actor = principal.actor.name();
    facts.called_by(&actor);
    let (quota, level) = state.accounts().take(&principal, clock::unix_ms());
    let answered = async {
        if !level.allowed {
            return Err(too_many(level));
        }
        permit(operation.access, &principal.actor)?;
        let sent = receive(state, operation, &mut parts, body, &facts, now).await?;
        handler(Call {
            sent,
            principal,
            actor,
        })
        .await
    };
    let answered = answered.await;
    let mut response = finish(&parts, answered);
    let policy = format!("\"plan\";q={};w={}", quota.capacity, quota.window_s);
    let left = format!("\"plan\";r={};t={}", level.remaining, level.next_s);
    for (name, value) in [("ratelimit-policy", policy), ("ratelimit", left)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn finish(parts: &Parts, answered: Result<super::Reply, HandlerError>) -> Response {
    match answered {
        Ok(reply) if versions::is_unchanged(&parts.method, &parts.headers, reply.etag()) => {
            reply.not_modified()
        }
        Ok(reply) => reply.into_response(),
        Err(error) => error.into_response(),
    }
}

async fn identify(
    state: &AppState,
    parts: &Parts,
    now: Timestamp,
) -> Result<Principal, HandlerError> {
    let unauthorized = |detail| HandlerError::problem(ProblemCode::Unauthorized, detail);
    let bearer = principal::bearer(&parts.headers).ok_or_else(|| {
        unauthorized("Send an access token or an API key: Authorization: Bearer <token>.")
    })?;
    let accounts = state.accounts();
    let address = client_address(parts, accounts.trusted_proxies());
    let visitor = accounts.credentials.visitor(address, clock::unix_ms());
    let (database, keyrings) = (state.database(), state.keyrings());
    let found = principal::authenticate(database, keyrings, visitor, bearer, now).await?;
    // Whether it ever was in force is not told.
    found.ok_or_else(|| {
        unauthorized("This token or key is not in force, or no longer. Log in, refresh the session, or use another key.")
    })
}

fn permit(access: Access, actor: &Actor) -> Result<(), HandlerError> {
    let forbidden = |detail: String| Err(HandlerError::problem(ProblemCode::Forbidden, detail));
    match (access, actor) {
        (Access::Open, _) | (Access::Person, Actor::Person { .. }) => Ok(()),
        (Access::Person, Actor::Machine { .. }) => {
            forbidden("This is for people who are logged in, not for API keys.".into())
        }
        (Access::Needs(permission), actor) if actor.may(permission) => Ok(()),
        (Access::Needs(permission), _) => {
            forbidden(format!("This needs the permission {permission}."))
        }
    }
}

fn too_many(level: Level) -> HandlerError {
    HandlerError::problem(
        ProblemCode::RateLimited,
        "Your organization's plan allows no more requests for the moment. Wait for as long as Retry-After says.",
    )
    .retry_after(level.next_s)
}

async fn receive(
    state: &AppState,
    operation: &Operation,
    parts: &mut Parts,
    body: Body,
    facts: &RequestFacts,
    now: Timestamp,
) -> Result<Sent, HandlerError> {
    let path = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| Rejection::not_found())?;
    let path = path
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if operation.conditional {
        versions::check_if_match(&parts.headers)?;
    }
    let query = read_query(operation, parts.uri.query().unwrap_or_default())?;
    let body = if operation.input.is_some() {
        body::read(body, &parts.headers).await?
    } else {
        Bytes::new()
    };
    Ok(Sent {
        state: state.clone(),
        operation: operation.id,
        target: parts
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        path,
        query,
        headers: parts.headers.clone(),
        body,
        address: client_address(parts, state.accounts().trusted_proxies()),
        request_id: facts.id().into(),
        now,
    })
}

/// Only what the operation declares, each at most once.
fn read_query(operation: &Operation, query: &str) -> Result<Vec<(String, String)>, Rejection> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !operation.params.iter().any(|param| param.name == name) {
            let known: Vec<_> = operation.params.iter().map(|param| param.name).collect();
            let known = if known.is_empty() {
                "none".into()
            } else {
                known.join(", ")
            };
            let name: String = name.chars().take(64).collect();
            return Err(Rejection::field(
                &name,
                format!("is no parameter here; there are: {known}"),
            ));
        }
        if found.iter().any(|(earlier, _)| *earlier == name) {
            return Err(Rejection::field(&name, "must be there once"));
        }
        if value.len() > 1024 || value.contains(['\0', char::REPLACEMENT_CHARACTER]) {
            return Err(Rejection::field(
                &name,
                "must be UTF-8 of at most 1024 bytes, without U+0000",
            ));
        }
        found.push((name.into_owned(), value.into_owned()));
    }
    Ok(found)
}
