//! `POST /edge/v1/usage`.

use axum::{Json, extract::State};
use licet_shared::{
    api::{ConsumeAnswer, UsageRequest},
    problem::ProblemCode,
};
use sha2::{Digest, Sha256};

use super::token;
use crate::{
    http::{AppState, EdgeCall, HandlerError},
    licensing::consume::{Asked, ConsumeError, consume},
};

pub(super) async fn handle(
    State(state): State<AppState>,
    call: EdgeCall,
) -> Result<Json<ConsumeAnswer>, HandlerError> {
    let request: UsageRequest = call.json()?;
    let answer = match token::verified(&state, &call, &request.token).await? {
        Err(code) => ConsumeAnswer::plain(code),
        Ok(it) => {
            let uses = serde_json::to_vec(&request.uses).unwrap_or_default();
            let asked = Asked {
                token: &it.token,
                uses: &request.uses,
                key: call.idempotency_key.as_deref(),
                // Of the uses alone: the token may have been refreshed between two attempts.
                hash: Sha256::digest(uses).into(),
                now: call.now,
            };
            consume(&it.tenant, state.keyrings(), it.keyring, &asked).await?
        }
    };
    Ok(call.answer(&state, "consume", answer))
}

impl From<ConsumeError> for HandlerError {
    fn from(error: ConsumeError) -> Self {
        match error {
            ConsumeError::KeyReused => Self::problem(
                ProblemCode::IdempotencyKeyReused,
                "This Idempotency-Key came with other uses before. Use a new key for a new request.",
            ),
            ConsumeError::UseIdReused(id) => Self::problem(
                ProblemCode::IdempotencyKeyReused,
                format!(
                    "uses: the id {id:?} came with another feature or amount before. Use a new id for a new use."
                ),
            ),
            ConsumeError::InFlight => Self::problem(
                ProblemCode::IdempotencyInFlight,
                "A request with this Idempotency-Key, or with a use of the same id, is still being answered. Ask again in a moment.",
            )
            .retry_after(1),
            ConsumeError::Fault(fault) => fault.into(),
        }
    }
}
