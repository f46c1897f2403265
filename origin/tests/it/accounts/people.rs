//! People, their roles, invitations and quotas.

use std::time::Duration;

use axum::http::Method;
use licet_shared::id::UserId;
use serde_json::{Value, json};

use crate::support::{
    Bed,
    account::{Caller, PASSWORD, Person},
    edge::unique,
    sql::{begin, connect, refusal},
};

const USERS: &str = "/api/v1/users";
const INVITATIONS: &str = "/api/v1/invitations";
const ACCEPT: &str = "/api/v1/auth/accept-invitation";

impl Bed {
    /// Has somebody of this role join the organization of `owner`.
    pub async fn join(&self, owner: &Person, role: &str) -> Person {
        let email = format!(
            "{}-{}@x.test",
            role.to_lowercase(),
            &crate::support::edge::unique()[..8].to_lowercase()
        );
        let invitation = json!({ "email": email, "role": role });
        let made = self
            .post(&owner.caller, INVITATIONS, &invitation)
            .await
            .json(201);
        let acceptance = json!({ "token": made["token"], "name": role, "password": PASSWORD });
        let session = self.open(Method::POST, ACCEPT, &acceptance).await.json(201);
        Person::of(&session, &email, &owner.slug)
    }
}

fn user(person: &Person) -> String {
    format!("{USERS}/{}", person.id)
}

#[tokio::test]
async fn an_invitation_is_good_once_and_until_it_ends() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let invite = |email: &'static str| {
        let (bed, caller) = (&bed, &owner.caller);
        async move {
            bed.post(
                caller,
                INVITATIONS,
                &json!({ "email": email, "role": "MEMBER" }),
            )
            .await
        }
    };
    let accept = |token: Value| {
        let bed = &bed;
        async move {
            let body = json!({ "token": token, "name": "Grace", "password": PASSWORD });
            bed.open(Method::POST, ACCEPT, &body).await
        }
    };
    let first = invite("grace@x.test").await.json(201);
    let second = invite("Grace@X.test").await.json(201);
    assert_eq!(
        accept(first["token"].clone()).await.refused(404),
        "NOT_FOUND"
    );
    let session = accept(second["token"].clone()).await.json(201);
    accept(second["token"].clone()).await.refused(404);
    accept(json!("licet_iv_nonsense")).await.refused(404);
    assert_eq!(invite("grace@x.test").await.refused(409), "CONFLICT");
    let grace = Person::of(&session, "grace@x.test", "alpha");
    let me = bed.get(&grace.caller, "/api/v1/auth/me").await.json(200);
    assert_eq!(
        (&me["role"], &me["email"]),
        (&json!("MEMBER"), &json!("grace@x.test"))
    );

    let revoked = invite("b@x.test").await.json(201);
    let one = format!("{INVITATIONS}/{}", revoked["id"].as_str().unwrap());
    bed.delete(&owner.caller, &one).await.empty(204);
    accept(revoked["token"].clone()).await.refused(404);

    let old = invite("c@x.test").await.json(201);
    bed.database
        .admin("UPDATE licet.invitations SET expires_at = now() - interval '1 second' WHERE email = 'c@x.test'");
    accept(old["token"].clone()).await.refused(404);
    let open = bed.get(&owner.caller, INVITATIONS).await.json(200);
    assert_eq!(open["data"], json!([]));
    let all = bed
        .get(&owner.caller, &format!("{INVITATIONS}?closed=true"))
        .await
        .json(200);
    assert_eq!(all["data"].as_array().unwrap().len(), 4);
    assert!(!all.to_string().contains("licet_iv_"));
}

#[tokio::test]
async fn eight_who_accept_one_invitation_are_one_person() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let made = bed
        .post(
            &owner.caller,
            INVITATIONS,
            &json!({ "email": "g@x.test", "role": "GUEST" }),
        )
        .await
        .json(201);
    let body = json!({ "token": made["token"], "name": "G", "password": PASSWORD });
    let all = (0..8).map(|_| bed.open(Method::POST, ACCEPT, &body));
    let replies = futures_util::future::join_all(all).await;
    assert_eq!(
        replies
            .iter()
            .filter(|reply| reply.status.as_u16() == 201)
            .count(),
        1
    );
    assert!(
        replies
            .iter()
            .all(|reply| matches!(reply.status.as_u16(), 201 | 404))
    );
}

#[tokio::test]
async fn the_plan_limits_how_many_people_there_are() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let invite = |n: usize| {
        let (bed, caller) = (&bed, &owner.caller);
        async move {
            let body = json!({ "email": format!("g{n}@x.test"), "role": "GUEST" });
            bed.post(caller, INVITATIONS, &body).await
        }
    };
    let mut tokens = Vec::new();
    for n in 0..8 {
        tokens.push(invite(n).await.json(201)["token"].clone());
    }
    // FREE allows five; the owner is one. All eight count at the same moment, or would without the
    // lock that they wait for; four get in.
    let bodies: Vec<_> = tokens
        .iter()
        .map(|token| json!({ "token": token, "name": "G", "password": PASSWORD }))
        .collect();
    let all = bodies
        .iter()
        .map(|body| bed.open(Method::POST, ACCEPT, body));
    let holder = connect(&bed.database.admin_url()).await;
    holder
        .batch_execute("BEGIN; SELECT FROM licet.organizations FOR NO KEY UPDATE")
        .await
        .unwrap();
    // Not the holder: a transaction sees one state of this view.
    let watcher = connect(&bed.database.admin_url()).await;
    let release = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let patience = Duration::from_secs(30);
        let eight = tokio::time::timeout(patience, async {
            while watcher
                .query_one(waiting, &[])
                .await
                .unwrap()
                .get::<_, i64>(0)
                < 8
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        eight
            .await
            .expect("eight who wait for the organization's row");
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (replies, ()) =
        futures_util::future::join(futures_util::future::join_all(all), release).await;
    let (joined, refused): (Vec<_>, Vec<_>) = replies
        .iter()
        .partition(|reply| reply.status.as_u16() == 201);
    assert_eq!(joined.len(), 4);
    assert!(
        refused
            .iter()
            .all(|reply| reply.refused(403) == "QUOTA_EXCEEDED")
    );
    assert_eq!(invite(9).await.refused(403), "QUOTA_EXCEEDED");
}

#[tokio::test]
async fn nobody_reaches_above_themselves() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let admin = bed.join(&owner, "ADMIN").await;
    let member = bed.join(&owner, "MEMBER").await;
    let invitation = json!({ "email": "o@x.test", "role": "OWNER" });
    assert_eq!(
        bed.post(&admin.caller, INVITATIONS, &invitation)
            .await
            .refused(403),
        "FORBIDDEN"
    );
    let owner_role = json!({ "role": "OWNER" });
    assert_eq!(
        bed.patch(&admin.caller, &user(&member), &owner_role)
            .await
            .refused(403),
        "FORBIDDEN"
    );
    assert_eq!(
        bed.patch(&admin.caller, &user(&admin), &owner_role)
            .await
            .refused(403),
        "FORBIDDEN"
    );
    for body in [
        json!({ "role": "GUEST" }),
        json!({ "disabled": true }),
        json!({ "name": "x" }),
    ] {
        assert_eq!(
            bed.patch(&admin.caller, &user(&owner), &body)
                .await
                .refused(403),
            "FORBIDDEN"
        );
    }
    assert_eq!(
        bed.delete(&admin.caller, &user(&owner)).await.refused(403),
        "FORBIDDEN"
    );
    // A key that may manage people changes those up to an ADMIN, but makes nobody of them who
    // may do more than itself.
    let hr = bed.key(&owner, &["users:write", "users:read"]).await;
    let raise = json!({ "role": "ADMIN" });
    for body in [&owner_role, &raise] {
        let reply = bed.patch(&hr, &user(&member), body).await;
        assert_eq!(reply.refused(403), "FORBIDDEN");
    }
    for role in ["GUEST", "MEMBER", "ADMIN", "OWNER"] {
        let body = json!({ "email": "new@alpha.test", "role": role });
        let reply = bed.post(&hr, "/api/v1/invitations", &body).await;
        assert_eq!(reply.refused(403), "FORBIDDEN", "{role}");
    }
    bed.patch(&hr, &user(&member), &json!({ "disabled": true }))
        .await
        .json(200);
    bed.patch(
        &hr,
        &user(&member),
        &json!({ "disabled": false, "role": "GUEST" }),
    )
    .await
    .json(200);
    let me = bed.get(&admin.caller, "/api/v1/auth/me").await.json(200);
    let scopes: Vec<&str> = me["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    let equal = bed.key(&owner, &scopes).await;
    bed.patch(&equal, &user(&member), &raise).await.json(200);
}

#[tokio::test]
async fn an_invitation_counts_while_its_maker_could_still_make_it() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    bed.database
        .admin("UPDATE licet.organizations SET max_users = 100");
    let invite = async |by: &Caller, role: &str| {
        let body = json!({ "email": format!("{}@alpha.test", unique()), "role": role });
        let made = bed.post(by, "/api/v1/invitations", &body).await.json(201);
        made["token"].as_str().unwrap().to_owned()
    };
    let accept = async |token: &str| {
        let body = json!({ "token": token, "name": "New", "password": PASSWORD });
        bed.open(Method::POST, "/api/v1/auth/accept-invitation", &body)
            .await
    };
    let admin = bed.join(&owner, "ADMIN").await;
    let (guest, peer) = (
        invite(&admin.caller, "GUEST").await,
        invite(&admin.caller, "ADMIN").await,
    );
    let (removed, disabled) = (
        bed.join(&owner, "ADMIN").await,
        bed.join(&owner, "ADMIN").await,
    );
    let of_removed = invite(&removed.caller, "ADMIN").await;
    let of_disabled = invite(&disabled.caller, "GUEST").await;
    let peers: Vec<String> =
        bed.get(&admin.caller, "/api/v1/auth/me").await.json(200)["permissions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_str().unwrap().to_owned())
            .collect();
    let scopes: Vec<&str> = peers.iter().map(String::as_str).collect();
    let key = bed.key(&owner, &scopes).await;
    let of_key = invite(&key, "ADMIN").await;
    let of_good_key = invite(&bed.key(&owner, &scopes).await, "GUEST").await;

    bed.delete(&owner.caller, &user(&removed)).await.empty(204);
    bed.patch(
        &owner.caller,
        &user(&disabled),
        &json!({ "disabled": true }),
    )
    .await
    .json(200);
    let keys = bed.get(&owner.caller, "/api/v1/api-keys").await.json(200);
    let first = keys["data"].as_array().unwrap().last().unwrap()["id"].clone();
    let first = format!("/api/v1/api-keys/{}", first.as_str().unwrap());
    bed.delete(&owner.caller, &first).await.empty(204);
    for token in [&of_removed, &of_disabled, &of_key] {
        assert_eq!(accept(token).await.refused(404), "NOT_FOUND");
    }
    accept(&of_good_key).await.json(201);
    accept(&guest).await.json(201);
    // Demoted: not even what a lower role would allow, for a MEMBER invites nobody.
    bed.patch(&owner.caller, &user(&admin), &json!({ "role": "MEMBER" }))
        .await
        .json(200);
    assert_eq!(accept(&peer).await.refused(404), "NOT_FOUND");
}

#[tokio::test]
async fn an_invited_persons_password_is_not_their_email() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let body = json!({ "email": "grace.hopper@alpha.test", "role": "GUEST" });
    let made = bed
        .post(&owner.caller, "/api/v1/invitations", &body)
        .await
        .json(201);
    let accept = async |password: &str| {
        let body = json!({ "token": made["token"], "name": "Grace", "password": password });
        bed.open(Method::POST, "/api/v1/auth/accept-invitation", &body)
            .await
    };
    let reply = accept("Grace.Hopper@alpha.test").await;
    assert_eq!(reply.refused(422), "PASSWORD_REFUSED");
    // And the invitation is as good as before.
    accept(PASSWORD).await.json(201);
}

#[tokio::test]
async fn a_role_counts_from_the_next_call_on() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let admin = bed.join(&owner, "ADMIN").await;
    bed.get(&admin.caller, "/api/v1/api-keys").await.json(200);
    bed.patch(&owner.caller, &user(&admin), &json!({ "role": "GUEST" }))
        .await
        .json(200);
    assert_eq!(
        bed.get(&admin.caller, "/api/v1/api-keys")
            .await
            .refused(403),
        "FORBIDDEN"
    );
    bed.patch(&owner.caller, &user(&admin), &json!({ "disabled": true }))
        .await
        .json(200);
    assert_eq!(
        bed.get(&admin.caller, "/api/v1/products")
            .await
            .refused(401),
        "UNAUTHORIZED"
    );
    bed.renew(&admin.refresh).await.refused(401);
    // Enabled again, they must log in again.
    bed.patch(&owner.caller, &user(&admin), &json!({ "disabled": false }))
        .await
        .json(200);
    bed.get(&admin.caller, "/api/v1/products")
        .await
        .refused(401);
    bed.log_in(&admin.email, PASSWORD, "alpha").await.json(200);
}

#[tokio::test]
async fn whoever_is_removed_is_gone_and_may_be_invited_again() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let member = bed.join(&owner, "MEMBER").await;
    let reply = bed.get(&owner.caller, &user(&member)).await;
    let etag = reply.header("etag").to_owned();
    bed.patch(&owner.caller, &user(&member), &json!({ "name": "M" }))
        .await
        .json(200);
    let stale = [("if-match", etag.as_str())];
    let reply = bed
        .ask_with(&owner.caller, Method::DELETE, &user(&member), None, &stale)
        .await;
    assert_eq!(reply.refused(412), "PRECONDITION_FAILED");
    bed.delete(&owner.caller, &user(&member)).await.empty(204);
    bed.get(&owner.caller, &user(&member)).await.refused(404);
    bed.get(&member.caller, "/api/v1/products")
        .await
        .refused(401);
    bed.log_in(&member.email, PASSWORD, "alpha")
        .await
        .refused(401);
    let again = json!({ "email": member.email, "role": "GUEST" });
    bed.post(&owner.caller, INVITATIONS, &again).await.json(201);
    let list = bed
        .get(&owner.caller, &format!("{USERS}?role=MEMBER"))
        .await
        .json(200);
    assert_eq!(list["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_assigned_a_license_of_the_organization() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    bed.sign_up("beta").await;
    let ours = bed.database.seed("alpha", 5).license;
    let theirs = bed.database.seed("beta", 5).license;
    let member = bed.join(&owner, "MEMBER").await;
    let assign = |license: Value| {
        let (bed, caller, path) = (&bed, &owner.caller, user(&member));
        async move {
            let change = json!({ "license_id": license });
            bed.patch(caller, &path, &change).await
        }
    };
    let assigned = assign(json!(ours)).await.json(200);
    assert_eq!(assigned["license_id"], json!(ours));
    let never = "lic_00000000000000000000000000";
    let refusals = [
        assign(json!(theirs)).await.json(404)["detail"].clone(),
        assign(json!(never)).await.json(404)["detail"].clone(),
    ];
    assert_eq!(refusals[0], refusals[1]);
    // What is absent stays.
    let renamed = json!({ "name": "M" });
    let renamed = bed.patch(&owner.caller, &user(&member), &renamed).await;
    assert_eq!(renamed.json(200)["license_id"], json!(ours));
    let taken = assign(Value::Null).await.json(200);
    assert_eq!(taken["license_id"], Value::Null);
}

#[tokio::test]
async fn whoever_was_removed_can_be_brought_back() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let admin = bed.join(&owner, "ADMIN").await;
    let member = bed.join(&owner, "MEMBER").await;
    let second = bed.join(&owner, "OWNER").await;
    let restore = |by: Caller, whom: &Person| {
        let (bed, path) = (&bed, format!("{}/restore", user(whom)));
        async move { bed.ask_with(&by, Method::POST, &path, None, &[]).await }
    };
    let (owner, admin) = (&owner.caller, &admin.caller);
    bed.delete(owner, &user(&member)).await.empty(204);
    bed.delete(owner, &user(&second)).await.empty(204);
    let removed = bed
        .get(owner, &format!("{USERS}?removed=true&role=MEMBER"))
        .await
        .json(200);
    assert_eq!(removed["data"][0]["id"], json!(member.id));
    assert!(removed["data"][0]["removed_at"].is_string());

    let back = restore(admin.clone(), &member).await.json(200);
    assert_eq!(
        (&back["email"], &back["role"], &back["removed_at"]),
        (&json!(member.email), &json!("MEMBER"), &Value::Null)
    );
    bed.log_in(&member.email, PASSWORD, "alpha").await.json(200);
    // The sessions of before stay ended.
    bed.get(&member.caller, "/api/v1/products")
        .await
        .refused(401);
    restore(admin.clone(), &member).await.json(200);
    // Nobody brings back somebody above themselves.
    restore(admin.clone(), &second).await.refused(403);
    restore(member.caller.clone(), &second).await.refused(401);

    // The e-mail is another's now.
    bed.delete(owner, &user(&member)).await.empty(204);
    let invitation = json!({ "email": member.email, "role": "GUEST" });
    let made = bed.post(owner, INVITATIONS, &invitation).await.json(201);
    let acceptance = json!({ "token": made["token"], "name": "New", "password": PASSWORD });
    bed.open(Method::POST, ACCEPT, &acceptance).await.json(201);
    restore(owner.clone(), &member).await.refused(409);
    // And seats may have run out.
    bed.database.admin(
        "UPDATE licet.organizations
         SET max_users = (SELECT count(*) FROM licet.users WHERE deleted_at IS NULL)",
    );
    restore(owner.clone(), &second).await.refused(403);
}

/// Sixteen owners, each of whom demotes, disables or removes somebody, all at once, round after
/// round: one is always left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_owner_stays_whatever_happens_at_once() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    bed.database
        .admin("UPDATE licet.organizations SET max_users = 100");
    let mut owners = vec![owner.clone()];
    for _ in 1..16 {
        owners.push(bed.join(&owner, "OWNER").await);
    }
    let attack = |n: usize| {
        let (bed, by, at) = (&bed, &owners[n], &owners[(n + 1) % 16]);
        async move {
            match n % 3 {
                0 => {
                    bed.patch(&by.caller, &user(at), &json!({ "role": "MEMBER" }))
                        .await
                }
                1 => {
                    bed.patch(&by.caller, &user(at), &json!({ "disabled": true }))
                        .await
                }
                _ => bed.delete(&by.caller, &user(at)).await,
            }
        }
    };
    let replies = futures_util::future::join_all((0..16).map(attack)).await;
    for reply in &replies {
        assert!(
            matches!(reply.status.as_u16(), 200 | 204 | 401 | 403 | 409),
            "{}",
            reply.text()
        );
    }
    let left = bed.database.admin("SELECT count(*) FROM licet.users WHERE role = 'OWNER' AND disabled_at IS NULL AND deleted_at IS NULL");
    assert_ne!(left[0][0].as_deref(), Some("0"));

    // And alone, themselves.
    let alone = bed.sign_up("beta").await;
    for (method, body) in [
        (Method::PATCH, Some(json!({ "role": "ADMIN" }))),
        (Method::PATCH, Some(json!({ "disabled": true }))),
        (Method::DELETE, None),
    ] {
        let reply = bed
            .ask_with(&alone.caller, method, &user(&alone), body.as_ref(), &[])
            .await;
        assert_eq!(reply.refused(409), "CONFLICT");
    }
    // Sixteen times the same, at once, with two owners who demote each other.
    let second = bed.join(&alone, "OWNER").await;
    let all = (0..16).map(|n| {
        let (by, at) = if n % 2 == 0 {
            (&alone, &second)
        } else {
            (&second, &alone)
        };
        let bed = &bed;
        async move {
            bed.patch(&by.caller, &user(at), &json!({ "role": "GUEST" }))
                .await
        }
    });
    futures_util::future::join_all(all).await;
    let left = bed.database.admin(
        "SELECT count(*) FROM licet.users u JOIN licet.organizations o USING (org_id)
         WHERE o.slug = 'beta' AND u.role = 'OWNER' AND u.disabled_at IS NULL AND u.deleted_at IS NULL"
    );
    assert_eq!(left[0][0].as_deref(), Some("1"));
}

/// With a hole in the origin: what the functions do by themselves.
#[tokio::test]
async fn the_login_directory_is_written_for_ones_own_organization_alone() {
    let bed = Bed::new();
    let (alpha, beta) = (bed.sign_up("alpha").await, bed.sign_up("beta").await);
    let user: UserId = beta.id.parse().unwrap();
    let user = uuid::Uuid::from_bytes(user.uuid_bytes());
    let client = bed.database.app().await;
    let leave = format!("SELECT licet.leave_login('{user}')");
    client.batch_execute(&leave).await.unwrap();
    begin(&client, alpha.org.parse().unwrap()).await;
    client.batch_execute(&leave).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    bed.log_in(&beta.email, PASSWORD, "beta").await.json(200);
    // Nobody's: there is no organization to enter.
    let enter = format!("SELECT licet.enter_login('x@alpha.test', '{user}')");
    assert_eq!(
        refusal(&client, &enter).await,
        tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE
    );
}
