//! What is sent and answered.

use licet_shared::{
    api::{Body, BodyError, MAX_METADATA_BYTES},
    documents::Tier,
    id::{FeatureSetId, LicenseId, PolicyId},
    time::Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::fields,
    db::{license_records::LicenseRecord, licenses::LicenseStatus},
    rejection::Rejection,
};

/// Most licenses of one batch.
const BATCH: u16 = 1000;

/// A license, without its key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = License)]
pub(super) struct LicenseView {
    pub(super) id: LicenseId,
    status: LicenseStatus,
    status_since: Timestamp,
    policy_id: PolicyId,
    /// The policy's name.
    policy: String,
    tier: Tier,
    feature_set_id: FeatureSetId,
    /// Codes of the products that it covers.
    products: Vec<String>,
    /// Devices that it may be active on.
    max_activations: i32,
    /// Devices that it is active on.
    live_activations: i64,
    /// Null where it does not end.
    expires_at: Option<Timestamp>,
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    metadata: Map<String, Value>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<LicenseRecord> for LicenseView {
    fn from(license: LicenseRecord) -> Self {
        Self {
            id: license.id,
            status: license.status,
            status_since: license.status_since,
            policy_id: license.policy,
            policy: license.policy_name,
            tier: license.tier,
            feature_set_id: license.feature_set,
            products: license.products,
            max_activations: license.max_activations,
            live_activations: license.live_activations,
            expires_at: license.expires_at,
            metadata: license.metadata,
            created_at: license.created_at,
            updated_at: license.updated_at,
        }
    }
}

/// A license that was just issued.
#[derive(Serialize, ToSchema)]
pub(super) struct IssuedLicense {
    #[serde(flatten)]
    #[schema(inline)]
    pub(super) license: LicenseView,
    /// The key, for the buyer; null when the request was sent again.
    pub(super) key: Option<String>,
}

/// Licenses that were just issued.
#[derive(Serialize, ToSchema)]
pub(super) struct IssuedBatch {
    pub(super) data: Vec<IssuedLicense>,
}

/// Terms as the audit trail keeps them.
#[derive(Serialize)]
pub(super) struct TermsView {
    max_activations: i32,
    expires_at: Option<Timestamp>,
}

impl From<&LicenseRecord> for TermsView {
    fn from(license: &LicenseRecord) -> Self {
        Self {
            max_activations: license.max_activations,
            expires_at: license.expires_at,
        }
    }
}

/// A license to be issued.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLicense {
    pub(super) policy_id: PolicyId,
    /// The policy's, if absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub(super) max_activations: Option<i32>,
    /// By the policy's duration, if absent.
    #[serde(default)]
    pub(super) expires_at: Option<Timestamp>,
    /// Anything you want to keep with it, at most 4096 bytes as JSON.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub(super) metadata: Map<String, Value>,
}

impl Body for NewLicense {
    fn check(&self) -> Result<(), BodyError> {
        check_terms(self.max_activations, Some(&self.metadata))
    }
}

/// Licenses to be issued on the same terms.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBatch {
    /// How many.
    #[schema(minimum = 1, maximum = 1000)]
    pub(super) count: u16,
    pub(super) policy_id: PolicyId,
    /// The policy's, if absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub(super) max_activations: Option<i32>,
    /// By the policy's duration, if absent.
    #[serde(default)]
    pub(super) expires_at: Option<Timestamp>,
    /// Anything you want to keep with each, at most 4096 bytes as JSON.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub(super) metadata: Map<String, Value>,
}

impl Body for NewBatch {
    fn check(&self) -> Result<(), BodyError> {
        if !(1..=BATCH).contains(&self.count) {
            return Err(BodyError::field("count", "must be 1 to 1000"));
        }
        check_terms(self.max_activations, Some(&self.metadata))
    }
}

/// What is to be different. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LicenseChange {
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub(super) max_activations: Option<i32>,
    /// Null for no end.
    #[serde(default)]
    #[schema(value_type = Option<Timestamp>)]
    pub(super) expires_at: End,
    /// In place of all that was there, at most 4096 bytes as JSON.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    pub(super) metadata: Option<Map<String, Value>>,
}

impl Body for LicenseChange {
    fn check(&self) -> Result<(), BodyError> {
        check_terms(self.max_activations, self.metadata.as_ref())
    }
}

/// What becomes of a license's end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum End {
    #[default]
    Stays,
    /// None for no end.
    New(Option<Timestamp>),
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::New)
    }
}

/// A later end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Renewal {
    pub(super) expires_at: Timestamp,
}

impl Body for Renewal {
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}

fn check_terms(
    max_activations: Option<i32>,
    metadata: Option<&Map<String, Value>>,
) -> Result<(), BodyError> {
    if max_activations.is_some_and(|max| !(1..=1_000_000).contains(&max)) {
        return Err(BodyError::field("max_activations", "must be 1 to 1000000"));
    }
    metadata.map_or(Ok(()), |metadata| {
        fields::check_object("metadata", metadata, MAX_METADATA_BYTES)
    })
}

pub(super) fn in_future(end: Timestamp, now: Timestamp) -> Result<(), Rejection> {
    if end <= now {
        Err(Rejection::field("expires_at", "lies in the past"))
    } else {
        Ok(())
    }
}
