//! The memory of license tokens whose signature has been checked, by their exact text.
//!
//! Only the signature is remembered: keys, status, times, product and device are decided anew on
//! each request. Only verified tokens enter, so junk can't push them out.

use std::rc::Rc;

use licet_shared::decision::LicenseToken;

use crate::generations::Generations;

/// Bytes of memory for all of them.
const BUDGET_BYTES: usize = 16 * 1024 * 1024;
/// What an entry takes besides its text and its claims' texts: both structs, and the map's share.
const ENTRY_BYTES: usize = 640;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct VerifiedTokens(Generations<Box<str>, Rc<LicenseToken>>);

impl VerifiedTokens {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Generations::new(BUDGET_BYTES))
    }

    /// The token of exactly this text, if its signature was checked here. Whether its
    /// organization still has the key that made it is for the caller to ask.
    pub(crate) fn recall(&mut self, text: &str) -> Option<Rc<LicenseToken>> {
        self.0.get(text)
    }

    /// Remembers a token.
    pub(crate) fn remember(&mut self, text: &str, token: Rc<LicenseToken>) {
        // Claims are at most as long as the base64url text that carried them; but for values that
        // the license has of its own, which take more in memory than as text.
        let bytes = 2 * text.len() + token.claims().fo.weight() + ENTRY_BYTES;
        self.0.insert(text.into(), token, bytes);
    }
}
