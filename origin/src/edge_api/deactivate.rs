//! `POST /edge/v1/activations/deactivate`.

use axum::{Json, extract::State};
use licet_shared::api::ActivationAnswer;

use super::token;
use crate::{
    http::{AppState, EdgeCall, HandlerError},
    licensing::deactivate::deactivate,
};

pub(super) async fn handle(
    State(state): State<AppState>,
    call: EdgeCall,
) -> Result<Json<ActivationAnswer>, HandlerError> {
    let answer = match token::in_body(&state, &call).await? {
        Err(code) => ActivationAnswer::plain(code),
        Ok(it) => {
            let keyrings = state.keyrings();
            deactivate(
                &it.tenant,
                keyrings,
                &it.token,
                it.keyring,
                call.origin(),
                call.now,
            )
            .await?
        }
    };
    Ok(call.answer(&state, "deactivate", answer))
}
