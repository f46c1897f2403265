//! `POST /api/v1/licenses/activate`: a license key becomes a token for this device.
//!
//! The key's form is checked here, so that a typo costs no call. The rest is the origin's.

use licet_shared::{license_key::LicenseKey, problem::ProblemCode};

use crate::{
    http::{Answer, Fault, Incoming, Object},
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
    let asked: Object = request.json().await?;
    if asked.member("license_key").is_none() {
        return Err(Fault::bad_request("missing field `license_key`"));
    }
    let key = asked
        .text("license_key")
        .map(|key| key.parse::<LicenseKey>());
    if let Some(Err(error)) = key {
        return Err(Fault::new(
            ProblemCode::LicenseKeyMalformed,
            format!("license_key: {error}"),
        ));
    }
    let body = licet_edge_hot::json(&asked).map_err(|_| Fault::internal())?;
    let answer = forward::forward(scope, request, PATH, &body).await?;
    Ok(forward::answer(scope, answer))
}
