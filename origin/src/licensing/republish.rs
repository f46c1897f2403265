//! Publishing everything anew, above whatever edges hold: after a restore or a failover that lost
//! commits the database counts from where it once was, and edges take nothing lower than they have.

use serde::Serialize;
use serde_json::json;

use super::Origin;
use crate::db::{Error, Tx, audit, catalogue, feed, licenses, organizations, status_lists};

/// What was published anew.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Republished {
    pub(crate) keys_version: u64,
    pub(crate) status_lists: u64,
    pub(crate) feature_sets: u64,
}

/// Raises the versions of all that the transaction's organization publishes. What it says stays
/// the same. May be repeated without harm.
pub(crate) async fn republish(tx: &Tx<'_>, origin: Origin<'_>) -> Result<Republished, Error> {
    let keys_version = organizations::raise_keys_version(tx).await?;
    let feature_sets = catalogue::raise_revisions(tx).await?;
    licenses::raise_states(tx).await?;
    feed::begin_generation(tx).await?;
    let event = audit::Event::new(origin, "organization.republished")
        .details(json!({ "keys_version": keys_version, "feature_sets": feature_sets }));
    audit::write(tx, &tx.org_id(), &event).await?;
    // Last, as activations wait for them.
    let status_lists = status_lists::raise_versions(tx).await?;
    Ok(Republished {
        keys_version,
        status_lists,
        feature_sets,
    })
}
