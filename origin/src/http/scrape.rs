//! `/metrics`, on the same listener as everything: keep it from the public at the load balancer.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{AppState, HandlerError};
use crate::fault::Fault;

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn handle(State(state): State<AppState>) -> Result<Response, HandlerError> {
    let text = state
        .metrics()
        .render(
            state.database().pool_use(),
            state.edges().remembered_calls(),
        )
        .map_err(|error| Fault::internal("writing metrics", error))?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}
