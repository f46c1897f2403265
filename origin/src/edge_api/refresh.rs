//! `POST /edge/v1/activations/refresh`.

use axum::{Json, extract::State};
use licet_shared::api::ActivationAnswer;

use super::token;
use crate::{
    http::{AppState, EdgeCall, HandlerError},
    licensing::refresh::refresh,
};

pub(super) async fn handle(
    State(state): State<AppState>,
    call: EdgeCall,
) -> Result<Json<ActivationAnswer>, HandlerError> {
    let answer = match token::in_body(&state, &call).await? {
        Err(code) => ActivationAnswer::plain(code),
        Ok(it) => {
            refresh(
                &it.tenant,
                state.keyrings(),
                &it.token,
                it.keyring,
                call.origin(),
                call.now,
            )
            .await?
        }
    };
    Ok(call.answer(&state, "refresh", answer))
}
