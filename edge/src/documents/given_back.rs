//! Activations that this isolate has seen given back.
//!
//! The status list shows it, too, but only once it has been renewed. A renewal can fail, and then
//! the list from before must not say yes.

use crate::generations::Generations;

use super::Name;

/// Bytes for all notes: some thousand.
const BUDGET_BYTES: usize = 96 * 1024;
const NOTE_BYTES: usize = 96;

/// A place in a status list.
type Entry = (Name, u32);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct GivenBack(Generations<Entry, u64>);

impl GivenBack {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Generations::new(BUDGET_BYTES))
    }

    /// Notes that the activation at `index` of a list was given back.
    pub(crate) fn note(&mut self, list: Name, index: u32, now_ms: u64) {
        self.0.insert((list, index), now_ms, NOTE_BYTES);
    }

    /// Whether the activation was given back, and a copy of the list that the origin was asked for
    /// at `asked_ms` (0 where nobody knows) may not show it yet. Once there is a newer one, what
    /// it says is what counts.
    pub(crate) fn unknown_to(&mut self, list: Name, index: u32, asked_ms: u64) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Some(since_ms) = self.0.get(&(list, index)) else {
            return false;
        };
        let outlived = asked_ms > since_ms;
        if outlived {
            self.0.remove(&(list, index));
        }
        !outlived
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{BUDGET_BYTES, GivenBack, Name};

    #[wasm_bindgen_test]
    fn counts_until_the_list_was_asked_for_again() {
        let list = Name::status_list("ABCDEFGH".parse().unwrap(), 0);
        let mut notes = GivenBack::new();
        assert!(!notes.unknown_to(list, 7, 0));
        notes.note(list, 7, 1_000);
        assert!(notes.unknown_to(list, 7, 0) && notes.unknown_to(list, 7, 1_000));
        assert!(!notes.unknown_to(list, 8, 0), "another's");
        assert!(!notes.unknown_to(list, 7, 1_001));
        assert!(!notes.unknown_to(list, 7, 0), "then the note is gone");
    }

    #[wasm_bindgen_test]
    fn is_bounded() {
        let list = Name::status_list("ABCDEFGH".parse().unwrap(), 0);
        let mut notes = GivenBack::new();
        for index in 0..10_000 {
            notes.note(list, index, 1);
            assert!(notes.0.bytes() <= BUDGET_BYTES);
        }
        assert!(notes.unknown_to(list, 9_999, 0) && !notes.unknown_to(list, 0, 0));
    }
}
