//! Suspending, reinstating and revoking licenses, and noting that their end has come.

use licet_shared::id::LicenseId;
use serde_json::json;

use super::Origin;
use crate::{
    db::{
        Error, Tx, audit,
        licenses::{self, LicenseStatus},
        status_lists,
    },
    random::RowId,
};

/// What an operator does to a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Suspend,
    Reinstate,
    Revoke,
}

impl Change {
    const fn action(self) -> &'static str {
        match self {
            Self::Suspend => "license.suspended",
            Self::Reinstate => "license.reinstated",
            Self::Revoke => "license.revoked",
        }
    }

    /// The status that it leads to; none where it can't be done. What has ended can be stopped
    /// only where use `goes_on`.
    const fn from(self, status: LicenseStatus, goes_on: bool) -> Option<LicenseStatus> {
        use LicenseStatus::{Active, Expired, Revoked, Suspended};
        match (self, status) {
            (Self::Suspend, Active | Suspended) => Some(Suspended),
            (Self::Suspend, Expired) if goes_on => Some(Suspended),
            (Self::Reinstate, Active | Suspended) => Some(Active),
            (Self::Revoke, _) => Some(Revoked),
            (Self::Suspend | Self::Reinstate, Expired | Revoked) => None,
        }
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// It stands so now, or did before.
    Done,
    NotFound,
    /// A license in this status can't be changed so.
    Impossible(LicenseStatus),
}

/// Changes a license's status, and with it what every status list says of its activations.
pub(crate) async fn change(
    tx: &Tx<'_>,
    id: LicenseId,
    change: Change,
    origin: Origin<'_>,
) -> Result<Changed, Error> {
    let Some(before) = licenses::lock_status(tx, id).await? else {
        return Ok(Changed::NotFound);
    };
    let goes_on = match before {
        LicenseStatus::Expired => licenses::terms(tx, id).await?.goes_on(),
        _ => false,
    };
    let Some(after) = change.from(before, goes_on) else {
        return Ok(Changed::Impossible(before));
    };
    if after == before {
        return Ok(Changed::Done);
    }
    let event = audit::Event::new(origin, change.action())
        .details(json!({ "before": before, "after": after }));
    licenses::set_status(tx, id, after).await?;
    audit::write(tx, &id, &event).await?;
    status_lists::withdraw(tx, id, after).await?;
    Ok(Changed::Done)
}

/// Notes of these licenses that their end has come, where it has; tells of how many.
///
/// Beside [`change`], because nobody asks for it: the end itself is what counts, for edges (it
/// stands in the token) and for the origin alike, so no status list says anything of it. A
/// renewal that holds a license's lock is left alone; one that comes later puts it in force again.
pub(crate) async fn expire(
    tx: &Tx<'_>,
    ids: &[LicenseId],
    origin: Origin<'_>,
) -> Result<u64, Error> {
    let due = licenses::lock_due(tx, ids).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let ids: Vec<_> = due.iter().map(|(id, _)| id.uuid()).collect();
    let expired = licenses::set_expired(tx, &ids).await?;
    let events: Vec<_> = due
        .iter()
        .map(|(id, end)| {
            let event = audit::Event::new(origin, "license.expired");
            (id, event.details(json!({ "expires_at": end })))
        })
        .collect();
    let writes = events
        .iter()
        .map(|(id, event)| audit::write(tx, *id, event));
    futures_util::future::try_join_all(writes).await?;
    Ok(expired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revoked_is_for_good_and_repeating_is_no_change() {
        use LicenseStatus::{Active, Expired, Revoked, Suspended};
        for status in [Active, Expired, Suspended, Revoked] {
            assert_eq!(Change::Revoke.from(status, false), Some(Revoked));
        }
        assert_eq!(Change::Reinstate.from(Revoked, false), None);
        assert_eq!(Change::Suspend.from(Revoked, false), None);
        assert_eq!(Change::Suspend.from(Suspended, false), Some(Suspended));
        assert_eq!(Change::Reinstate.from(Suspended, false), Some(Active));
        assert_eq!(Change::Suspend.from(Expired, false), None);
        assert_eq!(Change::Suspend.from(Expired, true), Some(Suspended));
        assert_eq!(Change::Reinstate.from(Expired, true), None);
    }
}
