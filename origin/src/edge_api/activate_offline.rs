//! `POST /edge/v1/activations/offline`: a license file for a machine that never connects.

use axum::{Json, extract::State};
use licet_shared::{
    api::{ActivationAnswer, MachineRequestError, OfflineActivateRequest},
    decision::Code,
    problem::ProblemCode,
};

use crate::{
    http::{AppState, EdgeCall, HandlerError},
    licensing::{license_file::Lifetime, offline::activate},
};

pub(super) async fn handle(
    State(state): State<AppState>,
    call: EdgeCall,
) -> Result<Json<ActivationAnswer>, HandlerError> {
    let request: OfflineActivateRequest = call.json()?;
    let machine = request.machine(call.now)?;
    let answer = match call.caller.find_org(machine.license_key.org()).await? {
        None => ActivationAnswer::plain(Code::LicenseNotFound),
        Some(tenant) => {
            let lifetime = Lifetime::Customers(request.lifetime_s);
            let keyrings = state.keyrings();
            activate(
                &tenant,
                keyrings,
                &machine,
                lifetime,
                call.origin(),
                call.now,
            )
            .await?
        }
    };
    Ok(call.answer(&state, "activate_offline", answer))
}

impl From<MachineRequestError> for HandlerError {
    fn from(error: MachineRequestError) -> Self {
        match error {
            MachineRequestError::LicenseKey(error) => Self::problem(
                ProblemCode::LicenseKeyMalformed,
                format!("license_key: {error}"),
            ),
            MachineRequestError::Body(error) => {
                Self::problem(ProblemCode::BadRequest, error.to_string())
            }
        }
    }
}
