//! License files: who may go on by one, and who may not.
//!
//! `tests/vectors/license_file.json` is what every implementation is held against, as with the
//! decision's own; `LICET_BLESS=1 cargo test -p licet-shared --test license_file` writes it anew.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
#[cfg(not(target_arch = "wasm32"))]
mod cases;
mod world;

use std::collections::BTreeMap;

use licet_shared::{
    decision::Context,
    documents::PlatformKeys,
    id::OrgTag,
    license_file::{Trust, decide},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use support::both_targets;

/// The file as it is committed.
#[derive(Serialize, Deserialize)]
struct Vectors {
    about: String,
    platform_keys: String,
    org: OrgTag,
    /// License files by name; cases name them.
    files: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
struct Case {
    name: String,
    file: String,
    context: CaseContext,
    newest_seen: Option<i64>,
    now: i64,
    verdict: Value,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct CaseContext {
    product: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    require: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_staleness_s: Option<u32>,
}

impl Vectors {
    fn judge(&self, case: &Case) -> Value {
        let platform_keys: PlatformKeys = self.platform_keys.parse().unwrap();
        let trust = Trust {
            platform_keys: &platform_keys,
            org: self.org,
        };
        let context = Context {
            product: &case.context.product,
            fingerprint: case.context.fingerprint.as_deref(),
            require: &case.context.require,
            max_staleness_s: case.context.max_staleness_s,
            ..Context::default()
        };
        let seen = case.newest_seen.map(Timestamp::from_unix);
        let now = Timestamp::from_unix(case.now);
        let text = &self.files[&case.file];
        serde_json::to_value(decide(text, trust, &context, seen, now)).unwrap()
    }
}

const COMMITTED: &str = include_str!("../../../tests/vectors/license_file.json");

both_targets! {
    fn every_committed_vector_gets_its_verdict() {
        let vectors: Vectors = serde_json::from_str(COMMITTED).unwrap();
        assert!(vectors.cases.len() >= 40, "only {} cases", vectors.cases.len());
        for case in &vectors.cases {
            assert_eq!(vectors.judge(case), case.verdict, "{}", case.name);
        }
    }
}
