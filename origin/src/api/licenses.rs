//! `/api/v1/licenses`: what was sold.

mod bodies;
mod issuing;

use licet_shared::{
    documents::Tier,
    id::{LicenseId, PolicyId},
    problem::ProblemCode,
    time::Timestamp,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::bodies::{
    End, IssuedBatch, IssuedLicense, LicenseChange, LicenseView, NewBatch, NewLicense, Renewal,
    TermsView,
};
use super::{
    Call, Operation, Reply,
    operation::Verb::{Get, Patch, Post},
};
use crate::{
    accounts::permissions::Permission::{LicensesRead, LicensesWrite},
    db::{
        Error, audit,
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
            .param::<PolicyId>("policy", "Only those issued under this policy.")
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
        Operation::new(Patch, ONE, LicensesWrite, |call| Box::pin(update(call)))
            .named("update_license", "Change a license's terms")
            .detail(
                "Devices hear of another end when they refresh. With fewer activations than there \
                 are devices, these stay and no other comes in. A revoked license has no terms.",
            )
            .about::<LicenseId>()
            .takes::<LicenseChange>()
            .gives::<LicenseView>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(Post, "/api/v1/licenses/{id}/renew", LicensesWrite, |call| {
            Box::pin(renew(call))
        })
        .named("renew_license", "Give a license a later end")
        .detail("One that had ended is in force again; one that is suspended stays so.")
        .about::<LicenseId>()
        .takes::<Renewal>()
        .gives::<LicenseView>()
        .conditional()
        .or(ProblemCode::Conflict),
    ];
    operations.extend([
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
        .run_tx("read_license", |tx| Box::pin(license_records::find(tx, id)));
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

/// Changes a license's terms under its lock, if it is the version that the caller means.
async fn change(
    call: &Call,
    action: &'static str,
    change: impl Fn(&mut LicenseRecord) -> Result<(), Rejection> + Send + Sync,
) -> Result<LicenseRecord, HandlerError> {
    let id: LicenseId = call.id()?;
    let if_match = call.if_match();
    let (if_match, change) = (&if_match, &change);
    let changed = call.tenant().run_tx("change_license_terms", |tx| {
        Box::pin(async move {
            let before = license_records::lock(tx, id)
                .await?
                .ok_or_else(Rejection::not_found)?;
            if_match.check(before.version)?;
            if before.status == LicenseStatus::Revoked {
                return Err(revoked().into());
            }
            let mut after = before.clone();
            change(&mut after)?;
            if after == before {
                return Ok::<_, Error>(before);
            }
            after.version += 1;
            after.updated_at = call.now;
            license_records::update(tx, &after).await?;
            // What a vendor keeps there may name people, whom the trail can't forget.
            let other: &[&str] = if after.metadata == before.metadata {
                &[]
            } else {
                &["metadata"]
            };
            let event = audit::Event::new(call.origin(), action)
                .details(json!({ "changed_too": other }))
                .before(&TermsView::from(&before))
                .after(&TermsView::from(&after));
            audit::write(tx, &id, &event).await?;
            let found = license_records::find(tx, id).await?;
            found.ok_or(Error::Row("licenses"))
        })
    });
    Ok(changed.await?)
}

async fn update(call: Call) -> Result<Reply, HandlerError> {
    let wanted: LicenseChange = call.json()?;
    if let End::New(Some(end)) = wanted.expires_at {
        bodies::in_future(end, call.now)?;
    }
    let apply = |license: &mut LicenseRecord| {
        if let Some(max) = wanted.max_activations {
            license.max_activations = max;
        }
        if let End::New(end) = wanted.expires_at {
            license.expires_at = end;
        }
        if let Some(metadata) = &wanted.metadata {
            license.metadata.clone_from(metadata);
        }
        Ok(())
    };
    show(change(&call, "license.updated", apply).await?)
}

async fn renew(call: Call) -> Result<Reply, HandlerError> {
    let Renewal { expires_at } = call.json()?;
    bodies::in_future(expires_at, call.now)?;
    let apply = |license: &mut LicenseRecord| match license.expires_at {
        None => Err(Rejection::conflict(
            "The license has no end, so there is nothing to renew.",
        )),
        Some(end) if expires_at < end => Err(Rejection::conflict(format!(
            "The license runs until {end} already. Change it to have it end earlier."
        ))),
        Some(_) => {
            license.expires_at = Some(expires_at);
            Ok(())
        }
    };
    show(change(&call, "license.renewed", apply).await?)
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
            match change_status::change(tx, id, what, call.origin()).await? {
                Changed::Done => {}
                Changed::NotFound => return Err(Rejection::not_found().into()),
                Changed::Impossible(LicenseStatus::Revoked) => return Err(revoked().into()),
                Changed::Impossible(status) => {
                    let detail = format!("The license is {}. Renew it first.", status.as_str());
                    return Err(Rejection::conflict(detail).into());
                }
            }
            let found = license_records::find(tx, id).await?;
            found.ok_or(Error::Row("licenses"))
        })
    });
    show(changed.await?)
}
