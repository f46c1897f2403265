//! Machines that never connect: activated by a request that somebody carries, given back by a
//! receipt. Their seats are decided where all are, in [`super::activate`].

use licet_shared::{
    api::{ActivateRequest, ActivationAnswer, MachineRequest},
    decision::Code,
    jws::VerifyingKey,
    license_file::DeactivationReceipt,
    time::Timestamp,
};

use super::{
    Origin,
    activate::{ActivateError, Attempt, run},
    answer::{refusal, summary},
    deactivate,
    license_file::{self, FileTerms, Lifetime},
};
use crate::{
    db::{Error, Tenant, Tx, activations::Activation, grants, grants::Grant, machines},
    keys::Keyrings,
    rejection::Rejection,
};

/// What a machine without a network brings to its activation.
pub(super) struct Machine<'a> {
    request: &'a MachineRequest,
    lifetime: Lifetime,
}

impl Machine<'_> {
    /// Why the request can't be answered, if so: it was, and what it led to was given back. The
    /// license must be held.
    pub(super) async fn objection(
        &self,
        tx: &Tx<'_>,
        grant: &Grant,
    ) -> Result<Option<Code>, Error> {
        let own = Some(&self.request.fingerprint_hash);
        let Some(nonce) = &self.request.nonce else {
            return Ok(None);
        };
        match machines::by_request(tx, grant.license, nonce).await? {
            Some(earlier) if earlier.fingerprint_hash.as_ref() != own => Err(Rejection::conflict(
                "Another machine's request has this nonce. Make the request anew.",
            )
            .into()),
            Some(earlier) => Ok((!earlier.live).then_some(Code::Deactivated)),
            None => Ok(None),
        }
    }

    /// Notes the machine with its activation, and settles what its file says.
    pub(super) async fn file(
        &self,
        tx: &Tx<'_>,
        grant: &Grant,
        activation: &Activation,
        origin: Origin<'_>,
        now: Timestamp,
    ) -> Result<FileTerms, Error> {
        let key = self.request.machine_key.as_ref().map(VerifyingKey::bytes);
        let nonce = self.request.nonce.as_deref();
        machines::bind(tx, activation.id, key.as_ref(), nonce).await?;
        license_file::settle(tx, grant, activation.id, self.lifetime, origin, now).await
    }
}

/// Activates a license for a machine without a network, and makes its license file. The same
/// request again gives the same activation and a file as things now stand.
pub(crate) async fn activate(
    tenant: &Tenant,
    keyrings: &Keyrings,
    machine: &MachineRequest,
    lifetime: Lifetime,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<ActivationAnswer, ActivateError> {
    // First: no seat is taken for a machine that could not be given its file.
    keyrings.get(tenant, now).await?;
    let request = ActivateRequest {
        license_key: String::new(),
        product: machine.product.clone(),
        fingerprint: None,
        fingerprints: None,
        name: machine.name.clone(),
        metadata: None,
    };
    let attempt = Attempt {
        key_hash: machine.license_key.hash(),
        fingerprint_hash: Some(machine.fingerprint_hash.clone()),
        components: None,
        request: &request,
        once: None,
        machine: Some(Machine {
            request: machine,
            lifetime,
        }),
        origin,
        now,
    };
    run(tenant, keyrings, &attempt).await
}

/// Who brings a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bearer {
    Vendor,
    /// Within the license's terms.
    Customer,
}

/// Gives back the activation that a receipt names, if the activation's own machine has signed it.
/// Doing so twice is the same as doing so once.
pub(crate) async fn give_back(
    tenant: &Tenant,
    receipt: &DeactivationReceipt,
    bearer: Bearer,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<ActivationAnswer, Error> {
    let (id, license) = (receipt.activation(), receipt.license());
    tenant
        .run_tx("give_back", |tx| {
            Box::pin(async move {
                let found = grants::of_activation(tx, id, license).await?;
                let (Some((grant, activation)), Some(key)) =
                    (found, machines::key(tx, id, license).await?)
                else {
                    return Ok(ActivationAnswer::plain(Code::ActivationNotFound));
                };
                if !is_signed(receipt, key, now) {
                    return Ok(ActivationAnswer {
                        detail: "The machine of this activation has not signed the receipt.".into(),
                        ..ActivationAnswer::plain(Code::SignatureInvalid)
                    });
                }
                if bearer == Bearer::Vendor {
                    deactivate::free(tx, id, license, origin).await?;
                } else if let Some(code) =
                    deactivate::give_up(tx, &grant, &activation, origin).await?
                {
                    return Ok(refusal(code, &grant));
                }
                Ok(ActivationAnswer {
                    detail: "The activation has been given back.".into(),
                    license: Some(summary(&grant)),
                    activation_id: Some(id),
                    ..ActivationAnswer::plain(Code::Valid)
                })
            })
        })
        .await
}

fn is_signed(receipt: &DeactivationReceipt, key: Option<[u8; 32]>, now: Timestamp) -> bool {
    key.and_then(|bytes| VerifyingKey::new("machine", bytes).ok())
        .is_some_and(|key| receipt.is_signed_by(&key, now))
}
