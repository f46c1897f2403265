//! Waiting for what must come about, and telling the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use licet_shared::time::Timestamp;

/// A generous deadline for what normally takes a moment.
pub const SOON: Duration = Duration::from_secs(30);

/// Tries again and again until `attempt` succeeds; fails after `limit` with what it last saw.
#[track_caller]
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        match attempt() {
            Ok(found) => return found,
            Err(seen) if started.elapsed() > limit => {
                panic!(
                    "not within {} s: {what}. Last seen: {seen}",
                    limit.as_secs()
                )
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(250));
    }
}

/// The current time in whole seconds, as tokens have it.
pub fn now() -> Timestamp {
    Timestamp::from_unix(i64::try_from(unix_ms() / 1000).unwrap())
}

/// Milliseconds since the epoch.
pub fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(elapsed.as_millis()).unwrap()
}
