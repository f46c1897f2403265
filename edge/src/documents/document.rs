//! The four kinds of documents an edge keeps, and what differs between them.

use std::{future::Future, pin::Pin, rc::Rc};

use licet_shared::{
    documents::{
        DocumentError, FeatureSet, FeaturesClaims, KeysClaims, LicenseState, LicenseStateClaims,
        OrgKeys, StatusDocument, StatusListClaims, StatusReference,
    },
    jws::{Kind, SignatureParts, SignedText, Times, VerifyingKey},
    time::Timestamp,
};

use super::{Memory, Name, Part, keys, memory::Shelf};
use crate::{config::Platform, isolate::Scope, native_ed25519};

/// Seconds for which keys and feature sets count as fresh after the origin was asked about them.
/// A changed feature or a removed key has its effect within this time.
const CHECK_INTERVAL_S: i64 = 60;

/// How far a document is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// To be used as it is.
    Fresh,
    /// To be used, and renewed after the answer.
    Ageing,
    /// To be renewed before it is used.
    Overdue,
}

impl Freshness {
    /// Fresh for the first half of `span_s` seconds from `start`, ageing for the second.
    pub(super) const fn within(span_s: i64, start: Timestamp, now: Timestamp) -> Self {
        let age = now.since(start);
        if age < span_s / 2 {
            Self::Fresh
        } else if age < span_s {
            Self::Ageing
        } else {
            Self::Overdue
        }
    }
}

/// A document's place in the order of its versions; a lower one never replaces a higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edition {
    /// Counted up by the origin with every change.
    pub(crate) version: u64,
    /// When this copy of the version was signed.
    pub(crate) issued_at: Timestamp,
}

/// A kind of document.
pub(crate) trait Document: Sized + 'static {
    /// Who vouches for it.
    type Signers: 'static;

    /// Size above which it is not read.
    const MAX_BYTES: usize;
    /// Whether the origin's "not modified" is as good as a new copy. Not so for status lists,
    /// where only a signed time counts.
    const CONFIRMED_BY_304: bool;

    /// Verifies `text` as the document of that name.
    fn verify(
        text: SignedText<'_>,
        name: Name,
        signers: &Self::Signers,
        now: Timestamp,
    ) -> Result<Self, DocumentError>;

    /// The signers' key of that name.
    fn key<'a>(signers: &'a Self::Signers, kid: &str) -> Option<&'a VerifyingKey>;

    /// Which signers those are: what they vouched for is verified again when they change.
    fn generation(signers: &Self::Signers) -> u64;

    /// Signers newer than those at hand, for a document signed by one that is not among them.
    fn newer_signers(
        scope: &Rc<Scope>,
        name: Name,
    ) -> impl Future<Output = Option<Rc<Self::Signers>>>;

    /// Its version.
    fn version(&self) -> u64;

    /// When it was made, and until when it holds.
    fn times(&self) -> Times;

    /// How far it is in its life, when the origin was last asked about it at `checked_at`.
    fn freshness(&self, checked_at: Timestamp, now: Timestamp) -> Freshness;

    /// How far the feed had come when it was read; 0 where that is not told, or the feed does not
    /// speak of such documents.
    fn epoch(&self) -> u64;

    /// Seconds for which anybody's word on it counts.
    fn span_s(&self) -> i64;

    /// Bytes of memory it takes besides its text, roughly.
    fn weight(&self, text: &str) -> usize;

    /// Where it is kept.
    fn shelf(memory: &mut Memory) -> &mut Shelf<Self>;

    /// Its place in the order of versions.
    fn edition(&self) -> Edition {
        Edition {
            version: self.version(),
            issued_at: self.times().issued_at,
        }
    }
}

/// A text with the runtime's word on its signature, if it has one: it is many times faster than Wasm. Boxed: one
/// copy will do for all kinds.
pub(super) fn checked<'a>(
    text: &'a str,
    key: impl FnOnce(&str) -> Option<&'a VerifyingKey>,
) -> Pin<Box<dyn Future<Output = SignedText<'a>> + 'a>> {
    let parts = SignatureParts::of(text);
    let key = parts.as_ref().and_then(|parts| key(&parts.kid));
    ask_the_runtime(text, parts.zip(key))
}

fn ask_the_runtime<'a>(
    text: &'a str,
    signed: Option<(SignatureParts<'a>, &'a VerifyingKey)>,
) -> Pin<Box<dyn Future<Output = SignedText<'a>> + 'a>> {
    Box::pin(async move {
        let Some((parts, key)) = signed else {
            return text.into();
        };
        match native_ed25519::verify(key, &parts.signature, parts.signed).await {
            Some(holds) => SignedText::checked(text, key, holds),
            None => text.into(),
        }
    })
}

impl Document for OrgKeys {
    type Signers = Platform;

    const MAX_BYTES: usize = KeysClaims::MAX_BYTES;
    const CONFIRMED_BY_304: bool = true;

    fn verify(
        text: SignedText<'_>,
        name: Name,
        platform: &Platform,
        now: Timestamp,
    ) -> Result<Self, DocumentError> {
        Self::verify(text, &platform.issuer, name.org, &platform.keys, now)
    }

    fn key<'a>(platform: &'a Platform, kid: &str) -> Option<&'a VerifyingKey> {
        platform.keys.find(kid)
    }

    fn generation(_: &Platform) -> u64 {
        0
    }

    async fn newer_signers(_: &Rc<Scope>, _: Name) -> Option<Rc<Platform>> {
        None
    }

    fn version(&self) -> u64 {
        self.version()
    }

    fn times(&self) -> Times {
        self.times()
    }

    fn freshness(&self, checked_at: Timestamp, now: Timestamp) -> Freshness {
        Freshness::within(CHECK_INTERVAL_S, checked_at, now)
    }

    fn epoch(&self) -> u64 {
        self.epoch()
    }

    fn span_s(&self) -> i64 {
        CHECK_INTERVAL_S
    }

    fn weight(&self, text: &str) -> usize {
        text.len()
    }

    fn shelf(memory: &mut Memory) -> &mut Shelf<Self> {
        &mut memory.keys
    }
}

impl Document for StatusDocument {
    type Signers = OrgKeys;

    const MAX_BYTES: usize = StatusListClaims::MAX_BYTES;
    const CONFIRMED_BY_304: bool = false;

    fn verify(
        text: SignedText<'_>,
        name: Name,
        keys: &OrgKeys,
        now: Timestamp,
    ) -> Result<Self, DocumentError> {
        let Part::StatusList(number) = name.part else {
            return Err(DocumentError::Subject);
        };
        Self::verify(
            text,
            &StatusReference::uri(keys.issuer(), name.org, number),
            keys,
            now,
        )
    }

    fn key<'a>(keys: &'a OrgKeys, kid: &str) -> Option<&'a VerifyingKey> {
        keys.find(kid)
    }

    fn generation(keys: &OrgKeys) -> u64 {
        keys.version()
    }

    async fn newer_signers(scope: &Rc<Scope>, name: Name) -> Option<Rc<OrgKeys>> {
        keys::newer(scope, name.org).await
    }

    fn version(&self) -> u64 {
        self.version()
    }

    fn times(&self) -> Times {
        self.times()
    }

    /// Judged by its signed time alone.
    fn freshness(&self, _: Timestamp, now: Timestamp) -> Freshness {
        Freshness::within(self.ttl().seconds(), self.times().issued_at, now)
    }

    fn epoch(&self) -> u64 {
        self.epoch()
    }

    fn span_s(&self) -> i64 {
        self.ttl().seconds()
    }

    fn weight(&self, _: &str) -> usize {
        self.list().byte_len()
    }

    fn shelf(memory: &mut Memory) -> &mut Shelf<Self> {
        &mut memory.status_lists
    }
}

impl Document for FeatureSet {
    type Signers = OrgKeys;

    const MAX_BYTES: usize = FeaturesClaims::MAX_BYTES;
    const CONFIRMED_BY_304: bool = true;

    fn verify(
        text: SignedText<'_>,
        name: Name,
        keys: &OrgKeys,
        now: Timestamp,
    ) -> Result<Self, DocumentError> {
        let Part::Features(id) = name.part else {
            return Err(DocumentError::Subject);
        };
        Self::verify(text, id, keys, now)
    }

    fn key<'a>(keys: &'a OrgKeys, kid: &str) -> Option<&'a VerifyingKey> {
        keys.find(kid)
    }

    fn generation(keys: &OrgKeys) -> u64 {
        keys.version()
    }

    async fn newer_signers(scope: &Rc<Scope>, name: Name) -> Option<Rc<OrgKeys>> {
        keys::newer(scope, name.org).await
    }

    fn version(&self) -> u64 {
        u64::from(self.revision())
    }

    fn times(&self) -> Times {
        self.times()
    }

    fn freshness(&self, checked_at: Timestamp, now: Timestamp) -> Freshness {
        Freshness::within(CHECK_INTERVAL_S, checked_at, now)
    }

    fn epoch(&self) -> u64 {
        self.epoch()
    }

    fn span_s(&self) -> i64 {
        CHECK_INTERVAL_S
    }

    /// The parsed values and their JSON, each about as long as the text.
    fn weight(&self, text: &str) -> usize {
        4 * text.len()
    }

    fn shelf(memory: &mut Memory) -> &mut Shelf<Self> {
        &mut memory.features
    }
}

impl Document for LicenseState {
    type Signers = OrgKeys;

    const MAX_BYTES: usize = LicenseStateClaims::MAX_BYTES;
    /// What was used changes without another version, and is as of a signed time.
    const CONFIRMED_BY_304: bool = false;

    fn verify(
        text: SignedText<'_>,
        name: Name,
        keys: &OrgKeys,
        now: Timestamp,
    ) -> Result<Self, DocumentError> {
        let Part::License(id) = name.part else {
            return Err(DocumentError::Subject);
        };
        Self::verify(text, id, keys, now)
    }

    fn key<'a>(keys: &'a OrgKeys, kid: &str) -> Option<&'a VerifyingKey> {
        keys.find(kid)
    }

    fn generation(keys: &OrgKeys) -> u64 {
        keys.version()
    }

    async fn newer_signers(scope: &Rc<Scope>, name: Name) -> Option<Rc<OrgKeys>> {
        keys::newer(scope, name.org).await
    }

    fn version(&self) -> u64 {
        self.version()
    }

    fn times(&self) -> Times {
        self.times()
    }

    /// Judged by its signed time alone. Whether the license has changed since is for the status
    /// list to tell.
    fn freshness(&self, _: Timestamp, now: Timestamp) -> Freshness {
        Freshness::within(self.ttl().seconds(), self.times().issued_at, now)
    }

    fn epoch(&self) -> u64 {
        0
    }

    fn span_s(&self) -> i64 {
        self.ttl().seconds()
    }

    /// Its own features may take more in memory than as text.
    fn weight(&self, text: &str) -> usize {
        2 * text.len() + self.claims().fo.weight()
    }

    fn shelf(memory: &mut Memory) -> &mut Shelf<Self> {
        &mut memory.licenses
    }
}
