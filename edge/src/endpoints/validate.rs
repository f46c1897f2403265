//! `POST /api/v1/licenses/validate`: may this installation run this product?
//!
//! The hot path, top to bottom: [`at_once`]. With a token seen before and fresh documents nothing is
//! awaited but the request's body, which the entry (`entry.js`) has read. Where the very same body was
//! answered before, what it asks is known ([`again`]). Where the token is new, its signature's check is
//! awaited ([`unseen`]). Whatever is not as it should be takes the whole way, [`handle`].

pub(crate) mod again;
#[cfg(test)]
mod tests;
pub(crate) mod unseen;

use std::rc::Rc;

use licet_shared::{
    api::ValidateRequest,
    decision::{
        Code, Context, LeaseToken, LicenseToken, OriginState, PresentedLease, ShownLease, Verdict,
        decide_verified,
    },
    id::RequestId,
    time::Timestamp,
};

use self::{again::Place, unseen::Unseen};
use crate::{
    clock,
    documents::{Ahead, Documents, feed},
    http::{Answer, Fault, Incoming},
    isolate::{Arrival, Isolate, Scope},
    recognise::{Recognised, recall, recognise, recognise_with},
};

/// What comes of a request at once.
pub(crate) enum AtOnce {
    /// The verdict as JSON.
    Answer(String),
    /// One but for the check of the token's signature.
    Unseen(Box<Unseen>),
}

/// Answers from memory; none where the whole way has to be taken. A request whose token was seen before is
/// kept under its ticket.
pub(crate) fn at_once(isolate: &Isolate, body: &[u8], ticket: u64) -> Option<AtOnce> {
    let asked = licet_edge_hot::read_request(body)?;
    let Arrival { clock, request_id } = Arrival::now();
    let now = clock.now();
    let known = isolate.tokens.borrow_mut().recall(&asked.token);
    match known {
        Some(token) => {
            isolate.flood.recalled(now);
            let body_bytes = body.len();
            let place = Some(Place { ticket, body_bytes });
            decide_at_once(isolate, asked, &token, place, now, request_id).map(AtOnce::Answer)
        }
        None if isolate.flood.is_on(now) => None,
        None => Unseen::begin(isolate, asked, now).map(|unseen| AtOnce::Unseen(Box::new(unseen))),
    }
}

/// The verdict on a token whose signature holds, if memory has all else that there is to know.
fn decide_at_once(
    isolate: &Isolate,
    asked: ValidateRequest,
    token: &Rc<LicenseToken>,
    place: Option<Place>,
    now: Timestamp,
    request_id: RequestId,
) -> Option<String> {
    let documents = documents_at_hand(isolate, &asked, token, now)?;
    let lease = match lease_wanted(&asked, token, &documents) {
        Some(text) => Some(Some(recall(isolate, text, documents.keys())?)),
        None => None,
    };
    let verdict = decide(token, &context(&asked, &lease), &documents, now);
    if grace_may_apply(isolate, token, &documents, verdict.code, now) {
        return None;
    }
    isolate.metrics.answered(&verdict);
    if let Some(place) = place {
        let mut answered = isolate.answered.borrow_mut();
        answered.keep(place, asked, token, &verdict, &documents);
    }
    Some(answer_text(verdict, request_id))
}

/// A token's documents, if memory has them and nothing is to be done about them.
fn documents_at_hand(
    isolate: &Isolate,
    asked: &ValidateRequest,
    token: &LicenseToken,
    now: Timestamp,
) -> Option<Documents> {
    let (documents, ageing) = Documents::at_hand(isolate, token, asked.max_staleness_s, now)?;
    // Somebody has to renew what is ageing and to follow the feed: whose request leads there.
    let is_due = ageing.is_due(isolate) || feed::is_due(isolate, clock::now_ms());
    (!is_due).then_some(documents)
}

fn answer_text(verdict: Verdict<'_>, request_id: RequestId) -> String {
    licet_edge_hot::write(&named(verdict, request_id))
}

/// Answers a verdict, also when it is a no.
///
/// # Errors
/// 400, 408, 413, 415 for a body that can't be taken; 503 when what the decision needs can't be
/// had, 429 when that is because too many made-up organizations are being asked about.
pub(crate) async fn handle(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    let asked: ValidateRequest = request.json().await?;
    // The sender may have taken its time.
    scope.read_clock();
    let at_hand = at_hand(scope, &asked.token, asked.max_staleness_s);
    let (token, mut documents) = match at_hand {
        Some(both) => both,
        None => match gather(scope, &asked.token, asked.max_staleness_s).await? {
            Gathered::Token(token, documents) => (token, documents),
            Gathered::Refused(code) => return Ok(answer(scope, Verdict::refused(code))),
        },
    };
    let lease = match lease_wanted(&asked, &token, &documents) {
        Some(text) => Some(lease(scope, text, &documents).await?),
        None => None,
    };
    let context = context(&asked, &lease);
    let now = scope.now();
    let verdict = decide(&token, &context, &documents, now);
    if !grace_may_apply(&scope.isolate, &token, &documents, verdict.code, now) {
        return conclude(scope, &documents, verdict);
    }
    documents.ask_the_origin(scope, &token).await;
    let verdict = decide(&token, &context, &documents, scope.now());
    conclude(scope, &documents, verdict)
}

/// The lease that was sent, where the license asks for one.
fn lease_wanted<'a>(
    asked: &'a ValidateRequest,
    token: &LicenseToken,
    documents: &Documents,
) -> Option<&'a str> {
    let text = asked.lease.as_deref()?;
    documents.terms(token).lease_required.then_some(text)
}

/// What is asked. `lease` is what was found in the text that was sent, if one was wanted.
fn context<'a>(
    asked: &'a ValidateRequest,
    lease: &'a Option<Option<Rc<LeaseToken>>>,
) -> Context<'a> {
    Context {
        product: &asked.product,
        org: asked.org,
        fingerprint: asked.fingerprint.as_deref(),
        fingerprints: asked.fingerprints.as_ref(),
        require: &asked.require,
        max_staleness_s: asked.max_staleness_s,
        released_at: asked.released_at,
        lease: match lease {
            None => ShownLease::None,
            Some(None) => ShownLease::Refused,
            Some(Some(lease)) => ShownLease::Verified(lease),
        },
    }
}

/// The lease in a text, if it is one of the documents' organization. One that was sent before is
/// remembered, and nothing is awaited for it.
async fn lease(
    scope: &Rc<Scope>,
    text: &str,
    documents: &Documents,
) -> Result<Option<Rc<LeaseToken>>, Fault> {
    let keys = documents.keys();
    if let Some(lease) = recall(&scope.isolate, text, keys) {
        return Ok(Some(lease));
    }
    // Nobody else's keys are looked for.
    let org = PresentedLease::parse(text, scope.now()).and_then(|lease| lease.org_tag());
    if org != Ok(keys.tag()) {
        return Ok(None);
    }
    Ok(match recognise(scope, text).await? {
        Recognised::Token(lease, _) => Some(lease),
        Recognised::Refused(_) => None,
    })
}

fn decide<'a>(
    token: &LicenseToken,
    context: &Context<'_>,
    documents: &'a Documents,
    now: Timestamp,
) -> Verdict<'a> {
    documents.conclude(decide_verified(token, context, &documents.state(), now))
}

/// A token and its documents, when memory has all of it fresh. What is ageing is renewed after
/// the response.
pub(super) fn at_hand(
    scope: &Rc<Scope>,
    text: &str,
    max_staleness_s: Option<u32>,
) -> Option<(Rc<LicenseToken>, Documents)> {
    let isolate = &scope.isolate;
    let token = isolate.tokens.borrow_mut().recall(text)?;
    isolate.flood.recalled(scope.now());
    let (documents, ageing) = Documents::at_hand(isolate, &token, max_staleness_s, scope.now())?;
    ageing.renew_later(scope, &documents);
    Some((token, documents))
}

/// A token and its documents, or why there are none.
pub(super) enum Gathered {
    /// A token whose signature holds.
    Token(Rc<LicenseToken>, Documents),
    /// A text that is none.
    Refused(Code),
}

/// The slow path: what memory does not have is had from caches or origin.
pub(super) async fn gather(
    scope: &Rc<Scope>,
    text: &str,
    max_staleness_s: Option<u32>,
) -> Result<Gathered, Fault> {
    match recognise_with(scope, text, Ahead::want).await? {
        Recognised::Token(token, keys) => {
            let documents = Documents::gather(scope, &token, keys, max_staleness_s).await;
            if Documents::withdrew_key_of(scope, &token) {
                return Ok(Gathered::Refused(Code::UnknownKey));
            }
            Ok(Gathered::Token(token, documents))
        }
        Recognised::Refused(code) => Ok(Gathered::Refused(code)),
    }
}

/// Whether the token has ended, or its heartbeat is overdue, but its grace has not, and nobody knows
/// yet whether the origin, which would refresh it, can be reached.
pub(super) fn grace_may_apply(
    isolate: &Isolate,
    token: &LicenseToken,
    documents: &Documents,
    code: Code,
    now: Timestamp,
) -> bool {
    matches!(code, Code::TokenExpired | Code::HeartbeatRequired)
        && now < documents.terms(token).grace_end(token.times())
        && documents.origin != OriginState::Unreachable
        && !isolate.origin.answered_recently(clock::now_ms())
}

/// The verdict as answer, unless it only says that something could not be had.
pub(super) fn conclude(
    scope: &Scope,
    documents: &Documents,
    verdict: Verdict<'_>,
) -> Result<Answer, Fault> {
    if documents.incomplete && matches!(verdict.code, Code::Stale | Code::Valid) {
        return Err(Fault::origin_unreachable(
            "The license's status or features are not known here, and the origin did not answer.",
        ));
    }
    Ok(answer(scope, verdict))
}

fn answer(scope: &Scope, verdict: Verdict<'_>) -> Answer {
    scope.count(&verdict);
    Answer::json(&named(verdict, scope.request_id)).cache_control(CACHE_CONTROL)
}

/// Verdicts are for who asked, and for now.
pub(crate) const CACHE_CONTROL: &str = "no-store";

fn named(mut verdict: Verdict<'_>, request_id: RequestId) -> Verdict<'_> {
    verdict.request_id = Some(request_id.to_string());
    verdict
}
