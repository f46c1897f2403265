//! Consumption: what an installation uses of its license's metered features.
//!
//! All uses of a request are recorded in one transaction or none is. What a quota leaves is decided
//! by the statement that adds to it, so any number of consumers can't take more than there is.
//! Consumption writes no audit event: the trail is a chain that all of an organization's writers
//! would wait for. What was used stands in its table; corrections by hand are in the trail.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::{
    api::{ConsumeAnswer, Use},
    decision::{Code, LicenseToken},
    documents::{Quota, QuotaState},
    id::LicenseId,
    time::Timestamp,
};
use sha2::{Digest, Sha256};

use super::{objection, token::confirm};
use crate::{
    db::{
        Error, Tenant, Tx,
        grants::{self, Grant},
        idempotency,
        usage::{self, Amount},
    },
    fault::Fault,
    keys::{Keyring, Keyrings},
    random::RowId,
    rejection::Rejection,
};

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// A verified one.
    pub(crate) token: &'a LicenseToken,
    pub(crate) uses: &'a [Use],
    /// The client's key for the request, and what tells the request from others.
    pub(crate) key: Option<&'a str>,
    pub(crate) hash: [u8; 32],
    pub(crate) now: Timestamp,
}

/// Why a request was not answered.
#[derive(Debug)]
pub(crate) enum ConsumeError {
    /// The idempotency key belongs to another request.
    KeyReused,
    /// A use's id belongs to another use.
    UseIdReused(String),
    /// The same request is still at work.
    InFlight,
    /// Our own.
    Fault(Fault),
}

impl From<Fault> for ConsumeError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why a transaction was rolled back.
enum Undone {
    Refused(ConsumeAnswer),
    KeyReused,
    UseIdReused(String),
    /// The organization's keys have changed: is the token still theirs?
    OtherKeys(u64),
}

/// Takes why the work is to be undone past the transaction, which only knows that it failed.
#[derive(Default)]
struct Reason(Mutex<Option<Undone>>);

impl Reason {
    fn undo(&self, why: Undone) -> Error {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        Rejection::conflict("undone").into()
    }

    fn take(&self) -> Option<Undone> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Records uses by the activation that a verified token was made for, or says why not.
pub(crate) async fn consume(
    tenant: &Tenant,
    keyrings: &Keyrings,
    mut keyring: Arc<Keyring>,
    asked: &Asked<'_>,
) -> Result<ConsumeAnswer, ConsumeError> {
    loop {
        let (reason, version) = (Reason::default(), keyring.version());
        let done = tenant
            .run_tx("consume", |tx| {
                Box::pin(decide(tx, asked, version, &reason))
            })
            .await;
        let error = match done {
            Ok(answer) => return Ok(answer),
            Err(Error::KeyInFlight) => return Err(ConsumeError::InFlight),
            Err(error) => error,
        };
        match (error, reason.take()) {
            (Error::Rejected(_), Some(Undone::Refused(answer))) => return Ok(answer),
            (Error::Rejected(_), Some(Undone::KeyReused)) => return Err(ConsumeError::KeyReused),
            (Error::Rejected(_), Some(Undone::UseIdReused(id))) => {
                return Err(ConsumeError::UseIdReused(id));
            }
            (Error::Rejected(_), Some(Undone::OtherKeys(version))) => {
                let vouched = |keys: &_| asked.token.still_vouched_for_by(keys);
                let confirmed =
                    confirm(tenant, keyrings, vouched, keyring, version, asked.now).await?;
                match confirmed {
                    Ok(current) => keyring = current,
                    Err(code) => return Ok(ConsumeAnswer::plain(code)),
                }
            }
            (error, _) => return Err(Fault::from(error).into()),
        }
    }
}

async fn decide(
    tx: &Tx<'_>,
    asked: &Asked<'_>,
    keys_version: u64,
    reason: &Reason,
) -> Result<ConsumeAnswer, Error> {
    let claims = asked.token.claims();
    let key = asked.key.map(|key| name("consume", claims.sub, key));
    let claimed = async {
        match &key {
            Some(key) => {
                let outworn = asked.now.plus(-idempotency::KEPT_S);
                idempotency::claim_for_caller(tx, key, &asked.hash, outworn).await
            }
            None => Ok(true),
        }
    };
    let found = grants::of_activation(tx, claims.act, claims.sub);
    let (claimed, found) = futures_util::future::join(claimed, found).await;
    let claimed = claimed?;
    let refuse = |answer| reason.undo(Undone::Refused(answer));
    let Some((grant, activation)) = found? else {
        return Err(refuse(ConsumeAnswer::plain(Code::ActivationNotFound)));
    };
    if grant.keys_version > keys_version {
        return Err(reason.undo(Undone::OtherKeys(grant.keys_version)));
    }
    if let Some(key) = key.as_deref().filter(|_| !claimed) {
        let (hash, made) = idempotency::made(tx, key).await?.ok_or(Error::Changed)?;
        if hash != asked.hash {
            return Err(reason.undo(Undone::KeyReused));
        }
        return serde_json::from_value(made).map_err(|_| Error::Row("idempotency_keys.made"));
    }
    let ended = || (asked.now >= asked.token.times().expires_at).then_some(Code::TokenExpired);
    if let Some(code) = objection(&grant, !activation.live, asked.now).or_else(ended) {
        return Err(refuse(ConsumeAnswer::plain(code)));
    }
    let quotas = match quotas(&grant, asked.uses) {
        Ok(quotas) => quotas,
        Err(feature) => {
            return Err(refuse(ConsumeAnswer {
                detail: format!("{feature:?} is no metered feature of this license."),
                feature: Some(feature.into()),
                ..ConsumeAnswer::plain(Code::FeatureMissing)
            }));
        }
    };
    let repeated = claim_uses(tx, asked, reason).await?;
    let answer = record(tx, asked, &quotas, repeated, reason).await?;
    if let Some(key) = &key {
        let made = serde_json::to_value(&answer)
            .map_err(|error| Fault::internal("remembering what was used", error))?;
        idempotency::record_made(tx, key, &made).await?;
        idempotency::sweep(tx).await?;
    }
    Ok(answer)
}

/// A client's name for something, as it is kept: different customers of a vendor choose names
/// without knowing of each other, so one counts for one license alone.
fn name(kind: &str, license: LicenseId, text: &str) -> String {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update([0])
        .chain_update(license.uuid().as_bytes())
        .chain_update(text)
        .finalize();
    Base64UrlUnpadded::encode_string(&digest)
}

/// The quota of each feature that is named; the name of one that has none.
fn quotas<'a>(grant: &Grant, uses: &'a [Use]) -> Result<BTreeMap<&'a str, Quota>, &'a str> {
    let find = |one: &'a Use| {
        let name = one.feature.as_str();
        let value = grant.own_features.resolve(name, grant.features.get(name));
        Ok((name, value.and_then(Quota::of).ok_or(name)?))
    };
    uses.iter().map(find).collect()
}

/// Takes the ids of those uses that have any; hands back those that were taken before.
async fn claim_uses(tx: &Tx<'_>, asked: &Asked<'_>, reason: &Reason) -> Result<Vec<String>, Error> {
    let mut named: BTreeMap<String, (&Use, [u8; 32])> = BTreeMap::new();
    for one in asked.uses {
        let Some(id) = &one.id else { continue };
        let hash = Sha256::new()
            .chain_update(one.amount.to_be_bytes())
            .chain_update(&one.feature);
        let hash = <[u8; 32]>::from(hash.finalize());
        let key = name("use", asked.token.claims().sub, id);
        let before = named.insert(key, (one, hash));
        if before.is_some_and(|(_, before)| before != hash) {
            return Err(reason.undo(Undone::UseIdReused(id.clone())));
        }
    }
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let hashes = named.iter().map(|(key, (_, hash))| (key.as_str(), hash));
    let outworn = asked.now.plus(-idempotency::KEPT_S);
    let taken = idempotency::claim_all(tx, hashes, outworn).await?;
    let mut repeated = Vec::new();
    for (key, hash) in taken {
        let Some((one, wanted)) = named.get(&key) else {
            continue;
        };
        let id = one.id.clone().unwrap_or_default();
        if hash != *wanted {
            return Err(reason.undo(Undone::UseIdReused(id)));
        }
        repeated.push(id);
    }
    Ok(repeated)
}

/// Adds what is new to what was used, if there is room for all of it.
async fn record(
    tx: &Tx<'_>,
    asked: &Asked<'_>,
    quotas: &BTreeMap<&str, Quota>,
    repeated: Vec<String>,
    reason: &Reason,
) -> Result<ConsumeAnswer, Error> {
    let (license, now) = (asked.token.claims().sub, asked.now);
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut counted: HashMap<&str, ()> = HashMap::new();
    for one in asked.uses {
        let again = one.id.as_deref().is_some_and(|id| {
            repeated.iter().any(|before| before == id) || counted.insert(id, ()).is_some()
        });
        if !again {
            let sum = sums.entry(&one.feature).or_default();
            *sum = sum.saturating_add(one.amount).min(Quota::MAX);
        }
    }
    let amounts: Vec<Amount<'_>> = sums
        .iter()
        .filter_map(|(feature, amount)| {
            Some(Amount {
                feature,
                quota: *quotas.get(feature)?,
                amount: *amount,
            })
        })
        .collect();
    let added: HashMap<String, u64> = usage::add(tx, license, &amounts, now)
        .await?
        .into_iter()
        .collect();
    let used = usage::at(tx, license, now).await?;
    let states = quotas.iter().map(|(feature, quota)| {
        let row = used
            .iter()
            .find(|(name, used)| name == feature && used.period == quota.period);
        let used = row.map_or(0, |(_, used)| used.used);
        ((*feature).to_owned(), (*quota, used))
    });
    let states: BTreeMap<String, (Quota, u64)> = states.collect();
    let short = amounts.iter().find(|one| !added.contains_key(one.feature));
    let state = |quota: Quota, used: u64| QuotaState::new(quota, used, now, now);
    let Some(short) = short else {
        return Ok(ConsumeAnswer {
            detail: "What was used is recorded.".into(),
            quotas: states
                .into_iter()
                .map(|(feature, (quota, used))| (feature, state(quota, used)))
                .collect(),
            repeated,
            ..ConsumeAnswer::plain(Code::Valid)
        });
    };
    // As it stands once what was added is undone.
    let quotas: BTreeMap<String, QuotaState> = states
        .into_iter()
        .map(|(feature, (quota, used))| {
            let undone = added.contains_key(&feature);
            let mine = sums.get(feature.as_str()).filter(|_| undone);
            let used = used - mine.copied().unwrap_or(0).min(used);
            (feature, state(quota, used))
        })
        .collect();
    let left = quotas.get(short.feature).map_or(0, |state| state.remaining);
    Err(reason.undo(Undone::Refused(ConsumeAnswer {
        detail: format!(
            "{left} of {} are left of {:?}, and {} were to be used. Nothing was recorded.",
            short.quota.quota, short.feature, short.amount
        ),
        feature: Some(short.feature.into()),
        quotas,
        ..ConsumeAnswer::plain(Code::QuotaExceeded)
    })))
}
