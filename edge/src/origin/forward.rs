//! Writes: passed on to the origin under an idempotency key, tried twice, and its answer passed
//! back when it is one that a client may see.

use licet_shared::{
    id::EventId,
    problem::{self, Problem, ProblemCode},
};

use super::{Answered, Call, CallError, Reply, call};
use crate::{
    clock,
    http::{Answer, Fault, Incoming, answer::JSON},
    isolate::Scope,
    log::Level,
    random,
};

const MAX_ANSWER_BYTES: usize = 512 * 1024;
const MAX_IDEMPOTENCY_KEY_CHARS: usize = 255;

/// Passes a write on, and hands back what the origin answered.
///
/// # Errors
/// 400 for an idempotency key that is none; the origin's problem when it is the caller's to
/// mend; else 502, or 503 with `Retry-After`.
pub(crate) async fn forward(
    scope: &Scope,
    request: &Incoming,
    path: &str,
    body: &str,
) -> Result<Answered, Fault> {
    let idempotency_key = idempotency_key(request.header("idempotency-key"))?;
    let client_ip = request.header("cf-connecting-ip");
    let write = Call {
        method: "POST",
        path,
        body: Some(body),
        idempotency_key: Some(&idempotency_key),
        client_ip: client_ip.as_deref(),
        max_answer_bytes: MAX_ANSWER_BYTES,
        ..Call::default()
    };
    let mut retried = false;
    let mut result = call(scope, write).await;
    // Who says that it is busy is not asked again at once.
    if matches!(result, Err(CallError::Unreachable | CallError::TimedOut)) {
        retried = true;
        result = call(scope, write).await;
    }
    match result {
        Ok(reply) => understand(scope, &reply, retried),
        Err(CallError::Unreachable | CallError::TimedOut) => Err(unreachable()),
        Err(CallError::Busy { retry_after_s }) => Err(Fault::busy(retry_after_s)),
        Err(CallError::BusyGateway { retry_after_s }) => {
            Err(unreachable().retry_after(retry_after_s))
        }
        Err(CallError::Unusable) => Err(Fault::origin_error()),
    }
}

/// An answer as the client gets it, under this request's name.
pub(crate) fn answer(scope: &Scope, answered: Answered) -> Answer {
    let answered = answered.under(&scope.request_id.to_string());
    Answer::json(&answered).cache_control("no-store")
}

fn unreachable() -> Fault {
    Fault::origin_unreachable(
        "The origin did not answer. Nothing is known of the outcome: ask again, with the same idempotency key.",
    )
}

/// The caller's key, or a new one: so that the retry here can't act twice.
fn idempotency_key(header: Option<String>) -> Result<String, Fault> {
    match header {
        None => Ok(EventId::new(clock::now_ms(), random::bytes()).to_string()),
        Some(key) if is_idempotency_key(&key) => Ok(key),
        Some(_) => Err(Fault::bad_request(
            "Idempotency-Key: must have 1 to 255 visible ASCII characters",
        )),
    }
}

fn is_idempotency_key(text: &str) -> bool {
    (1..=MAX_IDEMPOTENCY_KEY_CHARS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn understand(scope: &Scope, reply: &Reply, retried: bool) -> Result<Answered, Fault> {
    if reply.status == 200 && reply.media_type == JSON {
        if let Some(answered) = Answered::read(&reply.body) {
            return Ok(answered);
        }
    } else if reply.media_type == problem::MEDIA_TYPE
        && let Ok(problem) = serde_json::from_slice::<Problem>(&reply.body)
        && let Some(fault) = callers_fault(problem, reply.retry_after_s, retried)
    {
        return Err(fault);
    }
    let detail = format!("status {}, {}", reply.status, reply.media_type);
    scope.log(
        Level::Error,
        "the origin's answer to a write can't be used",
        &detail,
    );
    Err(Fault::origin_error())
}

/// A problem of the origin's that the caller can mend. One with the edge's own call is not.
fn callers_fault(problem: Problem, retry_after_s: Option<u32>, retried: bool) -> Option<Fault> {
    match problem.code {
        // Our own first attempt is still at work there.
        ProblemCode::IdempotencyInFlight if retried => Some(unreachable()),
        ProblemCode::RateLimited => Some(Fault::rate_limited(problem.detail, retry_after_s)),
        ProblemCode::BadRequest
        | ProblemCode::Forbidden
        | ProblemCode::Conflict
        | ProblemCode::IdempotencyInFlight
        | ProblemCode::IdempotencyKeyReused
        | ProblemCode::BodyTooLarge
        | ProblemCode::LicenseKeyMalformed => Some(Fault::new(problem.code, problem.detail)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use licet_shared::problem::{Problem, ProblemCode};
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{callers_fault, is_idempotency_key};

    #[wasm_bindgen_test]
    fn idempotency_keys_are_short_and_visible() {
        for good in ["a", "!~", &"k".repeat(255)] {
            assert!(is_idempotency_key(good), "{good}");
        }
        for bad in ["", "a b", "a\tb", "é", &"k".repeat(256)] {
            assert!(!is_idempotency_key(bad), "{bad}");
        }
    }

    #[wasm_bindgen_test]
    fn only_what_the_caller_can_mend_is_passed_on() {
        let passed = [
            ProblemCode::BadRequest,
            ProblemCode::Forbidden,
            ProblemCode::Conflict,
            ProblemCode::IdempotencyInFlight,
            ProblemCode::IdempotencyKeyReused,
            ProblemCode::BodyTooLarge,
            ProblemCode::LicenseKeyMalformed,
            ProblemCode::RateLimited,
        ];
        for code in ProblemCode::ALL {
            let problem = Problem::new(*code, "why", "theirs");
            let fault = callers_fault(problem, None, false);
            assert_eq!(
                fault.map(|fault| fault.code),
                passed.contains(code).then_some(*code)
            );
        }
    }

    #[wasm_bindgen_test]
    fn our_own_first_attempt_in_flight_is_no_conflict_of_the_callers() {
        let problem = Problem::new(ProblemCode::IdempotencyInFlight, "why", "theirs");
        let fault = callers_fault(problem, None, true).unwrap();
        assert_eq!(fault.code, ProblemCode::OriginUnreachable);
    }
}
