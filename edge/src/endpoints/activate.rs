//! `POST /api/v1/licenses/activate`: a license key becomes a token for this device.
//!
//! The key's form is checked here, so that a typo costs no call. The rest is the origin's.

use licet_shared::{api::ActivateRequest, license_key::LicenseKey, problem::ProblemCode};

use crate::{
    http::{Answer, Fault, Incoming},
    isolate::Scope,
    origin::forward,
};

const PATH: &str = "/edge/v1/activations";

/// Answers what the origin answered.
///
/// # Errors
/// 400, 408, 413, 415 for a body that can't be taken; 422 for a mistyped key; else as
/// [`forward`](forward::forward).
pub(crate) async fn handle(scope: &Scope, request: &Incoming) -> Result<Answer, Fault> {
    let asked: ActivateRequest = request.json().await?;
    if let Err(error) = asked.license_key.parse::<LicenseKey>() {
        return Err(Fault::new(
            ProblemCode::LicenseKeyMalformed,
            format!("license_key: {error}"),
        ));
    }
    // Written anew from what was understood: the origin sees nothing that was not looked at.
    let body = serde_json::to_string(&asked).map_err(|_| Fault::internal())?;
    let answer = forward::forward(scope, request, PATH, &body).await?;
    Ok(forward::answer(scope, answer))
}
