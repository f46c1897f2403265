//! `POST /api/v1/licenses/deactivate-offline`: a machine that never connects gives its activation
//! back, by a receipt that somebody carries.

use crate::{
    http::{Answer, Fault, Incoming, Object},
    isolate::Scope,
    origin::forward,
};

const PATH: &str = "/edge/v1/activations/receipt";

/// Answers what the origin answered, which reads the receipt: it alone knows the machine's key.
///
/// # Errors
/// 400, 408, 413, 415 for a body that can't be taken; else as [`forward`](forward::forward).
pub(crate) async fn handle(scope: &Scope, request: &Incoming) -> Result<Answer, Fault> {
    let asked: Object = request.json().await?;
    let body = licet_edge_hot::json(&asked).map_err(|_| Fault::internal())?;
    let answer = forward::forward(scope, request, PATH, &body).await?;
    Ok(forward::answer(scope, answer))
}
