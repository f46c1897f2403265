//! `POST /edge/v1/activations/receipt`: a machine that never connects gives its activation back.

use axum::{Json, extract::State};
use licet_shared::{
    api::{ActivationAnswer, ReceiptRequest},
    decision::Code,
    license_file::{DeactivationReceipt, ReceiptError},
    problem::ProblemCode,
};

use crate::{
    http::{AppState, EdgeCall, HandlerError},
    licensing::offline::{Bearer, give_back},
};

pub(super) async fn handle(
    State(state): State<AppState>,
    call: EdgeCall,
) -> Result<Json<ActivationAnswer>, HandlerError> {
    let request: ReceiptRequest = call.json()?;
    let receipt = DeactivationReceipt::read(&request.receipt, call.now)?;
    let answer = match call.caller.find_org(receipt.org()).await? {
        None => ActivationAnswer::plain(Code::ActivationNotFound),
        Some(tenant) => {
            let (origin, now) = (call.origin(), call.now);
            give_back(&tenant, &receipt, Bearer::Customer, origin, now).await?
        }
    };
    Ok(call.answer(&state, "deactivate_offline", answer))
}

impl From<ReceiptError> for HandlerError {
    fn from(error: ReceiptError) -> Self {
        Self::problem(ProblemCode::BadRequest, format!("receipt: {error}"))
    }
}
