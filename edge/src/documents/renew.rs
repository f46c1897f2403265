//! Getting a document from the origin: once per isolate at a time, verified before it is kept,
//! and passed down to the caches after the answer.

use std::rc::Rc;

use licet_shared::{
    documents::DocumentError,
    problem::{MEDIA_TYPE, Problem, ProblemCode},
};

use super::{Document, Held, Name, cache_api, kv, memory::Setback};
use crate::{
    bindings, clock,
    isolate::Scope,
    log::Level,
    origin::{self, Call, CallError, Reply},
};

/// How long "the origin has no such document" is believed.
const UNKNOWN_MS: u64 = 5_000;
/// First and longest pause between two looks at whether another request is done.
const LOOK_AGAIN_MS: (u32, u32) = (4, 64);
/// How long to look. Not as long as a call may take: the other request may have been cancelled.
const PATIENCE_MS: u32 = 500;

/// How a renewal ended.
pub(super) enum Renewal<D> {
    /// With the newest copy there is.
    Current(Held<D>),
    /// The origin has no such document.
    Unknown,
    /// The origin can't be asked, or its answer can't be used.
    Failed,
}

/// Asks the origin. With `max_age_s` it signs anew what it signed longer ago than that.
pub(super) async fn renew<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<D::Signers>,
    max_age_s: Option<u32>,
) -> Renewal<D> {
    let isolate = &scope.isolate;
    let now_ms = clock::now_ms();
    match isolate.documents.borrow_mut().setback(name, now_ms) {
        Some(Setback::Unknown) => return Renewal::Unknown,
        Some(Setback::Unusable) => return Renewal::Failed,
        None => {}
    }
    if !isolate
        .origin
        .may_be_asked(now_ms, isolate.config.origin_timeout_ms)
    {
        return Renewal::Failed;
    }
    isolate.documents.borrow_mut().begin_renewal(name, now_ms);
    let renewal = ask(scope, name, signers, max_age_s).await;
    isolate.documents.borrow_mut().end_renewal(name);
    renewal
}

/// Renews after the response, unless another request is at it.
pub(super) fn renew_later<D: Document>(scope: &Rc<Scope>, name: Name, signers: &Rc<D::Signers>) {
    let now_ms = clock::now_ms();
    let mut memory = scope.isolate.documents.borrow_mut();
    let hopeless = scope.isolate.origin.paused_until(now_ms).is_some()
        || memory.setback(name, now_ms).is_some();
    if hopeless || !memory.begin_renewal(name, now_ms) {
        return;
    }
    let (later, signers) = (Rc::clone(scope), Rc::clone(signers));
    scope.after_response(async move {
        renew::<D>(&later, name, &signers, None).await;
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
        .look::<D>(name, signers, scope.now);
    let confirmable = held.filter(|held| may_be_confirmed(scope, held));
    let sent_tag = confirmable.as_ref().and_then(|held| held.etag.clone());
    let path = name.origin_path();
    let call = Call {
        method: "GET",
        path: &path,
        if_none_match: sent_tag.as_deref(),
        max_age_s,
        max_answer_bytes: D::MAX_BYTES,
        ..Call::default()
    };
    let asked_ms = clock::now_ms();
    let reply = match origin::call(scope, call).await {
        Ok(reply) => reply,
        Err(CallError::Unreachable) => return Renewal::Failed,
        Err(CallError::Unusable) => return unusable(scope, name, "too large or broken"),
    };
    match (reply.status, confirmable) {
        (200, _) => accept(scope, name, signers, reply, asked_ms).await,
        (304, Some(held)) if sent_tag.is_some() => confirm(scope, name, held),
        (404, _) if says_not_found(&reply) => gone::<D>(scope, name),
        (status, _) => unusable(scope, name, &format!("status {status}")),
    }
}

/// Whether the origin's word that a copy is current will do in place of a new one: where only
/// that is asked, and the copy has more than half of its signed life before it.
fn may_be_confirmed<D: Document>(scope: &Scope, held: &Held<D>) -> bool {
    let times = held.document.times();
    let half = times.expires_at.since(times.issued_at) / 2;
    D::CONFIRMED_BY_304 && held.superseded_ms.is_none() && scope.now < times.issued_at.plus(half)
}

async fn accept<D: Document>(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<D::Signers>,
    reply: Reply,
    asked_ms: u64,
) -> Renewal<D> {
    let Ok(text) = String::from_utf8(reply.body) else {
        return unusable(scope, name, "not text");
    };
    let mut signers = Rc::clone(signers);
    let mut verified = D::verify(&text, name, &signers, scope.now);
    if matches!(verified, Err(DocumentError::UnknownKey))
        && let Some(newer) = D::newer_signers(scope, name).await
    {
        verified = D::verify(&text, name, &newer, scope.now);
        signers = newer;
    }
    let document = match verified {
        Ok(document) => Rc::new(document),
        Err(error) => return unusable(scope, name, &error.to_string()),
    };
    let copy = Held {
        etag: reply.etag.map(Into::into),
        checked_at: scope.now,
        asked_ms,
        ..Held::stored(document, text, D::generation(&signers))
    };
    let version = copy.document.version();
    let held = scope.isolate.documents.borrow_mut().keep(name, copy);
    // A fresh one of a higher version came by a faster answer to another request.
    if held.document.version() > version && !held.serves(None, scope.now) {
        return unusable(scope, name, "a version lower than the one held");
    }
    pass_down(scope, name, &held);
    Renewal::Current(held)
}

/// The origin has nothing newer.
fn confirm<D: Document>(scope: &Rc<Scope>, name: Name, held: Held<D>) -> Renewal<D> {
    let held = Held {
        checked_at: scope.now,
        ..held
    };
    let held = scope.isolate.documents.borrow_mut().keep(name, held);
    pass_down(scope, name, &held);
    Renewal::Current(held)
}

fn says_not_found(reply: &Reply) -> bool {
    // Any proxy can say 404; only the origin says it like this.
    reply.media_type == MEDIA_TYPE
        && serde_json::from_slice::<Problem>(&reply.body)
            .is_ok_and(|problem| problem.code == ProblemCode::NotFound)
}

/// The origin has no such document, or has it no more: then no tier may bring it back.
fn gone<D: Document>(scope: &Rc<Scope>, name: Name) -> Renewal<D> {
    let mut memory = scope.isolate.documents.borrow_mut();
    let was_held = memory.forget::<D>(name);
    memory.set_back(name, Setback::Unknown, clock::now_ms() + UNKNOWN_MS);
    if was_held {
        let later = Rc::clone(scope);
        scope.after_response(async move {
            cache_api::delete(&later, name).await;
            kv::delete(&later, name).await;
        });
    }
    Renewal::Unknown
}

/// The origin answered, but not with the document. Only this document is left alone for a while:
/// what goes wrong for one organization must not put all of them on stale documents.
fn unusable<D>(scope: &Scope, name: Name, why: &str) -> Renewal<D> {
    let detail = format!("{}: {why}", name.origin_path());
    scope.log(Level::Error, "the origin's document can't be used", &detail);
    let until_ms = clock::now_ms() + origin::pause_ms();
    scope
        .isolate
        .documents
        .borrow_mut()
        .set_back(name, Setback::Unusable, until_ms);
    Renewal::Failed
}

/// Hands a copy to the lower tiers, after the response.
fn pass_down<D: Document>(scope: &Rc<Scope>, name: Name, held: &Held<D>) {
    let (later, mut held) = (Rc::clone(scope), held.clone());
    scope.after_response(async move {
        let edition = held.document.edition();
        if kv::is_due(held.in_kv, edition) && kv::write(&later, name, &held).await {
            held.in_kv = Some(edition);
            let mut memory = later.isolate.documents.borrow_mut();
            memory.note::<D>(name, |held| held.in_kv = held.in_kv.max(Some(edition)));
        }
        cache_api::write(&later, name, &held).await;
    });
}
