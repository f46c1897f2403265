//! The key-value store: copies for when neither origin nor cache can answer, as in a data
//! centre that has not served an organization before.
//!
//! It takes one write per second and key, so it is written when a document changes and every few
//! minutes besides, and only after the answer. Read only once the origin has failed.

use js_sys::{Object, Reflect};
use licet_shared::time::Timestamp;
use worker::wasm_bindgen::{JsCast, JsValue};

use super::{Edition, Name};
use crate::{
    bindings::{KvNamespace, thrown},
    isolate::Scope,
    log::Level,
};

const BINDING: &str = "LAST_KNOWN_GOOD";
/// Seconds of signed time after which the stored copy of an unchanged version is written anew.
const REWRITE_S: i64 = 300;
/// Seconds after its own end for which a copy stays: longer than any token's grace is of use.
const KEEP_AFTER_END_S: i64 = 90 * 86_400;
/// The store refuses shorter lives.
const SHORTEST_LIFE_S: i64 = 60;

/// The stored copy, if there is one.
pub(super) async fn read(scope: &Scope, name: Name) -> Option<String> {
    let key = name.kv_key(&scope.isolate.config.platform.issuer);
    match namespace(scope)?.read(&key).await {
        Ok(value) => value.as_string(),
        Err(error) => {
            scope.log(
                Level::Warn,
                "the key-value store can't be read",
                &thrown(&error),
            );
            None
        }
    }
}

/// Whether the stored copy, as far as it is known here, should be replaced by this one.
pub(super) fn is_due(stored: Option<Edition>, current: Edition) -> bool {
    stored.is_none_or(|stored| {
        stored.version < current.version || current.issued_at.since(stored.issued_at) >= REWRITE_S
    })
}

/// Stores a copy that holds until `expires_at`; says whether that worked.
pub(super) async fn write(scope: &Scope, name: Name, text: &str, expires_at: Timestamp) -> bool {
    let Some(namespace) = namespace(scope) else {
        return false;
    };
    let key = name.kv_key(&scope.isolate.config.platform.issuer);
    let end = expires_at.plus(KEEP_AFTER_END_S);
    let life = end.since(scope.now()).max(SHORTEST_LIFE_S);
    let options = Object::new();
    // A plain object takes any property.
    let _ = Reflect::set(
        &options,
        &"expirationTtl".into(),
        &JsValue::from_f64(life as f64),
    );
    let written = namespace.write(&key, text, &options).await;
    if let Err(error) = &written {
        // Another isolate may have been faster within the same second.
        scope.log(
            Level::Warn,
            "the key-value store can't be written",
            &thrown(error),
        );
    }
    written.is_ok()
}

fn namespace(scope: &Scope) -> Option<KvNamespace> {
    let binding = Reflect::get(&scope.env, &JsValue::from_str(BINDING)).ok()?;
    if binding.is_object() {
        return Some(binding.unchecked_into());
    }
    scope.log(
        Level::Error,
        "a binding is missing, so nothing outlives the cache",
        BINDING,
    );
    None
}
