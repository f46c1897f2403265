//! Answers: built in Rust, handed to the runtime in one place.

use std::borrow::Cow;

use js_sys::Uint8Array;
use serde::Serialize;
use worker::{
    wasm_bindgen::JsValue,
    web_sys::{Headers, Response, ResponseInit},
};

/// Media type of JSON bodies.
pub(crate) const JSON: &str = "application/json";
/// Of a set of public keys (RFC 7517 §8.5.2).
pub(crate) const JWK_SET: &str = "application/jwk-set+json";
/// Of a status list (Token Status List §8.1).
pub(crate) const STATUS_LIST: &str = "application/statuslist+jwt";
/// Of pages for people.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// An answer that has not been sent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) body: Cow<'static, [u8]>,
}

impl Answer {
    /// An answer without a body.
    pub(crate) const fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Cow::Borrowed(&[]),
        }
    }

    /// An answer with a body of the given media type.
    pub(crate) fn new(
        status: u16,
        media_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let headers = vec![("content-type", Cow::Borrowed(media_type))];
        Self {
            status,
            headers,
            body: body.into(),
        }
    }

    /// 200 with `body` as JSON.
    pub(crate) fn json(body: &impl Serialize) -> Self {
        Self::of_json(200, JSON, body)
    }

    /// `body` as JSON under another status or media type.
    pub(crate) fn of_json(status: u16, media_type: &'static str, body: &impl Serialize) -> Self {
        // Our own types always have a JSON form.
        match licet_edge_hot::json(body) {
            Ok(json) => Self::new(status, media_type, json.into_bytes()),
            Err(_) => Self::empty(500),
        }
    }

    /// With one more header.
    pub(crate) fn header(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Without a header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(present, _)| *present != name);
        self
    }

    /// Without its body, for `HEAD`.
    pub(crate) fn without_body(self) -> Self {
        Self {
            body: Cow::Borrowed(&[]),
            ..self
        }
    }

    /// With a `Cache-Control`.
    pub(crate) fn cache_control(self, value: impl Into<Cow<'static, str>>) -> Self {
        self.header("cache-control", value)
    }

    /// With the word that its media type is not to be guessed at (WHATWG Fetch §3.6).
    pub(crate) fn nosniff(self) -> Self {
        self.header("x-content-type-options", "nosniff")
    }

    /// The runtime's form of this answer.
    ///
    /// # Errors
    /// What the runtime throws at a header it does not like; our own are all plain.
    pub(crate) fn into_response(self) -> Result<Response, JsValue> {
        let init = ResponseInit::new();
        init.set_status(self.status);
        init.set_headers_headers(&self.js_headers()?);
        // A copy on the JavaScript side: the runtime reads it after this memory has moved on.
        let body = (!self.body.is_empty()).then(|| Uint8Array::from(&*self.body));
        Response::new_with_opt_js_u8_array_and_init(body.as_ref(), &init)
    }

    /// The runtime's form of its headers.
    ///
    /// # Errors
    /// As [`into_response`](Self::into_response).
    pub(crate) fn js_headers(&self) -> Result<Headers, JsValue> {
        let headers = Headers::new()?;
        for (name, value) in &self.headers {
            headers.append(name, value)?;
        }
        Ok(headers)
    }
}
