//! `POST /api/v1/licenses/activate-offline`: the request of a machine that never connects becomes
//! its license file.
//!
//! What request or code hold is the origin's to read: these are few, and reading them takes more of
//! the Worker's size than a call that is in vain costs.

use crate::{
    http::{Answer, Fault, Incoming, Object},
    isolate::Scope,
    origin::forward,
};

const PATH: &str = "/edge/v1/activations/offline";

/// Answers what the origin answered.
///
/// # Errors
/// 400, 408, 413, 415 for a body that can't be taken; else as [`forward`](forward::forward).
pub(crate) async fn handle(scope: &Scope, request: &Incoming) -> Result<Answer, Fault> {
    let asked: Object = request.json().await?;
    let body = licet_edge_hot::json(&asked).map_err(|_| Fault::internal())?;
    let answer = forward::forward(scope, request, PATH, &body).await?;
    Ok(forward::answer(scope, answer))
}
