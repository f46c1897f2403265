//! `POST /api/v1/licenses/activate-offline`: the request of a machine that never connects becomes
//! its license file.
//!
//! Request, code and key are read here, so that a typo costs no call. The rest is the origin's.

use licet_shared::{
    api::{ActivationAnswer, MachineRequestError, OfflineActivateRequest},
    problem::ProblemCode,
};

use crate::{
    http::{Answer, Fault, Incoming},
    isolate::Scope,
    origin::forward,
};

const PATH: &str = "/edge/v1/activations/offline";

/// Answers what the origin answered.
///
/// # Errors
/// 400, 408, 413, 415 for a body that can't be taken; 422 for a mistyped key; 403 where the
/// license's terms leave files to its vendor; else as [`forward`](forward::forward).
pub(crate) async fn handle(scope: &Scope, request: &Incoming) -> Result<Answer, Fault> {
    let asked: OfflineActivateRequest = request.json().await?;
    asked.machine(scope.now()).map_err(|error| match error {
        MachineRequestError::LicenseKey(_) => Fault::new(
            ProblemCode::LicenseKeyMalformed,
            format!("license_key: {error}"),
        ),
        MachineRequestError::Body(_) => Fault::bad_request(error.to_string()),
    })?;
    let body = serde_json::to_string(&asked).map_err(|_| Fault::internal())?;
    let answer: ActivationAnswer = forward::forward(scope, request, PATH, &body).await?;
    Ok(forward::answer(scope, answer))
}
