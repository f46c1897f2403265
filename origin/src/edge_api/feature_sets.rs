//! `GET /edge/v1/orgs/{tag}/feature-sets/{id}`: a signed feature set.

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::document::respond;
use crate::{
    documents::feature_set,
    http::{AppState, EdgeCall, HandlerError},
};

const MEDIA_TYPE: &str = "application/features+jwt";

pub(super) async fn handle(
    State(state): State<AppState>,
    Path((tag, id)): Path<(String, String)>,
    call: EdgeCall,
) -> Result<Response, HandlerError> {
    let id = id.parse().map_err(|_| HandlerError::not_found())?;
    let tenant = call.caller.for_org(&tag).await?;
    let (document, remembered) =
        feature_set(&tenant, state.keyrings(), state.documents(), id, call.now)
            .await?
            .ok_or_else(HandlerError::not_found)?;
    state.metrics().document_served("features", remembered);
    respond(MEDIA_TYPE, &document, &call.headers)
}
