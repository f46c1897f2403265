//! `GET /edge/v1/orgs/{tag}/statuslists/{number}`: a signed status list.

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::document::{max_age_s, respond};
use crate::{
    documents::{DEFAULT_MAX_AGE_S, status_list},
    http::{AppState, EdgeCall, HandlerError},
};

const MEDIA_TYPE: &str = "application/statuslist+jwt";

pub(super) async fn handle(
    State(state): State<AppState>,
    Path((tag, number)): Path<(String, String)>,
    call: EdgeCall,
) -> Result<Response, HandlerError> {
    let number = canonical(&number).ok_or_else(HandlerError::not_found)?;
    let tenant = call.caller.for_org(&tag).await?;
    let max_age_s =
        max_age_s(&call.headers).map_or(DEFAULT_MAX_AGE_S, |age| age.min(DEFAULT_MAX_AGE_S));
    let (document, remembered) = status_list(
        &tenant,
        state.keyrings(),
        state.documents(),
        number,
        state.status_ttl(),
        max_age_s,
        call.now,
    )
    .await?
    .ok_or_else(HandlerError::not_found)?;
    state.metrics().document_served("statuslist", remembered);
    respond(MEDIA_TYPE, &document, &call.headers)
}

/// One spelling per list: the number is part of cache keys.
fn canonical(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
