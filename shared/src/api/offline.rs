//! Bodies about machines without a network.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Body, BodyError, check_text};
use crate::{
    jws::{MAX_LIFE_S, VerifyingKey},
    license_file::{ActivationRequest, MachineCode, RequestError},
    license_key::{LicenseKey, LicenseKeyError},
    time::Timestamp,
};

/// Shortest life of a license file, in seconds.
const MIN_LIFETIME_S: i64 = 60;

/// Checks for how long a license file is to hold.
///
/// # Errors
/// [`BodyError`] when that is less than a minute or more than a token may live.
pub fn check_lifetime(lifetime_s: u32) -> Result<(), BodyError> {
    if (MIN_LIFETIME_S..=MAX_LIFE_S).contains(&i64::from(lifetime_s)) {
        Ok(())
    } else {
        Err(BodyError::field(
            "lifetime_s",
            "must be from 60 to 34560000, which are 400 days",
        ))
    }
}

/// Body of `POST /api/v1/licenses/checkout`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CheckoutRequest {
    /// The license token of this machine's activation.
    pub token: String,
    /// For how many seconds the file is to hold; as long as the license's terms allow, if absent
    /// or more than that.
    #[cfg_attr(feature = "openapi", schema(minimum = 60, maximum = 34_560_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_s: Option<u32>,
}

impl Body for CheckoutRequest {
    fn check(&self) -> Result<(), BodyError> {
        self.lifetime_s.map_or(Ok(()), check_lifetime)
    }
}

/// Body of `POST /api/v1/licenses/activate-offline`: the machine's request file, or else its code
/// with license key and product.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OfflineActivateRequest {
    /// The text of the request file that the machine made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The license key, with a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_key: Option<String>,
    /// Code of the product that wants to run, with a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The code that the machine shows: 56 letters and digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What people call the machine, with a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For how many seconds the file is to hold; as long as the license's terms allow, if absent
    /// or more than that.
    #[cfg_attr(feature = "openapi", schema(minimum = 60, maximum = 34_560_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_s: Option<u32>,
}

impl Body for OfflineActivateRequest {
    // What the texts hold is not checked here: see `machine`.
    fn check(&self) -> Result<(), BodyError> {
        self.lifetime_s.map_or(Ok(()), check_lifetime)?;
        let by_code = [&self.license_key, &self.product, &self.code];
        match &self.request {
            Some(_) if by_code.iter().all(|field| field.is_none()) && self.name.is_none() => Ok(()),
            None if by_code.iter().all(|field| field.is_some()) => {
                check_text("product", self.product.as_deref().unwrap_or_default())?;
                self.name
                    .as_deref()
                    .map_or(Ok(()), |name| check_text("name", name))
            }
            _ => Err(BodyError::field(
                "request",
                "send either request alone, or license_key, product and code together",
            )),
        }
    }
}

/// What a machine without a network asks for, by a file or by a code.
#[derive(Clone, Debug)]
pub struct MachineRequest {
    /// What the buyer typed.
    pub license_key: LicenseKey,
    /// Code of the product that wants to run.
    pub product: String,
    /// Base64url of the SHA-256 of the machine's fingerprint.
    pub fingerprint_hash: String,
    /// What people call the machine.
    pub name: Option<String>,
    /// The machine's own key, where it sent one.
    pub machine_key: Option<VerifyingKey>,
    /// Tells this request from the machine's others, where it is a file.
    pub nonce: Option<String>,
}

/// Why a body asks for nothing that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineRequestError {
    /// The license key has a typo.
    LicenseKey(LicenseKeyError),
    /// A field holds something else than it should.
    Body(BodyError),
}

impl fmt::Display for MachineRequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LicenseKey(error) => error.fmt(f),
            Self::Body(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MachineRequestError {}

impl OfflineActivateRequest {
    /// Reads what the machine asks for.
    ///
    /// # Errors
    /// [`MachineRequestError`] that says what is wrong.
    pub fn machine(&self, now: Timestamp) -> Result<MachineRequest, MachineRequestError> {
        if let Some(text) = &self.request {
            return Ok(ActivationRequest::read(text, now)?.into());
        }
        let code: MachineCode = text(self.code.as_deref()).parse().map_err(
            |error: crate::license_file::MachineCodeError| {
                MachineRequestError::Body(BodyError::field("code", &error.to_string()))
            },
        )?;
        let license_key = text(self.license_key.as_deref()).parse();
        Ok(MachineRequest {
            license_key: license_key.map_err(MachineRequestError::LicenseKey)?,
            product: text(self.product.as_deref()).to_owned(),
            fingerprint_hash: code.fingerprint_hash(),
            name: self.name.clone(),
            machine_key: None,
            nonce: None,
        })
    }
}

fn text(field: Option<&str>) -> &str {
    field.unwrap_or_default()
}

impl From<ActivationRequest> for MachineRequest {
    fn from(request: ActivationRequest) -> Self {
        Self {
            license_key: request.license_key,
            product: request.product,
            fingerprint_hash: request.fingerprint_hash,
            name: request.name,
            machine_key: Some(request.machine_key),
            nonce: Some(request.nonce),
        }
    }
}

impl From<RequestError> for MachineRequestError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::LicenseKey(error) => Self::LicenseKey(error),
            error => Self::Body(BodyError::field("request", &error.to_string())),
        }
    }
}

/// Body of `POST /api/v1/licenses/deactivate-offline`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReceiptRequest {
    /// The text of the receipt that the machine made.
    pub receipt: String,
}

impl Body for ReceiptRequest {
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}
