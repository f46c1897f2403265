//! The revocation feed.

use licet_shared::{
    documents::FeedClaims,
    jws::{Times, sign},
    time::Timestamp,
};

use super::{DOCUMENT_LIFE_S, SignedDocument};
use crate::{db::Database, fault::Fault, keys::Keyrings, metrics::Metrics};

/// Changes that one document tells of, at most: some 200 KiB.
const MOST: u32 = 4096;

/// Which documents have changed after an epoch, signed. As of `now`, which is before the database is
/// asked.
///
/// Who asks with another generation, or with an epoch that was not reached yet, is told as much as
/// goes into one document.
pub(crate) async fn feed(
    database: &Database,
    keyrings: &Keyrings,
    metrics: &Metrics,
    generation: u64,
    since: u64,
    now: Timestamp,
) -> Result<SignedDocument, Fault> {
    let mut changes = database.changes(since, MOST).await?;
    if since > 0 && (changes.generation != generation || changes.epoch < since) {
        changes = database.changes(0, MOST).await?;
    }
    metrics.feed_told(changes.epoch, changes.newest, now);
    let claims = FeedClaims {
        iss: keyrings.issuer().into(),
        r#gen: changes.generation,
        since: changes.since,
        ep: changes.epoch,
        changed: changes.changed,
    };
    let times = Times::starting(now, DOCUMENT_LIFE_S);
    let text = sign(&claims, times, keyrings.platform_signer())
        .map_err(|error| Fault::internal("signing the feed", error))?;
    Ok(SignedDocument::new(text, changes.epoch, now))
}
