//! Refresh: a new token for an activation that is in force. The old one may have ended.

use std::sync::Arc;

use licet_shared::{
    api::ActivationAnswer,
    decision::{Code, LicenseToken},
    time::Timestamp,
};

use super::{answer, objection, token::confirm};
use crate::{
    db::{Tenant, activations, grants},
    fault::Fault,
    keys::{Keyring, Keyrings},
};

/// Makes a new token for a verified one, or says why not.
pub(crate) async fn refresh(
    tenant: &Tenant,
    keyrings: &Keyrings,
    token: &LicenseToken,
    keyring: Arc<Keyring>,
    now: Timestamp,
) -> Result<ActivationAnswer, Fault> {
    let claims = token.claims();
    let (activation, license) = (claims.act, claims.sub);
    let found = tenant
        .run_pipelined("refresh", |tx| {
            Box::pin(async move {
                let found = grants::of_activation(tx, activation, license);
                let seen = activations::see(tx, activation);
                let (found, ()) = futures_util::future::try_join(found, seen).await?;
                Ok(found)
            })
        })
        .await?;
    let Some((grant, activation)) = found else {
        return Ok(ActivationAnswer::plain(Code::ActivationNotFound));
    };
    let vouched = |keys: &_| token.still_vouched_for_by(keys);
    let keyring = confirm(tenant, keyrings, vouched, keyring, grant.keys_version, now).await?;
    let keyring = match keyring {
        Ok(keyring) => keyring,
        Err(code) => return Ok(ActivationAnswer::plain(code)),
    };
    match objection(&grant, !activation.live, now) {
        Some(code) => Ok(answer::refusal(code, &grant)),
        None => answer::token(grant, &activation, &keyring, now),
    }
}
