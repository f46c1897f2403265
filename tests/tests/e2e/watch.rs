//! What an operator sees of an edge and an origin: counters, timings, and the alerts that go by them.

use std::fs;
use std::time::Duration;

use licet_shared::documents::FeedClaims;
use licet_tests::fake_origin::Reply;
use licet_tests::wait::SOON;
use licet_tests::{LoneEdge, Request, Stack, StackOptions, eventually};
use serde_json::Value;

const TOKEN: &str = "an-operator-s-token-of-32-characters";
/// How long it may take until a feed that stands still is told, while requests come: 30 s, and up to a
/// minute until a request looks.
const TOLD_WITHIN: Duration = Duration::from_secs(90);

fn scrape(edge: &str) -> String {
    let request = Request::get(&format!("{edge}/metrics")).bearer(TOKEN);
    request.send().expect(200).text()
}

/// The value of a sample of the edge's, whichever isolate it is of.
fn sample(text: &str, name: &str, label: &str) -> u64 {
    let named = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
    let line = text.lines().find(named);
    let line = line.unwrap_or_else(|| panic!("no {name} {label} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn an_edge_tells_its_operator_what_it_has_counted_and_nobody_else() {
    let mut stack = Stack::start(&StackOptions::default());
    let license = stack.license("watched", 1);
    let activation = stack.device(&license, "laptop").activated();
    let path = format!("{}/metrics", stack.edge());
    // Where no token is set, there is no such path.
    let absent = Request::get(&path).bearer(TOKEN).send();
    absent.problem(404, "NOT_FOUND");

    stack.worker().set_secret("METRICS_TOKEN", TOKEN).unwrap();
    stack.worker().restart().unwrap();
    Request::get(&path).send().problem(401, "UNAUTHORIZED");
    let wrong = Request::get(&path)
        .bearer(&TOKEN.replace("32", "33"))
        .send();
    wrong.problem(401, "UNAUTHORIZED");
    Request::post(&path)
        .bearer(TOKEN)
        .send()
        .problem(405, "METHOD_NOT_ALLOWED");

    let first = activation.ask(&serde_json::json!({}));
    let timing = first.header("server-timing").unwrap_or_default();
    let tier = first.json()["freshness"]["source"].clone();
    assert!(timing.starts_with("edge;dur="), "{timing}");
    let tier = format!("tier;desc={}", tier.as_str().unwrap());
    assert!(timing.contains(&tier), "{timing} of {tier}");
    // What is answered from memory says nothing of time, for it takes none.
    eventually("an answer from memory", SOON, || {
        let answer = activation.ask(&serde_json::json!({}));
        match answer.header("server-timing") {
            None => Ok(()),
            Some(timing) => Err(timing.to_owned()),
        }
    });
    let fresh = activation.ask(&serde_json::json!({"max_staleness_s": 0}));
    let timing = fresh.header("server-timing").unwrap_or_default();
    assert!(
        timing.contains("origin;dur=") && timing.contains("calls: "),
        "{timing}"
    );
    assert_eq!(activation.with_token("nonsense").code(), "MALFORMED");

    let text = scrape(&stack.edge());
    assert!(sample(&text, "licet_edge_verdicts_total", "code=\"VALID\"") >= 3);
    assert_eq!(
        sample(&text, "licet_edge_verdicts_total", "code=\"MALFORMED\""),
        1
    );
    assert_eq!(
        sample(&text, "licet_edge_verdicts_total", "code=\"REVOKED\""),
        0
    );
    assert!(
        sample(
            &text,
            "licet_edge_verdicts_by_source_total",
            "source=\"memory\""
        ) >= 1
    );
    assert!(
        sample(
            &text,
            "licet_edge_verdicts_by_source_total",
            "source=\"origin\""
        ) >= 1
    );
    assert!(
        sample(
            &text,
            "licet_edge_origin_calls_total",
            "outcome=\"answered\""
        ) >= 1
    );
    assert!(
        sample(
            &text,
            "licet_edge_verdict_age_seconds_bucket",
            "le=\"+Inf\""
        ) >= 3
    );
    for name in [
        &activation.id,
        &license.id.to_string(),
        license.org.tag.as_str(),
    ] {
        assert!(!text.contains(name), "{name} in {text}");
    }
}

#[test]
fn a_feed_that_stands_still_is_counted_and_logged_under_its_name() {
    let mut edge = LoneEdge::start();
    edge.worker.set_secret("METRICS_TOKEN", TOKEN).unwrap();
    edge.worker.restart().unwrap();
    let org = edge.org();
    org.shelve_all(&edge.origin, 30);
    // One feed, signed now, whatever is asked for.
    let claims = FeedClaims {
        iss: edge.url(),
        r#gen: 1,
        since: 0,
        ep: 1,
        changed: Vec::new(),
    };
    let feed = Reply::new(
        200,
        "application/revocations+jwt",
        org.sign_by_platform(&claims),
    );
    for asked in ["0/0", "1/1", "1/0"] {
        let target = format!("/edge/v1/revocations/{asked}");
        edge.origin.put(&target, feed.clone());
    }
    let token = org.sign(&org.license_claims(0));
    let activation = org.installation(&edge.url(), token);
    let text = eventually("said to stand still", TOLD_WITHIN, || {
        // So that each document is renewed in its time: only the feed is frozen.
        org.shelve_all(&edge.origin, 30);
        activation.ask(&serde_json::json!({})).expect(200);
        let text = scrape(&edge.url());
        match sample(&text, "licet_edge_feed_stalled_total", "") {
            0 => Err(text),
            _ => Ok(text),
        }
    });
    assert!(
        sample(&text, "licet_edge_feed_age_seconds", "") >= 29,
        "{text}"
    );
    let log = eventually("logged", SOON, || {
        let log = fs::read_to_string(edge.worker.log()).unwrap();
        let line = log.lines().find(|line| line.contains("feed_stalled"));
        line.map(str::to_owned).ok_or(log)
    });
    let line: Value =
        serde_json::from_str(&log[log.find('{').unwrap()..=log.rfind('}').unwrap()]).unwrap();
    assert_eq!(
        (&line["level"], &line["event"]),
        (&"error".into(), &"feed_stalled".into())
    );
    assert!(
        line["detail"]
            .as_str()
            .unwrap()
            .contains("the origin answers"),
        "{line}"
    );
}

#[test]
fn each_alert_is_about_something_that_is_told() {
    let mut stack = Stack::start(&StackOptions::default());
    stack.worker().set_secret("METRICS_TOKEN", TOKEN).unwrap();
    stack.worker().restart().unwrap();
    let license = stack.license("alerts", 1);
    let activation = stack.device(&license, "laptop").activated();
    let told = eventually("the feed is told", SOON, || {
        activation.code();
        let origin = Request::get(&format!("{}/metrics", stack.origin.url()))
            .send()
            .text();
        let told = scrape(&stack.edge()) + &origin;
        if told.contains("licet_edge_feed_age_seconds{") {
            Ok(told)
        } else {
            Err(told)
        }
    });
    let rules = fs::read_to_string(xtask::paths::workspace().join("docs/alerts.yml")).unwrap();
    let mut names: Vec<&str> = rules
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("licet_"))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let there = told.lines().any(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        // A family with labels is there once it has counted something.
        let family = name.trim_end_matches("_total");
        let declared = told.contains(&format!("# TYPE {family} "))
            || told.contains(&format!("# TYPE {name} "));
        assert!(there || declared, "{name} is told by nobody: {told}");
    }
}
