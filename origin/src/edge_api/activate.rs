//! `POST /edge/v1/activations`.

use axum::{Json, extract::State};
use licet_shared::{
    api::{ActivateRequest, ActivationAnswer},
    decision::Code,
    license_key::LicenseKey,
    problem::ProblemCode,
};
use sha2::{Digest, Sha256};

use crate::{
    http::{AppState, EdgeCall, HandlerError},
    licensing::activate::{ActivateError, Once, activate},
};

const OPERATION: &str = "activate";

pub(super) async fn handle(
    State(state): State<AppState>,
    call: EdgeCall,
) -> Result<Json<ActivationAnswer>, HandlerError> {
    let request: ActivateRequest = call.json()?;
    let key: LicenseKey = request.license_key.parse().map_err(
        |error: licet_shared::license_key::LicenseKeyError| {
            HandlerError::problem(ProblemCode::LicenseKeyMalformed, error.to_string())
        },
    )?;
    let answer = match call.caller.find_org(key.org()).await? {
        None => ActivationAnswer::plain(Code::LicenseNotFound),
        Some(tenant) => {
            let once = call.idempotency_key.as_deref().map(|key| Once {
                key,
                request_hash: request_hash(&call.body),
            });
            let origin = call.origin();
            activate(
                &tenant,
                state.keyrings(),
                &key,
                &request,
                once,
                origin,
                call.now,
            )
            .await?
        }
    };
    Ok(call.answer(&state, OPERATION, answer))
}

/// What tells one request from another: the operation and the body as it was sent.
fn request_hash(body: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(OPERATION)
        .chain_update([0])
        .chain_update(body)
        .finalize()
        .into()
}

impl From<ActivateError> for HandlerError {
    fn from(error: ActivateError) -> Self {
        match error {
            ActivateError::KeyReused => Self::problem(
                ProblemCode::IdempotencyKeyReused,
                "This Idempotency-Key came with another body before. Use a new key for a new request.",
            ),
            ActivateError::InFlight => Self::problem(
                ProblemCode::IdempotencyInFlight,
                "A request with this Idempotency-Key is still being answered. Ask again in a moment.",
            )
            .retry_after(1),
            ActivateError::Rejected(rejection) => rejection.into(),
            ActivateError::Fault(fault) => fault.into(),
        }
    }
}
