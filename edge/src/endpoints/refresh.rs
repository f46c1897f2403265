//! `POST /api/v1/licenses/refresh`: a new token for the same activation.

use std::rc::Rc;

use licet_shared::{api::TokenRequest, decision::LicenseToken};

use crate::{
    http::{Answer, Fault, Incoming},
    isolate::Scope,
    origin::{Answered, forward},
    recognise::{Recognised, recognise},
};

const PATH: &str = "/edge/v1/activations/refresh";

/// Answers what the origin answered.
///
/// # Errors
/// 401 without a bearer token; else as [`forward`](forward::forward).
pub(crate) async fn handle(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    let (answer, _) = with_bearer(scope, request, PATH).await?;
    Ok(forward::answer(scope, answer))
}

/// Passes the bearer token on to `path`. One that does not verify is answered here, by its code.
pub(super) async fn with_bearer(
    scope: &Rc<Scope>,
    request: &Incoming,
    path: &str,
) -> Result<(Answered, Option<Rc<LicenseToken>>), Fault> {
    let text = request.bearer()?;
    match recognise(scope, &text).await? {
        Recognised::Token(token, _) => {
            let body = licet_edge_hot::json(&TokenRequest { token: text })
                .map_err(|_| Fault::internal())?;
            let answer = forward::forward(scope, request, path, &body).await?;
            Ok((answer, Some(token)))
        }
        Recognised::Refused(code) => Ok((Answered::plain(code), None)),
    }
}
