//! `POST /edge/v1/activations/license-file`: a license file for an activation's own machine.

use axum::{Json, extract::State};
use licet_shared::api::{ActivationAnswer, CheckoutRequest};

use super::token;
use crate::{
    http::{AppState, EdgeCall, HandlerError},
    licensing::license_file::{Lifetime, check_out_by_token},
};

pub(super) async fn handle(
    State(state): State<AppState>,
    call: EdgeCall,
) -> Result<Json<ActivationAnswer>, HandlerError> {
    let request: CheckoutRequest = call.json()?;
    let answer = match token::verified(&state, &call, &request.token).await? {
        Err(code) => ActivationAnswer::plain(code),
        Ok(it) => {
            check_out_by_token(
                &it.tenant,
                state.keyrings(),
                &it.token,
                it.keyring,
                Lifetime::Customers(request.lifetime_s),
                call.origin(),
                call.now,
            )
            .await?
        }
    };
    Ok(call.answer(&state, "checkout", answer))
}
