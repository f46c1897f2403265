//! One document, from the first tier that has it fresh enough.

use std::rc::Rc;

use licet_shared::{decision::Source, time::Timestamp};

use super::{
    Document, Freshness, Held, Name, cache_api, kv,
    memory::Setback,
    renew::{Renewal, renew, renew_later, wait_for_another},
};
use crate::{clock, isolate::Scope, log::Level};

/// A document that was found, and in what circumstances.
#[derive(Debug)]
pub(crate) struct Found<D> {
    pub(crate) document: Rc<D>,
    /// The signed text.
    pub(crate) text: Rc<str>,
    /// When the origin was last asked about it.
    pub(crate) checked_at: Timestamp,
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
    let held = match from_memory(scope, name, signers, max_age_s) {
        FromMemory::Usable(found) => return Obtained::Found(found),
        FromMemory::Unknown => return Obtained::Unknown,
        FromMemory::Overdue(held) => held,
    };
    // Another isolate's copy won't do for who demands a fresh one, or knows of a newer.
    let demanding = max_age_s.is_some() || held.as_ref().is_some_and(|held| held.superseded);
    if !demanding
        && let Some(copy) = from_cache(scope, name, signers).await
        && copy.serves(max_age_s, scope.now)
    {
        if copy.freshness(scope.now) == Freshness::Ageing {
            renew_later::<D>(scope, name, signers);
        }
        return Obtained::Found(found(copy, Source::Cache, false));
    }
    wait_for_another(scope, name).await;
    match from_memory(scope, name, signers, max_age_s) {
        FromMemory::Usable(found) => return Obtained::Found(found),
        FromMemory::Unknown => return Obtained::Unknown,
        FromMemory::Overdue(_) => {}
    }
    match renew::<D>(scope, name, signers, max_age_s).await {
        Renewal::Current(held) => Obtained::Found(found(held, Source::Origin, false)),
        Renewal::Unknown => Obtained::Unknown,
        Renewal::Failed => last_known_good(scope, name, signers).await,
    }
}

/// Marks a document as changed at the origin, after a write that this edge passed on: it is used
/// again only once renewed, and other isolates here don't find it in the cache.
pub(crate) async fn supersede<D: Document>(scope: &Scope, name: Name) {
    scope
        .isolate
        .documents
        .borrow_mut()
        .note::<D>(name, |held| held.superseded = true);
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
    let Held {
        document,
        text,
        checked_at,
        ..
    } = held;
    Found {
        document,
        text,
        checked_at,
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
        Ok(document) => Some(Held {
            document: Rc::new(document),
            text: text.into(),
            etag: None,
            checked_at: Timestamp::default(),
            in_kv: None,
            superseded: false,
            generation: D::generation(signers),
        }),
        Err(error) => {
            let detail = format!("{tier}, {}: {error}", name.origin_path());
            scope.log(Level::Error, "a stored document does not verify", &detail);
            None
        }
    }
}

/// The newest copy that any tier has, when the origin can't be asked.
async fn last_known_good<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<D::Signers>,
) -> Obtained<D> {
    let held = scope
        .isolate
        .documents
        .borrow_mut()
        .look::<D>(name, signers, scope.now);
    let cached = from_cache::<D>(scope, name, signers).await;
    let stored = from_kv::<D>(scope, name, signers).await;
    // Each `keep` hands out the newest so far; the first that has it names its source.
    let copies = [
        (held, Source::Memory),
        (cached, Source::Cache),
        (stored, Source::Kv),
    ];
    let newest = copies
        .into_iter()
        .filter_map(|(copy, source)| copy.map(|copy| (copy, source)))
        .reduce(|best, next| {
            if next.0.document.edition() > best.0.document.edition() {
                next
            } else {
                best
            }
        });
    match newest {
        Some((held, source)) => Obtained::Found(found(held, source, true)),
        None => {
            let until_ms = clock::now_ms() + crate::origin::pause_ms();
            let mut memory = scope.isolate.documents.borrow_mut();
            memory.set_back(name, Setback::Unusable, until_ms);
            Obtained::Unreachable
        }
    }
}
