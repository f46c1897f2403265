//! `POST /api/v1/licenses/deactivate`: gives an activation back.

use std::rc::Rc;

use licet_shared::documents::StatusDocument;

use super::refresh::with_bearer;
use crate::{
    clock,
    documents::{Name, supersede},
    http::{Answer, Fault, Incoming},
    isolate::Scope,
    origin::forward,
};

const PATH: &str = "/edge/v1/activations/deactivate";

/// Answers what the origin answered. Once it is done, this isolate says yes no more, and this data
/// centre asks for the changed status list before it says yes again.
///
/// # Errors
/// 401 without a bearer token; else as [`forward`](forward::forward).
pub(crate) async fn handle(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    let (answer, token) = with_bearer(scope, request, PATH).await?;
    if let Some(token) = token.filter(|_| answer.valid) {
        let name = Name::status_list(token.org(), token.status_list_number());
        let index = token.claims().status.status_list.idx;
        let now_ms = clock::now_ms();
        let notes = &scope.isolate.given_back;
        notes.borrow_mut().note(name, index, now_ms);
        supersede::<StatusDocument>(scope, name).await;
    }
    Ok(forward::answer(scope, answer))
}
