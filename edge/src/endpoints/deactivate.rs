//! `POST /api/v1/licenses/deactivate`: gives an activation back.

use std::rc::Rc;

use licet_shared::documents::StatusDocument;

use super::refresh::with_bearer;
use crate::{
    documents::{Name, supersede},
    http::{Answer, Fault, Incoming},
    isolate::Scope,
    origin::forward,
};

const PATH: &str = "/edge/v1/activations/deactivate";

/// Answers what the origin answered. Once it is done, this data centre asks for the changed
/// status list before it says yes again.
///
/// # Errors
/// 401 without a bearer token; else as [`forward`](forward::forward).
pub(crate) async fn handle(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    let (answer, token) = with_bearer(scope, request, PATH).await?;
    if let Some(token) = token.filter(|_| answer.valid) {
        let name = Name::status_list(token.org(), token.status_list_number());
        supersede::<StatusDocument>(scope, name).await;
    }
    Ok(forward::answer(scope, answer))
}
