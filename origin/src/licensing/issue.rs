//! Issuing licenses.

use licet_shared::{
    documents::FeatureOverrides,
    id::{LicenseId, OrgTag},
    license_key::LicenseKey,
    time::Timestamp,
};
use serde_json::{Map, Value, json};

use super::{
    Origin,
    terms::{DurationStart, Terms},
    token_size,
};
use crate::{
    db::{
        Error, Tx, audit,
        catalogue::{self, Policy, PolicyName},
        licenses::{self, NewLicenses},
        organizations,
    },
    random::{self, RowId},
    rejection::Rejection,
};

/// What may be chosen beyond the policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// The policy's, if absent.
    pub(crate) max_activations: Option<i32>,
    /// From the policy's duration, if absent.
    pub(crate) expires_at: Option<Timestamp>,
    /// The license's own, over the policy's.
    pub(crate) terms: Terms,
}

/// A license whose key is shown this once.
pub(crate) struct Issued {
    pub(crate) id: LicenseId,
    pub(crate) key: LicenseKey,
    pub(crate) max_activations: i32,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Issues a license under a policy; none where there is no such policy.
///
/// # Errors
/// A rejection when the policy, or a product that it covers, is deleted.
pub(crate) async fn issue(
    tx: &Tx<'_>,
    policy: &str,
    chosen: &Chosen,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<Option<Issued>, Error> {
    let organization = organizations::find(tx);
    let found = catalogue::hold_policy(tx, PolicyName::Name(policy));
    let (organization, found) = futures_util::future::try_join(organization, found).await?;
    let tag = organization.ok_or(Error::Row("organizations"))?.tag;
    let Some(policy) = found else { return Ok(None) };
    let batch = Batch {
        chosen,
        features: &FeatureOverrides::default(),
        metadata: &Map::new(),
        count: 1,
    };
    let issued = issue_under(tx, tag, &policy, &batch, origin, now).await?;
    Ok(issued.into_iter().next())
}

/// Licenses to be issued on the same terms.
pub(crate) struct Batch<'a> {
    pub(crate) chosen: &'a Chosen,
    /// Values of their own, in place of the feature set's.
    pub(crate) features: &'a FeatureOverrides,
    pub(crate) metadata: &'a Map<String, Value>,
    pub(crate) count: usize,
}

/// Issues licenses under a policy that is held, with as many statements for many as for one.
///
/// # Errors
/// A rejection when their tokens would be too long.
pub(crate) async fn issue_under(
    tx: &Tx<'_>,
    tag: OrgTag,
    policy: &Policy,
    batch: &Batch<'_>,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<Vec<Issued>, Error> {
    token_size::check(&policy.products, batch.features)?;
    let chosen = batch.chosen;
    let max_activations = chosen.max_activations.unwrap_or(policy.max_activations);
    let start = chosen.terms.over(&policy.terms).duration_start(policy.tier);
    let (expires_at, pending_duration_s) = match (chosen.expires_at, policy.license_duration_s) {
        (Some(end), _) => (Some(end), None),
        (None, Some(duration)) if start == DurationStart::Issue => (Some(now.plus(duration)), None),
        (None, duration) => (None, duration),
    };
    let issued = (0..batch.count)
        .map(|_| {
            Ok(Issued {
                id: LicenseId::generate()?,
                key: LicenseKey::new(tag, random::bytes()?),
                max_activations,
                expires_at,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let each: Vec<_> = issued.iter().map(|one| (one.id, one.key.hash())).collect();
    let new = NewLicenses {
        policy: policy.id,
        feature_set: policy.feature_set,
        max_activations,
        own_max_activations: chosen.max_activations.is_some(),
        expires_at,
        pending_duration_s,
        features: batch.features,
        terms: &chosen.terms,
        metadata: batch.metadata,
        each: &each,
    };
    licenses::insert(tx, &new)
        .await
        .map_err(features_too_large)?;
    // Their names alone: values may name people, whom the trail can't forget.
    let own: Vec<_> = batch.features.values().keys().collect();
    if let [one] = issued.as_slice() {
        let event = audit::Event::new(origin, "license.issued");
        let event =
            event.details(json!({ "policy": policy.id, "features": own, "terms": chosen.terms }));
        audit::write(tx, &one.id, &event).await?;
    } else {
        let ids: Vec<_> = issued.iter().map(|one| one.id).collect();
        let event = audit::Event::new(origin, "license.batch_issued");
        let event =
            event.details(json!({ "licenses": ids, "features": own, "terms": chosen.terms }));
        audit::write(tx, &policy.id, &event).await?;
    }
    Ok(issued)
}

/// Short as JSON, and yet longer than the table takes, which writes some numbers at length.
pub(crate) fn features_too_large(error: Error) -> Error {
    error.on_constraint("licenses_features_size", || {
        Rejection::field("features", "must be less than that")
    })
}
