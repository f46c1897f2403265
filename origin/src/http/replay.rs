//! Calls that were made, so that none is made twice.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use licet_shared::time::Timestamp;
use sha2::{Digest, Sha256};

/// Remembers call ids for as long as their tokens could be shown again.
///
/// In this process alone: of two origins each would accept a call once. What a call does is
/// then protected by its idempotency key.
pub struct ReplayMemory {
    remembered: Mutex<Remembered>,
    capacity: usize,
    window_s: i64,
}

#[derive(Default)]
struct Remembered {
    ids: HashSet<u128>,
    /// By the second after which they are forgotten, in order.
    forget: VecDeque<(Timestamp, Vec<u128>)>,
}

/// What is known of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// It was not made before, and is remembered from now on.
    New,
    /// It was made before.
    Seen,
    /// There is no room to remember it, and forgetting another could let that one in again.
    Full,
}

impl ReplayMemory {
    /// Room for `capacity` calls (about 40 bytes each), remembered for `window_s` seconds.
    #[must_use]
    pub fn new(capacity: usize, window_s: i64) -> Self {
        Self {
            remembered: Mutex::default(),
            capacity,
            window_s,
        }
    }

    /// Takes note of a call by the edge and its name for it.
    pub fn witness(&self, edge: &str, jti: &str, now: Timestamp) -> Replay {
        let id = digest(edge, jti);
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.forget_until(now);
        if remembered.ids.contains(&id) {
            return Replay::Seen;
        }
        if remembered.ids.len() >= self.capacity {
            return Replay::Full;
        }
        remembered.insert(id, now.plus(self.window_s));
        Replay::New
    }

    /// How many calls are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ids
            .len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Remembered {
    fn insert(&mut self, id: u128, due: Timestamp) {
        self.ids.insert(id);
        match self.forget.back_mut() {
            // Also where the clock was set back: kept a little longer then.
            Some((last, ids)) if *last >= due => ids.push(id),
            _ => self.forget.push_back((due, vec![id])),
        }
    }

    fn forget_until(&mut self, now: Timestamp) {
        while self.forget.front().is_some_and(|(due, _)| *due < now) {
            let Some((_, ids)) = self.forget.pop_front() else {
                break;
            };
            for id in ids {
                self.ids.remove(&id);
            }
        }
    }
}

fn digest(edge: &str, jti: &str) -> u128 {
    let digest = Sha256::new()
        .chain_update(edge)
        .chain_update([0])
        .chain_update(jti)
        .finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);

    #[test]
    fn a_call_counts_once_within_its_window() {
        let memory = ReplayMemory::new(10, 80);
        assert_eq!(memory.witness("edge.1", "a", NOW), Replay::New);
        assert_eq!(memory.witness("edge.1", "a", NOW.plus(80)), Replay::Seen);
        assert_eq!(memory.witness("edge.2", "a", NOW), Replay::New);
        assert_eq!(memory.witness("edge.1", "a", NOW.plus(81)), Replay::New);
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn a_full_memory_refuses_rather_than_forgets() {
        let memory = ReplayMemory::new(2, 80);
        assert_eq!(memory.witness("e", "a", NOW), Replay::New);
        assert_eq!(memory.witness("e", "b", NOW), Replay::New);
        assert_eq!(memory.witness("e", "c", NOW), Replay::Full);
        assert_eq!(memory.witness("e", "a", NOW), Replay::Seen);
        assert_eq!(memory.witness("e", "c", NOW.plus(81)), Replay::New);
        assert_eq!(memory.len(), 1);
    }
}
