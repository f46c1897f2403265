//! What is refused, from where, and what that costs.

use axum::http::Method;
use licet_origin::{
    accounts::secrets::{OrgSecret, SecretKind},
    api::AccountSettings,
    buckets::Quota,
};
use licet_shared::id::OrgTag;
use serde_json::json;

use crate::support::{
    Bed, BedOptions, TestDatabase,
    account::{Caller, PASSWORD, Person, request, with_body},
    edge::Reply,
};

const PRODUCTS: &str = "/api/v1/products";
const HERE: &str = "192.0.2.1";
const THERE: &str = "192.0.2.2";
/// As many as are allowed at once.
const LIMIT: usize = 60;

/// Behind a proxy, so that callers have addresses.
fn bed() -> Bed {
    let options = BedOptions {
        accounts: AccountSettings {
            trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
            // So slowly that none comes back while a test looks on.
            refusals: Quota {
                capacity: 60,
                window_s: 60_000,
            },
            ..AccountSettings::default()
        },
        ..BedOptions::default()
    };
    Bed::with(TestDatabase::migrated(), &options)
}

impl Bed {
    async fn from(&self, address: &str, bearer: &str) -> Reply {
        let builder = request(Method::GET, PRODUCTS, None)
            .header("x-forwarded-for", address)
            .header("authorization", format!("Bearer {bearer}"));
        self.send(with_body(builder, None)).await
    }

    async fn renew_from(&self, address: &str, token: &str) -> Reply {
        let body = json!({ "refresh_token": token });
        let builder = request(Method::POST, "/api/v1/auth/refresh", Some(&body))
            .header("x-forwarded-for", address);
        self.send(with_body(builder, Some(&body))).await
    }

    /// How often a transaction was begun, by the metrics.
    async fn transactions(&self, name: &str) -> u64 {
        let text = self
            .send(with_body(request(Method::GET, "/metrics", None), None))
            .await
            .text();
        let of = format!("tx_duration_seconds_count{{name=\"{name}\"");
        let lines = text.lines().filter(|line| line.contains(&of));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    async fn tag(&self, owner: &Person) -> OrgTag {
        let organization = self.get(&owner.caller, "/api/v1/organization").await;
        let tag = organization.json(200)["tag"].as_str().unwrap().to_owned();
        tag.parse().unwrap()
    }
}

fn made_up(tag: OrgTag) -> String {
    let key = OrgSecret::generate(SecretKind::ApiKey, tag).unwrap();
    key.reveal().to_owned()
}

/// Waits for nothing: the limit, then 429 with the seconds to wait.
fn slowed_down(reply: &Reply) {
    assert_eq!(reply.refused(429), "RATE_LIMITED");
    let seconds: u64 = reply.header("retry-after").parse().unwrap();
    assert!(seconds >= 1);
}

#[tokio::test]
async fn made_up_keys_are_looked_for_within_the_limit() {
    let bed = bed();
    let owner = bed.sign_up("alpha").await;
    let (tag, known) = (
        bed.tag(&owner).await,
        bed.key(&owner, &["products:read"]).await,
    );
    let unseen = bed.key(&owner, &["products:read"]).await;
    bed.from(HERE, &known.bearer).await.json(200);

    let before = bed.transactions("authenticate_machine").await;
    let mut refused = 0;
    for _ in 0..10 * LIMIT {
        let reply = bed.from(HERE, &made_up(tag)).await;
        match reply.status.as_u16() {
            401 => refused += 1,
            _ => slowed_down(&reply),
        }
    }
    let looked = bed.transactions("authenticate_machine").await - before;
    assert_eq!((looked, refused), (LIMIT as u64, LIMIT as u64));
    // Of a key that can't be one, or a tag that nobody has, nothing is looked for either.
    slowed_down(&empty(&bed, HERE).await);

    // Neighbours go on: with a key that is known, with a token of ours, by logging in.
    for _ in 0..2 * LIMIT {
        bed.from(HERE, &known.bearer).await.json(200);
    }
    bed.from(HERE, &owner.caller.bearer).await.json(200);
    let session = bed.log_in(&owner.email, PASSWORD, "alpha").await.json(200);
    let session = Person::of(&session, &owner.email, "alpha");
    bed.from(HERE, &session.caller.bearer).await.json(200);
    bed.renew_from(HERE, &session.refresh).await.json(200);
    // A key that is not known waits here, and nowhere else.
    empty(&bed, HERE).await;
    bed.from(THERE, &unseen.bearer).await.json(200);
    bed.from(HERE, &unseen.bearer).await.json(200);
}

/// Makes up keys until there is none left; hands back the last answer.
async fn empty(bed: &Bed, address: &str) -> Reply {
    for number in 0..100 * LIMIT {
        // Alternately: in no form, in the form of a token, in that of a key of nobody's.
        let bearer = match number % 3 {
            0 => "x".to_owned(),
            1 => "e30.e30.e30".to_owned(),
            _ => made_up(OrgTag::new([number as u8; 5])),
        };
        let reply = bed.from(address, &bearer).await;
        if reply.status.as_u16() == 429 {
            return reply;
        }
    }
    panic!("it has no end");
}

#[tokio::test]
async fn a_key_that_was_revoked_is_known_no_longer() {
    let bed = bed();
    let owner = bed.sign_up("alpha").await;
    let key = bed.key(&owner, &["products:read"]).await;
    bed.from(HERE, &key.bearer).await.json(200);
    let keys = bed.get(&owner.caller, "/api/v1/api-keys").await.json(200);
    let id = keys["data"][0]["id"].as_str().unwrap();
    bed.delete(&owner.caller, &format!("/api/v1/api-keys/{id}"))
        .await
        .empty(204);
    assert_eq!(
        bed.from(HERE, &key.bearer).await.refused(401),
        "UNAUTHORIZED"
    );
    empty(&bed, HERE).await;
    slowed_down(&bed.from(HERE, &key.bearer).await);
}

#[tokio::test]
async fn a_token_of_an_ended_session_makes_only_itself_wait() {
    let bed = bed();
    let owner = bed.sign_up("alpha").await;
    let session = bed.log_in(&owner.email, PASSWORD, "alpha").await.json(200);
    let ended = Person::of(&session, &owner.email, "alpha");
    bed.ask_with(
        &ended.caller,
        Method::POST,
        "/api/v1/auth/logout",
        None,
        &[],
    )
    .await
    .empty(204);
    let before = bed.transactions("authenticate_person").await;
    // From wherever: it is the token that waits.
    for address in [HERE, THERE] {
        let mut last = bed.from(address, &ended.caller.bearer).await;
        while last.status.as_u16() == 401 {
            last = bed.from(address, &ended.caller.bearer).await;
        }
        slowed_down(&last);
    }
    let looked = bed.transactions("authenticate_person").await - before;
    assert_eq!(looked, LIMIT as u64);
    bed.from(HERE, &owner.caller.bearer).await.json(200);
    // The same for its refresh token; and neither takes from what strangers have left here.
    let mut last = bed.renew_from(HERE, &ended.refresh).await;
    while last.status.as_u16() == 401 {
        last = bed.renew_from(HERE, &ended.refresh).await;
    }
    slowed_down(&last);
    assert_eq!(bed.from(HERE, "x").await.refused(401), "UNAUTHORIZED");
}

#[tokio::test]
async fn a_made_up_refresh_token_touches_no_session() {
    let bed = bed();
    let owner = bed.sign_up("alpha").await;
    let tag = bed.tag(&owner).await;
    let before = bed.transactions("renew_session").await;
    // In every part as ours, but for the key that it would take.
    let forged = forge(&owner.refresh, tag);
    let mut last = bed.renew_from(HERE, &forged).await;
    assert_eq!(last.refused(401), "UNAUTHORIZED");
    while last.status.as_u16() == 401 {
        last = bed.renew_from(HERE, &forged).await;
    }
    slowed_down(&last);
    assert_eq!(bed.transactions("renew_session").await, before);
    bed.renew_from(HERE, &owner.refresh).await.json(200);
}

/// The same session and generation under another MAC, with the right check.
fn forge(token: &str, tag: OrgTag) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let head = format!("{}{tag}", SecretKind::RefreshToken.prefix());
    let body = &token[head.len()..token.len() - 6];
    let mut bytes = Base64UrlUnpadded::decode_vec(body).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let text = format!("{head}{}", Base64UrlUnpadded::encode_string(&bytes));
    let mut number = crc32fast::hash(text.as_bytes());
    let symbols = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut check = String::new();
    for _ in 0..6 {
        check.insert(0, char::from(symbols[(number % 62) as usize]));
        number /= 62;
    }
    text + &check
}

/// Where nobody is limited by it there is no problem to tell of.
#[tokio::test]
async fn no_credentials_are_no_refused_ones() {
    let bed = bed();
    for _ in 0..3 * LIMIT {
        let builder = request(Method::GET, PRODUCTS, None).header("x-forwarded-for", HERE);
        let reply = bed.send(with_body(builder, None)).await;
        assert_eq!(reply.refused(401), "UNAUTHORIZED");
    }
    let owner = bed.sign_up("alpha").await;
    let caller = Caller {
        bearer: owner.caller.bearer,
    };
    bed.from(HERE, &caller.bearer).await.json(200);
}
