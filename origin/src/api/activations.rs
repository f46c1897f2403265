//! `/api/v1/activations`: where licenses run.

use licet_shared::{
    id::{ActivationId, LicenseId},
    time::Timestamp,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Call, Operation, Reply,
    operation::Verb::{Get, Post},
};
use crate::{
    accounts::permissions::Permission::{ActivationsRead, ActivationsWrite},
    db::{
        Error,
        activation_records::{self, ActivationFilter, ActivationRecord},
        license_records,
    },
    http::HandlerError,
    licensing::deactivate,
    rejection::Rejection,
};

const PATH: &str = "/api/v1/activations";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        filters(
            Operation::new(Get, PATH, ActivationsRead, |call| Box::pin(list(call)))
                .named("list_activations", "List activations")
                .lists::<ActivationView>()
                .param::<LicenseId>("license", "Only those of this license."),
        ),
        filters(
            Operation::new(
                Get,
                "/api/v1/licenses/{id}/activations",
                ActivationsRead,
                |call| Box::pin(list_of_license(call)),
            )
            .named(
                "list_activations_of_license",
                "List a license's activations",
            )
            .about::<LicenseId>()
            .lists::<ActivationView>(),
        ),
        Operation::new(Get, "/api/v1/activations/{id}", ActivationsRead, |call| {
            Box::pin(read(call))
        })
        .named("read_activation", "Read an activation")
        .about::<ActivationId>()
        .gives::<ActivationView>(),
        Operation::new(
            Post,
            "/api/v1/activations/{id}/deactivate",
            ActivationsWrite,
            |call| Box::pin(revoke(call)),
        )
        .named("revoke_activation", "Take a license from one device")
        .detail("Its seat is free at once. Doing so twice is the same as doing so once.")
        .about::<ActivationId>()
        .gives::<ActivationView>(),
    ]
}

fn filters(operation: Operation) -> Operation {
    operation
        .param::<bool>("live", "Only those in force, or only those given back.")
        .param::<String>(
            "fingerprint_hash",
            "Only those on the device whose fingerprint has this hash, as activations show it.",
        )
}

/// A license on a device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Activation)]
struct ActivationView {
    id: ActivationId,
    license_id: LicenseId,
    /// Base64url of the SHA-256 of the device's fingerprint; null where it named none.
    fingerprint_hash: Option<String>,
    /// Names of the component fingerprints that the device is told by.
    components: Vec<String>,
    /// What people call the device.
    name: Option<String>,
    /// What the device said of itself.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    metadata: Option<Map<String, Value>>,
    created_at: Timestamp,
    /// To the minute.
    last_seen_at: Timestamp,
    /// Null where it is in force.
    deactivated_at: Option<Timestamp>,
}

impl From<ActivationRecord> for ActivationView {
    fn from(activation: ActivationRecord) -> Self {
        Self {
            id: activation.id,
            license_id: activation.license,
            fingerprint_hash: activation.fingerprint_hash,
            components: activation.components,
            name: activation.name,
            metadata: activation.metadata,
            created_at: activation.created_at,
            last_seen_at: activation.last_seen_at,
            deactivated_at: activation.deactivated_at,
        }
    }
}

fn filter(call: &Call, license: Option<LicenseId>) -> Result<ActivationFilter<'_>, HandlerError> {
    Ok(ActivationFilter {
        license,
        live: call.flag("live")?,
        fingerprint_hash: call.param("fingerprint_hash"),
    })
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let filter = &filter(&call, call.parsed("license")?)?;
    let rows = call.tenant().run_pipelined("list_activations", |tx| {
        Box::pin(activation_records::list(
            tx,
            filter,
            page.before,
            page.fetch(),
        ))
    });
    page.reply(rows.await?, |it| it.id, ActivationView::from)
}

async fn list_of_license(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let id: LicenseId = call.id()?;
    let filter = &filter(&call, Some(id))?;
    let rows = call.tenant().run_tx("list_activations", |tx| {
        Box::pin(async move {
            let license = license_records::find(tx, id).await?;
            license.ok_or_else(Rejection::not_found)?;
            activation_records::list(tx, filter, page.before, page.fetch()).await
        })
    });
    page.reply(rows.await?, |it| it.id, ActivationView::from)
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: ActivationId = call.id()?;
    let found = call.tenant().run_pipelined("read_activation", |tx| {
        Box::pin(activation_records::find(tx, id))
    });
    let found = found.await?.ok_or_else(Rejection::not_found)?;
    Reply::ok(&ActivationView::from(found))
}

async fn revoke(call: Call) -> Result<Reply, HandlerError> {
    let id: ActivationId = call.id()?;
    let call = &call;
    let revoked = call.tenant().run_tx("revoke_activation", |tx| {
        Box::pin(async move {
            let found = activation_records::find(tx, id).await?;
            let license = found.ok_or_else(Rejection::not_found)?.license;
            deactivate::free(tx, id, license, call.origin()).await?;
            let found = activation_records::find(tx, id).await?;
            found.ok_or(Error::Row("activations"))
        })
    });
    Reply::ok(&ActivationView::from(revoked.await?))
}
