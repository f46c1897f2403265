//! The client's request: each part crosses from JavaScript only when it is asked for.

use js_sys::Uint8Array;
use licet_shared::api::{self, Body, MAX_BODY_BYTES};
use worker::web_sys;

use super::{
    Fault, ReadError,
    answer::JSON,
    body::{in_time, read_at_most},
};
use crate::clock;

/// Milliseconds within which a body must have come in.
const BODY_MS: u64 = 10_000;

/// A request that came in.
#[derive(Debug)]
pub(crate) struct Incoming {
    request: web_sys::Request,
    method: String,
    url: String,
    /// What came of reading the body, where that has been done before.
    read: Option<Result<Vec<u8>, ReadError>>,
}

impl Incoming {
    /// Takes the runtime's request.
    pub(crate) fn new(request: web_sys::Request) -> Self {
        Self {
            method: request.method(),
            url: request.url(),
            request,
            read: None,
        }
    }

    /// Takes the runtime's request, whose body has been read.
    pub(crate) fn with_body(request: web_sys::Request, read: Result<Vec<u8>, ReadError>) -> Self {
        Self {
            read: Some(read),
            ..Self::new(request)
        }
    }

    /// The method, in upper case.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// The path, as it stands in the URL.
    pub(crate) fn path(&self) -> &str {
        path_of(&self.url)
    }

    /// A header's value, if there is one.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.request.headers().get(name).ok().flatten()
    }

    /// The JSON body.
    ///
    /// # Errors
    /// 415 unless it is declared as JSON, 413 above [`MAX_BODY_BYTES`], 408 when it does not come, 400 when it is not what
    /// `T` wants, naming the field.
    pub(crate) async fn json<T: Body>(&self) -> Result<T, Fault> {
        if !self
            .header("content-type")
            .is_some_and(|value| is_json(&value))
        {
            return Err(Fault::not_json());
        }
        let bytes = self
            .bytes()
            .await
            .map_err(|error| Fault::unreadable(error, MAX_BODY_BYTES))?;
        api::parse(&bytes).map_err(|error| Fault::bad_request(error.to_string()))
    }

    /// The token in `Authorization: Bearer` (RFC 6750 §2.1).
    ///
    /// # Errors
    /// 401 when there is none.
    pub(crate) fn bearer(&self) -> Result<String, Fault> {
        let header = self.header("authorization").ok_or_else(Fault::no_bearer)?;
        bearer_token(&header)
            .map(str::to_owned)
            .ok_or_else(Fault::no_bearer)
    }

    async fn bytes(&self) -> Result<Vec<u8>, ReadError> {
        if let Some(read) = &self.read {
            return read.clone();
        }
        let until_ms = clock::now_ms() + BODY_MS;
        let declared = self
            .header("content-length")
            .and_then(|text| text.parse::<usize>().ok());
        match declared {
            Some(length) if length > MAX_BODY_BYTES => Err(ReadError::TooLarge),
            // The runtime hands on no more than was declared, so all of it may be taken at once.
            Some(_) => {
                let buffer = in_time(&self.request.array_buffer()?, until_ms).await?;
                Ok(Uint8Array::new(&buffer).to_vec())
            }
            None => read_at_most(self.request.body(), MAX_BODY_BYTES, until_ms).await,
        }
    }
}

/// The path of a URL that the runtime has already parsed and written anew.
fn path_of(url: &str) -> &str {
    // Not by "://": a search for a text is 2 KB of code, which the first request would have compiled.
    let scheme_and_rest = url.split_once(':');
    let after_scheme = scheme_and_rest.map_or(url, |(_, rest)| rest.trim_start_matches('/'));
    let path = after_scheme
        .find('/')
        .and_then(|start| after_scheme.get(start..))
        .unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or(path)
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(JSON)
}

fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use licet_shared::{
        api::{MAX_BODY_BYTES, ValidateRequest},
        problem::ProblemCode,
    };
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{bearer_token, is_json, path_of};
    use crate::testing::post;

    async fn refused(headers: &[(&str, &str)], body: &str) -> ProblemCode {
        post("/x", headers, body)
            .json::<ValidateRequest>()
            .await
            .unwrap_err()
            .code
    }

    #[wasm_bindgen_test]
    fn paths_end_before_query_and_fragment() {
        for (url, path) in [
            ("https://h/a/b?c=/d", "/a/b"),
            ("https://h:1/a#/b", "/a"),
            ("https://h", "/"),
            ("https://h/", "/"),
            ("https://h?x", "/"),
            ("", "/"),
        ] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }

    #[wasm_bindgen_test]
    fn json_may_name_a_charset() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            " application/json;",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonp",
            "text/plain; application/json",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }

    #[wasm_bindgen_test]
    fn a_bearer_token_stands_after_its_scheme() {
        assert_eq!(bearer_token("Bearer abc"), Some("abc"));
        assert_eq!(bearer_token("bearer   abc "), Some("abc"));
        for bad in ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearerabc"] {
            assert_eq!(bearer_token(bad), None, "{bad}");
        }
    }

    #[wasm_bindgen_test]
    async fn bodies_are_bounded_however_long_they_say_they_are() {
        let json = ("content-type", "application/json");
        let long = " ".repeat(MAX_BODY_BYTES + 1);
        assert_eq!(refused(&[json], &long).await, ProblemCode::BodyTooLarge);
        let declared = [json, ("content-length", "65537")];
        assert_eq!(refused(&declared, "{}").await, ProblemCode::BodyTooLarge);
        let full = " ".repeat(MAX_BODY_BYTES);
        assert_eq!(refused(&[json], &full).await, ProblemCode::BadRequest);
        assert_eq!(
            refused(&[("content-type", "text/plain")], "{}").await,
            ProblemCode::UnsupportedMediaType
        );
        assert_eq!(
            refused(&[json], "{\"token\":").await,
            ProblemCode::BadRequest
        );
    }

    #[wasm_bindgen_test]
    async fn a_body_is_read_with_and_without_a_length() {
        let body = r#"{"token":"é","product":"p"}"#;
        for length in [None, Some(body.len().to_string())] {
            let mut headers = vec![("content-type", "application/json")];
            headers.extend(length.as_deref().map(|length| ("content-length", length)));
            let read: ValidateRequest = post("/x", &headers, body).json().await.unwrap();
            assert_eq!((read.token.as_str(), read.product.as_str()), ("é", "p"));
        }
    }
}
