//! Cross-origin requests from browsers (WHATWG Fetch §3.3), allowed by a configured list.

use std::{borrow::Cow, fmt, str::FromStr};

use super::Answer;

/// Response headers that scripts may read besides the few they always may.
const EXPOSED: &str = "x-request-id, etag, retry-after";
/// Request headers that our paths make use of.
const REQUEST_HEADERS: &str = "authorization, content-type, idempotency-key, if-none-match";
/// Seconds a browser may remember a preflight's answer: a day; browsers cut it to what they allow.
const PREFLIGHT_MAX_AGE_S: &str = "86400";

/// Who may call from a browser. No credentials are ever allowed: tokens are sent by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AllowedOrigins {
    /// Every page.
    Any,
    /// Pages of these origins.
    Listed(Vec<String>),
}

/// Not a list of origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AllowedOriginsError;

impl fmt::Display for AllowedOriginsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be `*` or a list such as `https://app.example,https://other.example:8443`",
        )
    }
}

impl FromStr for AllowedOrigins {
    type Err = AllowedOriginsError;

    fn from_str(text: &str) -> Result<Self, AllowedOriginsError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let origins = text.split(',').map(|origin| origin.trim().to_owned());
        let origins: Vec<String> = origins.filter(|origin| !origin.is_empty()).collect();
        let well_formed = |origin: &String| {
            // As browsers write them: lower case, no path, no slash at the end.
            origin.split_once("://").is_some_and(|(scheme, host)| {
                !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '*', '?', '#'])
            }) && !origin
                .chars()
                .any(|c| c.is_ascii_uppercase() || c.is_whitespace())
        };
        if origins.is_empty() || !origins.iter().all(well_formed) {
            return Err(AllowedOriginsError);
        }
        Ok(Self::Listed(origins))
    }
}

impl AllowedOrigins {
    /// Whether the `Origin` header has to be looked at at all.
    pub(crate) const fn depends_on_origin(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// Adds what lets the page at `origin` read the answer.
    pub(crate) fn allow(&self, answer: Answer, origin: Option<String>) -> Answer {
        let allowed = match self {
            Self::Any => Cow::Borrowed("*"),
            Self::Listed(origins) => match origin {
                Some(origin) if origins.contains(&origin) => Cow::Owned(origin),
                _ => return answer.header("vary", "origin"),
            },
        };
        let answer = match self {
            Self::Any => answer,
            Self::Listed(_) => answer.header("vary", "origin"),
        };
        answer
            .header("access-control-allow-origin", allowed)
            .header("access-control-expose-headers", EXPOSED)
    }
}

/// The answer to `OPTIONS` on a path that takes the methods `allowed`, preflight or not.
pub(crate) fn preflight(allowed: &'static str) -> Answer {
    Answer::empty(204)
        .header("allow", allowed)
        .header("access-control-allow-methods", allowed)
        .header("access-control-allow-headers", REQUEST_HEADERS)
        .header("access-control-max-age", PREFLIGHT_MAX_AGE_S)
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{AllowedOrigins, Answer};

    fn allowed(list: &str, origin: Option<&str>) -> Vec<(&'static str, String)> {
        let list: AllowedOrigins = list.parse().unwrap();
        let answer = list.allow(Answer::empty(200), origin.map(Into::into));
        answer
            .headers
            .into_iter()
            .map(|(name, value)| (name, value.into_owned()))
            .collect()
    }

    #[wasm_bindgen_test]
    fn only_listed_pages_may_read() {
        let list = "https://app.example, http://localhost:3000";
        let granted = allowed(list, Some("http://localhost:3000"));
        assert!(granted.contains(&(
            "access-control-allow-origin",
            "http://localhost:3000".into()
        )));
        assert!(granted.contains(&("vary", "origin".into())));
        for origin in [
            None,
            Some("null"),
            Some("https://app.example.evil"),
            Some("https://APP.example"),
            Some("https://app.example:444"),
            Some(""),
        ] {
            assert_eq!(
                allowed(list, origin),
                [("vary", "origin".into())],
                "{origin:?}"
            );
        }
    }

    #[wasm_bindgen_test]
    fn a_star_lets_all_read_and_no_cookies_along() {
        let headers = allowed("*", None);
        assert!(headers.contains(&("access-control-allow-origin", "*".into())));
        assert!(
            headers
                .iter()
                .all(|(name, _)| *name != "access-control-allow-credentials")
        );
    }

    #[wasm_bindgen_test]
    fn lists_that_can_never_match_are_refused() {
        for list in [
            "",
            ",",
            "app.example",
            "https://app.example/",
            "https://*.example",
            "*,https://a.b",
            "https://App.example",
            "https://a.b c",
        ] {
            assert!(list.parse::<AllowedOrigins>().is_err(), "{list}");
        }
    }
}
