//! Refresh: a new token for an activation that is in force. The old one may have ended.

use std::sync::Arc;

use licet_shared::{
    api::ActivationAnswer,
    decision::{Code, LicenseToken},
    id::{ActivationId, LicenseId},
    time::Timestamp,
};

use super::{Origin, answer, begin::begin, objection, terms::DurationStart, token::confirm};
use crate::{
    db::{
        Error, Tenant,
        activations::{self, Activation},
        grants::{self, Grant},
        licenses,
    },
    fault::Fault,
    keys::{Keyring, Keyrings},
};

/// Makes a new token for a verified one, or says why not.
pub(crate) async fn refresh(
    tenant: &Tenant,
    keyrings: &Keyrings,
    token: &LicenseToken,
    keyring: Arc<Keyring>,
    origin: Origin<'_>,
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
    if let Some(code) = objection(&grant, !activation.live, now) {
        return Ok(answer::refusal(code, &grant));
    }
    let (grant, activation) = if waits_for_a_refresh(&grant) {
        start(tenant, activation.id, license, origin, now).await?
    } else {
        (grant, activation)
    };
    answer::token(grant, &activation, &keyring, now)
}

fn waits_for_a_refresh(grant: &Grant) -> bool {
    let start = grant.terms.duration_start(grant.tier);
    grant.pending_duration_s.is_some() && start == DurationStart::FirstValidation
}

/// Has the license's time begin, unless another refresh has just done so.
async fn start(
    tenant: &Tenant,
    activation: ActivationId,
    license: LicenseId,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<(Grant, Activation), Fault> {
    let begun = tenant.run_tx("begin_license", |tx| {
        Box::pin(async move {
            licenses::lock_status(tx, license).await?;
            let missing = || Error::Row("activations");
            let found = grants::of_activation(tx, activation, license).await?;
            let (mut grant, _) = found.ok_or_else(missing)?;
            begin(tx, &mut grant, origin, now).await?;
            let begun = grants::of_activation(tx, activation, license).await?;
            begun.ok_or_else(missing)
        })
    });
    Ok(begun.await?)
}
