//! The memory of license tokens and leases whose signature has been checked, by their exact text.
//!
//! Only the signature is remembered: keys, status, times, product and device are decided anew on
//! each request. Only verified ones enter, so junk can't push them out.

use std::rc::Rc;

use licet_shared::decision::{LeaseToken, LicenseToken};

use crate::generations::Generations;

/// What an entry takes besides its text and its claims' texts: both structs, and the map's share.
const ENTRY_BYTES: usize = 640;

/// A kind that is remembered.
pub(crate) trait Remembered {
    /// Bytes of memory for all of them.
    const BUDGET_BYTES: usize;

    /// Bytes that it takes in memory beyond its claims' texts.
    fn weight(&self) -> usize;
}

impl Remembered for LicenseToken {
    const BUDGET_BYTES: usize = 12 * 1024 * 1024;

    /// Values that the license has of its own take more in memory than as text.
    fn weight(&self) -> usize {
        self.claims().fo.weight()
    }
}

impl Remembered for LeaseToken {
    const BUDGET_BYTES: usize = 4 * 1024 * 1024;

    fn weight(&self) -> usize {
        0
    }
}

/// The last bytes of a text, by which it is looked up: a part of its signature, so no two tokens
/// that verify have the same, and hashing it costs little.
type Tail = [u8; 24];

fn tail(text: &str) -> Option<Tail> {
    text.as_bytes().last_chunk().copied()
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct VerifiedTokens<T>(Generations<Tail, (Rc<str>, Rc<T>)>);

impl<T: Remembered> VerifiedTokens<T> {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Generations::new(T::BUDGET_BYTES))
    }

    /// The token of exactly this text, if its signature was checked here. Whether its
    /// organization still has the key that made it is for the caller to ask.
    pub(crate) fn recall(&mut self, text: &str) -> Option<Rc<T>> {
        let (known, token) = self.0.get(&tail(text)?)?;
        licet_edge_hot::are_same(&known, text).then_some(token)
    }

    /// Remembers a token.
    pub(crate) fn remember(&mut self, text: &str, token: Rc<T>) {
        // Claims are at most as long as the base64url text that carried them.
        let bytes = 2 * text.len() + token.weight() + ENTRY_BYTES;
        if let Some(tail) = tail(text) {
            self.0.insert(tail, (text.into(), token), bytes);
        }
    }
}
