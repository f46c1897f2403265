//! How often strangers may have this isolate ask the origin for what may not exist.
//!
//! Anybody can make up organizations and list numbers, and each new name costs the origin a call
//! that it has to remember for a while. Names that stand in a verified token are not rationed.

use std::cell::Cell;

/// Look-ups in vain that may come at once. An isolate that starts under load takes as many
/// organizations at the same time.
const BURST: u32 = 100;
/// After which time another is allowed.
const INTERVAL_MS: u64 = 200;

/// A bucket of look-ups: what was found is given back.
#[derive(Debug)]
pub(crate) struct Ration {
    left: Cell<u32>,
    filled_ms: Cell<u64>,
}

impl Ration {
    /// A full one.
    pub(crate) const fn new() -> Self {
        Self {
            left: Cell::new(BURST),
            filled_ms: Cell::new(0),
        }
    }

    /// Takes one look-up, if any is left.
    pub(crate) fn take(&self, now_ms: u64) -> bool {
        let due = now_ms.saturating_sub(self.filled_ms.get()) / INTERVAL_MS;
        if due > 0 {
            let due = u32::try_from(due).unwrap_or(u32::MAX);
            self.left
                .set(self.left.get().saturating_add(due).min(BURST));
            self.filled_ms.set(now_ms);
        }
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Whether hardly any look-up has been in vain lately.
    pub(crate) const fn is_plentiful(&self) -> bool {
        BURST - self.left.get() <= BURST / 10
    }

    /// Gives one back.
    pub(crate) fn give_back(&self) {
        self.left.set((self.left.get() + 1).min(BURST));
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{BURST, Ration};

    #[wasm_bindgen_test]
    fn a_burst_and_then_one_at_a_time() {
        let (ration, now_ms) = (Ration::new(), 1_800_000_000_000);
        let taken = |now_ms| (0..1_000).filter(|_| ration.take(now_ms)).count();
        assert_eq!(taken(now_ms), BURST as usize);
        assert_eq!(taken(now_ms + 199), 0);
        assert_eq!(taken(now_ms + 1_000), 5);
        ration.give_back();
        assert_eq!(taken(now_ms + 1_000), 1);
        assert_eq!(taken(now_ms + 1_000_000), BURST as usize, "and no more");
    }
}
