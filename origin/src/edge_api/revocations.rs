//! `GET /edge/v1/revocations/{generation}/{since}`: which documents have changed, of all organizations,
//! since the edge was told last; 0 and 0 for an edge that knows nothing.

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::document::respond;
use crate::{
    documents::feed,
    http::{AppState, EdgeCall, HandlerError},
};

const MEDIA_TYPE: &str = "application/revocations+jwt";

pub(super) async fn handle(
    State(state): State<AppState>,
    Path((generation, since)): Path<(String, String)>,
    call: EdgeCall,
) -> Result<Response, HandlerError> {
    let number = |text: String| text.parse::<u64>().map_err(|_| HandlerError::not_found());
    let document = feed(
        call.caller.database(),
        state.keyrings(),
        state.metrics(),
        number(generation)?,
        number(since)?,
        call.now,
    )
    .await?;
    state.metrics().document_served("revocations", false);
    respond(MEDIA_TYPE, &document, &call.headers)
}
