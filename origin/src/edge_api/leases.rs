//! `POST /edge/v1/leases/{acquire,heartbeat,release}`: floating seats.

use axum::{Json, extract::State};
use licet_shared::{
    api::{AcquireCall, LeaseAnswer},
    decision::Code,
};

use super::token;
use crate::{
    http::{AppState, EdgeCall, HandlerError},
    licensing::leases,
};

pub(super) async fn acquire(
    State(state): State<AppState>,
    call: EdgeCall,
) -> Result<Json<LeaseAnswer>, HandlerError> {
    let asked: AcquireCall = call.json()?;
    let answer = match token::verified(&state, &call, &asked.token).await? {
        Err(code) => LeaseAnswer::plain(code),
        Ok(it) => {
            let wanted = leases::acquire::Wanted {
                seat: &asked.seat,
                idempotency_key: call.idempotency_key.as_deref(),
                origin: call.origin(),
            };
            let keyrings = state.keyrings();
            leases::acquire::acquire(
                &it.tenant, keyrings, &it.token, it.keyring, wanted, call.now,
            )
            .await?
        }
    };
    Ok(call.answer(&state, "acquire", answer))
}

pub(super) async fn heartbeat(
    State(state): State<AppState>,
    call: EdgeCall,
) -> Result<Json<LeaseAnswer>, HandlerError> {
    let answer = match token::in_body(&state, &call).await? {
        Err(_) => LeaseAnswer::plain(Code::LeaseInvalid),
        Ok(it) => {
            let keyrings = state.keyrings();
            leases::heartbeat::heartbeat(&it.tenant, keyrings, &it.token, it.keyring, call.now)
                .await?
        }
    };
    Ok(call.answer(&state, "heartbeat", answer))
}

pub(super) async fn release(
    State(state): State<AppState>,
    call: EdgeCall,
) -> Result<Json<LeaseAnswer>, HandlerError> {
    let answer = match token::in_body(&state, &call).await? {
        Err(_) => LeaseAnswer::plain(Code::LeaseInvalid),
        Ok(it) => {
            let (keyrings, origin) = (state.keyrings(), call.origin());
            leases::release::release(
                &it.tenant, keyrings, &it.token, it.keyring, origin, call.now,
            )
            .await?
        }
    };
    Ok(call.answer(&state, "release", answer))
}
