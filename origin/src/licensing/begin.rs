//! The start of a license's time, where that is not its issue.

use licet_shared::time::Timestamp;
use serde_json::json;

use super::Origin;
use crate::db::{Error, Tx, audit, grants::Grant, licenses, status_lists};

/// Has the time of a license begin if it has not, and notes its end in the grant. Of several at
/// once one does it.
pub(crate) async fn begin(
    tx: &Tx<'_>,
    grant: &mut Grant,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(duration) = grant.pending_duration_s else {
        return Ok(());
    };
    let end = now.plus(duration);
    // Somebody else has begun it, and says so in what is read anew.
    if !licenses::begin(tx, grant.license, end).await? {
        return Err(Error::Changed);
    }
    let event = audit::Event::new(origin, "license.begun");
    let event = event.details(json!({ "expires_at": end }));
    audit::write(tx, &grant.license, &event).await?;
    // Tokens of its other activations, if there are any, know no end.
    status_lists::mark_changed(tx, grant.license, [grant.policy; 2]).await?;
    grant.expires_at = Some(end);
    grant.pending_duration_s = None;
    Ok(())
}
