//! Makes the vectors from the cases.

use std::collections::{BTreeMap, HashSet};

use licet_shared::jws::LocalSigner;

use super::{
    COMMITTED, Case, CaseState, Vectors, cases,
    world::{ISSUER, World, feature_set_id, license_id, list_uri, platform_signer, tag},
};

/// Documents under short names, each once.
#[derive(Default)]
struct Documents {
    by_text: BTreeMap<String, String>,
}

impl Documents {
    fn name(&mut self, kind: &str, text: Option<String>) -> Option<String> {
        let next = format!("{kind}-{}", self.by_text.len() + 1);
        text.map(|text| self.by_text.entry(text).or_insert(next).clone())
    }
}

fn vectors() -> Vectors {
    let mut documents = Documents::default();
    let platform_signer: LocalSigner = platform_signer();
    let mut cases: Vec<(Case, licet_shared::decision::Code)> = Vec::new();
    for named in cases::all() {
        let world: World = named.world;
        let case = Case {
            name: named.name,
            now: world.now,
            token: world.token(),
            state: CaseState {
                keys: documents.name("keys", world.keys_document()),
                status_list: documents.name("status-list", world.list_document()),
                license: documents.name("license", world.license_document()),
                features: documents.name("features", world.features_document()),
                feature_set: (world.feature_set != feature_set_id()).then_some(world.feature_set),
                source: world.source,
                origin: world.origin,
                status_unchanged_at: world.unchanged_at,
                newest_evidence: world.newest_evidence,
            },
            context: world.context(),
            verdict: serde_json::Value::Null,
        };
        cases.push((case, named.expected));
    }
    let mut vectors = Vectors {
        about: "Licet decision vectors: token, context, state, now -> verdict. Documents are \
                verified at `now` against platform_keys, issuer, org, status_list, license and \
                feature_set (the case's own where it names one) \
                before the decision."
            .into(),
        issuer: ISSUER.into(),
        platform_keys: platform_signer.verifying_key().to_string(),
        org: tag(),
        feature_set: feature_set_id(),
        license: license_id(),
        status_list: list_uri(),
        documents: documents
            .by_text
            .into_iter()
            .map(|(text, name)| (name, text))
            .collect(),
        cases: Vec::new(),
    };
    for (mut case, expected) in cases {
        case.verdict = vectors.judge(&case);
        assert_eq!(case.verdict["code"], expected.as_str(), "{}", case.name);
        vectors.cases.push(case);
    }
    vectors
}

/// One line for each document and case, so that a diff shows what changed.
fn write(vectors: &Vectors) -> String {
    let value = serde_json::to_value(vectors).unwrap();
    let line = |name: &str| format!("{}: {}", serde_json::json!(name), value[name]);
    let head: Vec<String> = [
        "about",
        "issuer",
        "platform_keys",
        "org",
        "feature_set",
        "license",
        "status_list",
    ]
    .map(line)
    .into();
    let documents: Vec<String> = vectors
        .documents
        .iter()
        .map(|(name, text)| format!("{}: {}", serde_json::json!(name), serde_json::json!(text)))
        .collect();
    let cases: Vec<String> = vectors
        .cases
        .iter()
        .map(|case| serde_json::to_string(case).unwrap())
        .collect();
    format!(
        "{{\n{},\n\"documents\": {{\n{}\n}},\n\"cases\": [\n{}\n]}}\n",
        head.join(",\n"),
        documents.join(",\n"),
        cases.join(",\n")
    )
}

#[test]
fn the_committed_vectors_are_what_the_cases_make() {
    let made = write(&vectors());
    if std::env::var_os("LICET_BLESS").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/vectors/decision.json"
        );
        std::fs::write(path, &made).unwrap();
    } else {
        assert!(
            made == COMMITTED,
            "tests/vectors/decision.json is out of date: LICET_BLESS=1 cargo test -p licet-shared --test decision"
        );
    }
}

#[test]
fn case_names_are_unique() {
    let cases = cases::all();
    let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
}
