//! License files: made for an activation that is in force, while its license is held, so that a
//! revoked one gets none.

use std::sync::Arc;

use licet_shared::{
    api::ActivationAnswer,
    decision::{Code, FeatureSetReference, LicenseToken, TokenSummary},
    documents::LicenseClaims,
    id::{ActivationId, LicenseId},
    jws::{Times, VerifyingKey},
    license_file::{self, FILE_VERSION, LicenseFileClaims},
    problem::ProblemCode,
    time::Timestamp,
};
use serde_json::json;

use super::{
    Origin,
    answer::{claims, components, refusal, summary},
    objection,
    token::confirm,
};
use crate::{
    db::{Error, Tenant, Tx, activations::Activation, audit, grants, grants::Grant, machines},
    fault::Fault,
    keys::{Keyring, Keyrings},
    rejection::Rejection,
};

/// For how long a file is to hold, by who asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lifetime {
    /// As the vendor says.
    Vendors(u32),
    /// As the customer says, within the license's terms.
    Customers(Option<u32>),
}

impl Lifetime {
    fn under(self, grant: &Grant) -> Result<u32, Rejection> {
        let wanted = match self {
            Self::Vendors(seconds) => return Ok(seconds),
            Self::Customers(wanted) => wanted,
        };
        let longest = grant.terms.offline_max_s.ok_or_else(|| {
            Rejection::new(
                ProblemCode::Forbidden,
                "The license's terms leave license files to its vendor: ask there for one.",
            )
        })?;
        Ok(wanted.map_or(longest, |wanted| wanted.min(longest)))
    }
}

/// What a file says beside what a token would.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileTerms {
    times: Times,
    machine_key: Option<[u8; 32]>,
}

/// Settles what an activation's file says, and writes down that it is made. The license must be
/// held.
pub(super) async fn settle(
    tx: &Tx<'_>,
    grant: &Grant,
    activation: ActivationId,
    lifetime: Lifetime,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<FileTerms, Error> {
    let seconds = lifetime.under(grant)?;
    let times = Times::starting(now, i64::from(seconds));
    let machine_key = machines::key(tx, activation, grant.license).await?;
    let event = audit::Event::new(origin, "license_file.made").details(json!({
        "license": grant.license, "lifetime_s": seconds, "expires_at": times.expires_at,
    }));
    audit::write(tx, &activation, &event).await?;
    Ok(FileTerms {
        times,
        machine_key: machine_key.flatten(),
    })
}

/// A yes, with a license file for the activation.
pub(super) fn answer(
    grant: &Grant,
    activation: &Activation,
    terms: &FileTerms,
    keyring: &Keyring,
    now: Timestamp,
) -> Result<ActivationAnswer, Fault> {
    let times = terms.times;
    // Nobody else will ask which machine a copy is on: a file always names its own.
    let fpc = components(grant, activation);
    let hash = activation.fingerprint_hash.clone();
    let license = LicenseClaims {
        fp: hash.filter(|_| fpc.is_none()),
        fpc,
        // There is no origin to be heard of or to be out of reach: the file's own end is all.
        hb: None,
        ra: None,
        grace: 0,
        ..claims(grant, activation, keyring)?
    };
    let machine_key = |bytes| {
        VerifyingKey::new("machine", bytes)
            .map(|key| key.x())
            .map_err(|error| Fault::internal("a machine's key", error))
    };
    let file = LicenseFileClaims {
        ver: FILE_VERSION,
        lic: license,
        rev: grant.revision,
        features: grant.features.clone().into_iter().collect(),
        mk: terms.machine_key.map(machine_key).transpose()?,
    };
    let keys = keyring.document().text();
    let keys = std::str::from_utf8(&keys).map_err(|error| Fault::internal("a key set", error))?;
    let text = license_file::make(&file, times, keyring.signer(), keys)
        .map_err(|error| Fault::internal("signing a license file", error))?;
    Ok(ActivationAnswer {
        detail: "The license file is made.".into(),
        expired: grant.is_past_end(now),
        license_file: Some(text),
        token: Some(TokenSummary {
            expires_at: times.expires_at,
            refresh_after: now.plus(times.expires_at.since(now) / 2),
        }),
        license: Some(summary(grant)),
        activation_id: Some(activation.id),
        feature_set: Some(FeatureSetReference {
            id: grant.feature_set,
            revision: grant.revision,
        }),
        ..ActivationAnswer::plain(Code::Valid)
    })
}

/// What became of it in the transaction.
enum Decided {
    Made(Box<Grant>, Activation, FileTerms),
    Refused(Code, Option<Box<Grant>>),
}

/// Makes a license file for an activation, or says why not.
pub(crate) async fn check_out(
    tenant: &Tenant,
    keyrings: &Keyrings,
    activation: ActivationId,
    lifetime: Lifetime,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<ActivationAnswer, Error> {
    keyrings.get(tenant, now).await?;
    let decided = tenant
        .run_tx("check_out", |tx| {
            Box::pin(async move {
                match machines::license(tx, activation).await? {
                    Some(license) => decide(tx, activation, license, lifetime, origin, now).await,
                    None => Ok(Decided::Refused(Code::ActivationNotFound, None)),
                }
            })
        })
        .await?;
    conclude(tenant, keyrings, decided, now).await
}

/// The same for the activation that a verified token was made for.
pub(crate) async fn check_out_by_token(
    tenant: &Tenant,
    keyrings: &Keyrings,
    token: &LicenseToken,
    keyring: Arc<Keyring>,
    lifetime: Lifetime,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<ActivationAnswer, Error> {
    let (id, license) = (token.claims().act, token.claims().sub);
    // Before anything is written: is the token still the organization's?
    let version = tenant
        .run_pipelined("keys_version", |tx| {
            Box::pin(crate::db::organizations::keys_version(tx))
        })
        .await?
        .unwrap_or_default();
    let vouched = |keys: &_| token.still_vouched_for_by(keys);
    if let Err(code) = confirm(tenant, keyrings, vouched, keyring, version, now).await? {
        return Ok(ActivationAnswer::plain(code));
    }
    let decided = tenant
        .run_tx("check_out", |tx| {
            Box::pin(decide(tx, id, license, lifetime, origin, now))
        })
        .await?;
    conclude(tenant, keyrings, decided, now).await
}

async fn decide(
    tx: &Tx<'_>,
    activation: ActivationId,
    license: LicenseId,
    lifetime: Lifetime,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<Decided, Error> {
    let found = grants::lock_by_activation(tx, activation, license).await?;
    let Some((grant, activation)) = found else {
        return Ok(Decided::Refused(Code::ActivationNotFound, None));
    };
    if let Some(code) = objection(&grant, !activation.live, now) {
        return Ok(Decided::Refused(code, Some(Box::new(grant))));
    }
    if activation.fingerprint_hash.is_none() && activation.components.is_none() {
        let code = Code::FingerprintRequired;
        return Ok(Decided::Refused(code, Some(Box::new(grant))));
    }
    let terms = settle(tx, &grant, activation.id, lifetime, origin, now).await?;
    Ok(Decided::Made(Box::new(grant), activation, terms))
}

async fn conclude(
    tenant: &Tenant,
    keyrings: &Keyrings,
    decided: Decided,
    now: Timestamp,
) -> Result<ActivationAnswer, Error> {
    match decided {
        Decided::Made(grant, activation, terms) => {
            let version = grant.keys_version;
            let keyring = keyrings.get_version(tenant, version, now).await?;
            Ok(answer(&grant, &activation, &terms, &keyring, now)?)
        }
        Decided::Refused(code, Some(grant)) => Ok(refusal(code, &grant)),
        Decided::Refused(code, None) => Ok(ActivationAnswer::plain(code)),
    }
}
