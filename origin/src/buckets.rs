//! Token buckets in this process's memory. Bounded: of very many keys the ones not seen for
//! longest are forgotten, and begin anew with a full bucket. Several processes have several
//! sets: what is allowed is allowed by each.

use std::{
    fmt,
    hash::Hash,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;

/// How much is allowed: `capacity` at once, and as many again in `window_s` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Most at once.
    pub capacity: u32,
    /// Seconds in which an empty bucket fills.
    pub window_s: u32,
}

impl Quota {
    /// Milliseconds in which one comes back.
    fn refill_ms(self) -> u64 {
        (u64::from(self.window_s) * 1000 / u64::from(self.capacity.max(1))).max(1)
    }
}

/// What one request was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Whether there was one left to take.
    pub allowed: bool,
    /// How many are left.
    pub remaining: u32,
    /// Seconds until one more is there; rounded up.
    pub next_s: u32,
}

/// A set of buckets.
pub struct Buckets<K: Hash + Eq> {
    /// For each key the time, in milliseconds, at which its bucket will be full again.
    full_at: Mutex<LruCache<K, u64>>,
}

impl<K: Hash + Eq> fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Buckets(…)")
    }
}

impl<K: Hash + Eq> Buckets<K> {
    /// Remembers as many keys.
    #[must_use]
    pub fn new(keys: NonZeroUsize) -> Self {
        Self {
            full_at: Mutex::new(LruCache::new(keys)),
        }
    }

    /// Takes one from the key's bucket, if one is left.
    pub fn take(&self, key: K, quota: Quota, now_ms: u64) -> Level {
        let step = quota.refill_ms();
        let depth = step * u64::from(quota.capacity);
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let since = full_at.get(&key).copied().unwrap_or(0).max(now_ms);
        let missing = since - now_ms;
        if missing + step > depth {
            let wait = missing + step - depth;
            return Level {
                allowed: false,
                remaining: 0,
                next_s: seconds(wait),
            };
        }
        full_at.put(key, since + step);
        let left = depth - missing - step;
        let remaining = u32::try_from(left / step).unwrap_or(u32::MAX);
        let next = step - left % step;
        Level {
            allowed: true,
            remaining,
            next_s: seconds(next),
        }
    }

    /// Seconds until there is one to take; none if there is one now. Takes nothing.
    pub fn wait(&self, key: &K, quota: Quota, now_ms: u64) -> Option<u32> {
        let step = quota.refill_ms();
        let depth = step * u64::from(quota.capacity);
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = full_at.peek(key)?.saturating_sub(now_ms);
        let wait = (missing + step).checked_sub(depth)?;
        (wait > 0).then(|| seconds(wait))
    }

    /// Puts one back, as after a login that succeeded.
    pub fn give_back(&self, key: &K, quota: Quota) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(time) = full_at.get_mut(key) {
            *time = time.saturating_sub(quota.refill_ms());
        }
    }
}

fn seconds(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota {
        capacity: 3,
        window_s: 30,
    };
    const NOW: u64 = 1_795_250_208_000;

    fn buckets() -> Buckets<&'static str> {
        Buckets::new(NonZeroUsize::new(2).unwrap())
    }

    #[test]
    fn gives_its_capacity_then_one_at_a_time() {
        let buckets = buckets();
        let levels: Vec<_> = (0..4).map(|_| buckets.take("a", QUOTA, NOW)).collect();
        assert_eq!(
            levels.iter().map(|level| level.allowed).collect::<Vec<_>>(),
            [true, true, true, false]
        );
        assert_eq!(
            levels
                .iter()
                .map(|level| level.remaining)
                .collect::<Vec<_>>(),
            [2, 1, 0, 0]
        );
        assert_eq!(levels[3].next_s, 10);
        assert!(!buckets.take("a", QUOTA, NOW + 9_999).allowed);
        assert!(buckets.take("a", QUOTA, NOW + 10_000).allowed);
        assert!(!buckets.take("a", QUOTA, NOW + 10_000).allowed);
        // One key's want is not another's.
        assert!(buckets.take("b", QUOTA, NOW).allowed);
        assert_eq!(buckets.take("a", QUOTA, NOW + 1_000_000).remaining, 2);
    }

    #[test]
    fn to_ask_takes_nothing() {
        let buckets = buckets();
        assert_eq!(buckets.wait(&"a", QUOTA, NOW), None);
        for _ in 0..3 {
            assert_eq!(buckets.wait(&"a", QUOTA, NOW), None);
            assert!(buckets.take("a", QUOTA, NOW).allowed);
        }
        assert_eq!(buckets.wait(&"a", QUOTA, NOW), Some(10));
        assert_eq!(buckets.wait(&"a", QUOTA, NOW + 9_001), Some(1));
        assert_eq!(buckets.wait(&"a", QUOTA, NOW + 10_000), None);
        assert_eq!(buckets.wait(&"b", QUOTA, NOW), None);
    }

    #[test]
    fn what_is_given_back_is_there_again() {
        let buckets = buckets();
        for _ in 0..20 {
            assert!(buckets.take("a", QUOTA, NOW).allowed);
            buckets.give_back(&"a", QUOTA);
        }
    }
}
