//! Changing a license's terms: by hand, by renewal, by another policy.

use licet_shared::{
    documents::Tier,
    id::{LicenseId, PolicyId},
    time::Timestamp,
};
use serde_json::json;

use super::{
    bodies::{self, Expiry, Keep, LicenseChange, Renewal, TermsView, Transfer},
    issuing::hold_policy,
    revoked, show,
};
use crate::{
    api::{Call, Reply, once::Creation},
    db::{
        Error, Tx, Work, audit,
        catalogue::Policy,
        license_records::{self, LicenseRecord},
        licenses::{self, LicenseStatus},
        status_lists,
    },
    http::HandlerError,
    licensing::{
        issue::features_too_large,
        terms::{DurationStart, RenewalStart},
        token_size,
    },
    rejection::Rejection,
};

/// The audit trail's word for it.
const TRANSFERRED: &str = "license.transferred";

/// Changes a license's terms under its lock, if it is the version that the caller means.
async fn change(
    tx: &Tx<'_>,
    call: &Call,
    id: LicenseId,
    action: &'static str,
    change: impl FnOnce(&mut LicenseRecord) -> Result<(), Rejection> + Send,
) -> Result<LicenseRecord, Error> {
    let before = lock(tx, call, id).await?;
    let mut after = before.clone();
    change(&mut after)?;
    write(tx, call, action, before, after).await
}

async fn lock(tx: &Tx<'_>, call: &Call, id: LicenseId) -> Result<LicenseRecord, Error> {
    let license = license_records::lock(tx, id).await?;
    let license = license.ok_or_else(Rejection::not_found)?;
    call.if_match().check(license.version)?;
    if license.status == LicenseStatus::Revoked {
        return Err(revoked().into());
    }
    Ok(license)
}

async fn write(
    tx: &Tx<'_>,
    call: &Call,
    action: &'static str,
    before: LicenseRecord,
    mut after: LicenseRecord,
) -> Result<LicenseRecord, Error> {
    let transferred = action == TRANSFERRED;
    let policies = [before.policy, after.policy];
    if after == before {
        // The policy itself may have changed, which devices then hear of.
        if transferred {
            let event = audit::Event::new(call.origin(), "license.republished");
            audit::write(tx, &before.id, &event).await?;
            tell_devices(tx, &before, policies).await?;
        }
        return Ok(before);
    }
    let told_by_tokens = transferred
        || (
            &after.features,
            &after.products,
            &after.terms,
            after.expires_at,
        ) != (
            &before.features,
            &before.products,
            &before.terms,
            before.expires_at,
        );
    // What was too long before must not keep anybody from changing something else.
    if after.features != before.features || after.products != before.products {
        token_size::check(&after.products, &after.features)?;
    }
    after.version += 1;
    after.updated_at = call.now;
    license_records::update(tx, &after)
        .await
        .map_err(features_too_large)?;
    if after.products != before.products {
        licenses::set_products(tx, after.id, after.policy).await?;
    }
    // What the trail does not show: both may name people, whom it can't forget.
    let mut others = Vec::new();
    if after.metadata != before.metadata {
        others.push("metadata");
    }
    if after.features != before.features {
        others.push("features");
    }
    let event = audit::Event::new(call.origin(), action)
        .details(json!({ "changed_too": others }))
        .before(&TermsView::from(&before))
        .after(&TermsView::from(&after));
    audit::write(tx, &after.id, &event).await?;
    if told_by_tokens {
        tell_devices(tx, &after, policies).await?;
    }
    let found = license_records::find(tx, after.id).await?;
    found.ok_or(Error::Row("licenses"))
}

/// Has the license's tokens that are out give way to what it is now. Last in a transaction, as
/// activations wait for the lists.
async fn tell_devices(
    tx: &Tx<'_>,
    license: &LicenseRecord,
    policies: [PolicyId; 2],
) -> Result<(), Error> {
    licenses::raise_state(tx, license.id).await?;
    status_lists::mark_changed(tx, license.id, policies).await
}

pub(super) async fn update(call: Call) -> Result<Reply, HandlerError> {
    let id: LicenseId = call.id()?;
    let wanted: LicenseChange = call.json()?;
    if let Some(Some(end)) = wanted.expires_at {
        bodies::in_future(end, call.now)?;
    }
    let (call, wanted) = (&call, &wanted);
    let changed = call.tenant().run_tx("update_license", |tx| {
        Box::pin(change(tx, call, id, "license.updated", |license| {
            wanted.apply(license);
            Ok(())
        }))
    });
    show(changed.await?)
}

impl LicenseChange {
    fn apply(&self, license: &mut LicenseRecord) {
        if let Some(max) = self.max_activations {
            license.own_max_activations = max.is_some();
            license.max_activations = max.unwrap_or(license.policy_max_activations);
        }
        if let Some(end) = self.expires_at {
            license.expires_at = end;
            license.pending_duration_s = None;
        }
        if let Some(features) = &self.features {
            license.features.clone_from(features);
        }
        if let Some(terms) = &self.terms {
            license.terms.clone_from(terms);
        }
        if let Some(metadata) = &self.metadata {
            license.metadata.clone_from(metadata);
        }
    }
}

/// A license, and what is to be done with it once.
struct Once<'a, T> {
    call: &'a Call,
    id: LicenseId,
    asked: T,
}

impl Creation for Once<'_, Renewal> {
    type Made = LicenseId;
    type Answer = LicenseRecord;
    const NAME: &'static str = "renew_license";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (LicenseId, LicenseRecord)> {
        Box::pin(async move {
            let now = self.call.now;
            let renew = |license: &mut LicenseRecord| self.asked.apply(license, now);
            let renewed = change(tx, self.call, self.id, "license.renewed", renew).await?;
            Ok((self.id, renewed))
        })
    }

    fn again<'a>(&'a self, tx: &'a Tx<'_>, id: LicenseId) -> Work<'a, Option<LicenseRecord>> {
        Box::pin(license_records::find(tx, id))
    }
}

pub(super) async fn renew(call: Call) -> Result<Reply, HandlerError> {
    let asked: Renewal = call.json()?;
    if let Some(end) = asked.expires_at {
        bodies::in_future(end, call.now)?;
    }
    let id = call.id()?;
    let renewal = Once {
        call: &call,
        id,
        asked,
    };
    call.create(&renewal, show).await
}

impl Renewal {
    fn apply(&self, license: &mut LicenseRecord, now: Timestamp) -> Result<(), Rejection> {
        let end = license.expires_at.ok_or_else(|| {
            Rejection::conflict(if license.pending_duration_s.is_some() {
                "The license's time has not begun, so there is nothing to renew."
            } else {
                "The license has no end, so there is nothing to renew."
            })
        })?;
        let renewed = self.end(license, end, now)?;
        if renewed < end {
            return Err(Rejection::conflict(format!(
                "The license runs until {end} already. Change it to have it end earlier."
            )));
        }
        license.expires_at = Some(renewed);
        Ok(())
    }

    /// The new end of a license that ends, or ended, at `end`.
    fn end(
        &self,
        license: &LicenseRecord,
        end: Timestamp,
        now: Timestamp,
    ) -> Result<Timestamp, Rejection> {
        if let Some(end) = self.expires_at {
            return Ok(end);
        }
        let duration = self.duration_s.or(license.policy_duration_s);
        let duration = duration.ok_or_else(|| {
            Rejection::conflict("The policy sets no duration: say expires_at or duration_s.")
        })?;
        let from = self.from.or(license.effective_terms().renewal_from);
        let start = match from {
            Some(RenewalStart::End) => end,
            Some(RenewalStart::Now) => now,
            None => end.max(now),
        };
        let renewed = start.plus(duration);
        if renewed <= now {
            return Err(Rejection::conflict(format!(
                "Counted from its end the license would have ended at {renewed}. Count from NOW, or say a longer duration_s."
            )));
        }
        Ok(renewed)
    }
}

impl Creation for Once<'_, Transfer> {
    type Made = LicenseId;
    type Answer = LicenseRecord;
    const NAME: &'static str = "transfer_license";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (LicenseId, LicenseRecord)> {
        Box::pin(async move {
            let (call, transfer) = (self.call, &self.asked);
            // Before the license, as whoever changes a policy waits for no license.
            let policy = hold_policy(tx, transfer.policy_id).await?;
            let before = lock(tx, call, self.id).await?;
            Transfer::check_allowed(&before, &policy)?;
            let activated = licenses::was_activated(tx, self.id).await?;
            let mut after = before.clone();
            transfer.apply(&policy, &mut after, activated, call.now);
            transfer.check_limit(&before, &after)?;
            let moved = write(tx, call, TRANSFERRED, before, after).await?;
            Ok((self.id, moved))
        })
    }

    fn again<'a>(&'a self, tx: &'a Tx<'_>, id: LicenseId) -> Work<'a, Option<LicenseRecord>> {
        Box::pin(license_records::find(tx, id))
    }
}

/// Puts a license under another policy, or under its own as that is now.
pub(super) async fn transfer(call: Call) -> Result<Reply, HandlerError> {
    let asked: Transfer = call.json()?;
    let id = call.id()?;
    let transfer = Once {
        call: &call,
        id,
        asked,
    };
    call.create(&transfer, show).await
}

/// Whether a trial becomes something else, as when it is paid for: not so much a transfer as a
/// beginning.
fn converts(license: &LicenseRecord, policy: &Policy) -> bool {
    license.tier == Tier::Trial && policy.tier != Tier::Trial
}

impl Transfer {
    fn apply(&self, policy: &Policy, license: &mut LicenseRecord, activated: bool, now: Timestamp) {
        let restarts = match self.expiry {
            Some(expiry) => expiry == Expiry::Restart,
            None => converts(license, policy),
        };
        license.policy = policy.id;
        license.policy_name.clone_from(&policy.name);
        license.tier = policy.tier;
        license.feature_set = policy.feature_set;
        license.products.clone_from(&policy.products);
        license.policy_max_activations = policy.max_activations;
        license.policy_duration_s = policy.license_duration_s;
        license.policy_terms.clone_from(&policy.terms);
        license.own_max_activations |= self.keep.contains(&Keep::MaxActivations);
        if !license.own_max_activations {
            license.max_activations = policy.max_activations;
        }
        if restarts {
            Self::restart(policy, license, activated, now);
        }
    }

    /// As if it were issued now. Of a license that was activated before, the first activation is
    /// past.
    fn restart(policy: &Policy, license: &mut LicenseRecord, activated: bool, now: Timestamp) {
        let duration = policy.license_duration_s;
        let waits = match license.effective_terms().duration_start(policy.tier) {
            DurationStart::Issue => false,
            DurationStart::FirstActivation => !activated,
            DurationStart::FirstValidation => true,
        };
        license.pending_duration_s = duration.filter(|_| waits);
        license.expires_at = duration
            .filter(|_| !waits)
            .map(|duration| now.plus(duration));
    }

    fn check_allowed(license: &LicenseRecord, policy: &Policy) -> Result<(), Rejection> {
        let stays = license.effective_terms().transferable == Some(false);
        // Staying is no transfer either.
        if !stays || converts(license, policy) || license.policy == policy.id {
            return Ok(());
        }
        Err(Rejection::conflict(
            "The license's terms don't let it go to another policy (`transferable` is false). \
             Change its terms first.",
        ))
    }

    /// Only what the transfer itself makes too little: a license may be over its limit already.
    fn check_limit(&self, before: &LicenseRecord, after: &LicenseRecord) -> Result<(), Rejection> {
        let live = after.live_activations;
        let Some(max) = after.device_limit() else {
            return Ok(());
        };
        let excess = live - max;
        let lowered = before.device_limit().is_none_or(|before| max < before);
        if excess <= 0 || !lowered || self.over_limit {
            return Ok(());
        }
        Err(Rejection::conflict(format!(
            "The license is active on {live} devices, and with this policy it may be on {max}. \
             Deactivate {excess}, keep max_activations, or send over_limit: true to have them stay \
             and no other come in."
        )))
    }
}
