//! The one place that reads the clock; everything below is handed `now`.

use std::time::{SystemTime, UNIX_EPOCH};

use licet_shared::time::Timestamp;

/// The time in whole seconds.
#[must_use]
pub fn now() -> Timestamp {
    timestamp(SystemTime::now())
}

/// Milliseconds since the epoch, for ids.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Microseconds since the epoch, as finely as the database keeps time.
#[must_use]
pub fn unix_us() -> i64 {
    micros(SystemTime::now())
}

/// Microseconds since the epoch of a database's time.
#[must_use]
pub fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The time that [`micros`] was made from.
#[must_use]
pub fn from_unix_us(micros: i64) -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_micros(micros.unsigned_abs())
}

/// A database's time in whole seconds; a part of a second is dropped.
#[must_use]
pub fn timestamp(time: SystemTime) -> Timestamp {
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        // Rounded down as well, so one more where a part of a second is left.
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            -whole - i64::from(before.subsec_nanos() > 0)
        }
    };
    Timestamp::from_unix(seconds)
}

/// The same time as a database wants it.
#[must_use]
pub fn system_time(time: Timestamp) -> SystemTime {
    let span = std::time::Duration::from_secs(time.unix().unsigned_abs());
    if time.unix() < 0 {
        UNIX_EPOCH - span
    } else {
        UNIX_EPOCH + span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_way_to_the_database_and_back() {
        for seconds in [0, 1, -1, 1_795_250_208, -62_167_219_200, 253_402_300_799] {
            let time = Timestamp::from_unix(seconds);
            assert_eq!(timestamp(system_time(time)), time);
        }
        let half_before = UNIX_EPOCH - std::time::Duration::from_millis(500);
        assert_eq!(timestamp(half_before), Timestamp::from_unix(-1));
    }
}
