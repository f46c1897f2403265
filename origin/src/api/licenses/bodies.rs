//! What is sent and answered.

use licet_shared::{
    api::{Body, BodyError, MAX_METADATA_BYTES},
    documents::{FeatureOverrides, MAX_OVERRIDES_BYTES, Quota, Tier},
    id::{FeatureSetId, LicenseId, PolicyId},
    time::Timestamp,
};
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::fields,
    db::{license_records::LicenseRecord, licenses::LicenseStatus},
    licensing::terms::{self, RenewalStart, Terms},
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
    /// Feature values of its own: each in place of the feature set's, null takes the feature away.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    features: FeatureOverrides,
    /// Devices that it may be active on.
    max_activations: i32,
    /// Whether that number was chosen for this license. It is the policy's otherwise, and follows
    /// another policy at a transfer.
    own_max_activations: bool,
    /// Devices that it is active on.
    live_activations: i64,
    /// How many of these are beyond `max_activations`, by its terms or because that was lowered.
    activations_over_limit: i64,
    /// Null where it does not end, or its time has not begun.
    expires_at: Option<Timestamp>,
    /// How long it will count from its start, which is to come; null otherwise.
    pending_duration_s: Option<i64>,
    /// Terms of its own, each over its policy's.
    terms: Terms,
    /// The terms that count.
    effective_terms: Terms,
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    metadata: Map<String, Value>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<LicenseRecord> for LicenseView {
    fn from(license: LicenseRecord) -> Self {
        let effective_terms = license.effective_terms();
        let over = license.live_activations - i64::from(license.max_activations);
        Self {
            id: license.id,
            status: license.status,
            status_since: license.status_since,
            policy_id: license.policy,
            policy: license.policy_name,
            tier: license.tier,
            feature_set_id: license.feature_set,
            products: license.products,
            features: license.features,
            max_activations: license.max_activations,
            own_max_activations: license.own_max_activations,
            live_activations: license.live_activations,
            activations_over_limit: over.max(0),
            expires_at: license.expires_at,
            pending_duration_s: license.pending_duration_s,
            terms: license.terms,
            effective_terms,
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
pub(super) struct TermsView<'a> {
    policy_id: PolicyId,
    tier: Tier,
    feature_set_id: FeatureSetId,
    products: &'a [String],
    features: BTreeMap<&'a str, Value>,
    max_activations: i32,
    own_max_activations: bool,
    expires_at: Option<Timestamp>,
    pending_duration_s: Option<i64>,
    terms: &'a Terms,
}

impl<'a> From<&'a LicenseRecord> for TermsView<'a> {
    fn from(license: &'a LicenseRecord) -> Self {
        let features = license.features.values().iter();
        Self {
            policy_id: license.policy,
            tier: license.tier,
            feature_set_id: license.feature_set,
            products: &license.products,
            features: features
                .map(|(name, value)| (name.as_str(), in_trail(value)))
                .collect(),
            max_activations: license.max_activations,
            own_max_activations: license.own_max_activations,
            expires_at: license.expires_at,
            pending_duration_s: license.pending_duration_s,
            terms: &license.terms,
        }
    }
}

/// A feature value as the trail may keep it: texts may name people, whom it can't forget.
fn in_trail(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(_) => "(a text)".into(),
        Value::Object(_) if Quota::of(value).is_some() => value.clone(),
        Value::Array(_) | Value::Object(_) => "(JSON)".into(),
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
    /// Feature values of its own, at most 64 and 2048 bytes as JSON: each stands in place of the
    /// feature set's, and null takes the feature away.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub(super) features: FeatureOverrides,
    /// Terms of its own, each over its policy's.
    #[serde(default, deserialize_with = "fields::object")]
    pub(super) terms: Terms,
    /// Anything you want to keep with it, at most 4096 bytes as JSON.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub(super) metadata: Map<String, Value>,
}

impl Body for NewLicense {
    fn check(&self) -> Result<(), BodyError> {
        check_terms(
            self.max_activations,
            Some(&self.features),
            Some(&self.terms),
            Some(&self.metadata),
        )
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
    /// Feature values of each, at most 64 and 2048 bytes as JSON: each stands in place of the
    /// feature set's, and null takes the feature away.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub(super) features: FeatureOverrides,
    /// Terms of each, over its policy's.
    #[serde(default, deserialize_with = "fields::object")]
    pub(super) terms: Terms,
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
        check_terms(
            self.max_activations,
            Some(&self.features),
            Some(&self.terms),
            Some(&self.metadata),
        )
    }
}

/// What is to be different. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LicenseChange {
    /// Null for the policy's.
    #[serde(default, deserialize_with = "fields::sent")]
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 1_000_000)]
    pub(super) max_activations: Option<Option<i32>>,
    /// Null for no end.
    #[serde(default, deserialize_with = "fields::sent")]
    #[schema(value_type = Option<Timestamp>)]
    pub(super) expires_at: Option<Option<Timestamp>>,
    /// All feature values of its own, not only those that differ; at most 64 and 2048 bytes as
    /// JSON. Each stands in place of the feature set's, and null takes the feature away.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    pub(super) features: Option<FeatureOverrides>,
    /// All terms of its own, not only those that differ. Each stands in place of its policy's.
    #[serde(default, deserialize_with = "terms::object")]
    pub(super) terms: Option<Terms>,
    /// In place of all that was there, at most 4096 bytes as JSON.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    pub(super) metadata: Option<Map<String, Value>>,
}

impl Body for LicenseChange {
    fn check(&self) -> Result<(), BodyError> {
        check_terms(
            self.max_activations.flatten(),
            self.features.as_ref(),
            self.terms.as_ref(),
            self.metadata.as_ref(),
        )
    }
}

/// A later end: `expires_at`, or a duration from the present end or from now.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Renewal {
    /// The new end itself.
    #[serde(default)]
    pub(super) expires_at: Option<Timestamp>,
    /// The policy's duration, if absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3_155_760_000_i64)]
    pub(super) duration_s: Option<i64>,
    /// What the duration counts from. As the license's terms say, if absent, and else the present
    /// end, or now if that has passed.
    #[serde(default)]
    pub(super) from: Option<RenewalStart>,
}

impl Body for Renewal {
    fn check(&self) -> Result<(), BodyError> {
        if self
            .duration_s
            .is_some_and(|duration| !(1..=3_155_760_000).contains(&duration))
        {
            let what = "must be 1 to 3155760000";
            return Err(BodyError::field("duration_s", what));
        }
        if self.expires_at.is_some() && (self.duration_s.is_some() || self.from.is_some()) {
            let what = "must not be there with duration_s or from: it says all";
            return Err(BodyError::field("expires_at", what));
        }
        Ok(())
    }
}

/// Where a license is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Transfer {
    /// The policy that it has, too: it then takes that policy's terms as they are now.
    pub(super) policy_id: PolicyId,
    /// What stays although it would follow the policy.
    #[serde(default)]
    pub(super) keep: Vec<Keep>,
    /// What becomes of its end. KEEP, if absent; RESTART where a trial is converted to another tier.
    #[serde(default)]
    pub(super) expiry: Option<Expiry>,
    /// Go on although there are more devices than it may then be active on. They stay, and no
    /// other comes in.
    #[serde(default)]
    pub(super) over_limit: bool,
}

impl Body for Transfer {
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}

/// What a license may keep at a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Keep {
    /// Its number of devices, which is then its own.
    MaxActivations,
}

/// What becomes of a license's end at a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Expiry {
    /// It stays.
    Keep,
    /// It is as if the license were issued now under the policy.
    Restart,
}

/// A license key, as it was typed or read out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Lookup {
    /// In any case, with or without hyphens and spaces.
    pub(super) license_key: String,
}

impl Body for Lookup {
    // The key's own form has a problem of its own, `LICENSE_KEY_MALFORMED`.
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}

fn check_terms(
    max_activations: Option<i32>,
    features: Option<&FeatureOverrides>,
    terms: Option<&Terms>,
    metadata: Option<&Map<String, Value>>,
) -> Result<(), BodyError> {
    if max_activations.is_some_and(|max| !(1..=1_000_000).contains(&max)) {
        return Err(BodyError::field("max_activations", "must be 1 to 1000000"));
    }
    if let Some(features) = features {
        let features = features.values().clone().into_iter().collect();
        fields::check_features("features", &features, MAX_OVERRIDES_BYTES)?;
    }
    terms.map_or(Ok(()), Terms::check)?;
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
