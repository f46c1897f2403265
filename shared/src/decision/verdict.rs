//! The answer.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Code, LicenseToken, OriginState, State, grace_remaining_s};
use crate::{
    documents::{QuotaState, Tier},
    id::{ActivationId, FeatureSetId, LicenseId},
    time::Timestamp,
};

/// An answer to "may it run?". Parts that are not known for the code at hand are absent.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verdict<'a> {
    /// Whether it may: true for [`Code::Valid`] alone.
    pub valid: bool,
    /// Why, in one word.
    pub code: Code,
    /// Why, in a sentence.
    pub detail: &'static str,
    /// The license; known once the signature has been checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseSummary>,
    /// The activation; known once the signature has been checked.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "act_01jd3t6q8zf5k9v7m2x4c6b8n0"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation_id: Option<ActivationId>,
    /// Feature name to value, the license's own in place of its set's; given with `VALID` alone.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<std::collections::BTreeMap<String, serde_json::Value>>))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Cow<'a, RawValue>>,
    /// The set that they are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_set: Option<FeatureSetReference>,
    /// How the metered features stand; given with `VALID` alone, where the license has any and
    /// what was used is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quotas: Option<BTreeMap<String, QuotaState>>,
    /// The token's times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenSummary>,
    /// How fresh the answer is; known once the signature has been checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// Names the request in logs. Set by the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What is said of a license in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LicenseSummary {
    /// The license.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "lic_01jd3t6q8zf5k9v7m2x4c6b8n0"))]
    pub id: LicenseId,
    /// What was bought.
    pub tier: Tier,
    /// Codes of the products it covers.
    pub products: Vec<String>,
    /// Its end; null where it does not end.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub expires_at: Option<Timestamp>,
    /// Counted up with each change of these and of its features; absent where the token does not
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// Which features an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FeatureSetReference {
    /// The set.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "fs_01jd3t6q8zf5k9v7m2x4c6b8n0"))]
    pub id: FeatureSetId,
    /// Its revision.
    pub revision: u32,
}

/// The times of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenSummary {
    /// It is refused from this second on.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
    /// The time from which a client does well to refresh it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub refresh_after: Timestamp,
}

/// Where the newest document behind an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// This isolate's memory.
    Memory,
    /// The data centre's cache.
    Cache,
    /// The key-value store of documents last known to be good.
    Kv,
    /// The origin, for this very request.
    Origin,
}

/// How fresh an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Freshness {
    /// The time at which the origin vouched for the status used.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub as_of: Timestamp,
    /// Seconds since then.
    pub age_s: i64,
    /// Where the status came from.
    pub source: Source,
    /// Why the answer is less fresh than it should be; null when it is not.
    pub degraded: Option<Degraded>,
    /// Seconds for which such an answer can still be given; null when not degraded.
    pub grace_remaining_s: Option<i64>,
}

/// Why an answer is less fresh than it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Degraded {
    /// The origin was asked and did not answer.
    OriginUnreachable,
    /// The origin answered with something that can't be used.
    OriginUnusable,
}

impl Degraded {
    const fn of(origin: OriginState) -> Option<Self> {
        match origin {
            OriginState::Answering => None,
            OriginState::Unusable => Some(Self::OriginUnusable),
            OriginState::Unreachable => Some(Self::OriginUnreachable),
        }
    }
}

impl<'a> Verdict<'a> {
    /// A no about which nothing else is known.
    #[must_use]
    pub const fn refused(code: Code) -> Self {
        Self {
            valid: false,
            code,
            detail: code.detail(),
            license: None,
            activation_id: None,
            features: None,
            feature_set: None,
            quotas: None,
            token: None,
            freshness: None,
            request_id: None,
        }
    }

    pub(super) fn about(
        token: &LicenseToken,
        code: Code,
        state: &State<'a>,
        as_of: Timestamp,
        now: Timestamp,
    ) -> Self {
        let claims = token.claims();
        let valid = code == Code::Valid;
        let license = token.effective(state.license);
        let features = state.features.filter(|_| valid);
        let quotas = features.zip(state.license).map(|(set, document)| {
            set.quotas(license.own_features)
                .into_iter()
                .map(|(name, quota)| (name.to_owned(), document.quota(name, quota, now)))
                .collect::<BTreeMap<_, _>>()
        });
        Self {
            valid,
            license: Some(LicenseSummary {
                id: claims.sub,
                tier: license.tier,
                products: license.products.to_vec(),
                expires_at: license.expires_at,
                revision: license.revision,
            }),
            activation_id: Some(claims.act),
            features: features.and_then(|set| set.json(license.own_features)),
            feature_set: features.map(|set| FeatureSetReference {
                id: set.id(),
                revision: set.revision(),
            }),
            quotas: quotas.filter(|quotas| !quotas.is_empty()),
            token: Some(TokenSummary {
                expires_at: token.times().expires_at,
                refresh_after: token.refresh_after(),
            }),
            freshness: Some(Freshness {
                as_of,
                age_s: now.since(as_of).max(0),
                source: state.source,
                degraded: Degraded::of(state.origin),
                grace_remaining_s: grace_remaining_s(token, state, now),
            }),
            ..Self::refused(code)
        }
    }
}
