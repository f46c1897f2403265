//! Signing up, logging in, sessions and their ends.

use axum::{
    body::Body,
    http::{Method, Request},
};
use licet_origin::db::DatabaseSettings;
use licet_shared::id::UserId;
use serde_json::{Value, json};

use crate::support::{
    Bed, BedOptions, TestDatabase,
    account::{Caller, PASSWORD},
    proxy::Proxy,
};

const ME: &str = "/api/v1/auth/me";
const LOGIN: &str = "/api/v1/auth/login";

/// Moves all times of sessions back.
fn age(bed: &Bed, seconds: i64) {
    bed.database.admin(&format!(
        "UPDATE licet.sessions SET renewed_at = renewed_at - interval '{seconds} seconds',
             expires_at = expires_at - interval '{seconds} seconds', ends_at = ends_at - interval '{seconds} seconds'"
    ));
}

fn tokens(session: &Value) -> (Caller, String) {
    let text = |name: &str| session[name].as_str().unwrap().to_owned();
    (
        Caller {
            bearer: text("access_token"),
        },
        text("refresh_token"),
    )
}

#[tokio::test]
async fn an_organization_is_founded_whole_or_not_at_all() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let me = bed.get(&owner.caller, ME).await.json(200);
    assert_eq!(me["role"], "OWNER");
    assert_eq!(me["email"], owner.email.as_str());
    assert_eq!(me["organization"], "alpha");
    assert!(me["id"].as_str().unwrap().parse::<UserId>().is_ok());
    // With keys, a status list, and a line in the trail for each.
    let made = bed.database.admin(
        "SELECT (SELECT count(*) FROM licet.signing_keys), (SELECT count(*) FROM licet.status_versions),
             (SELECT string_agg(action, ' ' ORDER BY seq) FROM licet.audit_events)",
    );
    let made: Vec<_> = made[0]
        .iter()
        .map(|value| value.as_deref().unwrap())
        .collect();
    assert_eq!(made, ["1", "1", "organization.created user.joined"]);

    let body = json!({
        "organization": { "name": "Other", "slug": "alpha" },
        "email": "b@x.test", "password": PASSWORD, "name": "B",
    });
    let reply = bed.open(Method::POST, "/api/v1/auth/signup", &body).await;
    assert_eq!(reply.refused(409), "CONFLICT");
    let left = bed
        .database
        .admin("SELECT count(*) FROM licet.organizations");
    assert_eq!(left[0][0].as_deref(), Some("1"));
}

#[tokio::test]
async fn bodies_and_passwords_that_can_not_be_taken_say_why() {
    let bed = Bed::new();
    let good = json!({
        "organization": { "name": "A", "slug": "a" }, "email": "a@x.test", "password": PASSWORD, "name": "A",
    });
    let with = |path: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    for (body, code) in [
        (with("/password", json!("password123")), "PASSWORD_REFUSED"),
        (with("/password", json!("short")), "PASSWORD_REFUSED"),
        (with("/password", json!("a@x.test")), "PASSWORD_REFUSED"),
        (with("/password", json!("x".repeat(513))), "BAD_REQUEST"),
        (with("/email", json!("nobody")), "BAD_REQUEST"),
        (with("/organization/slug", json!("-a")), "BAD_REQUEST"),
        (with("/organization/slug", json!("A")), "BAD_REQUEST"),
        (with("/name", json!("")), "BAD_REQUEST"),
        (with("/name", json!("a\u{0}b")), "BAD_REQUEST"),
        (json!({}), "BAD_REQUEST"),
    ] {
        let reply = bed.open(Method::POST, "/api/v1/auth/signup", &body).await;
        assert_eq!(reply.code(), code, "{body}");
        assert!(!reply.text().contains("password123"));
    }
}

#[tokio::test]
async fn unknown_and_wrong_are_answered_the_same() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    bed.sign_up("beta").await;
    let mut said = Vec::new();
    for (email, password, slug) in [
        (owner.email.as_str(), "wrong battery horse", Some("alpha")),
        (owner.email.as_str(), "wrong battery horse", None),
        ("nobody@x.test", PASSWORD, Some("alpha")),
        ("nobody@x.test", PASSWORD, None),
        (owner.email.as_str(), PASSWORD, Some("beta")),
        (owner.email.as_str(), PASSWORD, Some("no-such-organization")),
    ] {
        let body = match slug {
            Some(slug) => json!({ "email": email, "password": password, "organization": slug }),
            None => json!({ "email": email, "password": password }),
        };
        let reply = bed.open(Method::POST, LOGIN, &body).await;
        assert_eq!(reply.refused(401), "INVALID_CREDENTIALS");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
        let mut problem = serde_json::to_value(reply.problem()).unwrap();
        problem["request_id"] = json!(null);
        let mut headers: Vec<_> = reply.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        said.push((problem, headers));
    }
    assert!(said.windows(2).all(|pair| pair[0] == pair[1]), "{said:?}");
    // Disabled is as unknown.
    bed.database
        .admin("UPDATE licet.users SET disabled_at = now()");
    assert_eq!(
        bed.log_in(&owner.email, PASSWORD, "alpha")
            .await
            .refused(401),
        "INVALID_CREDENTIALS"
    );
}

#[tokio::test]
async fn an_email_may_belong_to_several_organizations() {
    let bed = Bed::new();
    let (alpha, beta) = (bed.sign_up("alpha").await, bed.sign_up("beta").await);
    let invitation =
        json!({ "email": format!("  {} ", alpha.email.to_uppercase()), "role": "MEMBER" });
    let made = bed
        .post(&beta.caller, "/api/v1/invitations", &invitation)
        .await
        .json(201);
    assert_eq!(made["email"], alpha.email.as_str());
    let acceptance =
        json!({ "token": made["token"], "name": "Again", "password": "another horse battery" });
    bed.open(Method::POST, "/api/v1/auth/accept-invitation", &acceptance)
        .await
        .json(201);
    let org = |reply: &Value| reply["organization_id"].as_str().unwrap().to_owned();
    // Each with its own password; without a slug into the oldest.
    assert_eq!(
        org(&bed.log_in(&alpha.email, PASSWORD, "alpha").await.json(200)),
        alpha.org
    );
    assert_eq!(
        org(&bed
            .log_in(&alpha.email, "another horse battery", "beta")
            .await
            .json(200)),
        beta.org
    );
    bed.log_in(&alpha.email, PASSWORD, "beta")
        .await
        .refused(401);
    let plain = json!({ "email": alpha.email, "password": PASSWORD });
    assert_eq!(
        org(&bed.open(Method::POST, LOGIN, &plain).await.json(200)),
        alpha.org
    );
}

#[tokio::test]
async fn a_spent_refresh_token_ends_its_session() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let (_, second) = tokens(&bed.renew(&owner.refresh).await.json(200));
    let (access, third) = tokens(&bed.renew(&second).await.json(200));
    bed.get(&access, ME).await.json(200);
    // The grandparent, at once.
    bed.renew(&owner.refresh).await.refused(401);
    for dead in [&second, &third] {
        assert_eq!(bed.renew(dead).await.refused(401), "UNAUTHORIZED");
    }
    for dead in [&access, &owner.caller] {
        assert_eq!(bed.get(dead, ME).await.refused(401), "UNAUTHORIZED");
    }
    let events = bed
        .database
        .admin("SELECT action FROM licet.audit_events ORDER BY seq DESC LIMIT 1");
    assert_eq!(events[0][0].as_deref(), Some("session.reused"));
    // Another session of the same person is none of this.
    bed.log_in(&owner.email, PASSWORD, "alpha").await.json(200);
}

#[tokio::test]
async fn a_parent_is_honoured_for_ten_seconds_and_no_longer() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    // An answer was lost; or eight tabs awake at once.
    let all = (0..8).map(|_| bed.renew(&owner.refresh));
    let replies = futures_util::future::join_all(all).await;
    let children: std::collections::BTreeSet<_> = replies
        .iter()
        .map(|reply| tokens(&reply.json(200)).1)
        .collect();
    assert_eq!(
        children.len(),
        1,
        "one child, however often it is asked for"
    );
    let child = children.first().unwrap().clone();
    age(&bed, 5);
    assert_eq!(tokens(&bed.renew(&owner.refresh).await.json(200)).1, child);
    age(&bed, 7);
    bed.renew(&owner.refresh).await.refused(401);
    bed.renew(&child).await.refused(401);
}

#[tokio::test]
async fn sessions_end_by_themselves() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    age(&bed, 7 * 86_400 - 5);
    let (_, second) = tokens(&bed.renew(&owner.refresh).await.json(200));
    age(&bed, 7 * 86_400 + 1);
    bed.renew(&second).await.refused(401);

    // However often it is renewed, after 90 days it is over.
    let (access, mut refresh) =
        tokens(&bed.log_in(&owner.email, PASSWORD, "alpha").await.json(200));
    for _ in 0..14 {
        age(&bed, 6 * 86_400);
        refresh = tokens(&bed.renew(&refresh).await.json(200)).1;
    }
    age(&bed, 6 * 86_400 + 1);
    bed.renew(&refresh).await.refused(401);
    bed.get(&access, ME).await.refused(401);
}

#[tokio::test]
async fn made_up_refresh_tokens_end_nothing() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let other = bed.sign_up("beta").await;
    let mut altered = owner.refresh.clone();
    altered.replace_range(40..41, if &altered[40..41] == "A" { "B" } else { "A" });
    for bad in ["", "licet_rt_", "x", altered.as_str(), &owner.caller.bearer] {
        bed.renew(bad).await.refused(401);
    }
    // A refresh token is no access token, nor the other way round.
    bed.get(
        &Caller {
            bearer: owner.refresh.clone(),
        },
        ME,
    )
    .await
    .refused(401);
    bed.renew(&owner.refresh).await.json(200);
    bed.renew(&other.refresh).await.json(200);
}

#[tokio::test]
async fn logging_out_and_ending_sessions_count_at_once() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let (second, second_refresh) =
        tokens(&bed.log_in(&owner.email, PASSWORD, "alpha").await.json(200));
    let sessions = bed.get(&second, "/api/v1/auth/sessions").await.json(200);
    let data = sessions["data"].as_array().unwrap();
    assert_eq!(
        data.iter()
            .map(|it| it["current"].as_bool().unwrap())
            .collect::<Vec<_>>(),
        [true, false]
    );

    // Another person can't see them, nor end them.
    let stranger = bed.sign_up("beta").await;
    let first = format!("/api/v1/auth/sessions/{}", data[1]["id"].as_str().unwrap());
    bed.delete(&stranger.caller, &first).await.refused(404);
    bed.delete(&second, &first).await.empty(204);
    bed.delete(&second, &first).await.refused(404);
    bed.get(&owner.caller, ME).await.refused(401);
    bed.renew(&owner.refresh).await.refused(401);

    bed.ask_with(&second, Method::POST, "/api/v1/auth/logout", None, &[])
        .await
        .empty(204);
    bed.get(&second, ME).await.refused(401);
    bed.renew(&second_refresh).await.refused(401);
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let (second, second_refresh) =
        tokens(&bed.log_in(&owner.email, PASSWORD, "alpha").await.json(200));
    let change =
        |current: &str, new: &str| json!({ "current_password": current, "new_password": new });
    let path = "/api/v1/auth/password";
    let reply = bed
        .post(
            &owner.caller,
            path,
            &change("wrong battery horse", "new battery staple"),
        )
        .await;
    assert_eq!(reply.refused(401), "INVALID_CREDENTIALS");
    let reply = bed
        .post(&owner.caller, path, &change(PASSWORD, "password"))
        .await;
    assert_eq!(reply.refused(422), "PASSWORD_REFUSED");
    bed.post(&owner.caller, path, &change(PASSWORD, "new battery staple"))
        .await
        .empty(204);

    bed.get(&owner.caller, ME).await.json(200);
    bed.get(&second, ME).await.refused(401);
    bed.renew(&second_refresh).await.refused(401);
    bed.log_in(&owner.email, PASSWORD, "alpha")
        .await
        .refused(401);
    bed.log_in(&owner.email, "new battery staple", "alpha")
        .await
        .json(200);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_locks_nobody_out() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    for _ in 0..5 {
        bed.log_in(&owner.email, "wrong battery horse", "alpha")
            .await
            .refused(401);
    }
    let reply = bed.log_in(&owner.email, PASSWORD, "alpha").await;
    assert_eq!(reply.refused(429), "RATE_LIMITED");
    assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0);
    // Somebody else at the same address.
    let other = bed.sign_up("beta").await;
    bed.log_in(&other.email, PASSWORD, "beta").await.json(200);
}

/// Times vary, so the work is compared: as many waits for the database, and one hash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_email_costs_as_much_as_a_wrong_password() {
    let database = TestDatabase::migrated();
    let proxy = Proxy::to(database.port()).await;
    let url = database.app_url().replace(
        &format!(":{}/", database.port()),
        &format!(":{}/", proxy.port),
    );
    let options = BedOptions {
        database: DatabaseSettings {
            // So that the next request waits until statements are prepared after the one before.
            pool_size: 1,
            pool_wait: std::time::Duration::from_secs(30),
            ..DatabaseSettings::default()
        },
        url: Some(url),
        ..BedOptions::default()
    };
    let bed = Bed::with(database, &options);
    let owner = bed.sign_up("alpha").await;
    // Until every statement is kept.
    for (email, slug) in [
        (owner.email.as_str(), "alpha"),
        ("else@x.test", "alpha"),
        ("else@x.test", "nowhere"),
    ] {
        bed.log_in(email, "wrong battery horse", slug)
            .await
            .refused(401);
    }
    for _ in 0..3 {
        bed.get(&owner.caller, "/api/v1/auth/me").await.json(200);
    }
    let hashes = || async {
        let text = bed
            .send(Request::get("/metrics").body(Body::empty()).unwrap())
            .await
            .text();
        let line = text
            .lines()
            .find(|line| line.contains("password_duration_seconds_count"));
        line.unwrap()
            .rsplit_once(' ')
            .unwrap()
            .1
            .parse::<u32>()
            .unwrap()
    };
    let mut costs = Vec::new();
    for (email, slug) in [
        (owner.email.as_str(), "alpha"),
        ("nobody@x.test", "alpha"),
        ("nobody@x.test", "nowhere"),
    ] {
        let before = hashes().await;
        proxy.take();
        bed.log_in(email, "wrong battery horse", slug)
            .await
            .refused(401);
        costs.push((proxy.take(), hashes().await - before));
    }
    assert_eq!(costs, [costs[0]; 3]);
    assert_eq!(costs[0].1, 1);
}
