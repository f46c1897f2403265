//! The answer.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Code, Context, LicenseToken, OriginState, State, degraded_for_s, goes_on_expired,
    grace_remaining_s,
};
use crate::{
    documents::{QuotaState, Tier},
    id::{ActivationId, FeatureSetId, LeaseId, LicenseId},
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
    /// The license has ended, and its terms let use go on; absent where that is not so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
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
    /// The lease of a floating seat, where the license has such and one of this activation's was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseSummary>,
    /// How fresh the answer is; known once the signature has been checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// For how many more seconds the license could be used if the origin could not be reached from
    /// now on: 0 where it may not be used, whatever the token's grace. Known once the signature has
    /// been checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_remaining_s: Option<i64>,
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

/// What is said of a lease in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeaseSummary {
    /// The lease.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "lea_01jd3t6q8zf5k9v7m2x4c6b8n0"))]
    pub id: LeaseId,
    /// It is refused from this second on.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
    /// The time from which a client does well to send a heartbeat.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub heartbeat_after: Timestamp,
    /// Whether it was borrowed for work offline.
    pub borrowed: bool,
}

impl LeaseSummary {
    /// Of a lease whose token was made at `made_at`: a heartbeat is due after half of its life.
    #[must_use]
    pub fn of(id: LeaseId, made_at: Timestamp, expires_at: Timestamp, borrowed: bool) -> Self {
        Self {
            id,
            expires_at,
            heartbeat_after: made_at.plus(expires_at.since(made_at) / 2),
            borrowed,
        }
    }
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
    /// A license file.
    File,
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
            expired: false,
            license: None,
            activation_id: None,
            features: None,
            feature_set: None,
            quotas: None,
            token: None,
            lease: None,
            freshness: None,
            grace_remaining_s: None,
            request_id: None,
        }
    }

    /// The same, holding all that it says.
    #[must_use]
    pub fn into_owned(self) -> Verdict<'static> {
        Verdict {
            valid: self.valid,
            code: self.code,
            detail: self.detail,
            license: self.license,
            activation_id: self.activation_id,
            features: self.features.map(|json| Cow::Owned(json.into_owned())),
            feature_set: self.feature_set,
            quotas: self.quotas,
            token: self.token,
            lease: self.lease,
            freshness: self.freshness,
            expired: self.expired,
            grace_remaining_s: self.grace_remaining_s,
            request_id: self.request_id,
        }
    }

    pub(super) fn about(
        token: &LicenseToken,
        ruling: Ruling,
        state: &State<'a>,
        now: Timestamp,
    ) -> Self {
        let claims = token.claims();
        let valid = ruling.code == Code::Valid;
        let license = token.effective(state.license);
        let features = state.features.filter(|_| valid);
        let quotas = features.zip(state.license).map(|(set, document)| {
            let mut quotas = BTreeMap::new();
            let of_set = set.quotas(license.own_features).into_iter();
            quotas.extend(
                of_set.map(|(name, quota)| (name.to_owned(), document.quota(name, quota, now))),
            );
            quotas
        });
        Self {
            valid,
            expired: ruling.expired,
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
                refresh_after: license.refresh_after(token.times()),
            }),
            freshness: Some(ruling.freshness),
            grace_remaining_s: Some(ruling.grace_remaining_s),
            ..Self::refused(ruling.code)
        }
    }
}

/// What of a verdict on a token whose signature holds can be another with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// As [`Verdict::code`].
    pub code: Code,
    /// As [`Verdict::expired`].
    pub expired: bool,
    /// As [`Verdict::freshness`].
    pub freshness: Freshness,
    /// As [`Verdict::grace_remaining_s`].
    pub grace_remaining_s: i64,
}

impl Ruling {
    /// `context` is what is asked, none where it is about the license by itself.
    pub(super) fn of(
        token: &LicenseToken,
        context: Option<&Context<'_>>,
        code: Code,
        state: &State<'_>,
        as_of: Timestamp,
        now: Timestamp,
    ) -> Self {
        // What stands before it in the order of codes, no refresh mends: no grace counts against it.
        let grace_remaining_s = if code < Code::TokenExpired {
            0
        } else {
            grace_remaining_s(token, context, state, now)
        };
        Self {
            code,
            expired: goes_on_expired(&token.effective(state.license), context, now),
            freshness: Freshness {
                as_of,
                age_s: now.since(as_of).max(0),
                source: state.source,
                degraded: Degraded::of(state.origin),
                grace_remaining_s: degraded_for_s(token, context, state, now),
            },
            grace_remaining_s,
        }
    }
}
