//! Getting a document from the origin: once per isolate at a time, verified before it is kept,
//! and passed down to the caches after the answer.

use std::rc::Rc;

use futures_util::future::join;
use licet_shared::{documents::DocumentError, problem::ProblemCode};

use super::{
    Document, Freshness, Held, Name, ahead,
    claim::{claim, is_claimed, release},
    document::checked,
    feed::{self, Word},
    memory::Setback,
    stored::{from_cache, into_cache, pass_down},
};
use crate::{
    bindings, clock,
    isolate::{Isolate, Scope},
    log::Level,
    origin::{self, Call, CallError, Reply},
};

/// How long a document is left alone when the origin does not take this edge's calls. Short: that is
/// a fault of ours, and no reason to leave anybody waiting for what a good call would get.
const REFUSED_MS: u64 = 1_000;
/// First and longest pause between two looks at whether another request is done.
const LOOK_AGAIN_MS: (u32, u32) = (4, 64);
/// How long to look. Not as long as a call may take: the other request may have been cancelled.
const PATIENCE_MS: u32 = 500;

/// How a renewal ended.
pub(super) enum Renewal<D> {
    /// With the newest copy there is.
    Current(Held<D>),
    /// The origin says that it has no such document, and memory has none that says otherwise.
    Unknown,
    /// The origin can't be asked, or its answer can't be used: which of them,
    /// [`Health::state`](origin::Health::state) knows.
    Failed,
}

/// Asks the origin. With `max_age_s` it signs anew what it signed longer ago than that.
pub(super) async fn renew<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<D::Signers>,
    max_age_s: Option<u32>,
) -> Renewal<D> {
    let probes = match begin(scope, name).await {
        Ok(probes) => probes,
        Err(Setback::Unknown) => return Renewal::Unknown,
        Err(Setback::Unusable) => return Renewal::Failed,
    };
    let renewal = ask(scope, name, signers, max_age_s).await;
    scope.isolate.documents.borrow_mut().end_renewal(name);
    if probes && scope.isolate.origin.failed_at().is_none() {
        // It is back: the next isolate may see so at once.
        let later = Rc::clone(scope);
        scope.meanwhile(async move { release(&later, PROBE).await });
    }
    renewal
}

/// What is claimed by whoever tries whether the origin is back.
const PROBE: &str = "/probe";
/// Seconds after its own last attempt in which an isolate tries, whoever else says that he does: what stands
/// in the cache is nobody's word, and must not hold an isolate in grace.
const ALONE_S: i64 = 30;

/// Notes that the document is being renewed, if the origin may be asked for it; tells whether that is by
/// the claim of who tries.
async fn begin(scope: &Scope, name: Name) -> Result<bool, Setback> {
    let (isolate, now_ms) = (&scope.isolate, clock::now_ms());
    let attempt_ms = isolate.config.origin_timeout_ms;
    let setback = isolate.documents.borrow_mut().setback(name, now_ms);
    if let Some(setback) = setback {
        return Err(setback);
    }
    let failed_at = isolate.origin.failed_at();
    if !isolate.origin.may_be_asked(now_ms, attempt_ms) {
        return Err(Setback::Unusable);
    }
    // One isolate of the data centre tries. The others may once the feed that it then gets is there, which
    // is signed, and later than their failure; how the origin does each sees for itself.
    let mut probes = false;
    if let Some(failed_at) = failed_at
        && clock::timestamp(now_ms).since(failed_at) < ALONE_S
        && !feed::catch_up(scope, failed_at.plus(1)).await
    {
        probes = claim(scope, PROBE).await;
        if !probes {
            return Err(Setback::Unusable);
        }
    }
    let mut memory = isolate.documents.borrow_mut();
    memory.begin_renewal(name, now_ms);
    memory.begin_retry(name, now_ms + u64::from(attempt_ms));
    Ok(probes)
}

/// Sees to it that of the isolates of the data centre one asks for a document: by a claim, or by waiting,
/// for a while, until another that has claimed it is done. None where nothing is to be gained by that: who
/// asks next need not look into the cache again.
///
/// Nor where this request has claimed another document of the organization: where that was missing, so may the
/// rest be, and the first verdict need not wait for more claims.
///
/// Only while this isolate has no current word of the feed's: then all documents are overdue at once, and
/// in all isolates. Else a document is asked for because it has changed, and whoever wants it first leaves it
/// in the cache.
pub(super) async fn await_turn(scope: &Scope, name: Name) -> Option<Turn> {
    let (isolate, now_ms) = (&scope.isolate, clock::now_ms());
    if !is_crowded(scope) || !may_renew(isolate, name, now_ms) || scope.claims.has_any_of(name.org)
    {
        return None;
    }
    isolate.documents.borrow_mut().begin_renewal(name, now_ms);
    let path = name.origin_path();
    let claimed = claim(scope, &path).await;
    let (mut pause_ms, longest_ms) = LOOK_AGAIN_MS;
    let mut waited_ms = 0;
    while !claimed && waited_ms < PATIENCE_MS && is_claimed(scope, &path).await {
        bindings::sleep(pause_ms).await;
        waited_ms += pause_ms;
        pause_ms = (pause_ms * 2).min(longest_ms);
    }
    scope.read_clock();
    if claimed {
        scope.claims.add(name);
    }
    Some(Turn { name, claimed })
}

/// See [`await_turn`]. A renewal ends it, or [`Turn::give_up`] does.
#[derive(Debug)]
pub(super) struct Turn {
    name: Name,
    /// This isolate asks for all; what it gets is passed on, which ends the claim.
    claimed: bool,
}

impl Turn {
    /// Lets others, here and in other isolates, ask.
    pub(super) fn give_up(&self, scope: &Rc<Scope>) {
        scope.isolate.documents.borrow_mut().end_renewal(self.name);
        if self.claimed {
            let (meanwhile, path) = (Rc::clone(scope), self.name.origin_path());
            scope.meanwhile(async move { release(&meanwhile, &path).await });
        }
    }
}

/// Whether other isolates may well be about to ask for the same.
fn is_crowded(scope: &Scope) -> bool {
    scope.isolate.origin.failed_at().is_none() && !feed::is_current(scope)
}

/// Whether a renewal of the document would be begun now: nobody is at it, and it is not left alone.
pub(super) fn may_renew(isolate: &Isolate, name: Name, now_ms: u64) -> bool {
    let mut memory = isolate.documents.borrow_mut();
    isolate.origin.paused_until(now_ms).is_none()
        && memory.setback(name, now_ms).is_none()
        && !memory.being_renewed(name, now_ms)
}

/// Renews, unless another request is at it; the answer does not wait. Begun at once, as others may wait for
/// what is under way.
pub(super) fn renew_later<D: Document>(scope: &Rc<Scope>, name: Name, signers: &Rc<D::Signers>) {
    let now_ms = clock::now_ms();
    if !may_renew(&scope.isolate, name, now_ms) {
        return;
    }
    let mut memory = scope.isolate.documents.borrow_mut();
    memory.begin_renewal(name, now_ms);
    drop(memory);
    let (later, signers) = (Rc::clone(scope), Rc::clone(signers));
    scope.meanwhile(async move {
        // Another isolate may be at it, or have been.
        let crowded = is_crowded(&later);
        if !crowded || claim(&later, &name.origin_path()).await {
            let cached = from_cache::<D>(&later, name, &signers).await;
            if cached.is_none_or(|held| held.freshness(later.now()) != Freshness::Fresh) {
                if crowded {
                    later.claims.add(name);
                }
                renew::<D>(&later, name, &signers, None).await;
            }
        }
        later.isolate.documents.borrow_mut().end_renewal(name);
    });
}

/// Waits while another request renews the document. Its promise can't be awaited here (the
/// runtime forbids it), so this looks again and again, for a while.
pub(super) async fn wait_for_another(scope: &Scope, name: Name) {
    let (mut pause_ms, longest_ms) = LOOK_AGAIN_MS;
    let mut waited_ms = 0;
    while waited_ms < PATIENCE_MS
        && scope
            .isolate
            .documents
            .borrow_mut()
            .being_renewed(name, clock::now_ms())
    {
        bindings::sleep(pause_ms).await;
        scope.read_clock();
        waited_ms += pause_ms;
        pause_ms = (pause_ms * 2).min(longest_ms);
    }
}

async fn ask<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<D::Signers>,
    max_age_s: Option<u32>,
) -> Renewal<D> {
    let held = scope
        .isolate
        .documents
        .borrow_mut()
        .look::<D>(name, signers, scope.now());
    let confirmable = held.filter(|held| may_be_confirmed(scope, held));
    let sent_tag = confirmable.as_ref().and_then(|held| held.etag.clone());
    let call = Call {
        method: "GET",
        if_none_match: sent_tag.as_deref(),
        max_age_s,
        max_answer_bytes: D::MAX_BYTES,
        ..Call::default()
    };
    let Some(reply) = fetch(scope, name, call).await else {
        return Renewal::Failed;
    };
    match (reply.status, confirmable) {
        (200, _) => accept(scope, name, signers, reply).await,
        (304, Some(held)) if sent_tag.is_some() => confirm(scope, name, held, signers),
        (404, _) if reply.problem() == Some(ProblemCode::NotFound) => {
            not_found::<D>(scope, name, signers)
        }
        (status, _) => {
            unusable(scope, name, &format!("status {status}"));
            Renewal::Failed
        }
    }
}

/// The origin's answer to a call for the document, if it is one that it gives to an edge.
async fn fetch(scope: &Rc<Scope>, name: Name, call: Call<'_>) -> Option<Reply> {
    if call.max_age_s.is_none()
        && let Some(reply) = scope.ahead.take(name)
    {
        return Some(reply);
    }
    let path = name.origin_path();
    let call = Call {
        path: &path,
        ..call
    };
    let (mut result, ()) = join(origin::call(scope, call), ahead::ask(scope, name)).await;
    if result.as_ref().is_ok_and(is_refusal) {
        // Once more with a new proof: this one may have been held up on its way.
        result = origin::call(scope, call).await;
    }
    match result {
        Ok(reply) if is_refusal(&reply) => {
            let message = "the origin does not take this edge's calls";
            scope.log(Level::Error, message, &path);
            set_back(scope, name, REFUSED_MS);
        }
        Ok(reply) => return Some(reply),
        Err(CallError::Unusable) => unusable(scope, name, "too large or broken"),
        // A matter of this document alone, for all that is known; the rest is up to `Health`.
        Err(CallError::TimedOut | CallError::Busy { .. }) => {
            set_back(scope, name, origin::pause_ms());
        }
        Err(CallError::Unreachable | CallError::BusyGateway { .. }) => {}
    }
    None
}

/// Whether the origin did not take the call for an edge's. Nothing in a call for a document is a
/// client's, so neither is the fault.
fn is_refusal(reply: &Reply) -> bool {
    matches!(reply.status, 401 | 403)
}

/// Whether the origin's word that a copy is current will do in place of a new one: where only
/// that is asked, and the copy has more than half of its signed life before it.
fn may_be_confirmed<D: Document>(scope: &Scope, held: &Held<D>) -> bool {
    let times = held.document.times();
    let half = times.expires_at.since(times.issued_at) / 2;
    D::CONFIRMED_BY_304 && held.superseded_ms.is_none() && scope.now() < times.issued_at.plus(half)
}

async fn accept<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<D::Signers>,
    reply: Reply,
) -> Renewal<D> {
    let failed = |why: &str| {
        unusable(scope, name, why);
        Renewal::Failed
    };
    let asked_ms = reply.asked_ms;
    let Ok(text) = String::from_utf8(reply.body) else {
        return failed("not text");
    };
    let mut signers = Rc::clone(signers);
    let signed = checked(&text, |kid| D::key(&signers, kid)).await;
    let mut verified = D::verify(signed, name, &signers, scope.now());
    if matches!(verified, Err(DocumentError::UnknownKey))
        && let Some(newer) = D::newer_signers(scope, name).await
    {
        verified = D::verify((&text).into(), name, &newer, scope.now());
        signers = newer;
    }
    let document = match verified {
        Ok(document) => Rc::new(document),
        Err(error) => return failed(&error.to_string()),
    };
    let copy = Held {
        etag: reply.etag.map(Into::into),
        checked_at: scope.now(),
        asked_ms,
        ..Held::stored(document, text.into(), D::generation(&signers))
    };
    let version = copy.document.version();
    let before = (scope.isolate.documents.borrow_mut()).look::<D>(name, &signers, scope.now());
    let held = kept(scope, name, copy);
    // What was asked for before the feed told of a newer one is honestly older.
    if held.word == Word::Outdone && scope.isolate.documents.borrow().told.asked_ms() < asked_ms {
        return failed("a version lower than the feed names");
    }
    // A fresh one of a higher version came by a faster answer to another request.
    if held.document.version() > version && !held.serves(None, scope.now()) {
        return failed("a version lower than the one held");
    }
    // Nobody is told of a revocation that the next isolate would not know of.
    let outdoes = before.is_some_and(|before| before.document.version() < version);
    if outdoes {
        into_cache(scope, name, &held, &signers).await;
    }
    pass_down(scope, name, &held, &signers, outdoes);
    Renewal::Current(held)
}

fn kept<D: Document>(scope: &Scope, name: Name, copy: Held<D>) -> Held<D> {
    let mut memory = scope.isolate.documents.borrow_mut();
    memory.end_setback(name);
    memory.keep(name, copy)
}

/// The origin has nothing newer.
fn confirm<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    held: Held<D>,
    signers: &Rc<D::Signers>,
) -> Renewal<D> {
    let held = Held {
        checked_at: scope.now(),
        ..held
    };
    let held = kept(scope, name, held);
    pass_down(scope, name, &held, signers, false);
    Renewal::Current(held)
}

/// Says nothing against a signed document that still holds: anybody in between can say it, and an
/// origin that was set up anew, too.
fn not_found<D: Document>(scope: &Scope, name: Name, signers: &D::Signers) -> Renewal<D> {
    let mut memory = scope.isolate.documents.borrow_mut();
    let held = memory.look::<D>(name, signers, scope.now());
    drop(memory);
    if held.is_some_and(|held| held.holds(scope.now())) {
        unusable(scope, name, "not found, though a copy of it still holds");
        return Renewal::Failed;
    }
    Renewal::Unknown
}

/// The origin answered, but not with the document. Only this document is left alone for a while:
/// what goes wrong for one organization must not put all of them on stale documents.
pub(super) fn unusable(scope: &Scope, name: Name, why: &str) {
    let detail = format!("{}: {why}", name.origin_path());
    scope.log(Level::Error, "the origin's document can't be used", &detail);
    set_back(scope, name, origin::pause_ms());
}

fn set_back(scope: &Scope, name: Name, pause_ms: u64) {
    let until_ms = clock::now_ms() + pause_ms;
    scope
        .isolate
        .documents
        .borrow_mut()
        .set_back(name, Setback::Unusable, until_ms);
}
