//! Licenses.
//!
//! Signed anew for each call: what was used changes all the time, and a signature costs less than
//! finding out whether it has.

use std::{collections::BTreeMap, sync::Arc};

use licet_shared::{
    documents::{LicenseStateClaims, Quota, Ttl, Used},
    id::LicenseId,
    jws::{Times, sign},
    time::Timestamp,
};

use super::{DOCUMENT_LIFE_S, SignedDocument};
use crate::{
    db::{Tenant, grants, usage},
    fault::Fault,
    keys::Keyrings,
};

/// How long the document of a license without metered features counts as fresh: all its life, for
/// status lists tell when there is another.
const UNMETERED_TTL: Ttl = Ttl(DOCUMENT_LIFE_S as u32);

/// The signed state of a license. None where the organization has no such license.
pub(crate) async fn license_state(
    tenant: &Tenant,
    keyrings: &Keyrings,
    id: LicenseId,
    ttl: Ttl,
    now: Timestamp,
) -> Result<Option<Arc<SignedDocument>>, Fault> {
    let found = tenant
        .run_pipelined("license_state", |tx| {
            Box::pin(async move {
                let grant = grants::with_lists(tx, id);
                let used = usage::at(tx, id, now);
                let (grant, used) = futures_util::future::try_join(grant, used).await?;
                Ok(grant.map(|(grant, lists)| (grant, lists, used)))
            })
        })
        .await?;
    let Some((grant, lists, used)) = found else {
        return Ok(None);
    };
    let mut by_feature: BTreeMap<String, Vec<Used>> = BTreeMap::new();
    for (feature, used) in used {
        by_feature.entry(feature).or_default().push(used);
    }
    let keyring = keyrings
        .get_version(tenant, grant.keys_version, now)
        .await?;
    let metered = grant.own_features.over(&grant.features);
    let metered = metered.values().any(|value| Quota::of(value).is_some());
    let version = grant.state_version;
    let claims = LicenseStateClaims {
        iss: keyrings.issuer().into(),
        org: tenant.org(),
        sub: id,
        ver: version,
        ttl: if metered { ttl } else { UNMETERED_TTL },
        lists,
        lexp: grant.expires_at.map(Timestamp::unix),
        xb: grant.terms.at_expiry(),
        ra: grant.terms.refresh_after_s,
        hb: grant.terms.heartbeat_s,
        lr: grant.terms.seats.is_some(),
        products: grant.products,
        tier: grant.tier,
        grace: grant.grace_s,
        fs: grant.feature_set,
        fo: grant.own_features,
        usage: by_feature,
    };
    let times = Times::starting(now, DOCUMENT_LIFE_S);
    let text = sign(&claims, times, keyring.signer())
        .map_err(|error| Fault::internal("signing a license's state", error))?;
    Ok(Some(Arc::new(SignedDocument::new(text, version, now))))
}
