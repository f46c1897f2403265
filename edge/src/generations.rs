//! A map that holds at most so many bytes and forgets what has not been used for longest.
//!
//! Two generations in place of a list of uses: what is used moves to the young one; when the
//! young one is half the budget, it becomes the old one and the former old one is dropped.
//! A use costs one look-up, at most one move per generation, and no order has to be kept.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    young: HashMap<K, Weighed<V>>,
    old: HashMap<K, Weighed<V>>,
    young_bytes: usize,
    old_bytes: usize,
    half_budget: usize,
}

#[derive(Debug)]
struct Weighed<V> {
    value: V,
    bytes: usize,
}

impl<K: Hash + Eq, V> Generations<K, V> {
    /// An empty map that will hold at most `budget` bytes, as its users weigh them.
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            young_bytes: 0,
            old_bytes: 0,
            half_budget: budget / 2,
        }
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// A copy of the value under `key`, which is now the last to be forgotten.
    pub(crate) fn get<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        if let Some(weighed) = self.young.get(key) {
            return Some(weighed.value.clone());
        }
        let (key, weighed) = self.old.remove_entry(key)?;
        self.old_bytes -= weighed.bytes;
        let value = weighed.value.clone();
        self.admit(key, weighed);
        Some(value)
    }

    /// The value under `key`, to be changed where its weight stays the same.
    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        match self.young.get_mut(key) {
            Some(weighed) => Some(&mut weighed.value),
            None => self.old.get_mut(key).map(|weighed| &mut weighed.value),
        }
    }

    /// Remembers `value`, which takes `bytes`. Something heavier than half the budget is not kept.
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        if bytes <= self.half_budget {
            self.admit(key, Weighed { value, bytes });
        }
    }

    /// Forgets what is under `key`, and hands it out.
    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(weighed) = self.young.remove(key) {
            self.young_bytes -= weighed.bytes;
            return Some(weighed.value);
        }
        let weighed = self.old.remove(key)?;
        self.old_bytes -= weighed.bytes;
        Some(weighed.value)
    }

    #[cfg(test)]
    /// Bytes held, as their users weighed them: never more than the budget.
    pub(crate) fn bytes(&self) -> usize {
        self.young_bytes + self.old_bytes
    }

    fn admit(&mut self, key: K, weighed: Weighed<V>) {
        if self.young_bytes + weighed.bytes > self.half_budget {
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
        self.young_bytes += weighed.bytes;
        self.young.insert(key, weighed);
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::Generations;

    #[wasm_bindgen_test]
    fn never_holds_more_than_its_budget() {
        let mut map = Generations::new(1_000);
        for key in 0..10_000_u32 {
            map.insert(key, key, 10 + (key % 90) as usize);
            assert!(map.bytes() <= 1_000, "{}", map.bytes());
        }
        let held: usize = map
            .young
            .values()
            .chain(map.old.values())
            .map(|entry| entry.bytes)
            .sum();
        assert_eq!(held, map.bytes());
        assert!(
            map.bytes() >= 400,
            "it forgets no more than it must: {}",
            map.bytes()
        );
    }

    #[wasm_bindgen_test]
    fn what_is_used_stays() {
        let mut map = Generations::new(1_000);
        map.insert(0, 'x', 100);
        for key in 1..500 {
            map.insert(key, 'y', 100);
            assert_eq!(map.get(&0), Some('x'), "after {key}");
        }
        assert_eq!(map.get(&1), None);
    }

    #[wasm_bindgen_test]
    fn a_new_value_takes_the_place_of_the_old() {
        let mut map = Generations::new(1_000);
        for round in 0..100 {
            map.insert("key", round, 300);
            assert_eq!((map.get("key"), map.bytes()), (Some(round), 300));
        }
        assert_eq!(map.remove("key"), Some(99));
        assert_eq!((map.get("key"), map.bytes()), (None, 0));
    }

    #[wasm_bindgen_test]
    fn what_is_too_heavy_is_not_kept_and_pushes_nothing_out() {
        let mut map = Generations::new(1_000);
        map.insert(1, (), 400);
        map.insert(2, (), 501);
        assert_eq!(
            (map.get(&1), map.get(&2), map.bytes()),
            (Some(()), None, 400)
        );
        map.insert(1, (), 5_000);
        assert_eq!(
            (map.get(&1), map.bytes()),
            (None, 0),
            "nor does the old value stay"
        );
    }

    #[wasm_bindgen_test]
    fn changes_reach_either_generation() {
        let mut map = Generations::new(1_000);
        map.insert(1, 0, 400);
        map.insert(2, 0, 400);
        for key in [1, 2] {
            *map.get_mut(&key).unwrap() += key;
        }
        assert_eq!(
            (map.get(&1), map.get(&2), map.get(&3)),
            (Some(1), Some(2), None)
        );
    }
}
