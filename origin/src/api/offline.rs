//! License files, and the machines without a network that they are for, as their vendor handles
//! them.

use licet_shared::{
    api::{
        ActivationAnswer, Body, BodyError, OfflineActivateRequest, ReceiptRequest, check_lifetime,
    },
    decision::Code,
    id::{ActivationId, LicenseId},
    license_file::DeactivationReceipt,
    problem::ProblemCode,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Call, Operation, Reply, operation::Verb::Post};
use crate::{
    accounts::permissions::Permission::ActivationsWrite,
    fault::Fault,
    http::HandlerError,
    licensing::{
        license_file::{self, Lifetime},
        offline::{self, Bearer},
    },
    rejection::Rejection,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            Post,
            "/api/v1/activations/{id}/license-file",
            ActivationsWrite,
            |call| Box::pin(check_out(call)),
        )
        .named("check_out_license_file", "Make a license file for a device")
        .detail("With it the device can go without the network until the file ends, and nothing can call it back before.")
        .about::<ActivationId>()
        .takes::<LicenseFileOrder>()
        .gives::<LicenseFileView>()
        .or(ProblemCode::Conflict),
        Operation::new(
            Post,
            "/api/v1/offline-activations",
            ActivationsWrite,
            |call| Box::pin(activate(call)),
        )
        .named(
            "activate_offline",
            "Activate a machine that never connects",
        )
        .detail("By the request file that the machine made, or by the code that it shows. The same request again gives the same activation, and a file as things now stand.")
        .takes::<NewOfflineActivation>()
        .gives::<LicenseFileView>()
        .or(ProblemCode::Conflict)
        .or(ProblemCode::NotFound)
        .or(ProblemCode::LicenseKeyMalformed),
        Operation::new(
            Post,
            "/api/v1/offline-deactivations",
            ActivationsWrite,
            |call| Box::pin(give_back(call)),
        )
        .named(
            "deactivate_offline",
            "Take back the activation of a machine that never connects",
        )
        .detail("By the receipt that the machine signed when it deleted its license file. Its seat is free at once. Doing so twice is the same as doing so once.")
        .takes::<ReceiptRequest>()
        .gives::<GivenBack>()
        .or(ProblemCode::Conflict)
        .or(ProblemCode::NotFound),
    ]
}

/// For how long a license file is to hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LicenseFileOrder {
    /// In seconds.
    #[schema(minimum = 60, maximum = 34_560_000)]
    lifetime_s: u32,
}

impl Body for LicenseFileOrder {
    fn check(&self) -> Result<(), BodyError> {
        check_lifetime(self.lifetime_s)
    }
}

/// What a machine that never connects asks for: `request` alone, or `license_key`, `product` and
/// `code` together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOfflineActivation {
    /// The text of the request file that the machine made.
    #[serde(default)]
    request: Option<String>,
    /// With a code: the license key.
    #[serde(default)]
    license_key: Option<String>,
    /// With a code: the product that wants to run.
    #[serde(default)]
    product: Option<String>,
    /// The code that the machine shows: 56 letters and digits.
    #[serde(default)]
    code: Option<String>,
    /// With a code: what people call the machine.
    #[serde(default)]
    name: Option<String>,
    /// For how many seconds the license file is to hold.
    #[schema(minimum = 60, maximum = 34_560_000)]
    lifetime_s: u32,
}

impl NewOfflineActivation {
    fn asked(&self) -> OfflineActivateRequest {
        OfflineActivateRequest {
            request: self.request.clone(),
            license_key: self.license_key.clone(),
            product: self.product.clone(),
            code: self.code.clone(),
            name: self.name.clone(),
            lifetime_s: Some(self.lifetime_s),
        }
    }
}

impl Body for NewOfflineActivation {
    fn check(&self) -> Result<(), BodyError> {
        self.asked().check()
    }
}

/// A license file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LicenseFile)]
struct LicenseFileView {
    /// Its text, to be stored as a file on the machine.
    license_file: String,
    license_id: LicenseId,
    activation_id: ActivationId,
    /// It is refused from this second on.
    expires_at: Timestamp,
}

/// An activation that was given back.
#[derive(Debug, Serialize, ToSchema)]
struct GivenBack {
    license_id: LicenseId,
    activation_id: ActivationId,
}

/// Who comes with a request that can't be granted is told why, by the decision's code.
fn refused(answer: &ActivationAnswer) -> Rejection {
    match answer.code {
        Code::LicenseNotFound | Code::ActivationNotFound => Rejection::not_found(),
        code => Rejection::conflict(format!("{code}: {}", answer.detail)),
    }
}

fn incomplete() -> HandlerError {
    Fault::internal("an answer about a license file", "a part is missing").into()
}

fn file(answer: ActivationAnswer) -> Result<Reply, HandlerError> {
    if !answer.valid {
        return Err(refused(&answer).into());
    }
    let (Some(text), Some(license), Some(activation), Some(token)) = (
        answer.license_file,
        answer.license,
        answer.activation_id,
        answer.token,
    ) else {
        return Err(incomplete());
    };
    Reply::ok(&LicenseFileView {
        license_file: text,
        license_id: license.id,
        activation_id: activation,
        expires_at: token.expires_at,
    })
}

async fn check_out(call: Call) -> Result<Reply, HandlerError> {
    let id: ActivationId = call.id()?;
    let order: LicenseFileOrder = call.json()?;
    let lifetime = Lifetime::Vendors(order.lifetime_s);
    let (tenant, keyrings) = (call.tenant(), call.keyrings());
    let made = license_file::check_out(tenant, keyrings, id, lifetime, call.origin(), call.now);
    file(made.await?)
}

async fn activate(call: Call) -> Result<Reply, HandlerError> {
    let new: NewOfflineActivation = call.json()?;
    let machine = new.asked().machine(call.now)?;
    let lifetime = Lifetime::Vendors(new.lifetime_s);
    let (tenant, keyrings) = (call.tenant(), call.keyrings());
    let made = offline::activate(
        tenant,
        keyrings,
        &machine,
        lifetime,
        call.origin(),
        call.now,
    );
    file(made.await?)
}

async fn give_back(call: Call) -> Result<Reply, HandlerError> {
    let ReceiptRequest { receipt } = call.json()?;
    let receipt = DeactivationReceipt::read(&receipt, call.now)?;
    let answer = offline::give_back(
        call.tenant(),
        &receipt,
        Bearer::Vendor,
        call.origin(),
        call.now,
    )
    .await?;
    if !answer.valid {
        return Err(refused(&answer).into());
    }
    let (Some(license), Some(activation)) = (answer.license, answer.activation_id) else {
        return Err(incomplete());
    };
    Reply::ok(&GivenBack {
        license_id: license.id,
        activation_id: activation,
    })
}
