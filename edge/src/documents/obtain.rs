//! One document, from the first tier that has it fresh enough.

use std::rc::Rc;

use licet_shared::{decision::Source, time::Timestamp};

use super::{
    Document, Freshness, Held, Name, cache_api, kv,
    memory::Setback,
    renew::{Renewal, renew, renew_later, wait_for_another},
};
use crate::{clock, isolate::Scope, log::Level};

/// Seconds after which the lower tiers are searched again for a newer copy while the origin can't
/// be asked: another isolate may have left one there.
const SEARCH_AGAIN_S: i64 = 10;

/// A document that was found, and in what circumstances.
#[derive(Debug)]
pub(crate) struct Found<D> {
    pub(crate) document: Rc<D>,
    /// The signed text.
    pub(crate) text: Rc<str>,
    /// The tier it came from.
    pub(crate) source: Source,
    /// It is the last known good one: the origin should have been asked, and could not.
    pub(crate) origin_unreachable: bool,
}

/// What the search for a document came to.
#[derive(Debug)]
pub(crate) enum Obtained<D> {
    /// Here it is.
    Found(Found<D>),
    /// The origin says that there is none.
    Unknown,
    /// The origin can't be asked, and no tier has a copy.
    Unreachable,
}

/// Looks for a document. With `max_age_s` one that was signed longer ago is not fresh enough.
pub(crate) async fn obtain<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<D::Signers>,
    max_age_s: Option<u32>,
) -> Obtained<D> {
    let mut newest = Newest::default();
    match from_memory(scope, name, signers, max_age_s) {
        FromMemory::Usable(found) => return Obtained::Found(found),
        FromMemory::Unknown => return Obtained::Unknown,
        FromMemory::Overdue(held) => newest.or(held, Source::Memory),
    }
    if let Some(held) = newest.settled(scope, name) {
        return Obtained::Found(found(held, Source::Memory, true));
    }
    // Another isolate's copy won't do for who demands one of this moment, or knows of a newer.
    let stored_will_do = max_age_s != Some(0) && !newest.is_superseded();
    if stored_will_do {
        newest.or(from_cache(scope, name, signers).await, Source::Cache);
        if let Some((copy, source)) = newest.serving(max_age_s, scope.now) {
            if copy.freshness(scope.now) == Freshness::Ageing {
                renew_later::<D>(scope, name, signers);
            }
            return Obtained::Found(found(copy, source, false));
        }
    }
    if max_age_s != Some(0) {
        wait_for_another(scope, name).await;
    }
    match from_memory(scope, name, signers, max_age_s) {
        FromMemory::Usable(found) => return Obtained::Found(found),
        FromMemory::Unknown => return Obtained::Unknown,
        FromMemory::Overdue(held) => newest.or(held, Source::Memory),
    }
    match renew::<D>(scope, name, signers, max_age_s).await {
        Renewal::Current(held) => Obtained::Found(found(held, Source::Origin, false)),
        Renewal::Unknown => Obtained::Unknown,
        Renewal::Failed => {
            if !stored_will_do {
                newest.or(from_cache(scope, name, signers).await, Source::Cache);
            }
            newest.or(from_kv(scope, name, signers).await, Source::Kv);
            last_known_good(scope, name, newest)
        }
    }
}

/// The newest copy met on the way through the tiers, and the tier that had it.
struct Newest<D>(Option<(Held<D>, Source)>);

impl<D> Default for Newest<D> {
    fn default() -> Self {
        Self(None)
    }
}

impl<D: Document> Newest<D> {
    fn or(&mut self, copy: Option<Held<D>>, source: Source) {
        let Some(copy) = copy else { return };
        let newer = self
            .0
            .as_ref()
            .is_none_or(|(best, _)| copy.document.edition() > best.document.edition());
        if newer {
            self.0 = Some((copy, source));
        }
    }

    fn is_superseded(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|(held, _)| held.superseded_ms.is_some())
    }

    /// The copy, when it need not be renewed before it is used.
    fn serving(&self, max_age_s: Option<u32>, now: Timestamp) -> Option<(Held<D>, Source)> {
        self.0
            .clone()
            .filter(|(copy, _)| copy.serves(max_age_s, now))
    }

    /// The overdue copy in memory, when all tiers have been asked in vain a moment ago. An
    /// outage must not make each request go through them.
    fn settled(&self, scope: &Scope, name: Name) -> Option<Held<D>> {
        let (held, _) = self.0.as_ref()?;
        let now_ms = clock::now_ms();
        let paused = scope.isolate.origin.paused_until(now_ms).is_some()
            || scope
                .isolate
                .documents
                .borrow_mut()
                .setback(name, now_ms)
                .is_some();
        let looked = scope.now.since(held.searched_at) < SEARCH_AGAIN_S;
        (paused && looked).then(|| held.clone())
    }
}

/// Marks a document as changed at the origin, after a write that this edge passed on: it is used
/// again only once renewed, and other isolates here don't find it in the cache.
pub(crate) async fn supersede<D: Document>(scope: &Scope, name: Name) {
    let now_ms = clock::now_ms();
    scope
        .isolate
        .documents
        .borrow_mut()
        .note::<D>(name, |held| held.superseded_ms = Some(now_ms));
    cache_api::delete(scope, name).await;
}

enum FromMemory<D> {
    Usable(Found<D>),
    Overdue(Option<Held<D>>),
    Unknown,
}

fn from_memory<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<D::Signers>,
    max_age_s: Option<u32>,
) -> FromMemory<D> {
    let mut memory = scope.isolate.documents.borrow_mut();
    let Some(held) = memory.look::<D>(name, signers, scope.now) else {
        return match memory.setback(name, clock::now_ms()) {
            Some(Setback::Unknown) => FromMemory::Unknown,
            Some(Setback::Unusable) | None => FromMemory::Overdue(None),
        };
    };
    drop(memory);
    if !held.serves(max_age_s, scope.now) {
        return FromMemory::Overdue(Some(held));
    }
    if held.freshness(scope.now) == Freshness::Ageing {
        renew_later::<D>(scope, name, signers);
    }
    FromMemory::Usable(found(held, Source::Memory, false))
}

fn found<D>(held: Held<D>, source: Source, origin_unreachable: bool) -> Found<D> {
    let Held { document, text, .. } = held;
    Found {
        document,
        text,
        source,
        origin_unreachable,
    }
}

/// The cached copy, kept in memory when it verifies; the newer one where memory had one already.
async fn from_cache<D: Document>(
    scope: &Scope,
    name: Name,
    signers: &Rc<D::Signers>,
) -> Option<Held<D>> {
    let copy = cache_api::read(scope, name).await?;
    let mut held = verified::<D>(scope, name, signers, copy.text, "cache")?;
    held.etag = copy.etag.map(Into::into);
    held.checked_at = copy.checked_at;
    held.in_kv = copy.in_kv;
    Some(scope.isolate.documents.borrow_mut().keep_stored(name, held))
}

async fn from_kv<D: Document>(
    scope: &Scope,
    name: Name,
    signers: &Rc<D::Signers>,
) -> Option<Held<D>> {
    let text = kv::read(scope, name).await?;
    let mut held = verified::<D>(scope, name, signers, text, "key-value store")?;
    held.in_kv = Some(held.document.edition());
    Some(scope.isolate.documents.borrow_mut().keep_stored(name, held))
}

/// A copy that its signers vouch for. Others are as good as none, but worth a look by somebody.
fn verified<D: Document>(
    scope: &Scope,
    name: Name,
    signers: &D::Signers,
    text: String,
    tier: &str,
) -> Option<Held<D>> {
    match D::verify(&text, name, signers, scope.now) {
        Ok(document) => {
            let generation = D::generation(signers);
            Some(Held::stored(Rc::new(document), text, generation))
        }
        Err(error) => {
            let detail = format!("{tier}, {}: {error}", name.origin_path());
            scope.log(Level::Error, "a stored document does not verify", &detail);
            None
        }
    }
}

/// The newest copy that any tier has, when the origin can't be asked.
fn last_known_good<D: Document>(scope: &Scope, name: Name, newest: Newest<D>) -> Obtained<D> {
    let mut memory = scope.isolate.documents.borrow_mut();
    if let Some((held, source)) = newest.0 {
        memory.note::<D>(name, |held| held.searched_at = scope.now);
        return Obtained::Found(found(held, source, true));
    }
    // The tiers are not searched again before the origin may be asked again. An answer of the
    // origin's that could not be used has left a note of its own, which this must not prolong.
    let now_ms = clock::now_ms();
    if let Some(until_ms) = scope.isolate.origin.paused_until(now_ms) {
        memory.set_back(name, Setback::Unusable, until_ms);
    }
    Obtained::Unreachable
}
