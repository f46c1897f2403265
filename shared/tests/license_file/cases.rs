//! Every case by name: what is changed in the good world, and the code it must get.

use std::collections::BTreeMap;

use licet_shared::{
    decision::Code,
    documents::LicenseClaims,
    jws::{LocalSigner, sign},
};
use serde_json::{Value, json};

use super::{
    COMMITTED, Case, CaseContext, Vectors,
    world::{DAY, MACHINE, T0, World, armoured, content, org_signer, platform, tag, times},
};

struct Named {
    name: String,
    text: String,
    context: CaseContext,
    newest_seen: Option<i64>,
    now: i64,
    expected: Code,
}

fn named(name: &str, text: String, expected: Code) -> Named {
    Named {
        name: name.into(),
        text,
        context: CaseContext {
            product: "local_cli".into(),
            fingerprint: Some(MACHINE.into()),
            ..CaseContext::default()
        },
        newest_seen: None,
        now: T0 + DAY,
        expected,
    }
}

/// The good file, asked about otherwise.
fn asked(name: &str, change: impl Fn(&mut Named), expected: Code) -> Named {
    let mut case = named(name, World::good().file(), expected);
    change(&mut case);
    case
}

/// Another file.
fn made(name: &str, change: impl Fn(&mut World), expected: Code) -> Named {
    let mut world = World::good();
    change(&mut world);
    named(name, world.file(), expected)
}

/// The good file as text, changed.
fn altered(name: &str, change: impl Fn(String) -> String, expected: Code) -> Named {
    named(name, change(World::good().file()), expected)
}

fn all() -> Vec<Named> {
    [questions(), clocks(), licenses(), vouchers(), texts()]
        .into_iter()
        .flatten()
        .collect()
}

fn questions() -> Vec<Named> {
    let require =
        |name: &'static str| move |case: &mut Named| case.context.require = vec![name.into()];
    vec![
        asked("all is well", |_| {}, Code::Valid),
        asked(
            "another product that it covers",
            |it| it.context.product = "cloud_ide".into(),
            Code::Valid,
        ),
        asked(
            "a product that it does not cover",
            |it| it.context.product = "workflow_app".into(),
            Code::ProductMismatch,
        ),
        asked(
            "another machine",
            |it| it.context.fingerprint = Some("plant-8".into()),
            Code::FingerprintMismatch,
        ),
        asked(
            "no machine named",
            |it| it.context.fingerprint = None,
            Code::FingerprintRequired,
        ),
        asked(
            "a feature that is granted",
            require("export.pdf"),
            Code::Valid,
        ),
        asked(
            "a feature that is not",
            require("beta"),
            Code::FeatureMissing,
        ),
        asked(
            "as fresh as demanded",
            |it| it.context.max_staleness_s = Some(DAY as u32),
            Code::Valid,
        ),
        asked(
            "fresher demanded",
            |it| it.context.max_staleness_s = Some(DAY as u32 - 1),
            Code::Stale,
        ),
        asked(
            "freshness demanded that no file has",
            |it| it.context.max_staleness_s = Some(0),
            Code::Stale,
        ),
    ]
}

fn clocks() -> Vec<Named> {
    let at = |name: &str, now: i64, expected: Code| asked(name, |it| it.now = now, expected);
    let seen = |name: &str, newest_seen: i64, expected: Code| {
        asked(name, |it| it.newest_seen = Some(newest_seen), expected)
    };
    vec![
        at("the second it was made", T0, Code::Valid),
        at("its last second", T0 + 30 * DAY - 1, Code::Valid),
        at(
            "the first second after it",
            T0 + 30 * DAY,
            Code::TokenExpired,
        ),
        at(
            "60 s before it was made: two clocks may differ",
            T0 - 60,
            Code::Valid,
        ),
        at("61 s before it was made", T0 - 61, Code::ClockMovedBack),
        at(
            "a year before it was made",
            T0 - 365 * DAY,
            Code::ClockMovedBack,
        ),
        at("a clock that begins anew in 1970", 0, Code::ClockMovedBack),
        at("a clock before all time", i64::MIN, Code::ClockMovedBack),
        at("a clock at the end of time", i64::MAX, Code::LicenseExpired),
        seen("this second was seen", T0 + DAY, Code::Valid),
        seen("a time 60 s ahead was seen", T0 + DAY + 60, Code::Valid),
        seen(
            "a time 61 s ahead was seen",
            T0 + DAY + 61,
            Code::ClockMovedBack,
        ),
        seen("the end of time was seen", i64::MAX, Code::ClockMovedBack),
        seen(
            "only times before the file were seen",
            T0 - DAY,
            Code::Valid,
        ),
        asked(
            "set back behind the file, and nothing seen since",
            |it| {
                it.now = T0 - DAY;
                it.newest_seen = Some(T0 - 2 * DAY);
            },
            Code::ClockMovedBack,
        ),
        asked(
            "another machine before a clock moved back",
            |it| {
                it.now = T0 - DAY;
                it.context.fingerprint = Some("plant-8".into());
            },
            Code::FingerprintMismatch,
        ),
        asked(
            "a clock moved back before a feature missing",
            |it| {
                it.now = T0 - DAY;
                it.context.require = vec!["beta".into()];
            },
            Code::ClockMovedBack,
        ),
    ]
}

fn licenses() -> Vec<Named> {
    let license = |name: &str, claim: &'static str, value: Value, expected: Code| {
        let set = |world: &mut World| world.license[claim] = value.clone();
        made(name, set, expected)
    };
    vec![
        license(
            "the license has ended",
            "lexp",
            json!(T0 + DAY),
            Code::LicenseExpired,
        ),
        license(
            "the license ends next",
            "lexp",
            json!(T0 + DAY + 1),
            Code::Valid,
        ),
        license("the license does not end", "lexp", Value::Null, Code::Valid),
        license(
            "its own features",
            "fo",
            json!({ "export.pdf": null, "seats": 3 }),
            Code::Valid,
        ),
        license(
            "its own grace counts for nothing",
            "grace",
            json!(7 * DAY),
            Code::Valid,
        ),
        license(
            "a token of another format",
            "ver",
            json!(2),
            Code::Malformed,
        ),
        license(
            "another issuer's",
            "iss",
            json!("https://evil.example"),
            Code::UnknownKey,
        ),
        license(
            "another organization's",
            "org",
            json!("org_01h455vb4pex5vsknk084sn02q"),
            Code::UnknownKey,
        ),
        made(
            "no key of the machine's",
            |it| it.machine_key = None,
            Code::Valid,
        ),
        made(
            "a machine's key that is none",
            |it| it.machine_key = Some("AAAA".into()),
            Code::Malformed,
        ),
        made(
            "another version of the file",
            |it| it.version = 2,
            Code::Malformed,
        ),
        made(
            "a year old, and good for 400 days",
            |it| {
                it.times = times(T0 - 364 * DAY, T0 + 36 * DAY);
                it.keys_times = times(T0 - 365 * DAY, T0 - 363 * DAY);
            },
            Code::Valid,
        ),
    ]
}

fn vouchers() -> Vec<Named> {
    vec![
        made(
            "signed by the second key",
            |it| it.signer = org_signer(2),
            Code::Valid,
        ),
        made(
            "signed by a key not among them",
            |it| it.signer = org_signer(3),
            Code::UnknownKey,
        ),
        made(
            "signed by another key under a known name",
            |it| it.signer = LocalSigner::from_seed(format!("{}.1", tag()), [99; 32]),
            Code::SignatureInvalid,
        ),
        made(
            "another vendor's",
            |it| it.signer = LocalSigner::from_seed("00000000.1", [11; 32]),
            Code::UnknownKey,
        ),
        made(
            "keys of another platform",
            |it| it.platform = platform(2),
            Code::UnknownKey,
        ),
        made(
            "keys of another platform under the same name",
            |it| it.platform = LocalSigner::from_seed("platform.1", [2; 32]),
            Code::SignatureInvalid,
        ),
        made(
            "keys of another issuer",
            |it| it.keys_issuer = "https://evil.example",
            Code::UnknownKey,
        ),
        made(
            "keys that had ended when it was made",
            |it| it.keys_times = times(T0 - DAY, T0),
            Code::UnknownKey,
        ),
        made(
            "keys that ended the second after it was made",
            |it| it.keys_times = times(T0 - DAY, T0 + 1),
            Code::Valid,
        ),
        made(
            "keys made 61 s after it",
            |it| it.keys_times = times(T0 + 61, T0 + DAY),
            Code::UnknownKey,
        ),
    ]
}

fn texts() -> Vec<Named> {
    let malformed =
        |name: &str, change: fn(String) -> String| altered(name, change, Code::Malformed);
    let content = |name: &str, change: fn(String) -> String| {
        altered(name, |text| rewritten(&text, change), Code::Malformed)
    };
    vec![
        altered("CRLF", |text| text.replace('\n', "\r\n"), Code::Valid),
        altered(
            "blanks at the ends of lines",
            |text| text.replace('\n', " \t\n"),
            Code::Valid,
        ),
        altered(
            "a byte order mark",
            |text| format!("\u{feff}{text}"),
            Code::Valid,
        ),
        altered(
            "empty lines around",
            |text| format!("\n\n{text}\n"),
            Code::Valid,
        ),
        altered(
            "no line feed at the end",
            |text| text.trim_end().into(),
            Code::Valid,
        ),
        malformed("nothing", |_| String::new()),
        malformed("text before it", |text| format!("Dear Ada,\n{text}")),
        malformed("text after it", |text| format!("{text}Yours, Bob\n")),
        malformed("twice", |text| format!("{text}{text}")),
        malformed("half of it", |text| text[..text.len() / 2].into()),
        malformed("without a line", |text| {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.remove(3);
            lines.join("\n")
        }),
        malformed("lines joined", |text| text.replacen("\n", "", 3)),
        malformed("blanks before a line", |text| text.replacen("\n", "\n ", 2)),
        malformed("another label", |text| {
            text.replace("LICENSE FILE", "ACTIVATION REQUEST")
        }),
        malformed("a license token", |_| token()),
        altered(
            "JSON with blanks",
            |text| rewritten(&text, |json| json.replace(",", ", ")),
            Code::Valid,
        ),
        content("another version of the container", |json| {
            json.replace("\"version\":1", "\"version\":2")
        }),
        content("no version", |json| json.replace("\"version\":1,", "")),
        content("a field more", |json| {
            json.replacen('{', "{\"note\":\"\",", 1)
        }),
        content("a field twice", |json| {
            json.replacen('{', "{\"version\":1,", 1)
        }),
        content("an array", |_| "[1,\"\",\"\"]".into()),
        content("not JSON", |json| json[1..].into()),
        content("a license token in place of the file's own", |json| {
            let mut container: BTreeMap<String, Value> = serde_json::from_str(&json).unwrap();
            container.insert("license".into(), token().into());
            serde_json::to_string(&container).unwrap()
        }),
        altered(
            "the license of one file with the keys of another",
            |text| {
                let mut other = World::good();
                other.platform = platform(2);
                rewritten(&text, |json| {
                    let mut container: BTreeMap<String, Value> =
                        serde_json::from_str(&json).unwrap();
                    container.insert("keys".into(), other.keys().into());
                    serde_json::to_string(&container).unwrap()
                })
            },
            Code::UnknownKey,
        ),
    ]
}

/// The machine's license token.
fn token() -> String {
    let world = World::good();
    let claims: LicenseClaims = serde_json::from_value(world.license).unwrap();
    sign(&claims, world.times, &world.signer).unwrap()
}

fn vectors() -> Vectors {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut vectors = Vectors {
        about:
            "Licet license files: text, platform_keys, org, context, newest_seen, now -> verdict."
                .into(),
        platform_keys: platform(1).verifying_key().to_string(),
        org: tag(),
        files: BTreeMap::new(),
        cases: Vec::new(),
    };
    for case in all() {
        let next = format!("file-{:02}", names.len() + 1);
        let file = names.entry(case.text.clone()).or_insert(next).clone();
        vectors.files.insert(file.clone(), case.text);
        let mut vector = Case {
            name: case.name,
            file,
            context: case.context,
            newest_seen: case.newest_seen,
            now: case.now,
            verdict: Value::Null,
        };
        vector.verdict = vectors.judge(&vector);
        let code = &vector.verdict["code"];
        assert_eq!(code, case.expected.as_str(), "{}", vector.name);
        vectors.cases.push(vector);
    }
    vectors
}

/// One line for each file and case, so that a diff shows what changed.
fn write(vectors: &Vectors) -> String {
    let lines = |values: Vec<String>| values.join(",\n");
    let files = vectors
        .files
        .iter()
        .map(|(name, text)| format!("{}: {}", json!(name), json!(text)));
    let cases = vectors
        .cases
        .iter()
        .map(|case| serde_json::to_string(case).unwrap());
    format!(
        "{{\n\"about\": {},\n\"platform_keys\": {},\n\"org\": {},\n\"files\": {{\n{}\n}},\n\"cases\": [\n{}\n]\n}}\n",
        json!(vectors.about),
        json!(vectors.platform_keys),
        json!(vectors.org),
        lines(files.collect()),
        lines(cases.collect()),
    )
}

#[test]
fn the_committed_vectors_are_those_of_the_cases() {
    let written = write(&vectors());
    if std::env::var_os("LICET_BLESS").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/vectors/license_file.json"
        );
        std::fs::write(path, written).unwrap();
    } else {
        assert!(written == COMMITTED, "LICET_BLESS=1 writes them anew");
    }
}

/// A file whose content is rewritten as text.
fn rewritten(text: &str, rewrite: impl Fn(String) -> String) -> String {
    armoured("LICET LICENSE FILE", &rewrite(content(text)))
}
