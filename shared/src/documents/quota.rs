//! Metered features: how much of something a license may do in a period.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::time::Timestamp;

/// How often a quota begins anew. Periods are those of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// At midnight.
    Day,
    /// On the first of the month.
    Month,
    /// On the first of January.
    Year,
    /// Never.
    Once,
}

impl Period {
    const ALL: [Self; 4] = [Self::Day, Self::Month, Self::Year, Self::Once];

    /// As it stands in feature values and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
            Self::Once => "once",
        }
    }

    /// The period of that name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == text)
    }

    /// When the period that `now` is in began; the epoch for one that never begins anew.
    #[must_use]
    pub fn start(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Day => now.start_of_day(),
            Self::Month => now.start_of_month(0),
            Self::Year => now.start_of_year(0),
            Self::Once => Timestamp::from_unix(0),
        }
    }

    /// When the next one begins; none where it never does.
    #[must_use]
    pub fn end(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Day => Some(now.start_of_day().plus(86_400)),
            Self::Month => Some(now.start_of_month(1)),
            Self::Year => Some(now.start_of_year(1)),
            Self::Once => None,
        }
    }
}

/// A feature's value that is a quota: `{"quota": 500, "period": "month"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// How much, in whatever the product counts.
    pub quota: u64,
    /// In which time.
    pub period: Period,
}

/// The field by which a value is known to be meant as a quota.
const FIELD: &str = "quota";

impl Quota {
    /// The largest: what every JSON reader can still tell from its neighbours.
    pub const MAX: u64 = (1 << 53) - 1;

    /// The quota that a feature's value is, if it is one.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        Self::read(value.as_object()?).ok()
    }

    /// Refuses a value that is meant as a quota and is none. Others are no quotas, and sound.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(value: &Value) -> Result<(), &'static str> {
        match value.as_object() {
            Some(fields) if fields.contains_key(FIELD) => Self::read(fields).map(drop),
            _ => Ok(()),
        }
    }

    fn read(fields: &Map<String, Value>) -> Result<Self, &'static str> {
        let quota = fields.get(FIELD).and_then(Value::as_u64);
        let quota = quota.filter(|quota| *quota <= Self::MAX);
        let period = fields.get("period").and_then(Value::as_str);
        match (quota, period.and_then(Period::named), fields.len()) {
            (Some(quota), Some(period), 2) => Ok(Self { quota, period }),
            _ => Err(
                "a quota is {\"quota\": 0 to 9007199254740991, \"period\": \"day\", \"month\", \"year\" or \"once\"}",
            ),
        }
    }
}

/// How a quota stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuotaState {
    /// What may be used in the period.
    pub limit: u64,
    /// What has been.
    pub used: u64,
    /// What is left; 0 also where more was used than may be by now.
    pub remaining: u64,
    /// When it begins anew; null where it never does.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub period_ends_at: Option<Timestamp>,
    /// The time at which the origin vouched for it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub as_of: Timestamp,
}

impl QuotaState {
    /// A quota of which so much was used, as of a time within the period.
    #[must_use]
    pub fn new(quota: Quota, used: u64, period_at: Timestamp, as_of: Timestamp) -> Self {
        Self {
            limit: quota.quota,
            used,
            remaining: quota.quota.saturating_sub(used),
            period_ends_at: quota.period.end(period_at),
            as_of,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn periods_begin_and_end_by_the_calendar_in_utc() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (period, now, start, end) in [
            (
                "day",
                "2026-11-21T23:59:59Z",
                "2026-11-21T00:00:00Z",
                "2026-11-22T00:00:00Z",
            ),
            (
                "day",
                "2026-11-22T00:00:00Z",
                "2026-11-22T00:00:00Z",
                "2026-11-23T00:00:00Z",
            ),
            (
                "month",
                "2026-12-31T23:59:59Z",
                "2026-12-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                "month",
                "2028-02-29T12:00:00Z",
                "2028-02-01T00:00:00Z",
                "2028-03-01T00:00:00Z",
            ),
            (
                "year",
                "2027-01-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
                "2028-01-01T00:00:00Z",
            ),
            // Somebody else's new year is not yet UTC's.
            (
                "year",
                "2027-01-01T00:30:00+01:00",
                "2026-01-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                "day",
                "1969-12-31T12:00:00Z",
                "1969-12-31T00:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
        ] {
            let period = Period::named(period).unwrap();
            assert_eq!(period.start(at(now)), at(start), "{period:?} {now}");
            assert_eq!(period.end(at(now)), Some(at(end)), "{period:?} {now}");
        }
        assert_eq!(Period::Once.start(at("2026-11-21T08:00:00Z")).unix(), 0);
        assert_eq!(Period::Once.end(at("2026-11-21T08:00:00Z")), None);
        for extreme in [i64::MIN, i64::MAX] {
            let now = Timestamp::from_unix(extreme);
            for period in Period::ALL {
                assert!(period.start(now) <= now.max(Timestamp::from_unix(0)));
                assert!(period.end(now).is_none_or(|end| end >= now));
            }
        }
    }

    #[test]
    fn what_is_meant_as_a_quota_is_one_or_refused() {
        let good = json!({ "quota": 500, "period": "month" });
        let month = Quota {
            quota: 500,
            period: Period::Month,
        };
        assert_eq!(Quota::of(&good), Some(month));
        assert_eq!(serde_json::to_value(month).unwrap(), good);
        for value in [
            json!({ "quota": 500 }),
            json!({ "quota": -1, "period": "day" }),
            json!({ "quota": 1.5, "period": "day" }),
            json!({ "quota": "5", "period": "day" }),
            json!({ "quota": null, "period": "day" }),
            json!({ "quota": Quota::MAX + 1, "period": "day" }),
            json!({ "quota": 5, "period": "week" }),
            json!({ "quota": 5, "period": "MONTH" }),
            json!({ "quota": 5, "period": "day", "more": 1 }),
        ] {
            assert!(Quota::check(&value).is_err(), "{value}");
            assert_eq!(Quota::of(&value), None, "{value}");
        }
        for value in [
            json!({ "cpu": 2 }),
            json!({ "period": "day" }),
            json!(5),
            json!([]),
            json!(null),
        ] {
            assert!(Quota::check(&value).is_ok(), "{value}");
            assert_eq!(Quota::of(&value), None, "{value}");
        }
    }

    #[test]
    fn nothing_is_left_of_what_was_overdrawn() {
        let quota = Quota {
            quota: 5,
            period: Period::Once,
        };
        let now = Timestamp::from_unix(0);
        assert_eq!(QuotaState::new(quota, 3, now, now).remaining, 2);
        assert_eq!(QuotaState::new(quota, 9, now, now).remaining, 0);
    }
}
