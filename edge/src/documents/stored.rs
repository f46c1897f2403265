//! Copies in the lower tiers: read when memory has none, written after the response.

use std::rc::Rc;

use super::{
    Document, Held, Name,
    cache_api::{self, Copy},
    claim::release,
    kv,
};
use crate::{isolate::Scope, log::Level};

/// The cached copy, kept in memory when it verifies; the newer one where memory had one already.
pub(super) async fn from_cache<D: Document>(
    scope: &Scope,
    name: Name,
    signers: &Rc<D::Signers>,
) -> Option<Held<D>> {
    let copy = cache_api::read(scope, name).await?;
    let mut held = verified::<D>(scope, name, signers, copy.text, "cache")?;
    held.etag = copy.etag;
    held.checked_at = copy.checked_at;
    held.in_kv = copy.in_kv;
    Some(scope.isolate.documents.borrow_mut().keep_stored(name, held))
}

/// Likewise, from the key-value store.
pub(super) async fn from_kv<D: Document>(
    scope: &Scope,
    name: Name,
    signers: &Rc<D::Signers>,
) -> Option<Held<D>> {
    let text = kv::read(scope, name).await?;
    let mut held = verified::<D>(scope, name, signers, text.into(), "key-value store")?;
    held.in_kv = Some(held.document.edition());
    Some(scope.isolate.documents.borrow_mut().keep_stored(name, held))
}

/// Hands a copy to the lower tiers after the response, and first to the cache where other isolates wait
/// for it, and no more where it is `in_cache`.
///
/// Another isolate's newer copy is left where it is. Neither tier can compare and write in one
/// step, so two isolates may still overwrite each other: an older copy then stays there until
/// the next renewal, and is as fresh as it says.
pub(super) fn pass_down<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    held: &Held<D>,
    signers: &Rc<D::Signers>,
    in_cache: bool,
) {
    let (later, signers, mut held) = (Rc::clone(scope), Rc::clone(signers), held.clone());
    scope.after_response(async move {
        let awaited = later.claims.counts(name);
        if awaited {
            hand_over(&later, name, copy_of(&held)).await;
        }
        let edition = held.document.edition();
        let for_kv = kv::is_due(held.in_kv, edition);
        if for_kv
            && !outdone(from_kv(&later, name, &signers).await, &held)
            && kv::write(&later, name, &held.text, held.document.times().expires_at).await
        {
            held.in_kv = Some(edition);
            let mut memory = later.isolate.documents.borrow_mut();
            memory.note::<D>(name, |held| held.in_kv = held.in_kv.max(Some(edition)));
        }
        if for_kv || !(awaited || in_cache) {
            into_cache(&later, name, &held, &signers).await;
        }
    });
}

fn outdone<D: Document>(stored: Option<Held<D>>, held: &Held<D>) -> bool {
    stored.is_some_and(|stored| stored.document.edition() > held.document.edition())
}

/// Leaves a copy in the cache, unless there is a newer one.
pub(super) async fn into_cache<D: Document>(
    scope: &Scope,
    name: Name,
    held: &Held<D>,
    signers: &Rc<D::Signers>,
) {
    if !outdone(from_cache(scope, name, signers).await, held) {
        cache_api::write(scope, name, &copy_of(held)).await;
    }
}

/// Puts a copy where other isolates look for it. While the claim counts there is none newer, as far as claims go.
async fn hand_over(scope: &Scope, name: Name, copy: Copy) {
    cache_api::write(scope, name, &copy).await;
    release(scope, &name.origin_path()).await;
}

fn copy_of<D>(held: &Held<D>) -> Copy {
    Copy {
        text: Rc::clone(&held.text),
        etag: held.etag.clone(),
        checked_at: held.checked_at,
        in_kv: held.in_kv,
    }
}

/// A copy that its signers vouch for. Others are as good as none, but worth a look by somebody.
fn verified<D: Document>(
    scope: &Scope,
    name: Name,
    signers: &D::Signers,
    text: Rc<str>,
    tier: &str,
) -> Option<Held<D>> {
    // What memory has by these signers' word has been verified before.
    let mut memory = scope.isolate.documents.borrow_mut();
    let known = memory.look::<D>(name, signers, scope.now());
    drop(memory);
    if let Some(known) = known.filter(|known| *known.text == *text) {
        return Some(Held::stored(known.document, text, D::generation(signers)));
    }
    match D::verify((&*text).into(), name, signers, scope.now()) {
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
