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
    when_full: WhenFull,
}

/// What a memory without room does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Takes no more calls: for those that act.
    Refuse,
    /// Forgets its oldest call, which may then be made again: for those that only read. Whoever
    /// repeats one gets a signed document that anybody may have.
    ForgetOldest,
}

/// How many calls are remembered, by what they do: reading can't keep anybody from acting.
/// 40 to 50 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayCapacity {
    /// Calls that read a document.
    pub reads: usize,
    /// Calls that act.
    pub writes: usize,
}

impl Default for ReplayCapacity {
    /// For 180 seconds of 5,000 reads and 20,000 writes a second.
    fn default() -> Self {
        Self {
            reads: 900_000,
            writes: 3_600_000,
        }
    }
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
    /// There is no room to remember it, and forgetting another would let that one in again.
    Full,
}

impl ReplayMemory {
    /// Room for `capacity` calls, remembered for `window_s` seconds.
    #[must_use]
    pub fn new(capacity: usize, window_s: i64, when_full: WhenFull) -> Self {
        Self {
            remembered: Mutex::default(),
            capacity,
            window_s,
            when_full,
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
            match self.when_full {
                WhenFull::Refuse => return Replay::Full,
                WhenFull::ForgetOldest => remembered.forget_one(),
            }
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

    /// Forgets one of those that are due first.
    fn forget_one(&mut self) {
        while let Some((_, ids)) = self.forget.front_mut() {
            if let Some(id) = ids.pop() {
                self.ids.remove(&id);
                return;
            }
            self.forget.pop_front();
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
        let memory = ReplayMemory::new(10, 80, WhenFull::Refuse);
        assert_eq!(memory.witness("edge.1", "a", NOW), Replay::New);
        assert_eq!(memory.witness("edge.1", "a", NOW.plus(80)), Replay::Seen);
        assert_eq!(memory.witness("edge.2", "a", NOW), Replay::New);
        assert_eq!(memory.witness("edge.1", "a", NOW.plus(81)), Replay::New);
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn a_full_memory_refuses_rather_than_forgets() {
        let memory = ReplayMemory::new(2, 80, WhenFull::Refuse);
        assert_eq!(memory.witness("e", "a", NOW), Replay::New);
        assert_eq!(memory.witness("e", "b", NOW), Replay::New);
        assert_eq!(memory.witness("e", "c", NOW), Replay::Full);
        assert_eq!(memory.witness("e", "a", NOW), Replay::Seen);
        assert_eq!(memory.witness("e", "c", NOW.plus(81)), Replay::New);
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn a_full_memory_of_reads_forgets_the_oldest() {
        let memory = ReplayMemory::new(2, 80, WhenFull::ForgetOldest);
        for (second, jti) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let now = NOW.plus(second as i64);
            assert_eq!(memory.witness("e", jti, now), Replay::New);
        }
        assert_eq!(memory.len(), 2);
        let now = NOW.plus(3);
        for jti in ["c", "d"] {
            assert_eq!(memory.witness("e", jti, now), Replay::Seen);
        }
        assert_eq!(memory.witness("e", "a", now), Replay::New);
        // What is forgotten early is not forgotten again when it is due.
        assert_eq!(memory.witness("e", "d", NOW.plus(83)), Replay::Seen);
        assert_eq!(memory.len(), 2);
        assert_eq!(memory.witness("e", "z", NOW.plus(1000)), Replay::New);
        assert_eq!(memory.len(), 1);
    }
}
