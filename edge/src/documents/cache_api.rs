//! The data centre's cache: copies that its isolates share.
//!
//! An entry lives for a day, as last known good. How fresh it is shows in the signed text, or in
//! a note of when the origin was last asked, which can delay a renewal but proves nothing.

use std::{borrow::Cow, rc::Rc};

use licet_shared::time::Timestamp;
use wasm_bindgen_futures::JsFuture;
use worker::{
    wasm_bindgen::{JsCast, JsValue},
    web_sys::Response,
};

use super::{Edition, Name};
use crate::{
    bindings::{DEFAULT_CACHE, thrown},
    http::Answer,
    isolate::Scope,
    log::Level,
};

/// How long an entry can be had: as long as documents live.
pub(super) const KEEP: &str = "max-age=86400";

const CHECKED_AT: &str = "licet-checked-at";
const ETAG: &str = "licet-etag";
const IN_KV: &str = "licet-in-kv";

/// A copy; of one that was read, nobody has vouched for its text yet.
pub(super) struct Copy {
    pub(super) text: Rc<str>,
    pub(super) etag: Option<Rc<str>>,
    pub(super) checked_at: Timestamp,
    pub(super) in_kv: Option<Edition>,
}

/// The cached copy, if there is one.
pub(super) async fn read(scope: &Scope, name: Name) -> Option<Copy> {
    let url = name.cache_url(&scope.isolate.config.platform.issuer);
    match try_read(&url, scope.now()).await {
        Ok(copy) => copy,
        Err(error) => {
            scope.log(Level::Warn, "the cache can't be read", &thrown(&error));
            None
        }
    }
}

/// What an isolate has left here for the others, if anything: no document's copy, and nobody's word.
pub(super) async fn read_note(scope: &Scope, what: &str) -> Option<String> {
    match entry(&note_url(scope, what)).await {
        Ok(entry) => entry.map(|(_, text)| text),
        Err(error) => {
            scope.log(Level::Warn, "the cache can't be read", &thrown(&error));
            None
        }
    }
}

/// Leaves it.
pub(super) async fn write_note(scope: &Scope, what: &str, text: &str, keep: &'static str) {
    let note = Answer::new(200, "text/plain", text.as_bytes().to_vec()).cache_control(keep);
    if let Err(error) = put(&note_url(scope, what), note).await {
        scope.log(Level::Warn, "the cache can't be written", &thrown(&error));
    }
}

/// Takes it away.
pub(super) async fn delete_note(scope: &Scope, what: &str) {
    remove(scope, &note_url(scope, what)).await;
}

fn note_url(scope: &Scope, what: &str) -> String {
    Name::note_url(&scope.isolate.config.platform.issuer, what)
}

async fn entry(url: &str) -> Result<Option<(Response, String)>, JsValue> {
    let cache = DEFAULT_CACHE.with(Clone::clone);
    let Ok(entry) = cache.get(url).await?.dyn_into::<Response>() else {
        return Ok(None);
    };
    let text = JsFuture::from(entry.text()?).await?.as_string();
    Ok(Some((entry, text.unwrap_or_default())))
}

async fn put(url: &str, entry: Answer) -> Result<(), JsValue> {
    let cache = DEFAULT_CACHE.with(Clone::clone);
    cache.put(url, &entry.into_response()?).await.map(drop)
}

async fn try_read(url: &str, now: Timestamp) -> Result<Option<Copy>, JsValue> {
    let Some((entry, text)) = entry(url).await? else {
        return Ok(None);
    };
    let headers = entry.headers();
    let checked_at = headers.get(CHECKED_AT)?.and_then(|text| text.parse().ok());
    Ok(Some(Copy {
        text: text.into(),
        etag: headers.get(ETAG)?.map(Into::into),
        // Never later than now: a note can't put off a renewal for longer than a check does.
        checked_at: Timestamp::from_unix(checked_at.unwrap_or(0)).min(now),
        in_kv: headers.get(IN_KV)?.and_then(|text| read_edition(&text)),
    }))
}

/// Stores a copy.
pub(super) async fn write(scope: &Scope, name: Name, copy: &Copy) {
    let url = name.cache_url(&scope.isolate.config.platform.issuer);
    if let Err(error) = try_write(&url, copy).await {
        scope.log(Level::Warn, "the cache can't be written", &thrown(&error));
    }
}

async fn try_write(url: &str, copy: &Copy) -> Result<(), JsValue> {
    let mut entry = Answer::new(200, "text/plain", copy.text.as_bytes().to_vec())
        .cache_control(KEEP)
        .header(CHECKED_AT, copy.checked_at.unix().to_string());
    if let Some(etag) = &copy.etag {
        entry = entry.header(ETAG, Cow::Owned(etag.to_string()));
    }
    if let Some(edition) = copy.in_kv {
        entry = entry.header(IN_KV, write_edition(edition));
    }
    put(url, entry).await
}

/// Removes a copy that is known to be out of date.
pub(super) async fn delete(scope: &Scope, name: Name) {
    remove(
        scope,
        &name.cache_url(&scope.isolate.config.platform.issuer),
    )
    .await;
}

async fn remove(scope: &Scope, url: &str) {
    let cache = DEFAULT_CACHE.with(Clone::clone);
    if let Err(error) = cache.delete(url).await {
        scope.log(Level::Warn, "the cache can't be written", &thrown(&error));
    }
}

fn write_edition(edition: Edition) -> String {
    format!("{}:{}", edition.version, edition.issued_at.unix())
}

fn read_edition(text: &str) -> Option<Edition> {
    let (version, issued_at) = text.split_once(':')?;
    let issued_at = Timestamp::from_unix(issued_at.parse().ok()?);
    Some(Edition {
        version: version.parse().ok()?,
        issued_at,
    })
}
