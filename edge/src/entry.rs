//! What the Worker's entry, `entry.js`, calls: `validate` at once, which is all that most requests need,
//! and the whole way.

use js_sys::Uint8Array;
use worker::{
    Context, Env,
    wasm_bindgen::{self, prelude::*},
    web_sys::{Headers, Request, Response},
    worker_sys,
};

use crate::{
    endpoints::validate::{self, AtOnce, again},
    http::{Answer, Incoming, JSON, ReadError},
    isolate::Isolate,
};

/// The answer to a body of `length` bytes, as JSON, if it can be given at once, from memory; or a
/// promise, where only the token's signature has to be checked for that: what it comes to belongs
/// to [`validate_checked`], under the same ticket; or `undefined`. See [`validate::at_once`].
///
/// Tickets are whole numbers, which no two requests share.
#[wasm_bindgen]
#[must_use]
pub fn validate_at_once(body: &str, length: u32, ticket: f64) -> JsValue {
    // Else something was replaced that was not UTF-8.
    if body.len() != length as usize {
        return JsValue::UNDEFINED;
    }
    let Some(isolate) = Isolate::running() else {
        return JsValue::UNDEFINED;
    };
    let ticket = ticket as u64;
    match validate::at_once(&isolate, body.as_bytes(), ticket) {
        Some(AtOnce::Answer(json)) => json.into(),
        Some(AtOnce::Unseen(unseen)) => {
            let check = unseen.check().clone();
            isolate.unseen.borrow_mut().keep(ticket, unseen);
            check.into()
        }
        None => JsValue::UNDEFINED,
    }
}

/// The answer as JSON, given whether the signature holds; none where the whole way has to be taken.
#[wasm_bindgen]
#[must_use]
pub fn validate_checked(ticket: f64, holds: bool) -> Option<String> {
    let isolate = Isolate::running()?;
    let unseen = isolate.unseen.borrow_mut().take(ticket as u64)?;
    unseen.conclude(&isolate, holds)
}

/// Whether what was answered at once under this ticket is kept for [`validate_again`].
#[wasm_bindgen]
#[must_use]
pub fn is_kept(ticket: f64) -> bool {
    Isolate::running().is_some_and(|isolate| isolate.answered.borrow_mut().has(ticket as u64))
}

/// The answer, from its member `freshness` on, to the very body that was answered under this ticket. All
/// before that is as it was; else there is none. See [`again::answer`].
#[wasm_bindgen]
#[must_use]
pub fn validate_again(ticket: f64) -> Option<String> {
    again::answer(&*Isolate::running()?, ticket as u64)
}

/// The headers of such an answer but for its `x-request-id`, which are the same as long as the
/// isolate lives; none before that has read its settings. Those that only a browser reads, CORS and
/// `nosniff`, are left out for who sends no `Origin`, which browsers send with each `POST`; with `vary`
/// among these, it depends on the page.
///
/// # Errors
/// What the runtime throws at a header it does not like; our own are all plain.
#[wasm_bindgen]
pub fn headers_at_once(for_pages: bool) -> Result<Option<Headers>, JsValue> {
    let Some(isolate) = Isolate::running() else {
        return Ok(None);
    };
    let cors = &isolate.config.cors;
    let answer = Answer::new(200, JSON, &[][..]).cache_control(validate::CACHE_CONTROL);
    let answer = if for_pages || cors.depends_on_origin() {
        cors.allow(answer.nosniff(), None)
    } else {
        answer
    };
    answer.js_headers().map(Some)
}

/// Answers a request the whole way.
///
/// # Errors
/// What the runtime throws at an answer it does not like.
#[wasm_bindgen]
pub async fn fetch(
    request: Request,
    env: Env,
    context: worker_sys::Context,
) -> Result<Response, JsValue> {
    crate::respond(Incoming::new(request), env, Context::new(context)).await
}

/// Answers `validate` the whole way. `body` is what came of reading it: an `Uint8Array`, or
/// `null` where it came too late, or `undefined` where it broke off.
///
/// # Errors
/// As `fetch`.
#[wasm_bindgen]
pub async fn validate_read(
    request: Request,
    body: JsValue,
    env: Env,
    context: worker_sys::Context,
) -> Result<Response, JsValue> {
    let read = match body.dyn_ref::<Uint8Array>() {
        Some(bytes) => Ok(bytes.to_vec()),
        None if body.is_null() => Err(ReadError::TooSlow),
        None => Err(ReadError::Broken),
    };
    let request = Incoming::with_body(request, read);
    crate::respond(request, env, Context::new(context)).await
}
