//! What a license has used of its metered features.

use licet_shared::{
    api::{Body, BodyError},
    documents::{Period, Quota, QuotaState},
    id::LicenseId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    api::{Call, Reply, fields, once::Creation},
    db::{
        Error, Tx, Work, audit,
        grants::{self, Grant},
        licenses, usage,
    },
    http::HandlerError,
    rejection::Rejection,
};

/// How a license's metered features stand.
#[derive(Serialize, ToSchema)]
pub(super) struct Usage {
    /// One for each metered feature, by name.
    data: Vec<MeteredFeature>,
}

/// One metered feature, in one period.
#[derive(Serialize, ToSchema)]
pub(super) struct MeteredFeature {
    feature: String,
    #[schema(inline)]
    period: Period,
    /// In UTC, like its end. 1970-01-01 for a quota that is never filled again.
    period_starts_at: Timestamp,
    /// What may be used in the period.
    limit: u64,
    /// What was.
    used: u64,
    /// What is left.
    remaining: u64,
    /// Null where there is no other period.
    #[schema(value_type = Option<String>, format = DateTime)]
    period_ends_at: Option<Timestamp>,
}

impl MeteredFeature {
    fn new(feature: &str, quota: Quota, used: u64, at: Timestamp) -> Self {
        let state = QuotaState::new(quota, used, at, at);
        Self {
            feature: feature.to_owned(),
            period: quota.period,
            period_starts_at: quota.period.start(at),
            limit: state.limit,
            used,
            remaining: state.remaining,
            period_ends_at: state.period_ends_at,
        }
    }
}

/// What is to be put right.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageCorrection {
    /// The feature's name.
    #[schema(pattern = r"^[^\s\x00-\x1F\x7F-\x9F]{1,128}$")]
    feature: String,
    /// What was used, all in all; what is recorded, if absent.
    #[serde(default)]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    used: Option<u64>,
    /// What is added to that; negative to give something back. The sum stays within 0 and
    /// 9007199254740991.
    #[serde(default)]
    #[schema(minimum = -9_007_199_254_740_991_i64, maximum = 9_007_199_254_740_991_i64)]
    by: Option<i64>,
    /// A time in the period that is meant; now, if absent.
    #[serde(default)]
    at: Option<Timestamp>,
}

impl Body for UsageCorrection {
    fn check(&self) -> Result<(), BodyError> {
        fields::check_name("feature", &self.feature)?;
        let too_much = "must be at most 9007199254740991";
        if self.used.is_some_and(|used| used > Quota::MAX) {
            return Err(BodyError::field("used", too_much));
        }
        if self.by.is_some_and(|by| by.unsigned_abs() > Quota::MAX) {
            return Err(BodyError::field("by", too_much));
        }
        Ok(())
    }
}

pub(super) async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: LicenseId = call.id()?;
    let at = call.parsed("at")?.unwrap_or(call.now);
    let found = call.tenant().run_pipelined("read_usage", |tx| {
        Box::pin(async move {
            let grant = grants::of_license(tx, id);
            let used = usage::at(tx, id, at);
            futures_util::future::try_join(grant, used).await
        })
    });
    let (grant, used) = found.await?;
    let grant = grant.ok_or_else(Rejection::not_found)?;
    let all = grant.own_features.over(&grant.features);
    let metered = all
        .into_iter()
        .filter_map(|(name, value)| Some((name, Quota::of(value)?)));
    let data = metered.map(|(name, quota)| {
        let row = used
            .iter()
            .find(|(feature, used)| feature == name && used.period == quota.period);
        MeteredFeature::new(name, quota, row.map_or(0, |(_, used)| used.used), at)
    });
    let usage = Usage {
        data: data.collect(),
    };
    Reply::ok(&usage)
}

struct Correction<'a> {
    call: &'a Call,
    id: LicenseId,
    asked: UsageCorrection,
}

impl Correction<'_> {
    fn at(&self) -> Timestamp {
        self.asked.at.unwrap_or(self.call.now)
    }

    fn quota(&self, grant: Option<Grant>) -> Result<Quota, Rejection> {
        let (name, grant) = (&self.asked.feature, grant.ok_or_else(Rejection::not_found)?);
        let value = grant.own_features.resolve(name, grant.features.get(name));
        value.and_then(Quota::of).ok_or_else(|| {
            Rejection::conflict(format!("{name:?} is no metered feature of this license."))
        })
    }

    fn corrected(&self, before: u64) -> u64 {
        let used = self.asked.used.unwrap_or(before);
        used.saturating_add_signed(self.asked.by.unwrap_or(0))
            .min(Quota::MAX)
    }
}

impl Creation for Correction<'_> {
    type Made = LicenseId;
    type Answer = MeteredFeature;
    const NAME: &'static str = "correct_usage";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (LicenseId, MeteredFeature)> {
        Box::pin(async move {
            let (id, at, feature) = (self.id, self.at(), self.asked.feature.as_str());
            // So that its features stay as they are.
            licenses::lock_status(tx, id).await?;
            let quota = self.quota(grants::of_license(tx, id).await?)?;
            let before = usage::lock(tx, id, feature, quota, at).await?;
            let after = self.corrected(before);
            if after != before {
                usage::set(tx, id, feature, quota, at, after).await?;
                let event = audit::Event::new(self.call.origin(), "license.usage_corrected")
                    .details(json!({
                        "feature": feature, "period": quota.period,
                        "period_starts_at": quota.period.start(at),
                    }))
                    .before(&json!({ "used": before }))
                    .after(&json!({ "used": after }));
                audit::write(tx, &id, &event).await?;
            }
            Ok((id, MeteredFeature::new(feature, quota, after, at)))
        })
    }

    fn again<'a>(&'a self, tx: &'a Tx<'_>, id: LicenseId) -> Work<'a, Option<MeteredFeature>> {
        Box::pin(async move {
            let (at, feature) = (self.at(), self.asked.feature.as_str());
            let quota = self.quota(grants::of_license(tx, id).await?)?;
            let used = usage::lock(tx, id, feature, quota, at).await?;
            Ok::<_, Error>(Some(MeteredFeature::new(feature, quota, used, at)))
        })
    }
}

pub(super) async fn correct(call: Call) -> Result<Reply, HandlerError> {
    let asked: UsageCorrection = call.json()?;
    let correction = Correction {
        call: &call,
        id: call.id()?,
        asked,
    };
    call.create(&correction, |feature| Reply::ok(&feature))
        .await
}
