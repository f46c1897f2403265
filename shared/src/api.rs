//! Request and response bodies of the license endpoints, at the edge and between edge and origin.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    decision::{Code, FeatureSetReference, LicenseSummary, MAX_TEXT_BYTES, TokenSummary},
    documents::{Quota, QuotaState},
    id::ActivationId,
};

/// Largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Most features that one request may require.
pub const MAX_REQUIRED_FEATURES: usize = 64;
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
    /// The device's fingerprint, if the license is bound to one.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Features without which the answer is no.
    #[serde(default)]
    pub require: Vec<String>,
    /// Oldest status the caller will accept, in seconds; 0 asks the origin.
    #[serde(default)]
    pub max_staleness_s: Option<u32>,
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
    pub fingerprint: String,
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

/// Most uses that one request may record.
pub const MAX_USES: usize = 100;
/// Most characters of a use's id.
const MAX_USE_ID_CHARS: usize = 128;

/// Body of `POST /api/v1/licenses/consume`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConsumeRequest {
    /// What was used, or is about to be: all of it is recorded, or nothing.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 100))]
    pub uses: Vec<Use>,
}

/// One use of a metered feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// The feature's name.
    pub feature: String,
    /// How much.
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)
    )]
    pub amount: u64,
    /// Names this use among the license's: within a day it counts once, in whichever requests it
    /// is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Body of the origin's `usage`, which the edge makes from the bearer token and the client's body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRequest {
    /// The license token.
    pub token: String,
    /// As in [`ConsumeRequest`].
    pub uses: Vec<Use>,
}

/// Answer to consume, also when it is a no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConsumeAnswer {
    /// Whether all of it was recorded; nothing was otherwise.
    pub valid: bool,
    /// Why, in one word.
    pub code: Code,
    /// Why, in a sentence.
    pub detail: String,
    /// The feature that a no is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// How each of the features that were named stands now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quotas: BTreeMap<String, QuotaState>,
    /// Ids of uses that were recorded by an earlier request, and so not again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeated: Vec<String>,
    /// Names the request in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl ConsumeAnswer {
    /// An answer that is its code alone.
    #[must_use]
    pub fn plain(code: Code) -> Self {
        Self {
            valid: code == Code::Valid,
            code,
            detail: code.detail().into(),
            feature: None,
            quotas: BTreeMap::new(),
            repeated: Vec::new(),
            request_id: None,
        }
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
    /// The license token to keep and to send to `validate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_token: Option<String>,
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
            license_token: None,
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
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let body: T = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        // "?" stands for a field whose name was not read to its end.
        if matches!(path.as_str(), "." | "?") {
            BodyError(cause.to_string())
        } else {
            BodyError(format!("{path}: {cause}"))
        }
    })?;
    deserializer
        .end()
        .map_err(|error| BodyError(error.to_string()))?;
    body.check()?;
    Ok(body)
}

fn check_text(name: &str, text: &str) -> Result<(), BodyError> {
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
        check_text("fingerprint", &self.fingerprint)?;
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

fn check_uses(uses: &[Use]) -> Result<(), BodyError> {
    if !(1..=MAX_USES).contains(&uses.len()) {
        let what = format!("must be 1 to {MAX_USES}");
        return Err(BodyError::field("uses", &what));
    }
    for (position, one) in uses.iter().enumerate() {
        let field = |name: &str| format!("uses[{position}].{name}");
        check_text(&field("feature"), &one.feature)?;
        if !(1..=Quota::MAX).contains(&one.amount) {
            let what = format!("must be 1 to {}", Quota::MAX);
            return Err(BodyError::field(&field("amount"), &what));
        }
        let sound = |id: &String| {
            (1..=MAX_USE_ID_CHARS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
        };
        if !one.id.as_ref().is_none_or(sound) {
            let what = format!("must have 1 to {MAX_USE_ID_CHARS} visible ASCII characters");
            return Err(BodyError::field(&field("id"), &what));
        }
    }
    Ok(())
}

impl Body for ConsumeRequest {
    fn check(&self) -> Result<(), BodyError> {
        check_uses(&self.uses)
    }
}

impl Body for UsageRequest {
    fn check(&self) -> Result<(), BodyError> {
        check_uses(&self.uses)
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
