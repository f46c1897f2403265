//! The client's request: each part crosses from JavaScript only when it is asked for.

use js_sys::Uint8Array;
use licet_shared::api::{self, Body, MAX_BODY_BYTES};
use wasm_bindgen_futures::JsFuture;
use worker::web_sys;

use super::{Fault, ReadError, answer::JSON, read_at_most};

/// A request that came in.
#[derive(Debug)]
pub(crate) struct Incoming {
    request: web_sys::Request,
    method: String,
    url: String,
}

impl Incoming {
    /// Takes the runtime's request.
    pub(crate) fn new(request: web_sys::Request) -> Self {
        Self {
            method: request.method(),
            url: request.url(),
            request,
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
    /// 415 unless it is declared as JSON, 413 above [`MAX_BODY_BYTES`], 400 when it is not what
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
        let declared = self
            .header("content-length")
            .and_then(|text| text.parse::<usize>().ok());
        match declared {
            Some(length) if length > MAX_BODY_BYTES => Err(ReadError::TooLarge),
            // The runtime hands on no more than was declared, so all of it may be taken at once.
            Some(_) => {
                let buffer = JsFuture::from(self.request.array_buffer()?).await?;
                Ok(Uint8Array::new(&buffer).to_vec())
            }
            None => read_at_most(self.request.body(), MAX_BODY_BYTES).await,
        }
    }
}

/// The path of a URL that the runtime has already parsed and written anew.
fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
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
