//! License tokens and leases as edges hand them on: known to be an organization's own before anything
//! else.

use std::sync::Arc;

use licet_shared::{
    api::TokenRequest,
    decision::{Code, LeaseToken, LicenseToken, PresentedLease},
};

use crate::{
    db::Tenant,
    http::{AppState, EdgeCall, HandlerError},
    keys::Keyring,
    licensing::{verify_lease_token, verify_token},
};

/// A token that an organization has signed.
pub(super) struct Presented<T = LicenseToken> {
    pub(super) tenant: Tenant,
    pub(super) token: T,
    pub(super) keyring: Arc<Keyring>,
}

/// The token in a call's body; the inner error is the code to answer instead.
pub(super) async fn presented(
    state: &AppState,
    call: &EdgeCall,
) -> Result<Result<Presented, Code>, HandlerError> {
    let TokenRequest { token: text } = call.json()?;
    license_token(state, call, &text).await
}

/// A license token from its text; the inner error is the code to answer instead.
pub(super) async fn license_token(
    state: &AppState,
    call: &EdgeCall,
    text: &str,
) -> Result<Result<Presented, Code>, HandlerError> {
    let tag = match LicenseToken::org_tag(text, call.now) {
        Ok(tag) => tag,
        Err(code) => return Ok(Err(code)),
    };
    let Some(tenant) = call.caller.find_org(tag).await? else {
        return Ok(Err(Code::UnknownKey));
    };
    let verified = verify_token(&tenant, state.keyrings(), text, call.now).await?;
    Ok(verified.map(|(token, keyring)| Presented {
        tenant,
        token,
        keyring,
    }))
}

/// The lease in a call's body; none where it is not one.
pub(super) async fn lease(
    state: &AppState,
    call: &EdgeCall,
) -> Result<Option<Presented<LeaseToken>>, HandlerError> {
    let TokenRequest { token: text } = call.json()?;
    let tag = PresentedLease::parse(&text, call.now).and_then(|lease| lease.org_tag());
    let Ok(tag) = tag else { return Ok(None) };
    let Some(tenant) = call.caller.find_org(tag).await? else {
        return Ok(None);
    };
    let verified = verify_lease_token(&tenant, state.keyrings(), &text, call.now).await?;
    Ok(verified.ok().map(|(token, keyring)| Presented {
        tenant,
        token,
        keyring,
    }))
}
