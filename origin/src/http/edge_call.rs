//! A call by an authenticated edge, as handlers take it: with it comes the way to the database.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request},
    http::HeaderMap,
};
use licet_shared::{
    api::{self, Answer},
    id::OrgTag,
    problem::ProblemCode,
    time::Timestamp,
};

use super::{
    AppState, HandlerError, Unauthorized, body, edge_auth::Full, request_id::RequestFacts,
};
use crate::{
    clock,
    db::{Database, Tenant, sealed::Authenticated},
    fault::Fault,
    licensing::Origin,
};

/// An edge that has shown who it is. Made nowhere but in this module.
#[derive(Clone, Debug)]
pub struct EdgeCaller {
    edge: String,
    database: Database,
}

impl Authenticated for EdgeCaller {}

impl EdgeCaller {
    /// The database, for what is of no organization.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

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
        if !body::is_json(&self.headers) {
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
    pub(crate) fn answer<A: Answer>(
        &self,
        state: &AppState,
        operation: &'static str,
        mut answer: A,
    ) -> Json<A> {
        state.metrics().answered(operation, answer.code().as_str());
        answer.set_request_id(self.request_id.clone());
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
        let body = body::read(body, &parts.headers).await?;
        match edges
            .check_body(&signed, &body, now)
            .map_err(unauthorized)?
        {
            Ok(()) => {}
            Err(Full) => return Err(Fault::busy("the memory of edge calls is full").into()),
        }
        Ok(Self {
            idempotency_key: signed.idempotency_key().map(body::check_key).transpose()?,
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
