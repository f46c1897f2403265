//! Points in time, as whole seconds since the Unix epoch (JWT's `NumericDate`, RFC 7519 §2).

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// How far two honest clocks may lie apart, in seconds.
///
/// Used for `nbf`, for documents that seem to come from the future, and for the age of a status
/// list just fetched; never to prolong the life of a token.
pub const CLOCK_SKEW_S: i64 = 60;

/// A time in whole seconds since 1970-01-01T00:00:00Z, within the years 0000 to 9999.
///
/// Serialises as RFC 3339 in UTC (`2026-11-21T08:36:48Z`), as API bodies want it; tokens
/// carry the number itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    const MIN: i64 = -62_167_219_200;
    const MAX: i64 = 253_402_300_799;

    /// The time `seconds` after the epoch, held within the years 0000 to 9999.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        if seconds < Self::MIN {
            Self(Self::MIN)
        } else if seconds > Self::MAX {
            Self(Self::MAX)
        } else {
            Self(seconds)
        }
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// This time moved by `seconds`, which may be negative; saturates.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self::from_unix(self.0.saturating_add(seconds))
    }

    /// Midnight in UTC at which its day began.
    #[must_use]
    pub const fn start_of_day(self) -> Self {
        Self(self.0 - self.0.rem_euclid(86_400))
    }

    /// Midnight in UTC at which its month began, or one that comes `later` months after it.
    #[must_use]
    pub fn start_of_month(self, later: u8) -> Self {
        let date = self.date();
        let months = date.year() * 12 + date.month0().cast_signed() + i32::from(later);
        Self::start_of(
            months.div_euclid(12),
            months.rem_euclid(12).unsigned_abs() + 1,
        )
    }

    /// Midnight in UTC at which its year began, or one that comes `later` years after it.
    #[must_use]
    pub fn start_of_year(self, later: u8) -> Self {
        Self::start_of(self.date().year() + i32::from(later), 1)
    }

    fn start_of(year: i32, month: u32) -> Self {
        let day = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default();
        Self::from_unix(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp())
    }

    /// As HTTP headers have it (RFC 9110 §5.6.7): `Sat, 21 Nov 2026 08:36:48 GMT`.
    #[must_use]
    pub fn http_date(self) -> String {
        self.date().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    fn date(self) -> DateTime<Utc> {
        // The range kept by `from_unix` is within chrono's.
        DateTime::from_timestamp(self.0, 0).unwrap_or_default()
    }

    /// Seconds from `earlier` to this time; negative when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.date().to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339 with any offset; fractions of a second are dropped.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DateTime::parse_from_rfc3339(text)
            .map(|date| Self::from_unix(date.timestamp()))
            .map_err(|_| TimestampError)
    }
}

/// The text is not an RFC 3339 date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampError;

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an RFC 3339 date and time such as 2026-11-21T08:36:48Z")
    }
}

impl std::error::Error for TimestampError {}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples(["2026-11-21T08:36:48Z"])
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Timestamp {}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'_, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_rfc_3339() {
        let time = Timestamp::from_unix(1_795_250_208);
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(
            "1970-01-01T01:00:00.9+01:00".parse(),
            Ok(Timestamp::from_unix(0))
        );
        assert_eq!("tomorrow".parse::<Timestamp>(), Err(TimestampError));
    }

    #[test]
    fn prints_http_dates() {
        let time = Timestamp::from_unix(784_111_777);
        assert_eq!(time.http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn extremes_saturate_and_still_print() {
        for seconds in [i64::MIN, i64::MAX] {
            let time = Timestamp::from_unix(seconds).plus(seconds);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
