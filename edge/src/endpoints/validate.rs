//! `POST /api/v1/licenses/validate`: may this installation run this product?
//!
//! The hot path, top to bottom. With a token seen before and fresh documents nothing is awaited
//! but the request's body.

use std::rc::Rc;

use licet_shared::{
    api::ValidateRequest,
    decision::{
        Code, Context, LeaseToken, LicenseToken, OriginState, PresentedLease, ShownLease, Verdict,
        decide_verified,
    },
    time::Timestamp,
};

use crate::{
    clock,
    documents::Documents,
    http::{Answer, Fault, Incoming},
    isolate::Scope,
    recognise::{Recognised, recall, recognise},
};

/// Answers a verdict, also when it is a no.
///
/// # Errors
/// 400, 408, 413, 415 for a body that can't be taken; 503 when what the decision needs can't be
/// had, 429 when that is because too many made-up organizations are being asked about.
pub(crate) async fn handle(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    let asked: ValidateRequest = request.json().await?;
    // The sender may have taken its time.
    scope.read_clock();
    let at_hand = Documents::at_hand(scope, &asked.token, asked.max_staleness_s);
    let (token, mut documents) = match at_hand {
        Some(both) => both,
        None => match gather(scope, &asked.token, asked.max_staleness_s).await? {
            Gathered::Token(token, documents) => (token, documents),
            Gathered::Refused(code) => return Ok(answer(scope, Verdict::refused(code))),
        },
    };
    let lease = match &asked.lease {
        Some(text) if documents.terms(&token).lease_required => {
            Some(lease(scope, text, &documents).await?)
        }
        _ => None,
    };
    let context = Context {
        product: &asked.product,
        org: asked.org,
        fingerprint: asked.fingerprint.as_deref(),
        fingerprints: asked.fingerprints.as_ref(),
        require: &asked.require,
        max_staleness_s: asked.max_staleness_s,
        released_at: asked.released_at,
        lease: match &lease {
            None => ShownLease::None,
            Some(None) => ShownLease::Refused,
            Some(Some(lease)) => ShownLease::Verified(lease),
        },
    };
    let verdict = decide(&token, &context, &documents, scope.now());
    if !grace_may_apply(scope, &token, &documents, verdict.code) {
        return conclude(scope, &documents, verdict);
    }
    documents.ask_the_origin(scope, &token).await;
    let verdict = decide(&token, &context, &documents, scope.now());
    conclude(scope, &documents, verdict)
}

/// The lease in a text, if it is one of the documents' organization. One that was sent before is
/// remembered, and nothing is awaited for it.
async fn lease(
    scope: &Rc<Scope>,
    text: &str,
    documents: &Documents,
) -> Result<Option<Rc<LeaseToken>>, Fault> {
    let Some(keys) = documents.state().keys else {
        return Ok(None);
    };
    if let Some(lease) = recall(scope, text, keys) {
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
    match recognise(scope, text).await? {
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
    scope: &Scope,
    token: &LicenseToken,
    documents: &Documents,
    code: Code,
) -> bool {
    matches!(code, Code::TokenExpired | Code::HeartbeatRequired)
        && scope.now() < documents.terms(token).grace_end(token.times())
        && documents.origin != OriginState::Unreachable
        && !scope.isolate.origin.answered_recently(clock::now_ms())
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

fn answer(scope: &Scope, mut verdict: Verdict<'_>) -> Answer {
    verdict.request_id = Some(scope.request_id.to_string());
    Answer::json(&verdict).cache_control("no-store")
}
