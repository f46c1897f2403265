//! Acquiring: somebody takes a floating seat.
//!
//! The license's row is locked, leases whose time has passed are ended, and only then are the seats
//! counted, by a statement of its own. Rows are locked in the order license, activation, leases, end
//! of the audit chain.

use std::sync::Arc;

use licet_shared::{
    api::{AcquireRequest, LeaseAnswer, SeatSummary},
    decision::{Code, LicenseToken, fingerprint_hash},
    id::LeaseId,
    problem::ProblemCode,
    time::Timestamp,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{granted, over, refused};
use crate::{
    db::{
        Error, Tenant, Tx,
        activations::Activation,
        audit,
        grants::{self, Grant},
        leases::{self, LeaseRecord, NewLease, Usage},
    },
    keys::{Keyring, Keyrings},
    licensing::{Origin, objection, terms::Seats, token::confirm},
    random::{self, RowId},
    rejection::Rejection,
};

/// What somebody asks for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) seat: &'a AcquireRequest,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) origin: Origin<'a>,
}

/// What is asked, in the form that the table wants.
struct Attempt<'a> {
    token: &'a LicenseToken,
    asked: &'a AcquireRequest,
    /// The hash of the fingerprint that was sent.
    fingerprint: Option<String>,
    request_key: [u8; 32],
    request_hash: [u8; 32],
    keys_version: u64,
    origin: Origin<'a>,
    now: Timestamp,
}

/// What became of it in the transaction.
enum Decided {
    Granted(Box<Held>),
    /// The license has no floating seats.
    NotNeeded(Box<(Grant, Activation)>),
    Refused(Code, Box<(Grant, Activation)>, Option<SeatSummary>),
    NotFound,
    /// The organization's keys have changed: is the token still theirs?
    OtherKeys(u64),
}

struct Held {
    lease: LeaseRecord,
    activation: Activation,
    seats: Option<SeatSummary>,
}

/// Gives the activation of a verified token a seat, or says why not.
pub(crate) async fn acquire(
    tenant: &Tenant,
    keyrings: &Keyrings,
    token: &LicenseToken,
    mut keyring: Arc<Keyring>,
    wanted: Wanted<'_>,
    now: Timestamp,
) -> Result<LeaseAnswer, Error> {
    let Wanted {
        seat: asked,
        idempotency_key,
        origin,
    } = wanted;
    let request_key = match idempotency_key {
        Some(key) => of_activation(token, key),
        None => random::bytes()?,
    };
    let mut attempt = Attempt {
        token,
        asked,
        fingerprint: asked.fingerprint.as_deref().map(fingerprint_hash),
        request_key,
        request_hash: asked_hash(asked),
        keys_version: keyring.version(),
        origin,
        now,
    };
    loop {
        let decided = tenant
            .run_tx("acquire", |tx| Box::pin(decide(tx, &attempt)))
            .await?;
        return Ok(match decided {
            Decided::Granted(held) => LeaseAnswer {
                seats: held.seats,
                ..granted(&held.lease, &held.activation, &keyring, now)?
            },
            Decided::NotNeeded(known) => LeaseAnswer {
                detail: "This license has no floating seats: it needs no lease.".into(),
                ..refused(Code::Valid, &known.0, &known.1)
            },
            Decided::Refused(code, known, seats) => LeaseAnswer {
                seats,
                ..refused(code, &known.0, &known.1)
            },
            Decided::NotFound => LeaseAnswer::plain(Code::ActivationNotFound),
            Decided::OtherKeys(version) => {
                let vouched = |keys: &_| token.still_vouched_for_by(keys);
                match confirm(tenant, keyrings, vouched, keyring, version, now).await? {
                    Ok(current) => {
                        keyring = current;
                        attempt.keys_version = keyring.version();
                        continue;
                    }
                    Err(code) => LeaseAnswer::plain(code),
                }
            }
        });
    }
}

/// Activations choose keys without knowing of each other, so a key counts for one alone.
fn of_activation(token: &LicenseToken, key: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update("acquire")
        .chain_update([0])
        .chain_update(token.claims().act.uuid_bytes())
        .chain_update(key)
        .finalize()
        .into()
}

/// What tells one request from another. The token does not: it may have been refreshed meanwhile.
fn asked_hash(asked: &AcquireRequest) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in [Some(&asked.holder), asked.fingerprint.as_ref()] {
        match text {
            None => hash.update([0]),
            Some(text) => {
                hash.update([1]);
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
        }
    }
    hash.update(asked.borrow_s.unwrap_or(0).to_be_bytes());
    hash.finalize().into()
}

async fn decide(tx: &Tx<'_>, attempt: &Attempt<'_>) -> Result<Decided, Error> {
    let claims = attempt.token.claims();
    let license = claims.sub;
    // The machine of who sends no fingerprint is the activation's, which is not known yet; a
    // token that is bound names it.
    let named = attempt.fingerprint.as_ref().or(claims.fp.as_ref());
    let machine = named.map_or("", String::as_str);
    // All four travel together and run in this order.
    let locked = grants::lock_by_activation(tx, claims.act, license);
    let cleared = leases::end_overdue(tx, license);
    let usage = leases::usage(tx, license, &attempt.asked.holder, machine);
    let earlier = leases::by_request(tx, &attempt.request_key);
    let (locked, cleared, usage, earlier) =
        futures_util::future::join4(locked, cleared, usage, earlier).await;
    let Some((grant, activation)) = locked? else {
        return Ok(Decided::NotFound);
    };
    cleared?;
    if grant.keys_version > attempt.keys_version {
        return Ok(Decided::OtherKeys(grant.keys_version));
    }
    let earlier = earlier?;
    let refuse = |code, grant, activation, seats| {
        Ok(Decided::Refused(code, Box::new((grant, activation)), seats))
    };
    if let Some((_, request_hash)) = &earlier
        && *request_hash != attempt.request_hash
    {
        return Err(reused().into());
    }
    if let Some(code) = objection(&grant, !activation.live, attempt.now) {
        return refuse(code, grant, activation, None);
    }
    if let Some((lease, _)) = earlier {
        return match over(&lease).or_else(|| running_out(&lease, attempt.now)) {
            Some(code) => refuse(code, grant, activation, None),
            None => Ok(Decided::Granted(Box::new(Held {
                lease,
                activation,
                seats: None,
            }))),
        };
    }
    let Some(seats) = grant.terms.seats else {
        return Ok(Decided::NotNeeded(Box::new((grant, activation))));
    };
    // A token that is bound to a device names no other.
    if let (Some(bound), Some(given)) = (&claims.fp, &attempt.fingerprint)
        && bound != given
    {
        return refuse(Code::FingerprintMismatch, grant, activation, None);
    }
    let borrowed_s = attempt.asked.borrow_s;
    if borrowed_s.is_some_and(|seconds| seconds > seats.borrow_max_s) {
        return refuse(Code::BorrowRefused, grant, activation, None);
    }
    let (machine, usage) = match named {
        Some(named) => (named.clone(), usage?),
        None => {
            let own = machine_of(&activation);
            let usage = leases::usage(tx, license, &attempt.asked.holder, &own).await?;
            (own, usage)
        }
    };
    if !seats.has_room(usage) {
        let seats = Some(summary(seats, usage));
        return refuse(Code::SeatLimit, grant, activation, seats);
    }
    let lease = take(tx, attempt, &grant, seats, &machine).await?;
    Ok(Decided::Granted(Box::new(Held {
        lease,
        activation,
        seats: Some(summary(seats, seats.with_one_more(usage))),
    })))
}

/// The machine of an activation: that of its fingerprint, or it stands for one by itself.
fn machine_of(activation: &Activation) -> String {
    let fingerprint = activation.fingerprint_hash.clone();
    fingerprint.unwrap_or_else(|| fingerprint_hash(&activation.id.to_string()))
}

fn reused() -> Rejection {
    Rejection::new(
        ProblemCode::IdempotencyKeyReused,
        "This Idempotency-Key came with another body before. Use a new key for a new request.",
    )
}

/// A lease in its last second is none to hand out again.
fn running_out(lease: &LeaseRecord, now: Timestamp) -> Option<Code> {
    (lease.expires_at <= now).then_some(Code::LeaseExpired)
}

fn summary(seats: Seats, usage: Usage) -> SeatSummary {
    SeatSummary {
        max: seats.max,
        taken: u32::try_from(seats.taken(usage)).unwrap_or(u32::MAX),
    }
}

async fn take(
    tx: &Tx<'_>,
    attempt: &Attempt<'_>,
    grant: &Grant,
    seats: Seats,
    machine_hash: &str,
) -> Result<LeaseRecord, Error> {
    let id = LeaseId::generate()?;
    let activation = attempt.token.claims().act;
    let borrow_s = attempt.asked.borrow_s;
    let new = NewLease {
        id,
        license: grant.license,
        activation,
        holder: &attempt.asked.holder,
        machine_hash,
        borrowed: borrow_s.is_some(),
        lasts_s: borrow_s.unwrap_or(seats.lease_s),
        request_key: &attempt.request_key,
        request_hash: &attempt.request_hash,
    };
    let lease = leases::insert(tx, &new).await?;
    // An ordinary lease comes and goes with each run of a program: its row is trace enough.
    if lease.borrowed {
        let event = audit::Event::new(attempt.origin, "lease.borrowed").details(json!({
            "license": grant.license, "activation": activation, "expires_at": lease.expires_at,
        }));
        audit::write(tx, &id, &event).await?;
    }
    Ok(lease)
}
