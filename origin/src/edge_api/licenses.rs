//! `GET /edge/v1/orgs/{tag}/licenses/{id}`: what a license is now, signed.

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::document::respond;
use crate::{
    documents::license_state,
    http::{AppState, EdgeCall, HandlerError},
};

const MEDIA_TYPE: &str = "application/license-state+jwt";

pub(super) async fn handle(
    State(state): State<AppState>,
    Path((tag, id)): Path<(String, String)>,
    call: EdgeCall,
) -> Result<Response, HandlerError> {
    let id = id.parse().map_err(|_| HandlerError::not_found())?;
    let tenant = call.caller.for_org(&tag).await?;
    let ttl = state.status_ttl();
    let document = license_state(&tenant, state.keyrings(), id, ttl, call.now)
        .await?
        .ok_or_else(HandlerError::not_found)?;
    state.metrics().document_served("license", false);
    respond(MEDIA_TYPE, &document, &call.headers)
}
