//! The conformance vectors of the decision, on both targets.
//!
//! `tests/vectors/decision.json` is what every implementation is held against. The cases it is
//! made from stand in `cases.rs`; `LICET_BLESS=1 cargo test -p licet-shared --test decision`
//! writes it anew, and a plain test run fails when the two differ.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(not(target_arch = "wasm32"))]
mod cases;
#[cfg(not(target_arch = "wasm32"))]
mod generate;
#[cfg(not(target_arch = "wasm32"))]
mod world;

use std::collections::BTreeMap;

use licet_shared::{
    components::Components,
    decision::{Code, Context, LicenseToken, OriginState, ShownLease, Source, State, decide, rule},
    documents::{FeatureSet, LicenseState, OrgKeys, PlatformKeys, StatusDocument},
    id::{FeatureSetId, LicenseId, OrgTag},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use support::both_targets;

/// The file as it is committed.
#[derive(Serialize, Deserialize)]
struct Vectors {
    about: String,
    issuer: String,
    platform_keys: String,
    org: OrgTag,
    feature_set: FeatureSetId,
    license: LicenseId,
    status_list: String,
    /// Signed documents by name; cases name them.
    documents: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
struct Case {
    name: String,
    now: i64,
    token: String,
    context: CaseContext,
    state: CaseState,
    verdict: Value,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct CaseContext {
    product: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    org: Option<OrgTag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprints: Option<Components>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    require: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_staleness_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    released_at: Option<Timestamp>,
}

#[derive(Clone, Serialize, Deserialize)]
struct CaseState {
    keys: Option<String>,
    status_list: Option<String>,
    /// As of when the list is known not to have changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_unchanged_at: Option<i64>,
    /// The license's own document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    license: Option<String>,
    features: Option<String>,
    /// Which set the features are of, where it is another than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    feature_set: Option<FeatureSetId>,
    source: Source,
    origin: OriginState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest_evidence: Option<i64>,
}

impl Vectors {
    /// Verifies a case's documents, decides, and gives the verdict as JSON.
    fn judge(&self, case: &Case) -> Value {
        let now = Timestamp::from_unix(case.now);
        let text = |name: &Option<String>| name.as_ref().map(|name| self.documents[name].as_str());
        let platform: PlatformKeys = self.platform_keys.parse().unwrap();
        let keys = text(&case.state.keys).map(|text| {
            OrgKeys::verify(text.into(), &self.issuer, self.org, &platform, now).unwrap()
        });
        let org_keys = || keys.as_ref().unwrap();
        let status_list = text(&case.state.status_list).map(|text| {
            StatusDocument::verify(text.into(), &self.status_list, org_keys(), now).unwrap()
        });
        let license = text(&case.state.license)
            .map(|text| LicenseState::verify(text.into(), self.license, org_keys(), now).unwrap());
        let set = case.state.feature_set.unwrap_or(self.feature_set);
        let features = text(&case.state.features)
            .map(|text| FeatureSet::verify(text.into(), set, org_keys(), now).unwrap());
        let context = Context {
            product: &case.context.product,
            org: case.context.org,
            fingerprint: case.context.fingerprint.as_deref(),
            fingerprints: case.context.fingerprints.as_ref(),
            require: &case.context.require,
            max_staleness_s: case.context.max_staleness_s,
            lease: case
                .context
                .lease
                .as_deref()
                .map_or(ShownLease::None, ShownLease::Text),
            released_at: case.context.released_at,
        };
        let state = State {
            keys: keys.as_ref(),
            status_list: status_list.as_ref(),
            status_unchanged_at: case.state.status_unchanged_at.map(Timestamp::from_unix),
            license: license.as_ref(),
            features: features.as_ref(),
            source: case.state.source,
            origin: case.state.origin,
            newest_evidence: case.state.newest_evidence.map(Timestamp::from_unix),
        };
        let verdict = decide(&case.token, &context, &state, now);
        if let Ok(token) = LicenseToken::verify(&case.token, state.keys, now) {
            let ruling = rule(&token, &context, &state, now);
            assert_eq!(ruling.code, verdict.code, "{}", case.name);
            assert_eq!(ruling.expired, verdict.expired, "{}", case.name);
            assert_eq!(Some(ruling.freshness), verdict.freshness, "{}", case.name);
            let grace = Some(ruling.grace_remaining_s);
            assert_eq!(grace, verdict.grace_remaining_s, "{}", case.name);
        }
        serde_json::to_value(verdict).unwrap()
    }
}

const COMMITTED: &str = include_str!("../../../tests/vectors/decision.json");

both_targets! {
    fn every_committed_vector_gets_its_verdict() {
        let vectors: Vectors = serde_json::from_str(COMMITTED).unwrap();
        assert!(vectors.cases.len() >= 150, "only {} cases", vectors.cases.len());
        for case in &vectors.cases {
            assert_eq!(vectors.judge(case), case.verdict, "{}", case.name);
        }
    }

    fn what_a_ruling_does_not_tell_follows_from_code_and_documents() {
        let vectors: Vectors = serde_json::from_str(COMMITTED).unwrap();
        let mut seen = BTreeMap::new();
        let mut met_again = 0;
        for case in &vectors.cases {
            let mut verdict = case.verdict.clone();
            if verdict.get("freshness").is_none() {
                continue;
            }
            for changing in ["freshness", "grace_remaining_s", "lease", "quotas"] {
                verdict.as_object_mut().unwrap().remove(changing);
            }
            let (code, expired) = (verdict["code"].to_string(), verdict.get("expired").is_some());
            let CaseState { license, features, .. } = &case.state;
            let from = (&case.token, license, features, code, expired);
            match seen.get(&from) {
                None => drop(seen.insert(from, verdict)),
                Some(before) => {
                    assert_eq!(*before, verdict, "{}", case.name);
                    met_again += 1;
                }
            }
        }
        assert!(met_again > 20, "{met_again}");
    }

    fn the_vectors_cover_every_code_that_the_decision_gives() {
        let vectors: Vectors = serde_json::from_str(COMMITTED).unwrap();
        // These are the origin's, about writes.
        let origin_only = [
            Code::LicenseNotFound, Code::ActivationLimit, Code::SeatLimit,
            Code::DeactivationLimit, Code::TrialUsed, Code::TransferRefused,
            Code::ProductNotLicensed, Code::ActivationNotFound,
            Code::LeaseNotFound, Code::BorrowRefused, Code::QuotaExceeded,
        ];
        for code in Code::ALL.iter().filter(|code| !origin_only.contains(code)) {
            let covered = vectors.cases.iter().any(|case| case.verdict["code"] == code.as_str());
            assert!(covered, "no vector for {code}");
        }
    }
}
