//! What the Worker's entry, `entry.js`, calls besides `fetch`: `validate` in two steps, of which
//! most requests need the first alone.

use js_sys::{Object, Reflect, Uint8Array};
use worker::{
    Context, Env,
    wasm_bindgen::{self, prelude::*},
    web_sys::{Request, Response},
    worker_sys,
};

use crate::{
    endpoints::validate,
    http::{Answer, Incoming, JSON, ReadError},
    isolate::Isolate,
};

/// The answer as JSON, if it can be given at once, from memory: see [`validate::at_once`].
#[wasm_bindgen]
#[must_use]
pub fn validate_at_once(body: &[u8]) -> Option<String> {
    validate::at_once(&*Isolate::running()?, body)
}

/// The headers of such an answer but for its `x-request-id`, which are the same as long as the
/// isolate lives. With `vary` among them, they are not for requests that have an `Origin`.
#[wasm_bindgen]
#[must_use]
pub fn headers_at_once() -> Option<Object> {
    let answer = Answer::new(200, JSON, &[][..])
        .cache_control(validate::CACHE_CONTROL)
        .nosniff();
    let headers = Object::new();
    for (name, value) in Isolate::running()?.config.cors.allow(answer, None).headers {
        Reflect::set(&headers, &name.into(), &(&*value).into()).ok()?;
    }
    Some(headers)
}

/// Answers `validate` the whole way. `body` is what came of reading it: an `Uint8Array`, or
/// `"late"`, or `"broken"`.
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
        None if body == "late" => Err(ReadError::TooSlow),
        None => Err(ReadError::Broken),
    };
    let request = Incoming::with_body(request, read);
    crate::respond(request, env, Context::new(context)).await
}
