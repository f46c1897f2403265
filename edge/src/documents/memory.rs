//! The isolate's memory of verified documents, and of what could not be had.

use std::rc::Rc;

use licet_shared::{
    documents::{FeatureSet, LicenseState, OrgKeys, StatusDocument},
    time::Timestamp,
};

use super::{
    Document, Edition, Freshness, Name,
    feed::{Told, Word},
};
use crate::{generations::Generations, random};

/// Bytes for all organizations' keys: some ten thousand of them.
const KEYS_BYTES: usize = 4 * 1024 * 1024;
/// Bytes for status lists: a full one takes 64 KiB besides its text.
const STATUS_LISTS_BYTES: usize = 16 * 1024 * 1024;
/// Bytes for feature sets.
const FEATURES_BYTES: usize = 4 * 1024 * 1024;
/// Bytes for licenses that have changed or are metered: some two thousand.
const LICENSES_BYTES: usize = 8 * 1024 * 1024;
/// Bytes for notes on what could not be had, and on what is being fetched.
const NOTES_BYTES: usize = 64 * 1024;

/// What an entry takes besides its text and its document's own weight.
const ENTRY_BYTES: usize = 512;
const NOTE_BYTES: usize = 96;

/// Pause between two looks for newer keys because of a key id that is not among those held:
/// anybody can make up key ids.
const SEEK_NEWER_MS: u64 = 5_000;

/// A renewal that has not ended after this time was cancelled with its request.
const RENEWAL_ABANDONED_MS: u64 = 3_000;

/// A verified document as it is kept.
#[derive(Debug)]
pub(crate) struct Held<D> {
    pub(crate) document: Rc<D>,
    /// The signed text it was read from.
    pub(crate) text: Rc<str>,
    /// The origin's tag for it.
    pub(crate) etag: Option<Rc<str>>,
    /// When the origin was last asked about it; no evidence of anything.
    pub(crate) checked_at: Timestamp,
    /// The edition that the key-value store is known to have.
    pub(crate) in_kv: Option<Edition>,
    /// When the origin was asked for this copy; 0 where it came from elsewhere.
    pub(crate) asked_ms: u64,
    /// When this edge learnt that the document has changed since.
    pub(crate) superseded_ms: Option<u64>,
    /// What the feed said of it when it was handed out.
    pub(super) word: Word,
    /// When the lower tiers were last searched in vain for a newer copy.
    pub(crate) searched_at: Timestamp,
    /// Which signers' word was taken for it.
    pub(super) generation: u64,
    /// How much after half of its life it is renewed, in 2,048ths of that life: drawn at random, so that
    /// not all edges renew a document of many readers at the same time.
    pub(super) lateness: u8,
}

impl<D> Clone for Held<D> {
    fn clone(&self) -> Self {
        Self {
            document: Rc::clone(&self.document),
            text: Rc::clone(&self.text),
            etag: self.etag.clone(),
            ..*self
        }
    }
}

impl<D: Document> Held<D> {
    /// A verified copy of which nothing else is known: when it was checked is for its tier to
    /// say, if that can.
    pub(super) fn stored(document: Rc<D>, text: Rc<str>, generation: u64) -> Self {
        Self {
            document,
            text,
            etag: None,
            checked_at: Timestamp::default(),
            asked_ms: 0,
            in_kv: None,
            superseded_ms: None,
            word: Word::None,
            searched_at: Timestamp::default(),
            generation,
            lateness: u8::from_be_bytes(random::bytes()),
        }
    }

    /// How far it is in its life.
    pub(crate) fn freshness(&self, now: Timestamp) -> Freshness {
        let times = self.document.times();
        match self.word {
            _ if self.superseded_ms.is_some() => Freshness::Overdue,
            Word::Outdone => Freshness::Overdue,
            Word::Unchanged(at) if now.since(at) < self.document.span_s() => {
                // Its own end comes nearer all the same.
                let life = times.expires_at.since(times.issued_at);
                let young = life / 2 + life * i64::from(self.lateness) / 2_048;
                if now < times.issued_at.plus(young) {
                    Freshness::Fresh
                } else {
                    Freshness::Ageing
                }
            }
            Word::Unchanged(_) | Word::None => self.document.freshness(self.checked_at, now),
        }
    }

    /// As of when the feed says that it is the newest version.
    pub(crate) const fn unchanged_at(&self) -> Option<Timestamp> {
        match self.word {
            Word::Unchanged(at) => Some(at),
            Word::Outdone | Word::None => None,
        }
    }

    /// As of when it is the newest version, by its own word or the feed's.
    pub(super) fn as_of(&self) -> Timestamp {
        let made = self.document.times().issued_at;
        self.unchanged_at().map_or(made, |at| at.max(made))
    }

    /// Whether it has not come to its own signed end.
    pub(super) fn holds(&self, now: Timestamp) -> bool {
        now < self.document.times().expires_at
    }

    /// Whether it may be used as it is by a caller who accepts no copy older than `max_age_s`.
    ///
    /// Signed times are whole seconds, so a copy may be up to one older than it says; and no copy
    /// at hand serves who asks for an age of 0.
    pub(crate) fn serves(&self, max_age_s: Option<u32>, now: Timestamp) -> bool {
        let age = now.since(self.as_of());
        self.freshness(now) != Freshness::Overdue
            && max_age_s.is_none_or(|max| age < i64::from(max))
    }
}

/// Documents of one kind.
#[derive(Debug)]
pub(crate) struct Shelf<D>(Generations<Name, Held<D>>);

/// Why a document is not asked for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setback {
    /// The origin has none of that name.
    Unknown,
    /// The origin's answer did not come or could not be used, or no tier had one.
    Unusable,
}

/// Everything kept of documents.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(super) keys: Shelf<OrgKeys>,
    pub(super) status_lists: Shelf<StatusDocument>,
    pub(super) features: Shelf<FeatureSet>,
    pub(super) licenses: Shelf<LicenseState>,
    /// By the revocation feed.
    pub(crate) told: Told,
    setbacks: Generations<Name, (Setback, u64)>,
    renewals: Generations<Name, u64>,
    newer_sought: Generations<Name, u64>,
}

impl Memory {
    /// Bytes for all of it.
    #[cfg(test)]
    pub(crate) const BUDGET_BYTES: usize =
        KEYS_BYTES + STATUS_LISTS_BYTES + FEATURES_BYTES + LICENSES_BYTES + 3 * NOTES_BYTES;

    /// Bytes that all of it takes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let notes = self.setbacks.bytes() + self.renewals.bytes() + self.newer_sought.bytes();
        let licenses = self.licenses.0.bytes();
        let documents = self.status_lists.0.bytes() + self.features.0.bytes() + licenses;
        self.keys.0.bytes() + documents + notes
    }

    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            keys: Shelf(Generations::new(KEYS_BYTES)),
            status_lists: Shelf(Generations::new(STATUS_LISTS_BYTES)),
            features: Shelf(Generations::new(FEATURES_BYTES)),
            licenses: Shelf(Generations::new(LICENSES_BYTES)),
            told: Told::default(),
            setbacks: Generations::new(NOTES_BYTES),
            renewals: Generations::new(NOTES_BYTES),
            newer_sought: Generations::new(NOTES_BYTES),
        }
    }

    /// The document of that name, vouched for by these very signers. A request that still has
    /// older ones takes nothing from those that have newer.
    pub(crate) fn look<D: Document>(
        &mut self,
        name: Name,
        signers: &D::Signers,
        now: Timestamp,
    ) -> Option<Held<D>> {
        let held = D::shelf(self).0.get(&name)?;
        let held = self.with_word(name, held);
        let generation = D::generation(signers);
        if held.generation == generation {
            return Some(held);
        }
        // The signers have changed: their word for it is taken anew, or it goes.
        let newer = generation > held.generation;
        match D::verify((&*held.text).into(), name, signers, now) {
            Ok(_) => {
                if newer {
                    self.note::<D>(name, |held| held.generation = generation);
                }
                Some(held)
            }
            Err(_) => {
                if newer {
                    self.forget::<D>(name);
                }
                None
            }
        }
    }

    /// Takes in a copy that the origin has just sent or confirmed, unless a higher edition is
    /// held; hands out the higher of the two.
    pub(crate) fn keep<D: Document>(&mut self, name: Name, mut copy: Held<D>) -> Held<D> {
        if let Some(held) = D::shelf(self).0.get_mut(&name) {
            if held.document.edition() > copy.document.edition() {
                let held = held.clone();
                return self.with_word(name, held);
            }
            copy.in_kv = copy.in_kv.max(held.in_kv);
            // The origin may have been asked before what changed the document was done.
            let asked_ms = copy.asked_ms;
            copy.superseded_ms = held.superseded_ms.filter(|since_ms| asked_ms <= *since_ms);
        }
        self.insert(name, copy)
    }

    /// Takes in a copy that a lower tier had, unless one as high is held; hands out the higher.
    pub(crate) fn keep_stored<D: Document>(&mut self, name: Name, copy: Held<D>) -> Held<D> {
        if let Some(held) = D::shelf(self).0.get_mut(&name) {
            held.in_kv = held.in_kv.max(copy.in_kv);
            if held.document.edition() == copy.document.edition() {
                // The same copy; another isolate may have asked about it later than this one.
                held.checked_at = held.checked_at.max(copy.checked_at);
            }
            if held.document.edition() >= copy.document.edition() {
                let held = held.clone();
                return self.with_word(name, held);
            }
        }
        self.insert(name, copy)
    }

    fn insert<D: Document>(&mut self, name: Name, copy: Held<D>) -> Held<D> {
        let bytes = ENTRY_BYTES + copy.text.len() + copy.document.weight(&copy.text);
        D::shelf(self).0.insert(name, copy.clone(), bytes);
        self.with_word(name, copy)
    }

    /// With what the feed says of it now.
    fn with_word<D: Document>(&self, name: Name, held: Held<D>) -> Held<D> {
        let document = &held.document;
        let word = self.told.of(name, document.version(), document.epoch());
        Held { word, ..held }
    }

    /// Changes what is noted beside a document, if it is still held.
    pub(crate) fn note<D: Document>(&mut self, name: Name, change: impl FnOnce(&mut Held<D>)) {
        if let Some(held) = D::shelf(self).0.get_mut(&name) {
            change(held);
        }
    }

    /// Whether there is a copy, whoever vouched for it.
    pub(super) fn holds<D: Document>(&mut self, name: Name) -> bool {
        D::shelf(self).0.get_mut(&name).is_some()
    }

    /// Forgets a document.
    pub(crate) fn forget<D: Document>(&mut self, name: Name) {
        D::shelf(self).0.remove(&name);
    }

    /// Notes that a document can't be had until `until_ms`. From then on one caller at a time may
    /// try, see [`Memory::begin_retry`], until [`Memory::end_setback`].
    pub(crate) fn set_back(&mut self, name: Name, setback: Setback, until_ms: u64) {
        self.setbacks.insert(name, (setback, until_ms), NOTE_BYTES);
    }

    /// Why a document is not to be asked for at this time, if so.
    pub(crate) fn setback(&mut self, name: Name, now_ms: u64) -> Option<Setback> {
        let (setback, until_ms) = self.setbacks.get(&name)?;
        (now_ms < until_ms).then_some(setback)
    }

    /// Notes that a document is asked for after a setback, if there was one: until `until_ms`
    /// nobody else does.
    pub(crate) fn begin_retry(&mut self, name: Name, until_ms: u64) {
        if let Some((_, end_ms)) = self.setbacks.get_mut(&name) {
            *end_ms = until_ms;
        }
    }

    /// Notes that a document was had.
    pub(crate) fn end_setback(&mut self, name: Name) {
        self.setbacks.remove(&name);
    }

    /// Whether a document may be asked for ahead of its time, because something refers to a newer
    /// one. A yes is for one caller in every few seconds.
    pub(crate) fn may_seek_newer(&mut self, name: Name, now_ms: u64) -> bool {
        let last_ms = self.newer_sought.get(&name).unwrap_or(0);
        let may = now_ms >= last_ms + SEEK_NEWER_MS;
        if may {
            self.newer_sought.insert(name, now_ms, NOTE_BYTES);
        }
        may
    }

    /// Notes that a renewal begins, unless one is under way.
    pub(crate) fn begin_renewal(&mut self, name: Name, now_ms: u64) -> bool {
        let free = !self.being_renewed(name, now_ms);
        if free {
            self.renewals.insert(name, now_ms, NOTE_BYTES);
        }
        free
    }

    /// Whether a renewal is under way.
    pub(crate) fn being_renewed(&mut self, name: Name, now_ms: u64) -> bool {
        self.renewals
            .get(&name)
            .is_some_and(|since_ms| now_ms < since_ms + RENEWAL_ABANDONED_MS)
    }

    /// Notes that a renewal has ended.
    pub(crate) fn end_renewal(&mut self, name: Name) {
        self.renewals.remove(&name);
    }
}
