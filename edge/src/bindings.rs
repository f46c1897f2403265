//! The runtime's objects that this Worker calls by itself: the same calls through the `worker`
//! crate would bring in its streams, its URL parser and its serialiser.

use js_sys::{Array, Function, Promise};
use wasm_bindgen_futures::JsFuture;
use worker::{
    wasm_bindgen::{self, prelude::*},
    web_sys::{RequestInit, Response},
};

#[wasm_bindgen]
extern "C" {
    /// The data centre's cache.
    #[derive(Clone, Debug)]
    pub(crate) type Cache;

    #[wasm_bindgen(thread_local_v2, js_namespace = caches, js_name = default)]
    pub(crate) static DEFAULT_CACHE: Cache;

    #[wasm_bindgen(method, catch, js_name = match)]
    pub(crate) async fn get(this: &Cache, url: &str) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) async fn put(this: &Cache, url: &str, entry: &Response) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) async fn delete(this: &Cache, url: &str) -> Result<JsValue, JsValue>;

    /// A namespace of the key-value store.
    #[derive(Clone, Debug)]
    pub(crate) type KvNamespace;

    #[wasm_bindgen(method, catch, js_name = get)]
    pub(crate) async fn read(this: &KvNamespace, key: &str) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = put)]
    pub(crate) async fn write(
        this: &KvNamespace,
        key: &str,
        value: &str,
        options: &JsValue,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: u32) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);

    #[wasm_bindgen(catch, js_name = fetch)]
    pub(crate) async fn fetch(url: &str, init: &RequestInit) -> Result<JsValue, JsValue>;
}

/// Waits. Ends early only where the runtime has no timers.
pub(crate) async fn sleep(milliseconds: u32) {
    let promise = Promise::new(&mut |resolve, _| {
        set_timeout(&resolve, milliseconds);
    });
    let _ = JsFuture::from(promise).await;
}

/// What `work` settles to, which is never `undefined`; nothing when that takes longer.
///
/// The race is run in JavaScript: a future of a promise that never settles would never be freed.
pub(crate) async fn within(milliseconds: u32, work: &Promise) -> Option<Result<JsValue, JsValue>> {
    let mut timer = JsValue::UNDEFINED;
    let over = Promise::new(&mut |resolve, _| timer = set_timeout(&resolve, milliseconds));
    let first = JsFuture::from(Promise::race(&Array::of2(work, &over))).await;
    clear_timeout(&timer);
    match first {
        Ok(value) if value.is_undefined() => None,
        settled => Some(settled),
    }
}

/// What the runtime threw, for the log.
pub(crate) fn thrown(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map_or_else(
        || error.as_string().unwrap_or_default(),
        |error| String::from(error.message()),
    )
}
