//! A call by an authenticated edge, as handlers take it: with it comes the way to the database.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use licet_shared::{
    api::{self, ActivationAnswer, MAX_BODY_BYTES},
    id::OrgTag,
    problem::ProblemCode,
    time::Timestamp,
};

use super::{AppState, HandlerError, Unauthorized, edge_auth::Full, request_id::RequestFacts};
use crate::{
    clock,
    db::{Database, Tenant, sealed::Authenticated},
    fault::Fault,
    licensing::Origin,
};

/// Longest idempotency key, as its table has it.
const MAX_KEY_BYTES: usize = 255;

/// An edge that has shown who it is. Made nowhere but in this module.
#[derive(Clone, Debug)]
pub struct EdgeCaller {
    edge: String,
    database: Database,
}

impl Authenticated for EdgeCaller {}

impl EdgeCaller {
    /// The organization that a tag names, if there is one.
    pub(crate) async fn find_org(&self, tag: OrgTag) -> Result<Option<Tenant>, HandlerError> {
        Ok(self.database.tenant_by_tag(self, tag).await?)
    }

    /// The organization that a path names. What is no tag, and what names nobody, is not found.
    pub(crate) async fn for_org(&self, tag: &str) -> Result<Tenant, HandlerError> {
        let tag = tag.parse().map_err(|_| HandlerError::not_found())?;
        self.find_org(tag)
            .await?
            .ok_or_else(HandlerError::not_found)
    }
}

/// An authenticated call.
#[derive(Debug)]
pub(crate) struct EdgeCall {
    pub(crate) caller: EdgeCaller,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) now: Timestamp,
    request_id: String,
}

impl EdgeCall {
    /// Reads the body as JSON of this form.
    pub(crate) fn json<T: api::Body>(&self) -> Result<T, HandlerError> {
        if !is_json(&self.headers) {
            return Err(HandlerError::problem(
                ProblemCode::UnsupportedMediaType,
                "Send the body with content-type: application/json.",
            ));
        }
        api::parse(&self.body)
            .map_err(|error| HandlerError::problem(ProblemCode::BadRequest, error.to_string()))
    }

    /// Who asks, for the audit trail.
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            actor: &self.caller.edge,
            request_id: Some(&self.request_id),
        }
    }

    /// The answer with the request's id, counted.
    pub(crate) fn answer(
        &self,
        state: &AppState,
        operation: &'static str,
        mut answer: ActivationAnswer,
    ) -> Json<ActivationAnswer> {
        state.metrics().answered(operation, answer.code.as_str());
        answer.request_id = Some(self.request_id.clone());
        Json(answer)
    }
}

impl FromRequest<AppState> for EdgeCall {
    type Rejection = HandlerError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, HandlerError> {
        let now = clock::now();
        let (parts, body) = request.into_parts();
        let edges = state.edges();
        let facts = parts
            .extensions
            .get::<RequestFacts>()
            .cloned()
            .unwrap_or_default();
        let unauthorized = |why| unauthorized(why, &facts);
        let signed = edges
            .check_head(&parts.method, &parts.uri, &parts.headers, now)
            .map_err(unauthorized)?;
        let given_id = parts
            .headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok());
        facts.authenticated(signed.edge(), given_id);
        let body = read(body, &parts.headers).await?;
        match edges
            .check_body(&signed, &body, now)
            .map_err(unauthorized)?
        {
            Ok(()) => {}
            Err(Full) => return Err(Fault::busy("the memory of edge calls is full").into()),
        }
        Ok(Self {
            idempotency_key: signed.idempotency_key().map(check_key).transpose()?,
            caller: EdgeCaller {
                edge: signed.edge().into(),
                database: state.database().clone(),
            },
            headers: parts.headers,
            body,
            now,
            request_id: facts.id().into(),
        })
    }
}

fn unauthorized(why: Unauthorized, facts: &RequestFacts) -> HandlerError {
    facts.unauthorized(why);
    HandlerError::problem(
        ProblemCode::Unauthorized,
        "This path is for edges, with a fresh edge+jwt for each call.",
    )
}

async fn read(body: Body, headers: &HeaderMap) -> Result<Bytes, HandlerError> {
    let too_large = || {
        let detail = format!("A body may have at most {MAX_BODY_BYTES} bytes.");
        HandlerError::problem(ProblemCode::BodyTooLarge, detail)
    };
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(HandlerError::problem(
            ProblemCode::BadRequest,
            "The body broke off.",
        )),
    }
}

fn check_key(key: &str) -> Result<String, HandlerError> {
    let sound =
        (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if sound {
        Ok(key.to_owned())
    } else {
        Err(HandlerError::problem(
            ProblemCode::BadRequest,
            format!("Idempotency-Key: must be 1 to {MAX_KEY_BYTES} visible ASCII characters"),
        ))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let media_type = value
        .split_once(';')
        .map_or(value, |(media_type, _)| media_type);
    media_type.trim().eq_ignore_ascii_case("application/json")
}
