//! Deactivation: the device gives its seat back. Doing so twice is the same as doing so once.

use std::sync::Arc;

use licet_shared::{
    api::ActivationAnswer,
    decision::{Code, LicenseToken},
    id::{ActivationId, LicenseId},
    time::Timestamp,
};
use serde_json::json;

use super::{Origin, answer, token::confirm};
use crate::{
    db::{
        Error, Tenant, Tx,
        activations::{self, Activation, By},
        audit,
        grants::{self, Grant},
        leases, licenses, status_lists,
    },
    fault::Fault,
    keys::{Keyring, Keyrings},
};

/// What became of it in the transaction.
enum Decided {
    GivenBack(Box<Grant>),
    Refused(Code, Box<Grant>),
    NotFound,
    /// The organization's keys have changed: is the token still theirs?
    OtherKeys(u64),
}

/// Gives back the activation that a verified token was made for.
///
/// A license that is suspended, revoked or ended is no obstacle, but its terms may be.
pub(crate) async fn deactivate(
    tenant: &Tenant,
    keyrings: &Keyrings,
    token: &LicenseToken,
    mut keyring: Arc<Keyring>,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<ActivationAnswer, Fault> {
    let (id, license) = (token.claims().act, token.claims().sub);
    let grant = loop {
        let version = keyring.version();
        let decided = tenant
            .run_tx("deactivate", |tx| {
                Box::pin(give_back(tx, id, license, version, origin))
            })
            .await?;
        match decided {
            Decided::GivenBack(grant) => break grant,
            Decided::Refused(code, grant) => return Ok(answer::refusal(code, &grant)),
            Decided::NotFound => return Ok(ActivationAnswer::plain(Code::ActivationNotFound)),
            Decided::OtherKeys(version) => {
                let vouched = |keys: &_| token.still_vouched_for_by(keys);
                match confirm(tenant, keyrings, vouched, keyring, version, now).await? {
                    Ok(current) => keyring = current,
                    Err(code) => return Ok(ActivationAnswer::plain(code)),
                }
            }
        }
    };
    Ok(ActivationAnswer {
        detail: "The activation has been given back.".into(),
        license: Some(answer::summary(&grant)),
        activation_id: Some(id),
        ..ActivationAnswer::plain(Code::Valid)
    })
}

async fn give_back(
    tx: &Tx<'_>,
    id: ActivationId,
    license: LicenseId,
    keys_version: u64,
    origin: Origin<'_>,
) -> Result<Decided, Error> {
    let Some((grant, activation)) = grants::of_activation(tx, id, license).await? else {
        return Ok(Decided::NotFound);
    };
    if grant.keys_version > keys_version {
        return Ok(Decided::OtherKeys(grant.keys_version));
    }
    Ok(match give_up(tx, &grant, &activation, origin).await? {
        None => Decided::GivenBack(Box::new(grant)),
        Some(code) => Decided::Refused(code, Box::new(grant)),
    })
}

/// Has a device give its activation back, or says why its license's terms don't let it. What was
/// given back before is so still.
pub(crate) async fn give_up(
    tx: &Tx<'_>,
    grant: &Grant,
    activation: &Activation,
    origin: Origin<'_>,
) -> Result<Option<Code>, Error> {
    let (id, license) = (activation.id, grant.license);
    if !activation.live {
        return Ok(None);
    }
    if let Some(limit) = grant.terms.deactivations {
        // One after the other, as each counts.
        licenses::lock_status(tx, license).await?;
        let of_late = activations::given_back(tx, id, license, limit.period_s).await?;
        if !of_late.live {
            return Ok(None);
        }
        if of_late.count >= i64::from(limit.max) {
            return Ok(Some(Code::DeactivationLimit));
        }
    }
    if grant.terms.transferable == Some(false) {
        return Ok(Some(Code::TransferRefused));
    }
    take(tx, id, license, By::Device, origin).await?;
    Ok(None)
}

/// Has the vendor's people take an activation off its device, whatever the license's terms.
pub(crate) async fn free(
    tx: &Tx<'_>,
    id: ActivationId,
    license: LicenseId,
    origin: Origin<'_>,
) -> Result<(), Error> {
    take(tx, id, license, By::Vendor, origin).await
}

/// Frees the seat of an activation and ends its leases, and says so in the status list. Does nothing
/// where it is free.
async fn take(
    tx: &Tx<'_>,
    id: ActivationId,
    license: LicenseId,
    by: By,
    origin: Origin<'_>,
) -> Result<(), Error> {
    let Some(entry) = activations::deactivate(tx, id, license, by).await? else {
        return Ok(());
    };
    let event =
        audit::Event::new(origin, "activation.deactivated").details(json!({ "license": license }));
    let ended = leases::end_with_activation(tx, id);
    let written = audit::write(tx, &id, &event);
    let bumped = status_lists::bump(tx, entry.list);
    futures_util::future::try_join3(ended, written, bumped).await?;
    Ok(())
}
