//! One document, from the first tier that has it fresh enough.

use std::rc::Rc;

use licet_shared::{
    decision::{OriginState, Source},
    time::Timestamp,
};

use super::{
    Document, Freshness, Held, Name, cache_api, feed,
    memory::Setback,
    renew::{Renewal, Turn, await_turn, renew, renew_later, unusable, wait_for_another},
    stored::{from_cache, from_kv},
};
use crate::{clock, isolate::Scope};

/// Seconds after which the lower tiers are searched again for a newer copy while the origin can't
/// be asked: another isolate may have left one there.
const SEARCH_AGAIN_S: i64 = 10;
/// How long "the origin has no such document" is believed.
const UNKNOWN_MS: u64 = 5_000;

/// A document that was found, and in what circumstances.
#[derive(Debug)]
pub(crate) struct Found<D> {
    pub(crate) document: Rc<D>,
    /// The signed text.
    pub(crate) text: Rc<str>,
    /// The tier it came from.
    pub(crate) source: Source,
    /// How the origin did, if it should have been asked: then this is the last known good copy.
    pub(crate) origin: OriginState,
    /// When the origin was asked for this copy; 0 where it came from elsewhere.
    pub(crate) asked_ms: u64,
    /// As of when the feed says that it is the newest version.
    pub(crate) unchanged_at: Option<Timestamp>,
}

/// What the search for a document came to.
#[derive(Debug)]
pub(crate) enum Obtained<D> {
    /// Here it is.
    Found(Found<D>),
    /// The origin says that there is none.
    Unknown,
    /// The origin could not be asked, or did not send it, and no tier has a copy.
    Missing,
    /// No tier has a copy, and too many names are being tried that do not exist: see
    /// [`Ration`](super::Ration).
    Rationed,
}

/// Whose word it is that there should be such a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// A token whose signature holds.
    Token,
    /// Anybody's.
    Stranger,
}

/// Looks for a document. With `max_age_s` one that was signed longer ago is not fresh enough.
pub(crate) async fn obtain<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<D::Signers>,
    max_age_s: Option<u32>,
    named_by: NamedBy,
) -> Obtained<D> {
    let mut newest = Newest::default();
    let mut in_memory = from_memory(scope, name, signers, max_age_s);
    if matches!(in_memory, FromMemory::Overdue(_)) && feed::catch_up_if_behind(scope).await {
        in_memory = from_memory(scope, name, signers, max_age_s);
    }
    match in_memory {
        FromMemory::Usable(found) => return Obtained::Found(found),
        FromMemory::Unknown => return Obtained::Unknown,
        FromMemory::Overdue(held) => newest.or(held, Source::Memory),
    }
    if let Some(held) = newest.settled(scope, name) {
        return Obtained::Found(found(held, Source::Memory, scope.isolate.origin.state()));
    }
    // Another isolate's copy won't do for who demands one of this moment, or knows of a newer. Nor is there likely to
    // be any where the organization's keys were in no isolate's reach, so that this request has claimed them.
    let unheard_of = newest.0.is_none() && scope.claims.has_any_of(name.org);
    let stored_will_do = max_age_s != Some(0) && !newest.is_superseded() && !unheard_of;
    let mut turn: Option<Turn> = None;
    // A second time where others may have been asking meanwhile.
    for again in [false, true] {
        if !stored_will_do {
            break;
        }
        newest.or(from_cache(scope, name, signers).await, Source::Cache);
        if let Some((copy, source)) = newest.serving(max_age_s, scope.now()) {
            if copy.freshness(scope.now()) == Freshness::Ageing {
                renew_later::<D>(scope, name, signers);
            }
            if let Some(turn) = turn {
                turn.give_up(scope);
            }
            return Obtained::Found(found(copy, source, OriginState::Answering));
        }
        if !again {
            turn = await_turn(scope, name).await;
        }
        if turn.is_none() {
            break;
        }
    }
    if turn.is_none() {
        if max_age_s != Some(0) && !scope.ahead.has(name) {
            wait_for_another(scope, name).await;
        }
        match from_memory(scope, name, signers, max_age_s) {
            FromMemory::Usable(found) => return Obtained::Found(found),
            FromMemory::Unknown => return Obtained::Unknown,
            FromMemory::Overdue(held) => newest.or(held, Source::Memory),
        }
    }
    let made_up = named_by == NamedBy::Stranger && newest.0.is_none() && would_ask(scope, name);
    let renewal = if made_up && !scope.isolate.strangers.take(clock::now_ms()) {
        None
    } else {
        Some(renew::<D>(scope, name, signers, max_age_s).await)
    };
    if let Some(Renewal::Current(held)) = renewal {
        if made_up {
            scope.isolate.strangers.give_back();
        }
        return Obtained::Found(found(held, Source::Origin, OriginState::Answering));
    }
    if let Some(turn) = turn {
        turn.give_up(scope);
    }
    if !stored_will_do {
        newest.or(from_cache(scope, name, signers).await, Source::Cache);
    }
    newest.or(from_kv(scope, name, signers).await, Source::Kv);
    match renewal {
        None if newest.0.is_none() => Obtained::Rationed,
        Some(Renewal::Unknown) => unknown(scope, name, newest),
        _ => last_known_good(scope, name, newest),
    }
}

/// Whether a renewal would come to a call.
fn would_ask(scope: &Scope, name: Name) -> bool {
    let now_ms = clock::now_ms();
    let mut memory = scope.isolate.documents.borrow_mut();
    memory.setback(name, now_ms).is_none() && scope.isolate.origin.paused_until(now_ms).is_none()
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
        let rank = |copy: &Held<D>| (copy.document.edition(), copy.checked_at);
        let newer = (self.0.as_ref()).is_none_or(|(best, _)| rank(&copy) > rank(best));
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
        let looked = scope.now().since(held.searched_at) < SEARCH_AGAIN_S;
        (paused && looked).then(|| held.clone())
    }
}

/// A copy that the origin signs now, for who can see only when it was signed and not what the feed has
/// said since; none where it can't be had.
pub(crate) async fn newly_signed<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<D::Signers>,
) -> Option<Found<D>> {
    match renew::<D>(scope, name, signers, None).await {
        Renewal::Current(held) => Some(found(held, Source::Origin, OriginState::Answering)),
        Renewal::Unknown | Renewal::Failed => None,
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
    let Some(held) = memory.look::<D>(name, signers, scope.now()) else {
        return match memory.setback(name, clock::now_ms()) {
            Some(Setback::Unknown) => FromMemory::Unknown,
            Some(Setback::Unusable) | None => FromMemory::Overdue(None),
        };
    };
    drop(memory);
    if !held.serves(max_age_s, scope.now()) {
        return FromMemory::Overdue(Some(held));
    }
    if held.freshness(scope.now()) == Freshness::Ageing {
        renew_later::<D>(scope, name, signers);
    }
    FromMemory::Usable(found(held, Source::Memory, OriginState::Answering))
}

fn found<D: Document>(held: Held<D>, source: Source, origin: OriginState) -> Found<D> {
    Found {
        unchanged_at: held.unchanged_at(),
        document: held.document,
        text: held.text,
        source,
        origin,
        asked_ms: held.asked_ms,
    }
}

/// The origin says that there is none. That is believed unless some tier has a copy that still
/// holds: it is signed, and the origin's word is not.
fn unknown<D: Document>(scope: &Scope, name: Name, newest: Newest<D>) -> Obtained<D> {
    let held = newest.0.as_ref().map(|(held, _)| held);
    if held.is_some_and(|held| held.holds(scope.now())) {
        unusable(scope, name, "not found, though a copy of it still holds");
        return last_known_good(scope, name, newest);
    }
    let mut memory = scope.isolate.documents.borrow_mut();
    memory.forget::<D>(name);
    memory.set_back(name, Setback::Unknown, clock::now_ms() + UNKNOWN_MS);
    Obtained::Unknown
}

/// The newest copy that any tier has, when the origin did not send one.
fn last_known_good<D: Document>(scope: &Scope, name: Name, newest: Newest<D>) -> Obtained<D> {
    let mut memory = scope.isolate.documents.borrow_mut();
    if let Some((held, source)) = newest.0 {
        memory.note::<D>(name, |held| held.searched_at = scope.now());
        return Obtained::Found(found(held, source, scope.isolate.origin.state()));
    }
    // The tiers are not searched again before the origin may be asked again. An answer of the
    // origin's that could not be used has left a note of its own, which this must not prolong.
    let now_ms = clock::now_ms();
    if let Some(until_ms) = scope.isolate.origin.paused_until(now_ms) {
        memory.set_back(name, Setback::Unusable, until_ms);
    }
    Obtained::Missing
}
