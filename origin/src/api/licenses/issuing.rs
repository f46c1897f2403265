//! Issuing licenses, within the organization's quota.

use std::collections::HashMap;

use licet_shared::{
    documents::FeatureOverrides,
    id::{LicenseId, PolicyId},
    problem::ProblemCode,
};
use serde_json::{Map, Value};

use super::{
    PATH,
    bodies::{self, IssuedBatch, IssuedLicense, LicenseView, NewBatch, NewLicense},
};
use crate::{
    api::{Call, Reply, once::Creation},
    db::{
        Error, Tx, Work,
        catalogue::{self, Policy, PolicyName},
        license_records::{self, LicenseRecord},
        organizations,
    },
    http::HandlerError,
    licensing::{
        issue::{Batch, Chosen, issue_under},
        terms::Terms,
    },
    rejection::Rejection,
};

struct Issue<'a> {
    call: &'a Call,
    count: u16,
    policy: PolicyId,
    chosen: Chosen,
    features: FeatureOverrides,
    metadata: Map<String, Value>,
}

/// Licenses, each with its key where it was made just now.
type Answer = Vec<(LicenseRecord, Option<String>)>;

impl Creation for Issue<'_> {
    type Made = Vec<LicenseId>;
    type Answer = Answer;
    const NAME: &'static str = "issue_licenses";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (Vec<LicenseId>, Answer)> {
        Box::pin(async move {
            let profile = organizations::lock_profile(tx).await?;
            check_quota(tx, profile.quotas.max_licenses, self.count).await?;
            let policy = hold_policy(tx, self.policy).await?;
            let batch = Batch {
                chosen: &self.chosen,
                features: &self.features,
                metadata: &self.metadata,
                count: self.count.into(),
            };
            let (origin, now) = (self.call.origin(), self.call.now);
            let issued = issue_under(tx, profile.tag, &policy, &batch, origin, now).await?;
            let ids: Vec<_> = issued.iter().map(|one| one.id).collect();
            let mut keys: HashMap<_, _> = issued
                .iter()
                .map(|one| (one.id, one.key.reveal()))
                .collect();
            let found = license_records::find_all(tx, &ids).await?;
            let answer = found.into_iter().map(|license| {
                let key = keys.remove(&license.id);
                (license, key)
            });
            Ok((ids, answer.collect()))
        })
    }

    fn again<'a>(&'a self, tx: &'a Tx<'_>, ids: Vec<LicenseId>) -> Work<'a, Option<Answer>> {
        Box::pin(async move {
            let found = license_records::find_all(tx, &ids).await?;
            Ok(Some(
                found.into_iter().map(|license| (license, None)).collect(),
            ))
        })
    }
}

/// Another tenant's is as little there as none.
pub(super) async fn hold_policy(tx: &Tx<'_>, id: PolicyId) -> Result<Policy, Error> {
    let found = catalogue::hold_policy(tx, PolicyName::Id(id)).await?;
    let none = || Rejection::new(ProblemCode::NotFound, "There is no policy of this id.");
    Ok(found.ok_or_else(none)?)
}

/// Under the organization's lock.
async fn check_quota(tx: &Tx<'_>, max: i32, more: u16) -> Result<(), Error> {
    let there = license_records::count(tx).await?;
    if there + i64::from(more) > i64::from(max) {
        let detail = format!(
            "Your organization may have {max} licenses that are not revoked, and has {there}."
        );
        return Err(Rejection::new(ProblemCode::QuotaExceeded, detail).into());
    }
    Ok(())
}

fn shown((license, key): (LicenseRecord, Option<String>)) -> IssuedLicense {
    IssuedLicense {
        license: LicenseView::from(license),
        key,
    }
}

pub(super) async fn one(call: Call) -> Result<Reply, HandlerError> {
    let new: NewLicense = call.json()?;
    let issue = Issue {
        call: &call,
        count: 1,
        policy: new.policy_id,
        chosen: chosen(&call, new.max_activations, new.expires_at, new.terms)?,
        features: new.features,
        metadata: new.metadata,
    };
    let reply = |answer: Answer| {
        let one = answer.into_iter().next().ok_or_else(Rejection::not_found)?;
        let (id, version) = (one.0.id, one.0.version);
        Ok(Reply::created(&shown(one))?
            .version(version)
            .location(PATH, id))
    };
    call.create(&issue, reply).await
}

pub(super) async fn many(call: Call) -> Result<Reply, HandlerError> {
    let new: NewBatch = call.json()?;
    let issue = Issue {
        call: &call,
        count: new.count,
        policy: new.policy_id,
        chosen: chosen(&call, new.max_activations, new.expires_at, new.terms)?,
        features: new.features,
        metadata: new.metadata,
    };
    let reply = |answer: Answer| {
        let data = answer.into_iter().map(shown).collect();
        Reply::created(&IssuedBatch { data })
    };
    call.create(&issue, reply).await
}

fn chosen(
    call: &Call,
    max_activations: Option<i32>,
    expires_at: Option<licet_shared::time::Timestamp>,
    terms: Terms,
) -> Result<Chosen, Rejection> {
    if let Some(end) = expires_at {
        bodies::in_future(end, call.now)?;
    }
    Ok(Chosen {
        max_activations,
        expires_at,
        terms,
    })
}
