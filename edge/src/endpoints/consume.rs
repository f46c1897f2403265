//! `POST /api/v1/licenses/consume`: so much of a metered feature was used.
//!
//! Decided at the origin alone, which counts; the answer says what is left. Verdicts elsewhere show
//! it once they have a newer license document, within the status lists' ttl.

use std::rc::Rc;

use licet_shared::decision::LicenseToken;

use crate::{
    http::{Answer, Fault, Incoming, Object},
    isolate::Scope,
    origin::{Answered, forward},
    recognise::{Recognised, recognise},
};

const PATH: &str = "/edge/v1/usage";

/// Answers what the origin answered. A token that does not verify is answered here, by its code.
///
/// # Errors
/// 401 without a bearer token; 400, 408, 413, 415 for a body that can't be taken; else as
/// [`forward`](forward::forward).
pub(crate) async fn handle(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    let token = request.bearer()?;
    let mut asked: Object = request.json().await?;
    if asked.member("token").is_some() {
        return Err(Fault::bad_request(
            "token: unknown field; the license token is sent as bearer",
        ));
    }
    scope.read_clock();
    let answer = match recognise::<LicenseToken>(scope, &token).await? {
        Recognised::Token(..) => {
            asked.set("token", &token);
            let body = licet_edge_hot::json(&asked).map_err(|_| Fault::internal())?;
            forward::forward(scope, request, PATH, &body).await?
        }
        Recognised::Refused(code) => Answered::plain(code),
    };
    Ok(forward::answer(scope, answer))
}
