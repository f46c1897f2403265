//! Signing keys: published, activated, retired, withdrawn; and what becomes of what they signed.

use licet_shared::{documents::OrgKeys, jws::Untrusted};
use serde_json::{Value, json};

use super::support::{
    Bed, BedOptions, Seeded, TestDatabase,
    account::Caller,
    edge::{Call, now},
};

const PATH: &str = "/api/v1/signing-keys";

/// An organization with a person who may rotate its keys, and a license.
async fn organization(bed: &Bed, slug: &str) -> (Caller, Seeded) {
    let owner = bed.sign_up(slug).await.caller;
    (owner, bed.database.seed(slug, 50))
}

fn kid_of(token: &str) -> String {
    use licet_shared::documents::LicenseClaims;
    let token = Untrusted::<LicenseClaims>::parse(token, now()).unwrap();
    token.kid().to_owned()
}

impl Bed {
    async fn new_key(&self, owner: &Caller) -> String {
        let made = self.post(owner, PATH, &Value::Null).await.json(201);
        assert_eq!(made["state"], "PUBLISHED");
        made["id"].as_str().unwrap().to_owned()
    }

    async fn step(
        &self,
        owner: &Caller,
        kid: &str,
        step: &str,
        body: &Value,
    ) -> super::support::edge::Reply {
        self.post(owner, &format!("{PATH}/{kid}/{step}"), body)
            .await
    }

    /// A new key that signs.
    async fn rotate(&self, owner: &Caller) -> String {
        let kid = self.new_key(owner).await;
        let activated = self
            .step(owner, &kid, "activate", &json!({ "emergency": true }))
            .await;
        assert_eq!(activated.json(200)["state"], "ACTIVE");
        kid
    }

    async fn withdraw(&self, owner: &Caller, kid: &str) -> Value {
        let body = json!({ "reason": "KEY_COMPROMISE" });
        self.step(owner, kid, "withdraw", &body).await.json(200)
    }

    async fn states(&self, owner: &Caller) -> String {
        let states = self.pages(owner, PATH, "limit=2", "state").await;
        let words = states.iter().map(|state| state.as_str().unwrap());
        words.collect::<Vec<_>>().join(" ")
    }

    /// As if all keys had been published so much earlier.
    fn age_keys(&self, by: &str) {
        self.database.admin(&format!(
            "UPDATE licet.signing_keys SET created_at = created_at - interval '{by}'"
        ));
    }

    async fn token(&self, seeded: &Seeded, device: &str) -> String {
        self.activate(&seeded.key, device)
            .await
            .license_token
            .unwrap()
    }

    fn events(&self) -> String {
        let rows = self.database.admin(
            "SELECT string_agg(action || ' ' || split_part(subject, '.', 2), ', ' ORDER BY seq)
             FROM licet.audit_events WHERE action LIKE 'signing_key.%'",
        );
        rows[0][0].clone().unwrap_or_default()
    }
}

#[tokio::test]
async fn a_key_is_published_ahead_then_signs_and_is_retired_at_last() {
    let bed = Bed::new();
    let (owner, seeded) = organization(&bed, "alpha").await;
    let first = format!("{}.1", seeded.tag);
    let before = bed.token(&seeded, "one").await;
    assert_eq!(kid_of(&before), first);

    let made = bed.post(&owner, PATH, &Value::Null).await;
    let key = made.json(201);
    let second = format!("{}.2", seeded.tag);
    assert_eq!(key["id"], second.as_str());
    assert_eq!(made.header("location"), format!("{PATH}/{second}"));
    assert_eq!(key["store"], "SEALED");
    assert_eq!(key["activated_at"], Value::Null);
    let shown = bed.get(&owner, &format!("{PATH}/{second}")).await.json(200);
    assert_eq!(shown, key);
    // Everybody knows it, and it signs nothing.
    let keys = bed.keys(&seeded).await;
    assert_eq!(keys.find(&second).unwrap().x(), key["x"].as_str().unwrap());
    assert_eq!(kid_of(&bed.token(&seeded, "one").await), first);

    // Not before edges can know it.
    let early = bed.step(&owner, &second, "activate", &json!({})).await;
    assert_eq!(early.refused(409), "CONFLICT");
    assert!(
        early.text().contains("seconds from now"),
        "{}",
        early.text()
    );
    assert_eq!(bed.states(&owner).await, "PUBLISHED ACTIVE");
    bed.age_keys("2 minutes");
    let version = bed.keys(&seeded).await.version();
    let active = bed.step(&owner, &second, "activate", &json!({})).await;
    assert_eq!(active.json(200)["state"], "ACTIVE");
    assert_eq!(bed.states(&owner).await, "ACTIVE VERIFY_ONLY");
    assert!(bed.keys(&seeded).await.version() > version);

    // Old tokens go on; all that is made is by the new key.
    assert_eq!(kid_of(&bed.token(&seeded, "two").await), second);
    let refreshed = bed.refresh(&before).await.license_token.unwrap();
    assert_eq!(kid_of(&refreshed), second);
    for document in [
        "statuslists/0".to_owned(),
        format!("licenses/{}", seeded.license),
    ] {
        let path = format!("/edge/v1/orgs/{}/{document}", seeded.tag);
        let text = bed.call(Call::get(&path)).await.text();
        assert_eq!(kid_in(&text), second, "{path}");
    }

    // Its private half is gone, and it stays for as long as a token may count.
    let seeds = bed.database.admin(
        "SELECT number, sealed_seed IS NULL, signed_until - superseded_at > interval '1 day'
         FROM licet.signing_keys ORDER BY number",
    );
    let text = |row: usize, column: usize| seeds[row][column].as_deref();
    assert_eq!((text(0, 1), text(0, 2)), (Some("t"), Some("t")));
    assert_eq!((text(1, 1), text(1, 2)), (Some("f"), None));
    let retire = bed.step(&owner, &first, "retire", &json!({})).await;
    assert_eq!(retire.refused(409), "CONFLICT");
    assert!(bed.refresh(&before).await.valid);
    bed.database
        .admin("UPDATE licet.signing_keys SET signed_until = now() WHERE state = 'VERIFY_ONLY'");
    for _ in 0..2 {
        let retired = bed.step(&owner, &first, "retire", &json!({})).await;
        assert_eq!(retired.json(200)["state"], "RETIRED");
    }
    assert_eq!(bed.states(&owner).await, "ACTIVE RETIRED");
    assert!(bed.keys(&seeded).await.find(&first).is_none());
    assert_eq!(bed.refresh(&before).await.code.as_str(), "UNKNOWN_KEY");
    assert!(bed.refresh(&refreshed).await.valid);
    assert_eq!(
        bed.events(),
        "signing_key.created 2, signing_key.activated 2, signing_key.retired 1"
    );
}

#[tokio::test]
async fn what_a_withdrawn_key_has_signed_counts_no_more_and_devices_come_back() {
    let bed = Bed::new();
    let (owner, seeded) = organization(&bed, "alpha").await;
    bed.float(&seeded, &json!({ "max": 3 }));
    let first = format!("{}.1", seeded.tag);
    let old = bed.token(&seeded, "one").await;
    let lease = bed.acquire(&old, "somebody").await.lease_token.unwrap();
    let list = format!("/edge/v1/orgs/{}/statuslists/0", seeded.tag);
    let set = bed.activate(&seeded.key, "one").await.feature_set.unwrap();
    let set = format!("/edge/v1/orgs/{}/feature-sets/{}", seeded.tag, set.id);
    let mut documents = Vec::new();
    for path in [&list, &set] {
        documents.push(bed.call(Call::get(path)).await.text());
    }

    let withdrawn = bed.withdraw(&owner, &first).await;
    assert_eq!(withdrawn["state"], "WITHDRAWN");
    assert_eq!(withdrawn["withdrawn_why"], "KEY_COMPROMISE");
    // There was no other, so one was made.
    assert_eq!(bed.states(&owner).await, "ACTIVE WITHDRAWN");
    let keys = bed.keys(&seeded).await;
    assert!(keys.find(&first).is_none() && keys.find(&format!("{}.2", seeded.tag)).is_some());

    // Whatever is presented.
    assert_eq!(bed.refresh(&old).await.code.as_str(), "UNKNOWN_KEY");
    assert_eq!(bed.deactivate(&old).await.code.as_str(), "UNKNOWN_KEY");
    assert_eq!(bed.acquire(&old, "x").await.code.as_str(), "UNKNOWN_KEY");
    assert_eq!(bed.heartbeat(&lease).await.code.as_str(), "LEASE_INVALID");
    // No signed copy of before is handed out.
    for (path, before) in [&list, &set].into_iter().zip(documents) {
        let after = bed.call(Call::get(path)).await.text();
        assert_ne!(after, before, "{path}");
        assert_eq!(kid_in(&after), format!("{}.2", seeded.tag), "{path}");
    }
    // The device comes back to its seat.
    let again = bed.activate(&seeded.key, "one").await;
    let new = again.license_token.unwrap();
    assert_eq!(kid_of(&new), format!("{}.2", seeded.tag));
    assert!(bed.refresh(&new).await.valid);
    let activations = bed.database.admin("SELECT id FROM licet.activations");
    assert_eq!(activations.len(), 1);
    assert_eq!(
        bed.events(),
        "signing_key.created 2, signing_key.withdrawn 1"
    );

    // Withdrawn is withdrawn.
    assert_eq!(bed.withdraw(&owner, &first).await, withdrawn);
    for step in ["activate", "retire"] {
        let reply = bed.step(&owner, &first, step, &json!({})).await;
        assert_eq!(reply.refused(409), "CONFLICT", "{step}");
    }
}

/// The `kid` that stands in a text's header.
fn kid_in(text: &str) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let head = Base64UrlUnpadded::decode_vec(text.split('.').next().unwrap()).unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();
    head["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_published_key_takes_the_place_of_a_withdrawn_one() {
    let bed = Bed::new();
    let (owner, seeded) = organization(&bed, "alpha").await;
    let (second, third) = (bed.new_key(&owner).await, bed.new_key(&owner).await);
    bed.withdraw(&owner, &format!("{}.1", seeded.tag)).await;
    assert_eq!(bed.states(&owner).await, "ACTIVE PUBLISHED WITHDRAWN");
    assert_eq!(kid_of(&bed.token(&seeded, "one").await), third);
    // One that does not sign goes without another in its place.
    bed.withdraw(&owner, &second).await;
    assert_eq!(bed.states(&owner).await, "ACTIVE WITHDRAWN WITHDRAWN");
    let (active, unknown) = (
        format!("{PATH}/{third}/retire"),
        format!("{}.9", seeded.tag),
    );
    assert_eq!(
        bed.post(&owner, &active, &json!({})).await.refused(409),
        "CONFLICT"
    );
    let reply = bed.step(&owner, &unknown, "retire", &json!({})).await;
    assert_eq!(reply.refused(404), "NOT_FOUND");
    let reply = bed.step(&owner, &third, "withdraw", &json!({})).await;
    assert_eq!(reply.refused(400), "BAD_REQUEST");
}

#[tokio::test]
async fn a_key_is_made_once_and_a_set_does_not_grow_without_end() {
    let bed = Bed::new();
    let (owner, seeded) = organization(&bed, "alpha").await;
    let once = [("idempotency-key", "rotate-1")];
    let mut ids = Vec::new();
    for replayed in ["", "true"] {
        let post = axum::http::Method::POST;
        let reply = bed.ask_with(&owner, post, PATH, None, &once).await;
        assert_eq!(reply.header("idempotency-replayed"), replayed);
        ids.push(reply.json(201)["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    for _ in 2..16 {
        bed.new_key(&owner).await;
    }
    let reply = bed.post(&owner, PATH, &Value::Null).await;
    assert_eq!(reply.refused(409), "CONFLICT");
    assert_eq!(bed.keys(&seeded).await.jwks().count(), 16);
    let ids = bed.pages(&owner, PATH, "limit=3", "id").await;
    let expected: Vec<Value> = (1..=16)
        .rev()
        .map(|number| format!("{}.{number}", seeded.tag).into())
        .collect();
    assert_eq!(ids, expected);
    // A number is never given twice.
    bed.withdraw(&owner, &format!("{}.16", seeded.tag)).await;
    let next = bed.new_key(&owner).await;
    assert_eq!(next, format!("{}.17", seeded.tag));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_activate_at_once_one_key_signs() {
    let bed = Bed::new();
    let (owner, seeded) = organization(&bed, "alpha").await;
    let mut kids = Vec::new();
    for _ in 0..6 {
        kids.push(bed.new_key(&owner).await);
    }
    let body = json!({ "emergency": true });
    let steps = kids
        .iter()
        .map(|kid| bed.step(&owner, kid, "activate", &body));
    let replies = futures_util::future::join_all(steps).await;
    for reply in replies {
        assert_eq!(reply.json(200)["state"], "ACTIVE");
    }
    let states = bed.states(&owner).await;
    assert_eq!(states.matches("ACTIVE").count(), 1, "{states}");
    assert_eq!(states.matches("VERIFY_ONLY").count(), 6, "{states}");
    // And it is the one that tokens are signed by.
    let active = bed
        .database
        .admin("SELECT number FROM licet.signing_keys WHERE state = 'ACTIVE'");
    let kid = kid_of(&bed.token(&seeded, "one").await);
    assert_eq!(
        Some(kid.split_once('.').unwrap().1),
        active[0][0].as_deref()
    );
}

/// While keys rotate, devices activate and refresh as always; another process of the origin, which
/// remembers the old keys, is no exception.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_refused_while_keys_rotate() {
    let bed = Bed::new();
    let (owner, seeded) = organization(&bed, "alpha").await;
    let second = Bed::with(
        TestDatabase::migrated(),
        &BedOptions {
            url: Some(bed.database.app_url()),
            ..BedOptions::default()
        },
    );
    let origins = [&bed, &second];
    let mut tokens = Vec::new();
    for device in 0..4 {
        tokens.push(bed.token(&seeded, &format!("d{device}")).await);
    }
    let devices = tokens
        .into_iter()
        .enumerate()
        .map(async |(device, mut token)| {
            for round in 0..12 {
                let origin = origins[(device + round) % 2];
                let answer = origin.refresh(&token).await;
                assert!(answer.valid, "{:?}", answer.code);
                token = answer.license_token.unwrap();
            }
            token
        });
    let rotation = async {
        let mut kids = Vec::new();
        for _ in 0..5 {
            kids.push(bed.rotate(&owner).await);
        }
        kids
    };
    let (tokens, kids) =
        futures_util::future::join(futures_util::future::join_all(devices), rotation).await;
    for token in tokens {
        for origin in origins {
            let renewed = origin.refresh(&token).await.license_token.unwrap();
            assert_eq!(Some(&kid_of(&renewed)), kids.last());
        }
    }
    // What one process has withdrawn no other takes.
    let token = second.token(&seeded, "last").await;
    bed.withdraw(&owner, &kid_of(&token)).await;
    assert_eq!(second.refresh(&token).await.code.as_str(), "UNKNOWN_KEY");
}

#[tokio::test]
async fn commands_do_the_same() {
    let bed = Bed::new();
    let (owner, seeded) = organization(&bed, "alpha").await;
    let keys = |args: &[&str]| {
        let mut all = vec!["keys"];
        all.extend(args);
        all.extend(["--org", "alpha"]);
        bed.database.command(&all)
    };
    let second = keys(&["create"]).json()["id"].as_str().unwrap().to_owned();
    let early = keys(&["activate", &second]).end();
    assert_eq!(early.code, Some(1));
    assert!(early.stderr.contains("Edges may not know"), "{early:?}");
    let active = keys(&["activate", &second, "--emergency"]).json();
    assert_eq!(active["state"], "ACTIVE");
    let first = format!("{}.1", seeded.tag);
    let gone = keys(&["withdraw", &first, "--reason", "suspected-compromise"]).json();
    assert_eq!(gone["withdrawn_why"], "SUSPECTED_COMPROMISE");
    let third = keys(&["create"]).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(keys(&["retire", &third]).json()["state"], "RETIRED");
    let listed = keys(&["list"]).json();
    let shown = bed.get(&owner, PATH).await.json(200);
    assert_eq!(listed, shown["data"]);
    let other = keys(&["retire", "7K3M9QXR.1"]).end();
    assert_eq!(other.code, Some(1));
    assert!(other.stderr.contains("nothing of this name"), "{other:?}");
    assert_eq!(keys(&["retire", "nonsense"]).end().code, Some(2));
    assert_eq!(keys(&["withdraw", &second]).end().code, Some(2));
    let actors = bed
        .database
        .admin("SELECT DISTINCT actor FROM licet.audit_events WHERE action LIKE 'signing_key.%'");
    assert_eq!(actors, [[Some("operator".to_owned())]]);
    let verified = bed.database.command(&["audit", "verify", "--org", "alpha"]);
    assert_eq!(verified.json()["whole"], true);
}

const NEXT_MASTER_KEY: &str = "TkhOSE5ITkhOSE5ITkhOSE5ITkhOSE5ITkhOSE5ITkg";

#[tokio::test]
async fn the_master_key_changes_while_the_origin_serves() {
    use super::support::MASTER_KEY;
    let database = TestDatabase::migrated();
    let seeded: Vec<Seeded> = ["alpha", "beta", "gamma"]
        .map(|slug| database.seed(slug, 5))
        .into();
    let command = |args: &[&str], sealing: &str, opening: &str| {
        database
            .command(args)
            .env("LICET_MASTER_KEY", sealing)
            .env("LICET_OPENING_MASTER_KEYS", opening)
    };
    let reseal = ["keys", "reseal", "--all"];
    // The old one is needed to open what it sealed, and nothing is half done.
    let alone = command(&reseal, NEXT_MASTER_KEY, "").end();
    assert_eq!(alone.code, Some(1));
    assert!(alone.stderr.contains("0 of 3 organizations"), "{alone:?}");
    // As if it had been killed after the first: what is done stays, and is left alone.
    let one = ["keys", "reseal", "--org", "beta"];
    let report = command(&one, NEXT_MASTER_KEY, MASTER_KEY).json();
    assert_eq!(report["keys"], 1);
    let sealed = |slug: &str| {
        database.admin(&format!(
            "SELECT encode(k.sealed_seed, 'hex') FROM licet.signing_keys k
             JOIN licet.organizations o USING (org_id) WHERE o.slug = '{slug}'"
        ))
    };
    let (alpha, beta) = (sealed("alpha"), sealed("beta"));
    // What is mixed serves, whichever of both seals.
    for (sealing, opening) in [(MASTER_KEY, NEXT_MASTER_KEY), (NEXT_MASTER_KEY, MASTER_KEY)] {
        let bed = Bed::sealed(&database, sealing, opening);
        for org in &seeded {
            assert!(bed.activate(&org.key, "one").await.valid);
        }
    }
    let report = command(&reseal, NEXT_MASTER_KEY, MASTER_KEY).json();
    assert_eq!(
        report,
        json!({ "looked_at": 3, "organizations": 2, "keys": 2 })
    );
    assert!(sealed("alpha") != alpha && sealed("beta") == beta);
    let report = command(&reseal, NEXT_MASTER_KEY, MASTER_KEY).json();
    assert_eq!(report["keys"], 0);
    // The old one is good for nothing now.
    let bed = Bed::sealed(&database, NEXT_MASTER_KEY, "");
    for org in &seeded {
        let token = bed.activate(&org.key, "one").await.license_token.unwrap();
        assert!(bed.refresh(&token).await.valid);
    }
    let stale = Bed::sealed(&database, MASTER_KEY, "");
    let call = super::support::edge::activation(&seeded[0].key, "one");
    assert_eq!(stale.call(call).await.code(), "INTERNAL");
    let events = database
        .admin("SELECT count(*) FROM licet.audit_events WHERE action = 'signing_key.resealed'");
    assert_eq!(events[0][0].as_deref(), Some("3"));

    let wrong = command(&reseal, NEXT_MASTER_KEY, "nonsense").end();
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("LICET_OPENING_MASTER_KEYS") && !wrong.stderr.contains("nonsense")
    );
}

#[test]
fn sealing_anew_goes_on_where_it_was_killed() {
    use super::support::MASTER_KEY;
    const ORGS: &str = "400";
    let database = TestDatabase::migrated();
    database
        .command(&["seed", "--orgs", ORGS, "--licenses", ORGS])
        .succeed();
    let run = |opening| {
        database
            .command(&["keys", "reseal", "--all"])
            .env("LICET_MASTER_KEY", NEXT_MASTER_KEY)
            .env("LICET_OPENING_MASTER_KEYS", opening)
    };
    let count = |what: &str| -> u64 {
        let rows = database.admin(&format!("SELECT count(*) FROM {what}"));
        rows[0][0].as_deref().unwrap().parse().unwrap()
    };
    let events = "licet.audit_events WHERE action = 'signing_key.resealed'";
    let mut child = run(MASTER_KEY).command.spawn().unwrap();
    while count(events) < 20 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let done = count(events);
    let report = run(MASTER_KEY).json();
    let left = report["keys"].as_u64().unwrap();
    // What was under way when it was killed is done or not, and nothing is done twice.
    assert!(left > 0 && left + done <= 400, "{done} {report}");
    assert_eq!((count(events), count("licet.signing_keys")), (400, 400));
    // All of them open without the old key: each has one head.
    assert_eq!(run("").json()["keys"], 0);
    let heads = "SELECT DISTINCT substring(sealed_seed FROM 1 FOR 9) FROM licet.signing_keys";
    assert_eq!(database.admin(heads).len(), 1);
}

#[tokio::test]
async fn sessions_go_on_under_another_master_key() {
    use super::support::MASTER_KEY;
    let database = TestDatabase::migrated();
    let old = Bed::sealed(&database, MASTER_KEY, NEXT_MASTER_KEY);
    let person = old.sign_up("alpha").await;
    let new = Bed::sealed(&database, NEXT_MASTER_KEY, MASTER_KEY);
    let renewed = new.renew(&person.refresh).await.json(200);
    let child = renewed["refresh_token"].as_str().unwrap();
    // Whose answer was lost gets the same child, whichever process is asked.
    for bed in [&old, &new] {
        let again = bed.renew(&person.refresh).await.json(200);
        assert_eq!(again["refresh_token"], child);
    }
    let last = Bed::sealed(&database, NEXT_MASTER_KEY, "");
    last.renew(child).await.json(200);
    // A token from before is unknown once its key is gone.
    assert_eq!(
        last.renew(&person.refresh).await.refused(401),
        "UNAUTHORIZED"
    );
}

#[tokio::test]
async fn keys_of_another_organization_are_out_of_reach() {
    let bed = Bed::new();
    let (alpha, of_alpha) = organization(&bed, "alpha").await;
    let (_, of_beta) = organization(&bed, "beta").await;
    for step in ["activate", "retire", "withdraw"] {
        let body = match step {
            "withdraw" => json!({ "reason": "UNSPECIFIED" }),
            _ => json!({}),
        };
        let reply = bed
            .step(&alpha, &format!("{}.1", of_beta.tag), step, &body)
            .await;
        assert_eq!(reply.refused(404), "NOT_FOUND", "{step}");
    }
    bed.rotate(&alpha).await;
    let keys: OrgKeys = bed.keys(&of_beta).await;
    assert_eq!(keys.jwks().count(), 1);
    assert_eq!(bed.keys(&of_alpha).await.jwks().count(), 2);
    // Who may run the business may not change its keys.
    bed.database.admin("UPDATE licet.users SET role = 'MEMBER'");
    assert_eq!(bed.get(&alpha, PATH).await.refused(403), "FORBIDDEN");
    let reply = bed.post(&alpha, PATH, &Value::Null).await;
    assert_eq!(reply.refused(403), "FORBIDDEN");
}
