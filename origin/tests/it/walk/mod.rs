//! The coverage walk: every operation of the description, with every kind of credentials, about
//! things that are really there. An operation that the walk's table does not know fails it.

mod description;
mod table;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use licet_origin::accounts::permissions::{Permission, Role};
use licet_shared::id::OrgTag;
use serde_json::Value;

pub use self::description::{Access, Operation, operations};
use self::{
    table::{Row, TABLE, Target},
    world::{Aim, Org, bearer, bed, token_from},
};
use crate::support::{Bed, account::Person, edge::Reply};

/// The operations, each with its row.
fn walk() -> Vec<(Operation, &'static Row)> {
    let with_row = |operation: Operation| {
        let row = TABLE.iter().find(|row| row.operation == operation.id)?;
        Some((operation, row))
    };
    operations().into_iter().filter_map(with_row).collect()
}

#[test]
fn the_walk_knows_every_operation_and_no_other() {
    let operations = operations();
    let described: BTreeSet<_> = operations.iter().map(|it| it.id.as_str()).collect();
    let known: BTreeSet<_> = TABLE.iter().map(|row| row.operation).collect();
    assert_eq!(known.len(), TABLE.len(), "a row is there twice");
    let mut wrong = Vec::new();
    for operation in &operations {
        if !known.contains(operation.id.as_str()) {
            wrong.push(format!(
                "{} ({} {}) has no row in tests/it/walk/table.rs: say there what it is called with",
                operation.id, operation.method, operation.path
            ));
        }
    }
    for gone in known.difference(&described) {
        wrong.push(format!(
            "{gone} has a row in tests/it/walk/table.rs, but is not in the description"
        ));
    }
    for (operation, row) in walk() {
        if operation.has_body != row.body.is_some() {
            wrong.push(format!(
                "{}: row and description disagree on whether it takes a body",
                operation.id
            ));
        }
        let by_id = !matches!(
            row.target,
            Target::Nothing
                | Target::LicenseKey
                | Target::Receipt
                | Target::InvitationToken
                | Target::RefreshToken
        );
        if operation.has_id() != by_id {
            wrong.push(format!(
                "{}: row and description disagree on whether it is about something",
                operation.id
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// An answer without what differs between any two: who asked how often, and the request's id.
fn without_its_id(reply: &Reply) -> (u16, String, Vec<(String, String)>) {
    let id = reply.header("x-request-id");
    assert!(!id.is_empty());
    let own = ["x-request-id", "ratelimit"];
    let headers = reply
        .headers
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (
        reply.status.as_u16(),
        reply.text().replace(id, "…"),
        headers.collect(),
    )
}

/// All that is no credential, or no longer, each with what is wrong with it.
async fn bad_credentials(org: &Org<'_>) -> Vec<(&'static str, Vec<String>)> {
    let bed = org.bed;
    let owner = &org.owner;
    let good = bearer(&owner.caller);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());

    let logged_out = bed.join(owner, "OWNER").await;
    bed.ask_with(
        &logged_out.caller,
        Method::POST,
        "/api/v1/auth/logout",
        None,
        &[],
    )
    .await
    .empty(204);
    let [ended, disabled, removed] = [
        bed.join(owner, "OWNER").await,
        bed.join(owner, "OWNER").await,
        bed.join(owner, "OWNER").await,
    ];
    let user = |person: &Person| format!("/api/v1/users/{}", person.id);
    let change = serde_json::json!({ "disabled": true });
    bed.patch(&owner.caller, &user(&disabled), &change)
        .await
        .json(200);
    bed.delete(&owner.caller, &user(&removed)).await.empty(204);
    let [revoked, expired] = [
        org.machine(Permission::ALL).await,
        org.machine(Permission::ALL).await,
    ];
    let age = |table: &str, set: &str, hint: &str| {
        bed.database
            .admin(&format!("UPDATE licet.{table} SET {set} WHERE {hint}"));
    };
    let hint = |key: &str| format!("hint = '{}'", &key[key.len() - 4..]);
    age("api_keys", "revoked_at = now()", &hint(&revoked.bearer));
    let past = "expires_at = now() - interval '1 second'";
    age("api_keys", past, &hint(&expired.bearer));
    let me = bed.get(&ended.caller, "/api/v1/auth/me").await.json(200);
    let session: licet_shared::id::EventId = me["session_id"].as_str().unwrap().parse().unwrap();
    let session = uuid::Uuid::from_bytes(session.uuid_bytes());
    let past = "ends_at = now() - interval '1 second'";
    age("sessions", past, &format!("id = '{session}'"));

    let late = token_from(bed, owner, 3601).await;
    // The same, but in its time, is a good one: nothing else is wrong with the late one.
    let in_time = format!("Bearer {}", token_from(bed, owner, 3000).await);
    let me = Aim {
        method: Method::GET,
        path: "/api/v1/auth/me".into(),
        body: None,
    };
    bed.aimed(&me, &[in_time]).await.json(200);

    let one = |value: String| vec![value];
    vec![
        ("no credentials", vec![]),
        ("an empty header", one(String::new())),
        ("no token", one("Bearer".into())),
        ("nonsense", one("Bearer nonsense".into())),
        ("half a token", one(good[..good.len() / 2].into())),
        (
            "another scheme",
            one(format!("Basic {}", owner.caller.bearer)),
        ),
        ("no scheme", one(owner.caller.bearer.clone())),
        ("two tokens", vec![good.clone(), good.clone()]),
        ("a forged signature", one(forged)),
        ("no signature", one(format!("{head}."))),
        ("a refresh token", one(format!("Bearer {}", owner.refresh))),
        ("an expired token", one(format!("Bearer {late}"))),
        ("a session logged out of", one(bearer(&logged_out.caller))),
        ("a session past its end", one(bearer(&ended.caller))),
        ("a disabled person's", one(bearer(&disabled.caller))),
        ("a removed person's", one(bearer(&removed.caller))),
        ("a revoked key", one(bearer(&revoked))),
        ("an expired key", one(bearer(&expired))),
        (
            "a key of nobody",
            one(format!(
                "Bearer licet_sk_{}{}",
                OrgTag::new([7; 5]),
                "x".repeat(38)
            )),
        ),
    ]
}

#[tokio::test]
async fn without_good_credentials_there_is_nothing() {
    let bed = bed();
    let org = Org::new(&bed, "alpha").await;
    let bad = bad_credentials(&org).await;
    let mut refusals = BTreeSet::new();
    for (operation, row) in walk() {
        if operation.access == Access::Open {
            continue;
        }
        let aim = org.aim(&operation, row, &org.owner).await;
        let before = org.changes();
        for (what, authorization) in &bad {
            let reply = bed.aimed(&aim, authorization).await;
            let case = format!("{} with {what}", operation.id);
            assert_eq!(reply.status.as_u16(), 401, "{case}: {}", reply.text());
            assert_eq!(reply.code(), "UNAUTHORIZED", "{case}");
            assert_eq!(reply.header("www-authenticate"), "Bearer", "{case}");
            assert!(operation.statuses.contains(&401), "{case} is not described");
            refusals.insert(without_its_id(&reply));
        }
        assert_eq!(org.changes(), before, "{} was done", operation.id);
    }
    // Whether a token was shown at all is told; what is wrong with it is not.
    assert_eq!(refusals.len(), 2, "{refusals:?}");
}

#[tokio::test]
async fn nobody_may_more_than_the_table_of_permissions_says() {
    let bed = bed();
    let org = Org::new(&bed, "alpha").await;
    let everything = org.machine(Permission::ALL).await;
    for (operation, row) in walk() {
        let refused = match operation.access {
            Access::Open => continue,
            // For people alone.
            Access::Person => vec![("every scope".to_owned(), &everything)],
            Access::Needs(permission) => {
                let lower = Role::ALL.into_iter().filter(|role| !role.may(permission));
                let people = lower.map(|role| (role.as_str().into(), &org.person(role).caller));
                let machine = ("every other scope".to_owned(), org.not_allowed(permission));
                people.chain([machine]).collect()
            }
        };
        let aim = org.aim(&operation, row, &org.owner).await;
        let before = org.changes();
        for (who, caller) in refused {
            let reply = bed.aimed(&aim, &[bearer(caller)]).await;
            let case = format!("{} as {who}", operation.id);
            assert_eq!(reply.status.as_u16(), 403, "{case}: {}", reply.text());
            assert_eq!(reply.code(), "FORBIDDEN", "{case}");
            assert!(operation.statuses.contains(&403), "{case} is not described");
        }
        assert_eq!(org.changes(), before, "{} was done", operation.id);
    }
}

#[tokio::test]
async fn whoever_may_is_served() {
    let bed = bed();
    let org = Org::new(&bed, "alpha").await;
    let nobody = Vec::new();
    for (operation, row) in walk() {
        match operation.access {
            Access::Open => {
                let aim = org.aim(&operation, row, &org.owner).await;
                served(&bed, (&operation, row), &aim, &nobody, "nobody").await;
                // What is shown in vain is not looked at.
                let aim = org.aim(&operation, row, &org.owner).await;
                let junk = vec!["Bearer junk".to_owned()];
                served(&bed, (&operation, row), &aim, &junk, "junk").await;
            }
            Access::Person => {
                for role in Role::ALL {
                    // Their session may end by it.
                    let person = bed.join(&org.owner, role.as_str()).await;
                    let aim = org.aim(&operation, row, &person).await;
                    let shown = vec![bearer(&person.caller)];
                    served(&bed, (&operation, row), &aim, &shown, role.as_str()).await;
                }
            }
            Access::Needs(permission) => {
                for role in Role::ALL.into_iter().filter(|role| role.may(permission)) {
                    let person = org.person(role);
                    let aim = org.aim(&operation, row, person).await;
                    let shown = vec![bearer(&person.caller)];
                    served(&bed, (&operation, row), &aim, &shown, role.as_str()).await;
                }
                let aim = org.aim(&operation, row, &org.owner).await;
                let machine = match row.gives {
                    None => org.allowed(permission).clone(),
                    Some(role) => {
                        let handed_on = Permission::ALL.iter().filter(|it| role.may(**it));
                        let scopes: Vec<_> = handed_on.copied().chain([permission]).collect();
                        org.machine(&scopes).await
                    }
                };
                let shown = vec![bearer(&machine)];
                served(&bed, (&operation, row), &aim, &shown, "a key").await;
            }
        }
    }
}

async fn served(
    bed: &Bed,
    (operation, row): (&Operation, &Row),
    aim: &Aim,
    shown: &[String],
    who: &str,
) {
    let reply = bed.aimed(aim, shown).await;
    if let Some(sql) = row.then {
        bed.database.admin(sql);
    }
    assert_eq!(
        reply.status.as_u16(),
        operation.success,
        "{} as {who}: {}",
        operation.id,
        reply.text()
    );
    let cache = reply.header("cache-control");
    assert!(cache.contains("no-store"), "{}: {cache}", operation.id);
}

/// The id of nothing that ever was, which can't be told from a good one by its form.
fn never_was(id: &str) -> String {
    let (head, last) = id.split_at(id.len() - 1);
    format!("{head}{}", if last == "0" { "1" } else { "0" })
}

/// Puts an id into a field of a body, in whatever form the field has.
fn put(body: &Value, field: &str, id: &str) -> Value {
    let mut body = body.clone();
    match &mut body[field] {
        Value::Array(list) => list[0] = id.into(),
        Value::Null => panic!("the row's body lacks {field}"),
        other => *other = id.into(),
    }
    body
}

/// "Not yours" and "not there" can't be told apart, by status, body or headers.
#[tokio::test]
async fn what_is_anothers_is_as_little_there_as_what_never_was() {
    let bed = bed();
    let (alpha, beta) = (Org::new(&bed, "alpha").await, Org::new(&bed, "beta").await);
    let stranger = vec![bearer(&beta.owner.caller)];
    let mut tried = BTreeMap::from([("path", 0), ("query", 0), ("body", 0)]);
    for (operation, row) in walk() {
        let own = beta.make(row.target, &beta.owner).await;
        let calls = strange_calls(&operation, row, &alpha, &beta, &own).await;
        let before = (alpha.changes(), beta.changes());
        for (place, theirs, nothings) in calls {
            let case = format!("{}, an id in the {place}", operation.id);
            let theirs = bed.aimed(&theirs, &stranger).await;
            let nothings = bed.aimed(&nothings, &stranger).await;
            assert_eq!(without_its_id(&theirs), without_its_id(&nothings), "{case}");
            if place == "query" && theirs.status.is_success() {
                assert_eq!(theirs.json(200)["data"], serde_json::json!([]), "{case}");
            } else {
                assert_eq!(theirs.code(), "NOT_FOUND", "{case}: {}", theirs.text());
                assert!(operation.statuses.contains(&404), "{case} is not described");
            }
            *tried.get_mut(place).unwrap() += 1;
        }
        let after = (alpha.changes(), beta.changes());
        assert_eq!(after, before, "{} was done", operation.id);
    }
    assert!(tried.values().all(|count| *count > 1), "{tried:?}");
}

/// Pairs of calls by `beta`'s people: with an id of `alpha`'s, and with one of nobody's.
async fn strange_calls(
    operation: &Operation,
    row: &Row,
    alpha: &Org<'_>,
    beta: &Org<'_>,
    own: &str,
) -> Vec<(&'static str, Aim, Aim)> {
    let mut calls = Vec::new();
    if operation.has_id() {
        let theirs = alpha.make(row.target, &alpha.owner).await;
        let pair = [&theirs, &never_was(&theirs)].map(|id| beta.aim_at(operation, row, id));
        let [theirs, nothings] = pair;
        calls.push(("path", theirs, nothings));
    }
    for (parameter, prefix) in &operation.ids_in_query {
        let theirs = &alpha.ids[prefix.as_str()];
        let [theirs, nothings] = [theirs, &never_was(theirs)].map(|id| {
            let mut aim = beta.aim_at(operation, row, own);
            aim.path = format!("{}?{parameter}={id}", aim.path);
            aim
        });
        calls.push(("query", theirs, nothings));
    }
    for (field, prefix) in &operation.ids_in_body {
        let theirs = &alpha.ids[prefix.as_str()];
        let [theirs, nothings] = [theirs, &never_was(theirs)].map(|id| {
            let mut aim = beta.aim_at(operation, row, own);
            aim.body = aim.body.map(|body| put(&body, field, id));
            aim
        });
        calls.push(("body", theirs, nothings));
    }
    calls
}
