//! Requests that can't be answered: the only way a handler says no without a verdict.

use std::borrow::Cow;

use licet_shared::{
    id::RequestId,
    problem::{MEDIA_TYPE, Problem, ProblemCode},
};

use super::{Answer, ReadError};

/// Seconds after which a client may well try again when the origin was out of reach.
const RETRY_AFTER_S: u32 = 5;

/// A problem on its way to the client, with the headers its code calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ProblemCode,
    detail: Cow<'static, str>,
    header: Option<(&'static str, Cow<'static, str>)>,
}

impl Fault {
    /// A problem and what happened here. The text reaches the client: it names no cause of ours.
    pub(crate) fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            header: None,
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// 400.
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::BadRequest, detail)
    }

    /// 401 for lack of a bearer token (RFC 6750 §3).
    pub(crate) fn no_bearer() -> Self {
        let detail = "Send the license token as `Authorization: Bearer <token>`.";
        Self::new(ProblemCode::Unauthorized, detail).with("www-authenticate", "Bearer")
    }

    /// 401 for lack of the operator's token.
    pub(crate) fn no_metrics_token() -> Self {
        let detail =
            "Send the token that is set as METRICS_TOKEN: `Authorization: Bearer <token>`.";
        Self::new(ProblemCode::Unauthorized, detail).with("www-authenticate", "Bearer")
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::NotFound, detail)
    }

    /// 405, with the methods there are.
    pub(crate) fn method_not_allowed(allowed: &'static str) -> Self {
        let detail = format!("This path takes {allowed}.");
        Self::new(ProblemCode::MethodNotAllowed, detail).with("allow", allowed)
    }

    /// 413.
    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("A body may have at most {limit} bytes.");
        Self::new(ProblemCode::BodyTooLarge, detail)
    }

    /// 415.
    pub(crate) fn not_json() -> Self {
        let detail = "Send JSON and say so: `Content-Type: application/json`.";
        Self::new(ProblemCode::UnsupportedMediaType, detail)
    }

    /// 429, with the seconds that the origin named.
    pub(crate) fn rate_limited(
        detail: impl Into<Cow<'static, str>>,
        retry_after_s: Option<u32>,
    ) -> Self {
        Self::new(ProblemCode::RateLimited, detail).retry_after(retry_after_s.or(Some(1)))
    }

    /// 429 of our own, for names that may not exist.
    pub(crate) fn rationed() -> Self {
        let detail = "This organization or list is not known here, and too many that do not exist are being asked for. Ask again in a moment.";
        Self::rate_limited(detail, None)
    }

    /// 503 of an origin that is busy, with the seconds that it named.
    pub(crate) fn busy(retry_after_s: Option<u32>) -> Self {
        let detail = "The origin is busy. Ask again in a moment, with the same idempotency key.";
        Self::new(ProblemCode::Unavailable, detail)
            .retry_after(retry_after_s.or(Some(RETRY_AFTER_S)))
    }

    /// With the seconds after which to ask again, where they are known.
    pub(crate) fn retry_after(self, seconds: Option<u32>) -> Self {
        match seconds {
            Some(seconds) => self.with("retry-after", seconds.to_string()),
            None => self,
        }
    }

    /// 500 for settings that can't be used; the log says which.
    pub(crate) fn misconfigured() -> Self {
        let detail = "This edge is not set up correctly. Its operator finds the reason in its log.";
        Self::new(ProblemCode::Internal, detail)
    }

    /// 500.
    pub(crate) fn internal() -> Self {
        let detail = "The request failed here. Its id leads to the reason in the log.";
        Self::new(ProblemCode::Internal, detail)
    }

    /// 502.
    pub(crate) fn origin_error() -> Self {
        let detail = "The origin answered with something that can't be used. Nothing is known of the outcome.";
        Self::new(ProblemCode::OriginError, detail)
    }

    /// 503 with `Retry-After`, for lack of `what`.
    pub(crate) fn origin_unreachable(detail: &'static str) -> Self {
        Self::new(ProblemCode::OriginUnreachable, detail).retry_after(Some(RETRY_AFTER_S))
    }

    /// The problem as an answer to the request of that name.
    pub(crate) fn into_answer(self, request_id: RequestId) -> Answer {
        let problem = Problem::new(self.code, self.detail, request_id.to_string());
        let answer =
            Answer::of_json(problem.status, MEDIA_TYPE, &problem).cache_control("no-store");
        match self.header {
            Some((name, value)) => answer.header(name, value),
            None => answer,
        }
    }
}

impl Fault {
    /// What a client's body that can't be read is answered with.
    pub(crate) fn unreadable(error: ReadError, limit: usize) -> Self {
        match error {
            ReadError::TooLarge => Self::too_large(limit),
            ReadError::TooSlow => Self::new(
                ProblemCode::RequestTimeout,
                "The body did not arrive in time. Send it again, all at once.",
            ),
            ReadError::Broken => Self::bad_request("The body broke off before its end."),
        }
    }
}

#[cfg(test)]
mod tests {
    use licet_shared::{id::RequestId, problem::Problem};
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::Fault;

    #[wasm_bindgen_test]
    fn every_fault_is_a_problem_with_code_and_request_id() {
        let id = RequestId::new(1, [7; 10]);
        for (fault, status, header) in [
            (Fault::bad_request("product: must not be empty"), 400, None),
            (
                Fault::no_bearer(),
                401,
                Some(("www-authenticate", "Bearer")),
            ),
            (Fault::not_found("x"), 404, None),
            (
                Fault::method_not_allowed("POST, OPTIONS"),
                405,
                Some(("allow", "POST, OPTIONS")),
            ),
            (Fault::too_large(7), 413, None),
            (Fault::not_json(), 415, None),
            (
                Fault::rate_limited("x", Some(17)),
                429,
                Some(("retry-after", "17")),
            ),
            (Fault::rationed(), 429, Some(("retry-after", "1"))),
            (Fault::busy(Some(17)), 503, Some(("retry-after", "17"))),
            (Fault::busy(None), 503, Some(("retry-after", "5"))),
            (
                Fault::origin_unreachable("x").retry_after(Some(17)),
                503,
                Some(("retry-after", "17")),
            ),
            (
                Fault::unreadable(crate::http::ReadError::TooSlow, 7),
                408,
                None,
            ),
            (Fault::internal(), 500, None),
            (Fault::misconfigured(), 500, None),
            (Fault::origin_error(), 502, None),
            (
                Fault::origin_unreachable("x"),
                503,
                Some(("retry-after", "5")),
            ),
        ] {
            let code = fault.code;
            let answer = fault.into_answer(id);
            let problem: Problem = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(
                (answer.status, problem.status, problem.code),
                (status, status, code)
            );
            assert_eq!(problem.request_id, id.to_string());
            let has = |name: &str, value: &str| {
                answer.headers.iter().any(|(n, v)| *n == name && v == value)
            };
            assert!(has("content-type", "application/problem+json"), "{code:?}");
            assert!(has("cache-control", "no-store"), "{code:?}");
            assert!(
                header.is_none_or(|(name, value)| has(name, value)),
                "{code:?}"
            );
        }
    }
}
