//! An organization's account: its plan, its end, and its coming back.

use licet_shared::time::Timestamp;
use serde_json::json;

use crate::{
    db::{
        Error, Tx, audit,
        organizations::{self, Plan, Profile, Quotas},
    },
    licensing::Origin,
};

/// Closes the account of an organization whose row is locked. What it has issued stays.
pub(crate) async fn close(
    tx: &Tx<'_>,
    mut profile: Profile,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    if profile.closed_at.is_some() {
        return Ok(());
    }
    profile.closed_at = Some(now);
    let event = audit::Event::new(origin, "organization.closed");
    write(tx, profile, &event, now).await
}

/// Opens the account again.
pub(crate) async fn reopen(
    tx: &Tx<'_>,
    mut profile: Profile,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    if profile.closed_at.take().is_none() {
        return Ok(());
    }
    let event = audit::Event::new(origin, "organization.reopened");
    write(tx, profile, &event, now).await
}

/// Puts it on a plan with these quotas. Nothing is taken away that is beyond them.
pub(crate) async fn subscribe(
    tx: &Tx<'_>,
    mut profile: Profile,
    plan: Plan,
    quotas: Quotas,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let facts = |profile: &Profile| json!({ "plan": profile.plan, "quotas": profile.quotas });
    let before = facts(&profile);
    (profile.plan, profile.quotas) = (plan, quotas);
    let after = facts(&profile);
    if before == after {
        return Ok(());
    }
    let event = audit::Event::new(origin, "organization.plan_changed")
        .before(&before)
        .after(&after);
    write(tx, profile, &event, now).await
}

async fn write(
    tx: &Tx<'_>,
    mut profile: Profile,
    event: &audit::Event<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    profile.version += 1;
    profile.updated_at = now;
    organizations::update(tx, &profile).await?;
    audit::write(tx, &tx.org_id(), event).await
}
