//! Request and response bodies of the license endpoints, at the edge and between edge and origin.

mod offline;
mod place;
mod usage;

pub use offline::{
    CheckoutRequest, MachineRequest, MachineRequestError, OfflineActivateRequest, ReceiptRequest,
    check_lifetime,
};
pub use usage::{ConsumeAnswer, ConsumeRequest, MAX_USES, UsageRequest, Use};

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    components::Components,
    decision::{
        Code, FeatureSetReference, LeaseSummary, LicenseSummary, MAX_TEXT_BYTES, TokenSummary,
    },
    id::{ActivationId, LicenseId, OrgTag},
    time::Timestamp,
};

/// Largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Most features that one request may require.
pub const MAX_REQUIRED_FEATURES: usize = 64;
/// Most bytes of a lease's holder.
pub const MAX_HOLDER_BYTES: usize = 128;
/// Most component fingerprints that a device may have.
pub const MAX_COMPONENTS: usize = 8;
/// Most bytes of an activation's metadata, as JSON.
pub const MAX_METADATA_BYTES: usize = 4 * 1024;

/// Body of `POST /api/v1/licenses/validate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ValidateRequest {
    /// The license token that activation or refresh gave.
    pub token: String,
    /// Code of the product that wants to run.
    pub product: String,
    /// Tag of the vendor's organization, the first group of its license keys. Products of other
    /// vendors may have the same code: without it, their licenses count too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgTag>,
    /// The device's fingerprint, if the license is bound to one.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Its component fingerprints, if the license is bound to some of them.
    #[serde(default)]
    pub fingerprints: Option<Components>,
    /// Features without which the answer is no.
    #[serde(default)]
    pub require: Vec<String>,
    /// Oldest status the caller will accept, in seconds; 0 asks the origin.
    #[serde(default)]
    pub max_staleness_s: Option<u32>,
    /// When the version of the product that wants to run was released. A license that has ended
    /// may go on for versions from before its end.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub released_at: Option<Timestamp>,
    /// The lease that `acquire` or `heartbeat` gave, where the license has floating seats.
    #[serde(default)]
    pub lease: Option<String>,
}

/// Body of `POST /api/v1/licenses/activate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ActivateRequest {
    /// What the buyer typed.
    pub license_key: String,
    /// Code of the product that wants to run.
    pub product: String,
    /// A text that is the same for this device each time and differs from other devices'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Several such texts, some of which may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprints: Option<Components>,
    /// What people call the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Anything the vendor wants to keep with the activation.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<std::collections::BTreeMap<String, serde_json::Value>>))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Body of the origin's `refresh` and `deactivate`, which the edge makes from the bearer token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The license token.
    pub token: String,
}

/// Body of `POST /api/v1/licenses/acquire`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AcquireRequest {
    /// Who takes the seat: a user where seats are counted by user, else whatever tells this
    /// holder from others, such as a user, a host and a process. Its vendor sees it.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 128))]
    pub holder: String,
    /// The machine's fingerprint where the license token is bound to none; else that of the
    /// activation is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// For how many seconds the seat is borrowed, for work offline. Absent: it is not.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borrow_s: Option<u32>,
}

/// Body of the origin's `acquire`, which the edge makes from the bearer token and what was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcquireCall {
    /// The license token.
    pub token: String,
    /// What was asked.
    pub seat: AcquireRequest,
}

/// Answer to acquire, heartbeat and release, also when it is a no.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeaseAnswer {
    /// Whether it was done. After `release`, that the seat is given back.
    pub valid: bool,
    /// Why, in one word.
    pub code: Code,
    /// Why, in a sentence.
    pub detail: String,
    /// The lease to keep, to send to `validate`, and to show to `heartbeat` and `release`. Absent
    /// from a yes where the license has no floating seats, and needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<String>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseSummary>,
    /// How the license's seats stand, after `acquire`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<SeatSummary>,
    /// The license.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "lic_01jd3t6q8zf5k9v7m2x4c6b8n0"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_id: Option<LicenseId>,
    /// The activation.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "act_01jd3t6q8zf5k9v7m2x4c6b8n0"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_id: Option<ActivationId>,
    /// Names the request in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// How many seats there are, and how many of them are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeatSummary {
    /// All of them.
    pub max: u32,
    /// Those in use.
    pub taken: u32,
}

impl LeaseAnswer {
    /// An answer that is its code alone.
    #[must_use]
    pub fn plain(code: Code) -> Self {
        Self {
            valid: code == Code::Valid,
            code,
            detail: code.detail().into(),
            lease_token: None,
            lease: None,
            seats: None,
            license_id: None,
            activation_id: None,
            request_id: None,
        }
    }
}

/// An answer that says for which request it is.
pub trait Answer: Serialize {
    /// Its code.
    fn code(&self) -> Code;
    /// Names the request in logs.
    fn set_request_id(&mut self, id: String);
}

impl Answer for ActivationAnswer {
    fn code(&self) -> Code {
        self.code
    }

    fn set_request_id(&mut self, id: String) {
        self.request_id = Some(id);
    }
}

impl Answer for LeaseAnswer {
    fn code(&self) -> Code {
        self.code
    }

    fn set_request_id(&mut self, id: String) {
        self.request_id = Some(id);
    }
}

/// Answer to activate, refresh and deactivate, also when it is a no.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActivationAnswer {
    /// Whether it was done. After `deactivate`, that the activation is given back.
    pub valid: bool,
    /// Why, in one word.
    pub code: Code,
    /// Why, in a sentence.
    pub detail: String,
    /// The license has ended, and its terms let use go on; absent where that is not so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
    /// The license token to keep and to send to `validate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_token: Option<String>,
    /// The license file, in place of a token, for a machine without a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_file: Option<String>,
    /// Its times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenSummary>,
    /// The license.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseSummary>,
    /// The activation.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "act_01jd3t6q8zf5k9v7m2x4c6b8n0"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_id: Option<ActivationId>,
    /// Feature name to value.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<std::collections::BTreeMap<String, serde_json::Value>>))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<serde_json::Map<String, serde_json::Value>>,
    /// Which features these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_set: Option<FeatureSetReference>,
    /// Names the request in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl ActivationAnswer {
    /// An answer that is its code alone.
    #[must_use]
    pub fn plain(code: Code) -> Self {
        Self {
            valid: code == Code::Valid,
            code,
            detail: code.detail().into(),
            expired: false,
            license_token: None,
            license_file: None,
            token: None,
            license: None,
            activation_id: None,
            features: None,
            feature_set: None,
            request_id: None,
        }
    }
}

/// A body that can't be taken: what is wrong, and at which field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError(String);

impl BodyError {
    /// An error about a field.
    #[must_use]
    pub fn field(name: &str, what: &str) -> Self {
        Self(format!("{name}: {what}"))
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BodyError {}

/// A request body with limits of its own.
pub trait Body: DeserializeOwned {
    /// Checks lengths.
    ///
    /// # Errors
    /// [`BodyError`] that names the field.
    fn check(&self) -> Result<(), BodyError>;
}

/// Reads a JSON body and checks its limits.
///
/// # Errors
/// [`BodyError`] that names the field which is unknown, missing, twice there, mistyped or too long.
pub fn parse<T: Body>(json: &[u8]) -> Result<T, BodyError> {
    // serde would take an array for a struct, its fields by position.
    if json.trim_ascii_start().starts_with(b"[") {
        return Err(BodyError("invalid type: array, expected an object".into()));
    }
    let body: T = serde_json::from_slice(json).map_err(|error| what_is_wrong(&error, json))?;
    body.check()?;
    Ok(body)
}

/// An error with the field it is about.
fn what_is_wrong(error: &serde_json::Error, json: &[u8]) -> BodyError {
    let path = place::of(error, json);
    if path.is_empty() {
        BodyError(error.to_string())
    } else {
        BodyError(format!("{path}: {error}"))
    }
}

pub(crate) fn check_text(name: &str, text: &str) -> Result<(), BodyError> {
    if text.is_empty() {
        Err(BodyError::field(name, "must not be empty"))
    } else if text.len() > MAX_TEXT_BYTES {
        Err(BodyError::field(
            name,
            &format!("must have at most {MAX_TEXT_BYTES} bytes"),
        ))
    } else if text.contains('\0') {
        Err(BodyError::field(
            name,
            "must not contain the character U+0000",
        ))
    } else {
        Ok(())
    }
}

impl Body for ValidateRequest {
    // The token's own form is not checked here: `MALFORMED` is a verdict.
    fn check(&self) -> Result<(), BodyError> {
        check_text("product", &self.product)?;
        if let Some(fingerprint) = &self.fingerprint {
            check_text("fingerprint", fingerprint)?;
        }
        self.fingerprints
            .as_ref()
            .map_or(Ok(()), Components::check)?;
        if self.require.len() > MAX_REQUIRED_FEATURES {
            return Err(BodyError::field(
                "require",
                &format!("must name at most {MAX_REQUIRED_FEATURES} features"),
            ));
        }
        self.require
            .iter()
            .try_for_each(|name| check_text("require", name))
    }
}

impl Body for ActivateRequest {
    // The key's own form is not checked here: it has a problem of its own, `LICENSE_KEY_MALFORMED`.
    fn check(&self) -> Result<(), BodyError> {
        check_text("product", &self.product)?;
        if let Some(fingerprint) = &self.fingerprint {
            check_text("fingerprint", fingerprint)?;
        }
        self.fingerprints
            .as_ref()
            .map_or(Ok(()), Components::check)?;
        if let Some(name) = &self.name {
            check_text("name", name)?;
        }
        if let Some(metadata) = &self.metadata {
            let json = serde_json::to_string(metadata).unwrap_or_default();
            if json.len() > MAX_METADATA_BYTES {
                return Err(BodyError::field(
                    "metadata",
                    &format!("must have at most {MAX_METADATA_BYTES} bytes as JSON"),
                ));
            }
            if json.contains("\\u0000") {
                return Err(BodyError::field(
                    "metadata",
                    "must not contain the character U+0000",
                ));
            }
        }
        Ok(())
    }
}

impl Body for AcquireRequest {
    fn check(&self) -> Result<(), BodyError> {
        check_text("holder", &self.holder)?;
        if self.holder.len() > MAX_HOLDER_BYTES {
            return Err(BodyError::field(
                "holder",
                &format!("must have at most {MAX_HOLDER_BYTES} bytes"),
            ));
        }
        if self.holder.chars().any(char::is_control) {
            return Err(BodyError::field(
                "holder",
                "must not contain control characters",
            ));
        }
        if let Some(fingerprint) = &self.fingerprint {
            check_text("fingerprint", fingerprint)?;
        }
        if self.borrow_s == Some(0) {
            return Err(BodyError::field("borrow_s", "must be at least 1"));
        }
        Ok(())
    }
}

impl Body for AcquireCall {
    fn check(&self) -> Result<(), BodyError> {
        self.seat.check()
    }
}

impl Body for TokenRequest {
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: Body + fmt::Debug>(json: &str) -> String {
        parse::<T>(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_field() {
        let cases = [
            (r#"{"token":"t"}"#, "missing field `product`"),
            (
                r#"{"token":"t","product":"p","colour":1}"#,
                "colour: unknown field",
            ),
            (r#"{"token":"t","product":7}"#, "product: invalid type"),
            (
                r#"{"token":"t","product":"p","require":["a",3]}"#,
                "require[1]: invalid type",
            ),
            (
                r#"{"token":"t","product":"p","max_staleness_s":-1}"#,
                "max_staleness_s: invalid value",
            ),
            (
                r#"{"token":"t","token":"u","product":"p"}"#,
                "duplicate field `token`",
            ),
            (
                r#"{"token":"t","product":""}"#,
                "product: must not be empty",
            ),
            (r#"{"token":"t","product":"p"} x"#, "trailing characters"),
            ("{", "EOF"),
            (r#" ["t","p",null,[],null]"#, "expected an object"),
            ("[]", "invalid"),
            ("", "EOF"),
        ];
        for (json, expected) in cases {
            let message = error::<ValidateRequest>(json);
            assert!(message.contains(expected), "{json}: {message}");
        }
    }

    #[test]
    fn lengths_are_limited() {
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        let body = format!(r#"{{"token":"t","product":"{long}"}}"#);
        assert!(error::<ValidateRequest>(&body).starts_with("product: must have at most"));
        let body = format!(
            r#"{{"license_key":"k","product":"p","fingerprint":"f","metadata":{{"a":"{}"}}}}"#,
            "x".repeat(MAX_METADATA_BYTES)
        );
        assert!(error::<ActivateRequest>(&body).starts_with("metadata: must have at most"));
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        let deep = format!("{}{}", r#"{"metadata":{"a":"#, "[".repeat(10_000));
        assert!(error::<ActivateRequest>(&deep).contains("recursion limit"));
    }
}
