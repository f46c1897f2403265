//! `POST /api/v1/licenses/acquire`, `heartbeat` and `release`: floating seats.
//!
//! The license token or lease is verified here, so that what is none costs no call. Who gets a seat
//! is the origin's to say.

use std::rc::Rc;

use licet_shared::{
    api::{AcquireCall, AcquireRequest, TokenRequest},
    decision::{Code, LeaseToken, LicenseToken},
};

use crate::{
    http::{Answer, Fault, Incoming},
    isolate::Scope,
    origin::{Answered, forward},
    recognise::{Recognised, recognise},
};

const ACQUIRE: &str = "/edge/v1/leases/acquire";
const HEARTBEAT: &str = "/edge/v1/leases/heartbeat";
const RELEASE: &str = "/edge/v1/leases/release";

/// Takes a seat for the license token's activation.
///
/// # Errors
/// 401 without a bearer token; 400, 408, 413, 415 for a body that can't be taken; else as
/// [`forward`](forward::forward).
pub(crate) async fn acquire(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    let token = request.bearer()?;
    let seat: AcquireRequest = request.json().await?;
    // The sender may have taken its time.
    scope.read_clock();
    if let Recognised::Refused(code) = recognise::<LicenseToken>(scope, &token).await? {
        return Ok(forward::answer(scope, Answered::plain(code)));
    }
    // Written anew from what was understood: the origin sees nothing that was not looked at.
    let body = licet_edge_hot::json(&AcquireCall { token, seat }).map_err(|_| Fault::internal())?;
    let answer = forward::forward(scope, request, ACQUIRE, &body).await?;
    Ok(forward::answer(scope, answer))
}

/// Keeps a seat for another while.
///
/// # Errors
/// 401 without a bearer token; else as [`forward`](forward::forward).
pub(crate) async fn heartbeat(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    with_lease(scope, request, HEARTBEAT).await
}

/// Gives a seat back.
///
/// # Errors
/// As [`heartbeat`].
pub(crate) async fn release(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    with_lease(scope, request, RELEASE).await
}

/// Passes the lease that the request bears on to `path`. One that does not verify is answered here.
async fn with_lease(scope: &Rc<Scope>, request: &Incoming, path: &str) -> Result<Answer, Fault> {
    let token = request.bearer()?;
    if let Recognised::Refused(_) = recognise::<LeaseToken>(scope, &token).await? {
        let answer = Answered::plain(Code::LeaseInvalid);
        return Ok(forward::answer(scope, answer));
    }
    let body = licet_edge_hot::json(&TokenRequest { token }).map_err(|_| Fault::internal())?;
    let answer = forward::forward(scope, request, path, &body).await?;
    Ok(forward::answer(scope, answer))
}
