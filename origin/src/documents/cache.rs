//! Signed copies, kept within a budget of bytes.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::{
    id::{FeatureSetId, OrgId},
    time::Timestamp,
};
use lru::LruCache;
use sha2::{Digest, Sha256};

/// Memory for signed copies, in bytes of text.
const BUDGET_BYTES: usize = 16 * 1024 * 1024;
/// What a copy takes beside its text, roughly.
const OVERHEAD_BYTES: usize = 256;

/// A document as it goes to edges.
#[derive(Clone, Debug)]
pub struct SignedDocument {
    text: Bytes,
    version: u64,
    issued_at: Timestamp,
    etag: String,
}

impl SignedDocument {
    /// A document that was signed at `issued_at`.
    #[must_use]
    pub fn new(text: String, version: u64, issued_at: Timestamp) -> Self {
        // A copy's own `iat` is its evidence of freshness, so "not modified" may only be said of
        // this very copy.
        let digest = Sha256::digest(text.as_bytes());
        let etag = format!("\"{}\"", Base64UrlUnpadded::encode_string(&digest[..15]));
        Self {
            text: text.into(),
            version,
            issued_at,
            etag,
        }
    }

    /// The compact JWS.
    #[must_use]
    pub fn text(&self) -> Bytes {
        self.text.clone()
    }

    /// Its `ver` or `rev`.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Its `iat`.
    #[must_use]
    pub const fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// Names this copy, with its quotes.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }
}

/// Which document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DocumentId {
    StatusList(OrgId, u32),
    FeatureSet(OrgId, FeatureSetId),
}

/// A copy, and the state of the database that it says.
#[derive(Clone)]
pub(super) struct Copy<S> {
    pub(super) state: S,
    pub(super) document: Arc<SignedDocument>,
}

/// The states that copies are remembered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DocumentState {
    StatusList(crate::db::status_lists::ListVersion),
    FeatureSet(crate::db::catalogue::FeatureSetVersion),
}

/// Remembers the last signed copy of each document, the least used ones no longer.
pub struct DocumentCache(Mutex<Remembered>);

struct Remembered {
    copies: LruCache<DocumentId, Copy<DocumentState>>,
    bytes: usize,
    budget: usize,
}

impl Default for DocumentCache {
    fn default() -> Self {
        Self::with_budget(BUDGET_BYTES)
    }
}

impl DocumentCache {
    fn with_budget(budget: usize) -> Self {
        // Bounded by bytes below.
        Self(Mutex::new(Remembered {
            copies: LruCache::unbounded(),
            bytes: 0,
            budget,
        }))
    }

    /// The copy of a document in exactly this state, if it is not older than `max_age_s`.
    pub(super) fn get(
        &self,
        id: DocumentId,
        state: DocumentState,
        max_age_s: i64,
        now: Timestamp,
    ) -> Option<Arc<SignedDocument>> {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = remembered.copies.get(&id)?;
        let fits = copy.state == state && now.since(copy.document.issued_at()) <= max_age_s;
        fits.then(|| Arc::clone(&copy.document))
    }

    pub(super) fn put(&self, id: DocumentId, copy: Copy<DocumentState>) {
        let size = |copy: &Copy<DocumentState>| copy.document.text.len() + OVERHEAD_BYTES;
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.bytes += size(&copy);
        if let Some(replaced) = remembered.copies.put(id, copy) {
            remembered.bytes -= size(&replaced);
        }
        while remembered.bytes > remembered.budget {
            match remembered.copies.pop_lru() {
                Some((_, oldest)) => remembered.bytes -= size(&oldest),
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::catalogue::FeatureSetVersion;

    const ORG: OrgId = OrgId::from_uuid_bytes([1; 16]);
    const NOW: Timestamp = Timestamp::from_unix(1_000_000);

    fn id(number: u8) -> DocumentId {
        DocumentId::FeatureSet(ORG, FeatureSetId::from_uuid_bytes([number; 16]))
    }

    fn state(revision: u32) -> DocumentState {
        DocumentState::FeatureSet(FeatureSetVersion {
            revision,
            keys_version: 1,
        })
    }

    fn copy(bytes: usize) -> Copy<DocumentState> {
        let document = SignedDocument::new("x".repeat(bytes), 1, NOW);
        Copy {
            state: state(1),
            document: Arc::new(document),
        }
    }

    #[test]
    fn only_the_same_state_of_a_small_age_is_served() {
        let cache = DocumentCache::default();
        cache.put(id(1), copy(10));
        assert!(cache.get(id(1), state(1), 5, NOW.plus(5)).is_some());
        assert!(cache.get(id(1), state(1), 5, NOW.plus(6)).is_none());
        assert!(cache.get(id(1), state(2), 5, NOW).is_none());
        assert!(cache.get(id(2), state(1), 5, NOW).is_none());
    }

    #[test]
    fn the_budget_holds_and_the_least_used_goes_first() {
        let cache = DocumentCache::with_budget(3 * (1000 + OVERHEAD_BYTES));
        for number in 1..=3 {
            cache.put(id(number), copy(1000));
        }
        assert!(cache.get(id(1), state(1), 5, NOW).is_some());
        cache.put(id(4), copy(1000));
        assert!(cache.get(id(2), state(1), 5, NOW).is_none());
        assert!(cache.get(id(1), state(1), 5, NOW).is_some());
        // Replacing a copy counts its size once.
        for _ in 0..10 {
            cache.put(id(4), copy(1000));
        }
        assert!(cache.get(id(1), state(1), 5, NOW).is_some());
        cache.put(id(5), copy(100_000));
        assert!(cache.get(id(5), state(1), 5, NOW).is_none());
        assert_eq!(cache.0.lock().unwrap().bytes, 0);
    }
}
