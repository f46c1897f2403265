//! `POST /api/v1/licenses/checkout`: a license file, for going without the network.

use std::rc::Rc;

use licet_shared::decision::LicenseToken;

use crate::{
    http::{Answer, Fault, Incoming, Object},
    isolate::Scope,
    origin::{Answered, forward},
    recognise::{Recognised, recognise},
};

const PATH: &str = "/edge/v1/activations/license-file";

/// Answers what the origin answered. A token that does not verify is answered here, by its code.
///
/// # Errors
/// 400, 408, 413, 415 for a body that can't be taken; 403 where the license's terms leave files to
/// its vendor; else as [`forward`](forward::forward).
pub(crate) async fn handle(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    let asked: Object = request.json().await?;
    let token = asked.text("token");
    let token = token.ok_or_else(|| Fault::bad_request("token: must be the license token"))?;
    let answer = match recognise::<LicenseToken>(scope, &token).await? {
        Recognised::Token(..) => {
            let body = licet_edge_hot::json(&asked).map_err(|_| Fault::internal())?;
            forward::forward(scope, request, PATH, &body).await?
        }
        Recognised::Refused(code) => Answered::plain(code),
    };
    Ok(forward::answer(scope, answer))
}
