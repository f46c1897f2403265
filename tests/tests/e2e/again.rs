//! Who sends the same body again gets an answer of which only the parts that change with time are written anew.

use std::collections::BTreeSet;

use licet_tests::wait::SOON;
use licet_tests::{Activation, LoneEdge, eventually};
use serde_json::{Value, json};

use crate::documents::installation;

/// Times that a body is sent: it is read the first two or three, and whenever somebody has to look at the feed.
const TIMES: usize = 20;

#[test]
fn the_same_body_gets_the_same_answer_but_for_time_and_id() {
    let edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 60);
    // No text of the vendor's is taken for the place where the changing part begins.
    let features = json!({"größe": "日本", "freshness": {"of": "fish"}, "\"freshness\":{": true});
    org.shelve_features(&edge.origin, &org.sign(&org.features_claims(5, &features)));
    let activation = installation(&edge, &org);
    for more in [
        json!({}),
        json!({"require": ["größe"]}),
        json!({"product": "日本"}),
        json!({"require": ["absent"]}),
    ] {
        let (first, ids) = answers(&activation, &more);
        assert_eq!(ids.len(), TIMES, "each has a name of its own: {more}");
        let valid = first["code"] == "VALID";
        assert_eq!(valid, first["features"] == features, "{first}");
    }
}

/// What is said each time alike, and the answers' ids.
#[track_caller]
fn answers(activation: &Activation, more: &Value) -> (Value, BTreeSet<String>) {
    let mut seen: Option<Value> = None;
    let mut ids = BTreeSet::new();
    for _ in 0..TIMES {
        let answer = activation.ask(more);
        let id = answer.header("x-request-id").map(str::to_owned);
        let mut verdict = answer.expect(200).verdict();
        let members = verdict.as_object_mut().unwrap();
        assert_eq!(members.remove("request_id").unwrap(), *id.as_ref().unwrap());
        ids.extend(id);
        let freshness = members.remove("freshness").unwrap();
        assert!(freshness["age_s"].as_i64().unwrap() >= 0, "{freshness}");
        assert!(members.remove("grace_remaining_s").unwrap().is_i64());
        match &seen {
            None => seen = Some(verdict),
            Some(before) => assert_eq!(*before, verdict, "{more}"),
        }
    }
    (seen.unwrap(), ids)
}

#[test]
fn what_has_changed_is_said_to_the_same_body() {
    let edge = LoneEdge::start();
    let org = edge.org();
    org.shelve_all(&edge.origin, 2);
    let activation = installation(&edge, &org);
    let soon = |what: &str, is_said: &dyn Fn(&Value) -> bool| {
        eventually(what, SOON, || {
            let verdict = activation.validate();
            if is_said(&verdict) {
                Ok(())
            } else {
                Err(verdict.to_string())
            }
        });
    };
    for _ in 0..TIMES {
        assert_eq!(activation.code(), "VALID");
    }
    let list = org.list_claims(6, 2, &[(0, licet_shared::status_list::status::SUSPENDED)]);
    org.shelve_list(&edge.origin, &org.sign(&list));
    soon("suspended", &|verdict| verdict["code"] == "SUSPENDED");
    let back = org.list_claims(7, 2, &[]);
    org.shelve_list(&edge.origin, &org.sign(&back));
    soon("in force again", &|verdict| verdict["code"] == "VALID");
}
