//! Activation: one seat of a license for one device.
//!
//! Seats are decided while the license's row is locked, from a count taken by a statement of
//! its own after the lock was had. Rows are locked in the order idempotency key, license,
//! activation, end of the audit chain, status list, here and wherever several are.

use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::{
    api::{ActivateRequest, ActivationAnswer},
    components::Components,
    decision::{Code, fingerprint_hash},
    documents::Tier,
    id::ActivationId,
    license_key::LicenseKey,
    time::Timestamp,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Origin, answer,
    begin::begin,
    license_file::{self, FileTerms},
    objection,
    offline::Machine,
    terms::Fingerprint,
};
use crate::{
    db::{
        Error, Tenant, Tx,
        activations::{self, Activation, Hashes, NewActivation, Seats},
        audit,
        grants::{self, Grant},
        idempotency::{self, Outcome},
        status_lists::{self, StatusEntry},
        trials,
    },
    documents::grows_with,
    fault::Fault,
    keys::Keyrings,
    random::RowId,
    rejection::Rejection,
};

/// A client's key for a request that must not act twice, and what tells the request from others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Once<'a> {
    pub(crate) key: &'a str,
    pub(crate) request_hash: [u8; 32],
}

/// The same, as it is kept. Different customers of a vendor choose keys without knowing of each
/// other, so a key counts for one license alone.
pub(super) struct Scoped {
    key: String,
    request_hash: [u8; 32],
}

impl Once<'_> {
    fn of_license(&self, license_key_hash: &[u8; 32]) -> Scoped {
        let digest = Sha256::new()
            .chain_update("activate")
            .chain_update([0])
            .chain_update(license_key_hash)
            .chain_update(self.key)
            .finalize();
        Scoped {
            key: Base64UrlUnpadded::encode_string(&digest),
            request_hash: self.request_hash,
        }
    }
}

/// Why an activation was not answered.
#[derive(Debug)]
pub(crate) enum ActivateError {
    /// The idempotency key belongs to another request.
    KeyReused,
    /// The same request is still at work.
    InFlight,
    /// The caller may not do so.
    Rejected(Rejection),
    /// Our own.
    Fault(Fault),
}

impl From<Fault> for ActivateError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for ActivateError {
    fn from(error: Error) -> Self {
        match error {
            Error::KeyInFlight => Self::InFlight,
            Error::Rejected(rejection) => Self::Rejected(rejection),
            error => Self::Fault(error.into()),
        }
    }
}

/// What is asked, in the form that the tables want.
pub(super) struct Attempt<'a> {
    pub(super) key_hash: [u8; 32],
    pub(super) fingerprint_hash: Option<String>,
    pub(super) components: Option<Hashes>,
    pub(super) request: &'a ActivateRequest,
    pub(super) once: Option<Scoped>,
    /// Where it is for a machine without a network.
    pub(super) machine: Option<Machine<'a>>,
    pub(super) origin: Origin<'a>,
    pub(super) now: Timestamp,
}

impl Attempt<'_> {
    fn fingerprint_hash(&self) -> Option<&str> {
        self.fingerprint_hash.as_deref()
    }

    /// Idempotency keys from before this time no longer count.
    fn outworn(&self) -> Timestamp {
        self.now.plus(-idempotency::KEPT_S)
    }
}

/// What became of it in the transaction.
enum Decided {
    Granted(Box<Grant>, Activation),
    /// The same for a machine without a network, with what else its file says.
    Filed(Box<Grant>, Activation, FileTerms),
    Refused(Code, Option<Box<Grant>>),
    KeyReused,
}

/// Activates a license for a device, or says why not.
pub(crate) async fn activate(
    tenant: &Tenant,
    keyrings: &Keyrings,
    key: &LicenseKey,
    request: &ActivateRequest,
    once: Option<Once<'_>>,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<ActivationAnswer, ActivateError> {
    // First: no seat is taken for a device that could not be given its token.
    keyrings.get(tenant, now).await?;
    let key_hash = key.hash();
    let attempt = Attempt {
        key_hash,
        fingerprint_hash: request.fingerprint.as_deref().map(fingerprint_hash),
        components: request.fingerprints.as_ref().map(Components::hashes),
        request,
        once: once.map(|once| once.of_license(&key_hash)),
        machine: None,
        origin,
        now,
    };
    run(tenant, keyrings, &attempt).await
}

/// Decides, and answers with the token or the license file.
pub(super) async fn run(
    tenant: &Tenant,
    keyrings: &Keyrings,
    attempt: &Attempt<'_>,
) -> Result<ActivationAnswer, ActivateError> {
    let now = attempt.now;
    let decided = tenant
        .run_tx("activate", |tx| Box::pin(decide(tx, attempt)))
        .await?;
    match decided {
        Decided::Granted(grant, activation) => {
            let keyring = keyrings
                .get_version(tenant, grant.keys_version, now)
                .await?;
            Ok(answer::token(*grant, &activation, &keyring, now)?)
        }
        Decided::Filed(grant, activation, terms) => {
            let keyring = keyrings
                .get_version(tenant, grant.keys_version, now)
                .await?;
            Ok(license_file::answer(
                &grant,
                &activation,
                &terms,
                &keyring,
                now,
            )?)
        }
        Decided::Refused(code, Some(grant)) => Ok(answer::refusal(code, &grant)),
        Decided::Refused(code, None) => Ok(ActivationAnswer::plain(code)),
        Decided::KeyReused => Err(ActivateError::KeyReused),
    }
}

async fn decide(tx: &Tx<'_>, attempt: &Attempt<'_>) -> Result<Decided, Error> {
    let decided = decide_seat(tx, attempt).await?;
    let Some(machine) = &attempt.machine else {
        return Ok(decided);
    };
    match decided {
        Decided::Granted(grant, activation) => {
            let terms = machine
                .file(tx, &grant, &activation, attempt.origin, attempt.now)
                .await?;
            Ok(Decided::Filed(grant, activation, terms))
        }
        refused => Ok(refused),
    }
}

async fn decide_seat(tx: &Tx<'_>, attempt: &Attempt<'_>) -> Result<Decided, Error> {
    // All four travel together and run in this order.
    let claim = claim(tx, attempt);
    let grant = grants::lock_by_key(tx, &attempt.key_hash);
    let seats = activations::seats(tx, &attempt.key_hash, attempt.fingerprint_hash());
    let newest = status_lists::newest(tx);
    let (claimed, grant, seats, newest) =
        futures_util::future::join4(claim, grant, seats, newest).await;
    let claimed = claimed?;
    let (Some(mut grant), Some(mut seats)) = (grant?, seats?) else {
        // Nothing is written for a key that somebody made up.
        return Ok(Decided::Refused(Code::LicenseNotFound, None));
    };
    if !claimed {
        return repeat(tx, attempt, grant).await;
    }
    if let Some(code) = objection(&grant, false, attempt.now) {
        return refuse(tx, attempt, grant, code).await;
    }
    answer::check_size(&grant)?;
    if let Some(machine) = &attempt.machine
        && let Some(code) = machine.objection(tx, &grant).await?
    {
        return refuse(tx, attempt, grant, code).await;
    }
    if let Some(code) = objection_to_device(&grant, attempt) {
        return refuse(tx, attempt, grant, code).await;
    }
    if let (None, Some(components)) = (&seats.own, &attempt.components) {
        let matching = grant.terms.matching_components();
        let own = activations::with_components(tx, grant.license, components, matching);
        seats.own = own.await?;
    }
    if let Some(code) = objection_to_use(&grant, &seats, attempt) {
        return refuse(tx, attempt, grant, code).await;
    }
    let mut taken = seats.taken;
    if let Some(mut own) = seats.own {
        if again(tx, attempt, own.id).await? {
            own.components = own.components.or_else(|| attempt.components.clone());
            begin(tx, &mut grant, attempt.origin, attempt.now).await?;
            return Ok(Decided::Granted(Box::new(grant), own));
        }
        // It has just been given back, which takes no lock on the license: then count anew.
        // None can be taken meanwhile.
        let seats = activations::seats(tx, &attempt.key_hash, attempt.fingerprint_hash()).await?;
        let seats = seats.ok_or(Error::Changed)?;
        taken = seats.taken;
        if let Some(code) = objection_to_use(&grant, &seats, attempt) {
            return refuse(tx, attempt, grant, code).await;
        }
    }
    if let Some(code) = objection_to_trial(tx, &grant, attempt).await? {
        return refuse(tx, attempt, grant, code).await;
    }
    begin(tx, &mut grant, attempt.origin, attempt.now).await?;
    let over_limit = (taken + 1 - grant.max_activations).max(0);
    let activation = first(tx, attempt, &grant, over_limit, newest?).await?;
    Ok(Decided::Granted(Box::new(grant), activation))
}

async fn refuse(
    tx: &Tx<'_>,
    attempt: &Attempt<'_>,
    grant: Grant,
    code: Code,
) -> Result<Decided, Error> {
    let outcome = Outcome {
        code,
        activation: None,
    };
    record(tx, attempt, outcome).await?;
    Ok(Decided::Refused(code, Some(Box::new(grant))))
}

async fn claim(tx: &Tx<'_>, attempt: &Attempt<'_>) -> Result<bool, Error> {
    match &attempt.once {
        Some(once) => {
            let (hash, outworn) = (&once.request_hash, attempt.outworn());
            idempotency::claim(tx, &once.key, hash, &attempt.key_hash, outworn).await
        }
        None => Ok(true),
    }
}

/// Whether the device names what it will be told by.
fn objection_to_device(grant: &Grant, attempt: &Attempt<'_>) -> Option<Code> {
    let wanted = usize::from(grant.terms.matching_components().unwrap_or(1));
    let sound = match (&attempt.components, &attempt.fingerprint_hash) {
        (Some(components), _) => components.len() >= wanted,
        (None, None) => grant.fingerprint != Fingerprint::Required,
        (None, Some(_)) => true,
    };
    (!sound).then_some(Code::FingerprintRequired)
}

fn objection_to_use(grant: &Grant, seats: &Seats, attempt: &Attempt<'_>) -> Option<Code> {
    if !grant.products.contains(&attempt.request.product) {
        Some(Code::ProductNotLicensed)
    } else if seats.own.is_none() && grant.is_full(seats.taken) {
        Some(Code::ActivationLimit)
    } else {
        None
    }
}

/// Why a device that has no activation yet may not try what a trial is for.
async fn objection_to_trial(
    tx: &Tx<'_>,
    grant: &Grant,
    attempt: &Attempt<'_>,
) -> Result<Option<Code>, Error> {
    if grant.tier != Tier::Trial {
        return Ok(None);
    }
    let Some(hash) = attempt.fingerprint_hash() else {
        return Ok(Some(Code::FingerprintRequired));
    };
    let first = trials::claim(tx, grant.license, hash).await?;
    Ok((!first).then_some(Code::TrialUsed))
}

/// The list that the next entry goes into, and whether it has to be begun.
fn open_list(newest: Option<StatusEntry>) -> (u32, bool) {
    match newest {
        None => (0, true),
        Some(newest) if newest.index < status_lists::ENTRIES => (newest.list, false),
        Some(full) => (full.list + 1, true),
    }
}

async fn record(tx: &Tx<'_>, attempt: &Attempt<'_>, outcome: Outcome) -> Result<(), Error> {
    let Some(once) = &attempt.once else {
        return Ok(());
    };
    let recorded = idempotency::record(tx, &once.key, outcome);
    let swept = idempotency::sweep(tx);
    futures_util::future::try_join(recorded, swept).await?;
    Ok(())
}

/// The device has its seat already; false when it has just been given back.
async fn again(tx: &Tx<'_>, attempt: &Attempt<'_>, id: ActivationId) -> Result<bool, Error> {
    let request = attempt.request;
    let touch = activations::touch(
        tx,
        id,
        request.name.as_deref(),
        request.metadata.as_ref(),
        attempt.components.as_ref(),
    );
    let outcome = Outcome {
        code: Code::Valid,
        activation: Some(id),
    };
    let (touched, ()) = futures_util::future::try_join(touch, record(tx, attempt, outcome)).await?;
    Ok(touched)
}

/// The device takes a seat.
async fn first(
    tx: &Tx<'_>,
    attempt: &Attempt<'_>,
    grant: &Grant,
    over_limit: i64,
    newest: Option<(StatusEntry, u64)>,
) -> Result<Activation, Error> {
    let (list, must_begin) = open_list(newest.map(|(entry, _)| entry));
    if must_begin {
        status_lists::begin(tx, list).await?;
    }
    let id = ActivationId::generate()?;
    let new = NewActivation {
        id,
        license: grant.license,
        fingerprint_hash: attempt.fingerprint_hash(),
        components: attempt.components.as_ref(),
        name: attempt.request.name.as_deref(),
        metadata: attempt.request.metadata.as_ref(),
    };
    let mut details = json!({ "license": grant.license });
    if over_limit > 0 {
        details["over_limit"] = json!(over_limit);
    }
    let event = audit::Event::new(attempt.origin, "activation.created").details(details);
    // Event and entry come last: from them on, the organization's other activations wait.
    let recorded = record(
        tx,
        attempt,
        Outcome {
            code: Code::Valid,
            activation: Some(id),
        },
    );
    let written = audit::write(tx, &id, &event);
    let advanced = status_lists::advance(tx, list);
    let inserted = activations::insert(tx, &new, list);
    let all = futures_util::future::join4(recorded, written, advanced, inserted);
    let (recorded, written, advanced, inserted) = all.await;
    // The first that failed says why; those after it only that it did.
    recorded.and(written).and(advanced)?;
    let entry = inserted?;
    if grows_with(entry.index) {
        status_lists::bump(tx, list).await?;
    }
    Ok(Activation {
        id,
        fingerprint_hash: attempt.fingerprint_hash.clone(),
        components: attempt.components.clone(),
        entry,
        live: true,
        // The license is locked: nothing that was done to it since its terms were read.
        list_version: newest
            .filter(|_| !must_begin)
            .map_or(0, |(_, version)| version),
    })
}

/// Answers a request that was answered before: as then, but with a new token.
async fn repeat(tx: &Tx<'_>, attempt: &Attempt<'_>, grant: Grant) -> Result<Decided, Error> {
    let Some(once) = &attempt.once else {
        return Err(Error::Changed);
    };
    // Gone again when another request has just cleared it away: then begin anew.
    let earlier = idempotency::find(tx, &once.key, attempt.outworn()).await?;
    let earlier = earlier.ok_or(Error::Changed)?;
    if earlier.request_hash != once.request_hash {
        return Ok(Decided::KeyReused);
    }
    let Some(id) = earlier.outcome.activation else {
        return Ok(Decided::Refused(
            earlier.outcome.code,
            Some(Box::new(grant)),
        ));
    };
    let Some((grant, activation)) = grants::of_activation(tx, id, grant.license).await? else {
        return Ok(Decided::Refused(Code::ActivationNotFound, None));
    };
    Ok(match objection(&grant, !activation.live, attempt.now) {
        Some(code) => Decided::Refused(code, Some(Box::new(grant))),
        None => Decided::Granted(Box::new(grant), activation),
    })
}
