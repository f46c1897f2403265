//! Issuing licenses.

use licet_shared::{
    id::{LicenseId, OrgTag},
    license_key::LicenseKey,
    time::Timestamp,
};
use serde_json::json;

use super::Origin;
use crate::{
    db::{
        Error, Tx, audit,
        catalogue::{self, Policy},
        licenses::{self, NewLicense},
        organizations,
    },
    random::{self, RowId},
};

/// What an operator may choose beyond the policy.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// The policy's, if absent.
    pub(crate) max_activations: Option<i32>,
    /// From the policy's duration, if absent.
    pub(crate) expires_at: Option<Timestamp>,
}

/// A license whose key is shown this once.
pub(crate) struct Issued {
    pub(crate) id: LicenseId,
    pub(crate) key: LicenseKey,
    pub(crate) max_activations: i32,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Issues a license under a policy; none where there is no such policy.
pub(crate) async fn issue(
    tx: &Tx<'_>,
    policy: &str,
    terms: Terms,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<Option<Issued>, Error> {
    let organization = organizations::find(tx);
    let found = catalogue::policy_by_name(tx, policy);
    let (organization, found) = futures_util::future::try_join(organization, found).await?;
    let tag = organization.ok_or(Error::Row("organizations"))?.tag;
    match found {
        Some(policy) => Ok(Some(insert(tx, tag, &policy, terms, origin, now).await?)),
        None => Ok(None),
    }
}

async fn insert(
    tx: &Tx<'_>,
    tag: OrgTag,
    policy: &Policy,
    terms: Terms,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<Issued, Error> {
    let issued = Issued {
        id: LicenseId::generate()?,
        key: LicenseKey::new(tag, random::bytes()?),
        max_activations: terms.max_activations.unwrap_or(policy.max_activations),
        expires_at: terms
            .expires_at
            .or_else(|| policy.license_duration_s.map(|s| now.plus(s))),
    };
    let license = NewLicense {
        id: issued.id,
        key_hash: issued.key.hash(),
        policy: policy.id,
        feature_set: policy.feature_set,
        max_activations: issued.max_activations,
        expires_at: issued.expires_at,
    };
    let event = audit::Event::new(origin, "license.issued").details(json!({ "policy": policy.id }));
    licenses::insert(tx, &license).await?;
    audit::write(tx, &issued.id, &event).await?;
    Ok(issued)
}
