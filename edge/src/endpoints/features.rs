//! `GET /api/v1/licenses/features`: what does this license grant?
//!
//! The answer is a verdict about the license by itself: neither product nor device is asked
//! about, which is `validate`'s part. A no has no features. The tag names the feature set's
//! revision, the license's own values and revision, and what is used of quotas, so a client that has both gets 304 for as long as the
//! license stands: freshness and the token's times are not covered by it, hence it is weak.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
};

use licet_shared::{
    decision::{LicenseToken, Verdict, decide_standing},
    time::Timestamp,
};

use super::validate::{Gathered, at_hand, conclude, gather, grace_may_apply};
use crate::{
    documents::Documents,
    http::{Answer, Fault, Incoming},
    isolate::Scope,
};

/// Answers a verdict with features, or 304.
///
/// # Errors
/// 401 without a bearer token; else as [`validate`](super::validate::handle).
pub(crate) async fn handle(scope: &Rc<Scope>, request: &Incoming) -> Result<Answer, Fault> {
    let text = request.bearer()?;
    let known = request.header("if-none-match");
    let (token, mut documents) = match at_hand(scope, &text, None) {
        Some(both) => both,
        None => match gather(scope, &text, None).await? {
            Gathered::Token(token, documents) => (token, documents),
            Gathered::Refused(code) => {
                let mut verdict = Verdict::refused(code);
                verdict.request_id = Some(scope.request_id.to_string());
                scope.count(&verdict);
                return Ok(Answer::json(&verdict).cache_control("no-store"));
            }
        },
    };
    let code = decide(&token, &documents, scope.now()).code;
    if grace_may_apply(&scope.isolate, &token, &documents, code, scope.now()) {
        documents.ask_the_origin(scope, &token).await;
    }
    let verdict = decide(&token, &documents, scope.now());
    let Some(tag) = tag(&token, &documents, &verdict) else {
        return conclude(scope, &documents, verdict);
    };
    if known.is_some_and(|known| names(&known, &tag)) {
        scope.count(&verdict);
        return Ok(for_revalidation(Answer::empty(304), tag));
    }
    // `no-store` of other verdicts would keep a client from sending the tag back.
    let answer = conclude(scope, &documents, verdict)?;
    Ok(for_revalidation(answer.without("cache-control"), tag))
}

fn decide<'a>(token: &LicenseToken, documents: &'a Documents, now: Timestamp) -> Verdict<'a> {
    documents.conclude(decide_standing(token, &documents.state(), now))
}

fn for_revalidation(answer: Answer, tag: String) -> Answer {
    answer
        .cache_control("private, no-cache")
        .header("etag", tag)
        .header("vary", "authorization")
}

/// The tag of a verdict that shows features.
fn tag(token: &LicenseToken, documents: &Documents, verdict: &Verdict<'_>) -> Option<String> {
    let set = verdict.feature_set.filter(|_| verdict.valid)?;
    let mut tag = format!("W/\"{}.{}", set.id, set.revision);
    let license = token.effective(documents.state().license);
    if let Some(own) = license.own_features.digest() {
        let _ = write!(tag, ".{own}");
    }
    if let Some(revision) = license.revision {
        let _ = write!(tag, ".r{revision}");
    }
    if let Some(quotas) = &verdict.quotas {
        // The same in every isolate.
        let mut used = DefaultHasher::new();
        for (name, quota) in quotas {
            (name, quota.limit, quota.used, quota.period_ends_at).hash(&mut used);
        }
        let _ = write!(tag, ".u{:x}", used.finish());
    }
    tag.push('"');
    Some(tag)
}

/// Whether an `If-None-Match` names the tag, compared weakly (RFC 9110 §13.1.2).
pub(super) fn names(if_none_match: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    if_none_match.trim() == "*"
        || if_none_match
            .split(',')
            .any(|candidate| opaque(candidate) == opaque(tag))
}
