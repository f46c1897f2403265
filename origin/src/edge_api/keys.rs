//! `GET /edge/v1/orgs/{tag}/keys`: an organization's signed key set.

use axum::{
    extract::{Path, State},
    response::Response,
};
use licet_shared::{documents::KeysClaims, jws::Kind};

use super::document::respond;
use crate::http::{AppState, EdgeCall, HandlerError};

const MEDIA_TYPE: &str = "application/keys+jwt";
const _: () = assert!(matches!(KeysClaims::TYP.as_bytes(), b"keys+jwt"));

pub(super) async fn handle(
    State(state): State<AppState>,
    Path(tag): Path<String>,
    call: EdgeCall,
) -> Result<Response, HandlerError> {
    let tenant = call.caller.for_org(&tag).await?;
    let now = call.now;
    // What the database says now, not what was true when the keys were last read.
    let organization = tenant
        .run_pipelined("keys_version", |tx| {
            Box::pin(crate::db::organizations::find(tx))
        })
        .await?
        .ok_or_else(HandlerError::not_found)?;
    let keyrings = state.keyrings();
    let keyring = keyrings
        .get_version(&tenant, organization.keys_version, now)
        .await?;
    let document = keyrings.document(&keyring, organization.epoch, now)?;
    respond(MEDIA_TYPE, &document, &call.headers)
}
