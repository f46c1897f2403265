//! License tokens as edges hand them on: known to be an organization's own before anything else.

use std::sync::Arc;

use licet_shared::{
    api::TokenRequest,
    decision::{Code, LicenseToken},
};

use crate::{
    db::Tenant,
    http::{AppState, EdgeCall, HandlerError},
    keys::Keyring,
    licensing::verify_token,
};

/// A token that an organization has signed.
pub(super) struct Presented {
    pub(super) tenant: Tenant,
    pub(super) token: LicenseToken,
    pub(super) keyring: Arc<Keyring>,
}

/// The token in a call's body; the inner error is the code to answer instead.
pub(super) async fn presented(
    state: &AppState,
    call: &EdgeCall,
) -> Result<Result<Presented, Code>, HandlerError> {
    let TokenRequest { token } = call.json()?;
    verified(state, call, &token).await
}

/// The same for a token that stands in a body with more.
pub(super) async fn verified(
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
