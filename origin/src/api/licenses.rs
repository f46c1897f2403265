//! `/api/v1/licenses`: what was sold.

mod bodies;
mod issuing;
mod lookup;
mod terms;
mod usage;

use licet_shared::{
    documents::Tier,
    id::{FeatureSetId, LicenseId, PolicyId},
    problem::ProblemCode,
    time::Timestamp,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::bodies::{
    IssuedBatch, IssuedLicense, LicenseChange, LicenseView, Lookup, NewBatch, NewLicense, Renewal,
    Transfer,
};
use self::usage::{MeteredFeature, Usage, UsageCorrection};
use super::{
    Call, Operation, Reply,
    operation::Verb::{Get, Patch, Post},
};
use crate::{
    accounts::permissions::Permission::{LicensesRead, LicensesWrite},
    db::{
        Error,
        license_records::{self, LicenseFilter, LicenseRecord},
        licenses::LicenseStatus,
    },
    http::HandlerError,
    licensing::change_status::{self, Change, Changed},
    rejection::Rejection,
};

const PATH: &str = "/api/v1/licenses";
const ONE: &str = "/api/v1/licenses/{id}";

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = vec![
        Operation::new(Get, PATH, LicensesRead, |call| Box::pin(list(call)))
            .named("list_licenses", "List licenses")
            .lists::<LicenseView>()
            .param::<LicenseStatus>("status", "Only those in this status.")
            .param::<Tier>("tier", "Only those of this tier.")
            .param::<String>("product", "Only those that cover the product with this code.")
            .param::<PolicyId>("policy", "Only those under this policy.")
            .param::<FeatureSetId>("feature_set", "Only those of this feature set.")
            .param::<Timestamp>("expiring_before", "Only those that end before this time.")
            .param::<String>(
                "text",
                "Only those with this in their metadata as JSON or in their policy's name, in any case. \
                 Looks through 10,000 licenses at a time: a page may hold fewer than `limit`, or \
                 none, and still name a next one.",
            ),
        Operation::new(Post, PATH, LicensesWrite, |call| Box::pin(issuing::one(call)))
            .named("issue_license", "Issue a license")
            .detail("Its key is shown this once.")
            .takes::<NewLicense>()
            .creates::<IssuedLicense>()
            .or(ProblemCode::NotFound)
            .or(ProblemCode::QuotaExceeded),
        Operation::new(Post, "/api/v1/licenses/batch", LicensesWrite, |call| {
            Box::pin(issuing::many(call))
        })
        .named("issue_licenses", "Issue many licenses at once")
        .detail("All of them or none. Their keys are shown this once.")
        .takes::<NewBatch>()
        .creates::<IssuedBatch>()
        .or(ProblemCode::NotFound)
        .or(ProblemCode::QuotaExceeded),
        Operation::new(Get, ONE, LicensesRead, |call| Box::pin(read(call)))
            .named("read_license", "Read a license")
            .about::<LicenseId>()
            .gives::<LicenseView>(),
        Operation::new(Patch, ONE, LicensesWrite, |call| Box::pin(terms::update(call)))
            .named("update_license", "Change a license's terms")
            .detail(
                "Devices hear of another end and of other features within the status lists' ttl, 30 s \
                 unless set otherwise. With fewer activations than there are devices, these stay and \
                 no other comes in. A revoked license has no terms.",
            )
            .about::<LicenseId>()
            .takes::<LicenseChange>()
            .gives::<LicenseView>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(Post, "/api/v1/licenses/{id}/renew", LicensesWrite, |call| {
            Box::pin(terms::renew(call))
        })
        .named("renew_license", "Give a license a later end")
        .detail(
            "By the policy's duration if nothing is said: from the license's end, or from now if \
             that has passed. One that had ended is in force again; one that is suspended stays so.",
        )
        .about::<LicenseId>()
        .takes::<Renewal>()
        .gives::<LicenseView>()
        .once()
        .conditional()
        .or(ProblemCode::Conflict),
    ];
    operations.extend([
        Operation::new(
            Post,
            "/api/v1/licenses/{id}/transfer",
            LicensesWrite,
            |call| Box::pin(terms::transfer(call)),
        )
        .named("transfer_license", "Put a license under another policy")
        .detail(
            "Tier, feature set, products, lifetimes and fingerprint rule follow the policy, and the \
             number of activations unless it is the license's own; its own features, its end and \
             metadata stay. Refused where there are more devices than the policy allows, unless \
             `over_limit` is true. Devices hear of it within the status lists' ttl, but of another \
             fingerprint rule and token lifetime when they refresh. To the policy that it has: its \
             devices take that policy's terms as they are now.",
        )
        .about::<LicenseId>()
        .takes::<Transfer>()
        .gives::<LicenseView>()
        .once()
        .conditional()
        .or(ProblemCode::Conflict),
        Operation::new(Post, "/api/v1/licenses/lookup", LicensesRead, |call| {
            Box::pin(lookup::lookup(call))
        })
        .named("look_up_license", "Find a license by its key")
        .detail("The key stands in the body, for addresses are logged and shared.")
        .takes::<Lookup>()
        .gives::<LicenseView>()
        .or(ProblemCode::NotFound)
        .or(ProblemCode::LicenseKeyMalformed),
        Operation::new(Get, "/api/v1/licenses/{id}/usage", LicensesRead, |call| {
            Box::pin(usage::read(call))
        })
        .named("read_usage", "Read what a license has used")
        .detail("Of its metered features. Periods are those of the calendar, in UTC.")
        .about::<LicenseId>()
        .param::<Timestamp>("at", "In the periods that this time is in; now, if absent.")
        .gives::<Usage>(),
        Operation::new(Post, "/api/v1/licenses/{id}/usage", LicensesWrite, |call| {
            Box::pin(usage::correct(call))
        })
        .named("correct_usage", "Put right what a license has used")
        .detail(
            "The quota does not matter: more may have been used than it allows, and less is left \
             then, or nothing.",
        )
        .about::<LicenseId>()
        .takes::<UsageCorrection>()
        .gives::<MeteredFeature>()
        .once()
        .or(ProblemCode::Conflict),
        Operation::new(
            Post,
            "/api/v1/licenses/{id}/suspend",
            LicensesWrite,
            |call| Box::pin(change_status(call, Change::Suspend)),
        )
        .named("suspend_license", "Stop a license for a time")
        .about::<LicenseId>()
        .gives::<LicenseView>()
        .conditional()
        .or(ProblemCode::Conflict),
        Operation::new(
            Post,
            "/api/v1/licenses/{id}/reinstate",
            LicensesWrite,
            |call| Box::pin(change_status(call, Change::Reinstate)),
        )
        .named(
            "reinstate_license",
            "Put a suspended license in force again",
        )
        .about::<LicenseId>()
        .gives::<LicenseView>()
        .conditional()
        .or(ProblemCode::Conflict),
        Operation::new(
            Post,
            "/api/v1/licenses/{id}/revoke",
            LicensesWrite,
            |call| Box::pin(change_status(call, Change::Revoke)),
        )
        .named("revoke_license", "End a license for good")
        .about::<LicenseId>()
        .gives::<LicenseView>()
        .conditional(),
    ]);
    operations
}

/// A parameter that is one of a few words.
pub(super) fn word<'a, T: DeserializeOwned>(
    call: &'a Call,
    name: &str,
) -> Result<Option<&'a str>, HandlerError> {
    let check = |text: &'a str| match serde_json::from_value::<T>(Value::from(text)) {
        Ok(_) => Ok(text),
        Err(error) => Err(Rejection::field(name, error).into()),
    };
    call.param(name).map(check).transpose()
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let filter = LicenseFilter {
        status: word::<LicenseStatus>(&call, "status")?,
        tier: word::<Tier>(&call, "tier")?,
        product: call.param("product"),
        policy: call.parsed("policy")?,
        feature_set: call.parsed("feature_set")?,
        expiring_before: call.parsed("expiring_before")?,
        text: call.param("text"),
    };
    let rows = call.tenant().run_tx("list_licenses", |tx| {
        Box::pin(license_records::list(
            tx,
            &filter,
            page.before,
            page.fetch(),
        ))
    });
    let listed = rows.await?;
    page.reply_until(
        listed.licenses,
        listed.looked_until,
        |license| license.id,
        LicenseView::from,
    )
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: LicenseId = call.id()?;
    let found = call
        .tenant()
        .run_pipelined("read_license", |tx| Box::pin(license_records::find(tx, id)));
    show(found.await?.ok_or_else(Rejection::not_found)?)
}

/// Live activations and the end's passing are not counted by the version.
fn show(license: LicenseRecord) -> Result<Reply, HandlerError> {
    let version = license.version;
    Ok(Reply::ok(&LicenseView::from(license))?
        .version(version)
        .changing())
}

fn revoked() -> Rejection {
    Rejection::conflict("The license is revoked, which is for good. Issue another.")
}

fn ended() -> Rejection {
    Rejection::conflict("The license has ended. Renew it first.")
}

async fn change_status(call: Call, what: Change) -> Result<Reply, HandlerError> {
    let id: LicenseId = call.id()?;
    let if_match = call.if_match();
    let (call, if_match) = (&call, &if_match);
    let changed = call.tenant().run_tx("change_license", |tx| {
        Box::pin(async move {
            let before = license_records::lock(tx, id)
                .await?
                .ok_or_else(Rejection::not_found)?;
            if_match.check(before.version)?;
            // Also where its row does not say so yet.
            let is_over = before.status == LicenseStatus::Expired && what != Change::Revoke;
            let stoppable = what == Change::Suspend && before.effective_terms().goes_on();
            if is_over && !stoppable {
                return Err(ended().into());
            }
            match change_status::change(tx, id, what, call.origin()).await? {
                Changed::Done => {}
                Changed::NotFound => return Err(Rejection::not_found().into()),
                Changed::Impossible(LicenseStatus::Revoked) => return Err(revoked().into()),
                Changed::Impossible(_) => return Err(ended().into()),
            }
            let found = license_records::find(tx, id).await?;
            found.ok_or(Error::Row("licenses"))
        })
    });
    show(changed.await?)
}
