//! Leases of floating seats: taken, kept alive, given back.
//!
//! A lease is a row, which takes a seat, and a token of the organization's, which says so to edges
//! and to whoever verifies offline. Who can be given a seat is decided while the license's row is
//! locked; a heartbeat touches its own row alone.

pub(crate) mod acquire;
pub(crate) mod heartbeat;
pub(crate) mod release;

use licet_shared::{
    api::LeaseAnswer,
    decision::{Code, LeaseSummary},
    documents::{LeaseClaims, Status, StatusReference, TOKEN_VERSION},
    jws::{Times, sign},
    time::Timestamp,
};

use crate::{
    db::{
        activations::Activation,
        grants::Grant,
        leases::{EndedWhy, LeaseRecord},
    },
    fault::Fault,
    keys::Keyring,
};

/// A yes, with a token for the lease.
fn granted(
    lease: &LeaseRecord,
    activation: &Activation,
    keyring: &Keyring,
    now: Timestamp,
) -> Result<LeaseAnswer, Fault> {
    let keys = keyring.public();
    let claims = LeaseClaims {
        iss: keys.issuer().into(),
        sub: lease.license,
        org: keys.org(),
        act: lease.activation,
        lea: lease.id,
        holder: lease.holder.clone(),
        bor: lease.borrowed,
        status: Status {
            status_list: StatusReference {
                idx: activation.entry.index,
                uri: StatusReference::uri(keys.issuer(), keys.tag(), activation.entry.list),
            },
        },
        ver: TOKEN_VERSION,
    };
    let times = Times {
        issued_at: now,
        expires_at: lease.expires_at,
        not_before: None,
    };
    let text = sign(&claims, times, keyring.signer())
        .map_err(|error| Fault::internal("signing a lease", error))?;
    Ok(LeaseAnswer {
        lease_token: Some(text),
        lease: Some(LeaseSummary::of(
            lease.id,
            now,
            lease.expires_at,
            lease.borrowed,
        )),
        license_id: Some(lease.license),
        activation_id: Some(lease.activation),
        ..LeaseAnswer::plain(Code::Valid)
    })
}

/// A no about a license that is known.
fn refused(code: Code, grant: &Grant, activation: &Activation) -> LeaseAnswer {
    LeaseAnswer {
        license_id: Some(grant.license),
        activation_id: Some(activation.id),
        ..LeaseAnswer::plain(code)
    }
}

/// What to say of a lease that takes no seat any more.
fn over(lease: &LeaseRecord) -> Option<Code> {
    lease.ended.map(|(_, why)| match why {
        EndedWhy::Expired => Code::LeaseExpired,
        EndedWhy::Deactivated => Code::Deactivated,
        EndedWhy::Released | EndedWhy::TakenBack => Code::LeaseNotFound,
    })
}
