//! License tokens and leases as edges hand them on: known to be an organization's own before anything
//! else.

use std::sync::Arc;

use licet_shared::{
    api::TokenRequest,
    decision::{Code, LicenseToken, OrgToken, Presented},
};

use crate::{
    db::Tenant,
    http::{AppState, EdgeCall, HandlerError},
    keys::Keyring,
    licensing::verify_token,
};

/// A token that an organization has signed.
pub(super) struct Verified<T = LicenseToken> {
    pub(super) tenant: Tenant,
    pub(super) token: T,
    pub(super) keyring: Arc<Keyring>,
}

/// The license token or lease that is a call's body; the inner error is the code to answer instead.
pub(super) async fn in_body<T: OrgToken>(
    state: &AppState,
    call: &EdgeCall,
) -> Result<Result<Verified<T>, Code>, HandlerError> {
    let TokenRequest { token: text } = call.json()?;
    verified(state, call, &text).await
}

/// Likewise from its text.
pub(super) async fn verified<T: OrgToken>(
    state: &AppState,
    call: &EdgeCall,
    text: &str,
) -> Result<Result<Verified<T>, Code>, HandlerError> {
    let tag = match Presented::<T>::parse(text, call.now).and_then(|token| token.org_tag()) {
        Ok(tag) => tag,
        Err(code) => return Ok(Err(code)),
    };
    let Some(tenant) = call.caller.find_org(tag).await? else {
        return Ok(Err(Code::UnknownKey));
    };
    let verified = verify_token(&tenant, state.keyrings(), text, call.now).await?;
    Ok(verified.map(|(token, keyring)| Verified {
        tenant,
        token,
        keyring,
    }))
}
