//! `/api/v1/leases`: who holds floating seats.

use licet_shared::{
    id::{ActivationId, LeaseId, LicenseId},
    time::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Call, Operation, Reply,
    operation::Verb::{Get, Post},
};
use crate::{
    accounts::permissions::Permission::{LeasesRead, LeasesWrite},
    db::{
        Error,
        leases::{self, EndedWhy, LeaseRecord},
        license_records,
    },
    http::HandlerError,
    licensing::leases::release,
    rejection::Rejection,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, "/api/v1/leases", LeasesRead, |call| {
            Box::pin(list(call))
        })
        .named("list_leases", "List leases of floating seats")
        .detail("Those that have ended are there for seven days.")
        .lists::<LeaseView>()
        .param::<LicenseId>("license", "Only those of this license."),
        Operation::new(Get, "/api/v1/licenses/{id}/leases", LeasesRead, |call| {
            Box::pin(list_of_license(call))
        })
        .named("list_leases_of_license", "List who holds a license's seats")
        .detail("Those that have ended are there for seven days.")
        .about::<LicenseId>()
        .lists::<LeaseView>()
        .param::<bool>(
            "live",
            "Only those that take a seat, or only those that have ended.",
        ),
        Operation::new(Get, "/api/v1/leases/{id}", LeasesRead, |call| {
            Box::pin(read(call))
        })
        .named("read_lease", "Read a lease")
        .about::<LeaseId>()
        .gives::<LeaseView>(),
        Operation::new(Post, "/api/v1/leases/{id}/release", LeasesWrite, |call| {
            Box::pin(take_back(call))
        })
        .named("take_back_lease", "Take a floating seat back")
        .detail(
            "The seat is free at once, and its holder gets no further lease for it. The lease that \
             they have is signed, and counts until `expires_at` unless the activation is taken \
             back too. Doing so twice is the same as doing so once.",
        )
        .about::<LeaseId>()
        .gives::<LeaseView>(),
    ]
}

/// A floating seat that somebody holds, or held.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lease)]
struct LeaseView {
    id: LeaseId,
    license_id: LicenseId,
    activation_id: ActivationId,
    /// As the holder calls itself.
    holder: String,
    /// Base64url of the SHA-256 of the machine's fingerprint.
    machine_hash: String,
    /// For work offline.
    borrowed: bool,
    acquired_at: Timestamp,
    /// The newest heartbeat.
    renewed_at: Timestamp,
    /// The end of the newest lease that was signed.
    expires_at: Timestamp,
    /// Null where it takes a seat.
    ended_at: Option<Timestamp>,
    ended_why: Option<EndedWhy>,
}

impl From<LeaseRecord> for LeaseView {
    fn from(lease: LeaseRecord) -> Self {
        Self {
            id: lease.id,
            license_id: lease.license,
            activation_id: lease.activation,
            holder: lease.holder,
            machine_hash: lease.machine_hash,
            borrowed: lease.borrowed,
            acquired_at: lease.acquired_at,
            renewed_at: lease.renewed_at,
            expires_at: lease.expires_at,
            ended_at: lease.ended.map(|(at, _)| at),
            ended_why: lease.ended.map(|(_, why)| why),
        }
    }
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let license = call.parsed("license")?;
    let rows = call.tenant().run_pipelined("list_leases", |tx| {
        Box::pin(leases::list(tx, license, None, page.before, page.fetch()))
    });
    page.reply(rows.await?, |it| it.id, LeaseView::from)
}

async fn list_of_license(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let id: LicenseId = call.id()?;
    let live = call.flag("live")?;
    let rows = call.tenant().run_tx("list_leases", |tx| {
        Box::pin(async move {
            let license = license_records::find(tx, id).await?;
            license.ok_or_else(Rejection::not_found)?;
            leases::list(tx, Some(id), live, page.before, page.fetch()).await
        })
    });
    page.reply(rows.await?, |it| it.id, LeaseView::from)
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: LeaseId = call.id()?;
    let found = call
        .tenant()
        .run_pipelined("read_lease", |tx| Box::pin(leases::find(tx, id)));
    let found = found.await?.ok_or_else(Rejection::not_found)?;
    Reply::ok(&LeaseView::from(found))
}

async fn take_back(call: Call) -> Result<Reply, HandlerError> {
    let id: LeaseId = call.id()?;
    let call = &call;
    let taken = call.tenant().run_tx("take_back_lease", |tx| {
        Box::pin(async move {
            let found = leases::find(tx, id).await?;
            found.ok_or_else(Rejection::not_found)?;
            release::end(tx, id, EndedWhy::TakenBack, call.origin()).await?;
            leases::find(tx, id).await?.ok_or(Error::Row("leases"))
        })
    });
    Reply::ok(&LeaseView::from(taken.await?))
}
