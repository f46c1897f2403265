//! Points in time, as whole seconds since the Unix epoch (JWT's `NumericDate`, RFC 7519 §2).

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
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
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let days = self.0.div_euclid(DAY_S);
        // The epoch was a Thursday.
        let day = DAYS[days.rem_euclid(7) as usize];
        let (_, month, date) = civil(days);
        let month = MONTHS[(month - 1).rem_euclid(12) as usize];
        let text = TimeText::new(self);
        let (year, time) = (&text.as_str()[..4], &text.as_str()[11..19]);
        format!("{day}, {date:02} {month} {year} {time} GMT")
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

const DAY_S: i64 = 86_400;

/// Year, month and day of the `day`-th day after 1970-01-01 in the proleptic Gregorian calendar
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`): years that
/// begin in March, in eras of 400 years.
const fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + (month <= 2) as i64;
    (year, month, date)
}

/// A time as RFC 3339 has it, on the stack: several stand in every answer.
struct TimeText([u8; 20]);

impl TimeText {
    fn new(time: Timestamp) -> Self {
        let (day, second) = (time.0.div_euclid(DAY_S), time.0.rem_euclid(DAY_S));
        let (year, month, date) = civil(day);
        let mut text = *b"0000-00-00T00:00:00Z";
        let mut put = |at: usize, digits: usize, mut number: i64| {
            for place in text.iter_mut().skip(at).take(digits).rev() {
                // A digit, whatever the number.
                *place = b'0' + number.rem_euclid(10) as u8;
                number /= 10;
            }
        };
        put(0, 4, year);
        put(5, 2, month);
        put(8, 2, date);
        put(11, 2, second / 3600);
        put(14, 2, second / 60 % 60);
        put(17, 2, second % 60);
        Self(text)
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TimeText::new(*self).as_str())
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
        serializer.serialize_str(TimeText::new(*self).as_str())
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
    fn days_are_written_as_chrono_writes_them() {
        let all = Timestamp::MIN.div_euclid(DAY_S)..=Timestamp::MAX.div_euclid(DAY_S);
        // The calendar repeats after 400 years.
        let days = (0..146_097).chain(all.step_by(1_009));
        // 7919 s is no part of a day, so all hours, minutes and seconds come up.
        for day in days {
            let time = Timestamp::from_unix(day * DAY_S + (day * 7_919).rem_euclid(DAY_S));
            let date = DateTime::<Utc>::from_timestamp(time.unix(), 0).unwrap();
            let expected = date.format("%Y-%m-%dT%H:%M:%SZ").to_string();
            assert_eq!(time.to_string(), expected);
            let expected = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            assert_eq!(time.http_date(), expected);
        }
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
