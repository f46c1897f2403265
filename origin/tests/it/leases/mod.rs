//! Floating seats.

mod crowd;
mod model;
mod races;
mod vendor;
mod verdict;

use licet_shared::{
    api::LeaseAnswer,
    decision::{Code, LeaseToken, LicenseToken},
    documents::OrgKeys,
    id::LeaseId,
};
use serde_json::{Value, json};

use super::support::{
    Bed, ISSUER, Seeded,
    edge::{Call, Reply, now},
};

const ACQUIRE: &str = "/edge/v1/leases/acquire";
const HEARTBEAT: &str = "/edge/v1/leases/heartbeat";
const RELEASE: &str = "/edge/v1/leases/release";

fn seat(token: &str, holder: &str, more: &Value) -> Value {
    let mut seat = json!({ "holder": holder });
    for (name, value) in more.as_object().into_iter().flatten() {
        seat[name] = value.clone();
    }
    json!({ "token": token, "seat": seat })
}

fn lease_answer(reply: &Reply) -> LeaseAnswer {
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

impl Bed {
    /// Gives a license floating seats of its own.
    pub fn float(&self, seeded: &Seeded, seats: &Value) {
        self.set_terms(seeded, &json!({ "seats": seats }));
    }

    pub fn set_terms(&self, seeded: &Seeded, terms: &Value) {
        let id = super::support::sql::uuid(seeded.license);
        self.database.admin(&format!(
            "UPDATE licet.licenses SET terms = '{terms}' WHERE id = '{id}'"
        ));
    }

    pub async fn acquire_with(&self, token: &str, holder: &str, more: &Value) -> LeaseAnswer {
        let call = Call::post(ACQUIRE, &seat(token, holder, more));
        lease_answer(&self.call(call).await)
    }

    pub async fn acquire(&self, token: &str, holder: &str) -> LeaseAnswer {
        self.acquire_with(token, holder, &json!({})).await
    }

    pub async fn heartbeat(&self, lease: &str) -> LeaseAnswer {
        let call = Call::post(HEARTBEAT, &json!({ "token": lease }));
        lease_answer(&self.call(call).await)
    }

    pub async fn release(&self, lease: &str) -> LeaseAnswer {
        let call = Call::post(RELEASE, &json!({ "token": lease }));
        lease_answer(&self.call(call).await)
    }

    /// A token of a new device.
    async fn device(&self, seeded: &Seeded, fingerprint: &str) -> String {
        let answer = self.activate(&seeded.key, fingerprint).await;
        answer.license_token.unwrap()
    }

    /// Lets time pass for one lease.
    fn age(&self, lease: LeaseId, seconds: i64) {
        let id = super::support::sql::uuid(lease);
        self.database.admin(&format!(
            "UPDATE licet.leases SET expires_at = expires_at - interval '{seconds} seconds'
             WHERE id = '{id}'"
        ));
    }

    /// How many leases of all licenses take a seat, by the database.
    fn held(&self) -> i64 {
        let rows = self.database.admin(
            "SELECT count(*) FROM licet.leases
             WHERE ended_at IS NULL AND expires_at >= now() - interval '5 seconds'",
        );
        rows[0][0].as_ref().unwrap().parse().unwrap()
    }
}

fn id(answer: &LeaseAnswer) -> LeaseId {
    answer.lease.unwrap().id
}

fn text(answer: &LeaseAnswer) -> &str {
    answer.lease_token.as_deref().unwrap()
}

fn read(answer: &LeaseAnswer, keys: &OrgKeys) -> LeaseToken {
    LeaseToken::verify(text(answer), Some(keys), now()).unwrap()
}

#[tokio::test]
async fn a_lease_says_who_holds_a_seat_and_without_one_there_is_no_yes() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 2, "lease_s": 300 }));
    let token = bed.device(&seeded, "device 1").await;
    assert_eq!(
        bed.verdict(&seeded, &token, None).await,
        Code::LeaseRequired
    );

    let answer = bed.acquire(&token, "ada@workstation").await;
    assert_eq!((answer.valid, answer.code), (true, Code::Valid));
    let seats = answer.seats.unwrap();
    assert_eq!((seats.max, seats.taken), (2, 1));
    let keys = bed.keys(&seeded).await;
    let lease = read(&answer, &keys);
    let claims = lease.claims();
    assert_eq!((claims.sub, claims.org), (seeded.license, seeded.org));
    assert_eq!(
        (Some(claims.act), Some(claims.sub)),
        (answer.activation_id, answer.license_id)
    );
    assert_eq!(
        (claims.holder.as_str(), claims.bor),
        ("ada@workstation", false)
    );
    let license = LicenseToken::verify(&token, Some(&keys), now()).unwrap();
    assert_eq!(claims.status, license.claims().status);
    let told = answer.lease.unwrap();
    assert_eq!((told.id, told.borrowed), (claims.lea, false));
    assert_eq!(told, lease.summary());
    let life = told.expires_at.since(lease.times().issued_at);
    assert!((298..=301).contains(&life), "{life}");
    assert_eq!(
        bed.verdict(&seeded, &token, Some(text(&answer))).await,
        Code::Valid
    );

    // Nobody else can use it.
    let other = bed.device(&seeded, "device 2").await;
    assert_eq!(
        bed.verdict(&seeded, &other, Some(text(&answer))).await,
        Code::LeaseInvalid
    );
    assert_eq!(
        bed.verdict(&seeded, &token, Some(&token)).await,
        Code::LeaseInvalid
    );
}

#[tokio::test]
async fn a_license_without_floating_seats_needs_no_lease() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let token = bed.device(&seeded, "device 1").await;
    let answer = bed.acquire(&token, "ada").await;
    assert_eq!((answer.valid, answer.lease_token), (true, None));
    assert!(
        answer.detail.contains("no floating seats"),
        "{}",
        answer.detail
    );
    assert_eq!(bed.verdict(&seeded, &token, None).await, Code::Valid);
    // Nor is one that is sent all the same looked at.
    assert_eq!(
        bed.verdict(&seeded, &token, Some("nonsense")).await,
        Code::Valid
    );
}

#[tokio::test]
async fn seats_are_counted_by_lease() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 2 }));
    let token = bed.device(&seeded, "device 1").await;
    let first = bed.acquire(&token, "ada").await;
    let second = bed.acquire(&token, "ada").await;
    assert_ne!(id(&first), id(&second));
    let refused = bed.acquire(&token, "ada").await;
    assert_eq!((refused.valid, refused.code), (false, Code::SeatLimit));
    assert_eq!((refused.lease_token, refused.lease), (None, None));
    let seats = refused.seats.unwrap();
    assert_eq!((seats.max, seats.taken), (2, 2));

    let given_back = bed.release(text(&first)).await;
    assert!(given_back.valid && given_back.detail.contains("given back"));
    let again = bed.release(text(&first)).await;
    assert_eq!((again.valid, again.detail), (true, given_back.detail));
    assert!(bed.acquire(&token, "grace").await.valid);
    // The old lease frees nobody else's seat, and can't be kept alive.
    assert!(bed.release(text(&first)).await.valid);
    assert_eq!(bed.acquire(&token, "x").await.code, Code::SeatLimit);
    assert_eq!(bed.heartbeat(text(&first)).await.code, Code::LeaseNotFound);
}

#[tokio::test]
async fn leases_of_one_user_share_a_seat_where_seats_are_for_users() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 2, "per": "USER" }));
    let one = bed.device(&seeded, "device 1").await;
    let two = bed.device(&seeded, "device 2").await;
    let mut ada = Vec::new();
    for token in [&one, &two, &one] {
        let answer = bed.acquire(token, "ada").await;
        assert_eq!(answer.seats.unwrap().taken, 1);
        ada.push(answer);
    }
    assert_eq!(bed.acquire(&two, "grace").await.seats.unwrap().taken, 2);
    assert_eq!(bed.acquire(&one, "edsger").await.code, Code::SeatLimit);
    // The seat is free once the last of them is given back.
    for (position, lease) in ada.iter().enumerate() {
        assert_eq!(
            bed.acquire(&one, "edsger").await.code,
            Code::SeatLimit,
            "{position}"
        );
        assert!(bed.release(text(lease)).await.valid);
    }
    assert!(bed.acquire(&one, "edsger").await.valid);
}

#[tokio::test]
async fn leases_on_one_machine_share_a_seat_where_seats_are_for_machines() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 1, "per": "MACHINE" }));
    let one = bed.device(&seeded, "device 1").await;
    let two = bed.device(&seeded, "device 2").await;
    let ada = bed.acquire(&one, "ada").await;
    let grace = bed.acquire(&one, "grace").await;
    assert_eq!(grace.seats.unwrap().taken, 1);
    assert_eq!(bed.acquire(&two, "ada").await.code, Code::SeatLimit);
    for lease in [&ada, &grace] {
        bed.release(text(lease)).await;
    }
    assert!(bed.acquire(&two, "ada").await.valid);
    // A token that is bound to a device names no other.
    let elsewhere = json!({ "fingerprint": "device 1" });
    let refused = bed.acquire_with(&two, "ada", &elsewhere).await;
    assert_eq!(refused.code, Code::FingerprintMismatch);
    let here = json!({ "fingerprint": "device 2" });
    assert!(bed.acquire_with(&two, "ada", &here).await.valid);
}

#[tokio::test]
async fn a_token_for_any_device_counts_by_the_machine_that_is_named() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.database
        .admin("UPDATE licet.policies SET fingerprint_rule = 'FREE'");
    bed.float(&seeded, &json!({ "max": 2, "per": "MACHINE" }));
    let token = bed.device(&seeded, "the image that all run").await;
    let on = |machine: &str| json!({ "fingerprint": machine });
    for machine in ["a", "b", "a"] {
        assert!(bed.acquire_with(&token, "job", &on(machine)).await.valid);
    }
    let refused = bed.acquire_with(&token, "job", &on("c")).await;
    assert_eq!(refused.code, Code::SeatLimit);
    // Who names none is the one that was activated.
    assert_eq!(bed.acquire(&token, "job").await.code, Code::SeatLimit);
}

#[tokio::test]
async fn a_heartbeat_keeps_a_seat_and_without_one_it_comes_back_after_the_margin() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 1, "lease_s": 60 }));
    let token = bed.device(&seeded, "device 1").await;
    let answer = bed.acquire(&token, "ada").await;
    bed.age(id(&answer), 40);
    let renewed = bed.heartbeat(text(&answer)).await;
    assert_eq!((renewed.valid, id(&renewed)), (true, id(&answer)));
    let left = renewed.lease.unwrap().expires_at.since(now());
    assert!((58..=60).contains(&left), "{left}");
    assert_eq!(
        bed.verdict(&seeded, &token, Some(text(&renewed))).await,
        Code::Valid
    );
    // Past its end, but not past the margin: the seat is still its holder's.
    bed.age(id(&answer), 62);
    assert_eq!(bed.acquire(&token, "grace").await.code, Code::SeatLimit);
    assert!(bed.heartbeat(text(&answer)).await.valid);
    // Past both it is whoever's comes first.
    bed.age(id(&answer), 67);
    assert_eq!(
        bed.heartbeat(text(&answer)).await.code,
        Code::LeaseExpired,
        "also if nobody has come yet"
    );
    assert!(bed.acquire(&token, "grace").await.valid);
    assert_eq!(bed.heartbeat(text(&answer)).await.code, Code::LeaseExpired);
    assert!(bed.release(text(&answer)).await.valid, "and frees nothing");
    assert_eq!(bed.acquire(&token, "ada").await.code, Code::SeatLimit);
}

#[tokio::test]
async fn new_terms_count_from_the_next_heartbeat_and_nobody_loses_a_seat_by_them() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 2, "lease_s": 600 }));
    let token = bed.device(&seeded, "device 1").await;
    let one = bed.acquire(&token, "ada").await;
    let two = bed.acquire(&token, "grace").await;
    bed.float(&seeded, &json!({ "max": 1, "lease_s": 1200 }));
    for lease in [&one, &two] {
        let renewed = bed.heartbeat(text(lease)).await;
        let left = renewed.lease.unwrap().expires_at.since(now());
        assert!((1198..=1200).contains(&left), "{left}");
    }
    let refused = bed.acquire(&token, "edsger").await.seats.unwrap();
    assert_eq!((refused.max, refused.taken), (1, 2));
    bed.release(text(&one)).await;
    assert_eq!(bed.acquire(&token, "edsger").await.code, Code::SeatLimit);
}

#[tokio::test]
async fn a_borrowed_seat_is_in_use_until_its_end_or_until_it_is_returned() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 1, "borrow_max_s": 604_800 }));
    let token = bed.device(&seeded, "device 1").await;
    let borrow = |seconds: u32| json!({ "borrow_s": seconds });
    let refused = bed.acquire_with(&token, "ada", &borrow(604_801)).await;
    assert_eq!(refused.code, Code::BorrowRefused);
    let answer = bed.acquire_with(&token, "ada", &borrow(604_800)).await;
    let lease = answer.lease.unwrap();
    assert!(lease.borrowed);
    let left = lease.expires_at.since(now());
    assert!((604_798..=604_800).contains(&left), "{left}");
    assert!(read(&answer, &bed.keys(&seeded).await).claims().bor);
    assert_eq!(
        bed.verdict(&seeded, &token, Some(text(&answer))).await,
        Code::Valid
    );
    assert_eq!(bed.acquire(&token, "grace").await.code, Code::SeatLimit);
    // A heartbeat does not cut it short.
    let renewed = bed.heartbeat(text(&answer)).await.lease.unwrap();
    assert_eq!(
        (renewed.expires_at, renewed.borrowed),
        (lease.expires_at, true)
    );
    assert!(bed.release(text(&answer)).await.valid);
    let ordinary = bed.acquire(&token, "grace").await;
    assert!(ordinary.valid);
    bed.release(text(&ordinary)).await;

    // What was borrowed is in the trail, and who came and went with a run of a program is not.
    let events = bed.database.admin(
        "SELECT action, subject, details ->> 'license', details::text
         FROM licet.audit_events WHERE action LIKE 'lease.%' ORDER BY seq",
    );
    let of = |column: usize| -> Vec<String> {
        events
            .iter()
            .map(|row| row[column].clone().unwrap())
            .collect()
    };
    assert_eq!(of(0), ["lease.borrowed", "lease.returned"]);
    assert_eq!(of(1), [lease.id.to_string(), lease.id.to_string()]);
    assert_eq!(
        of(2),
        [seeded.license.to_string(), seeded.license.to_string()]
    );
    assert!(
        of(3).iter().all(|details| !details.contains("ada")),
        "{events:?}"
    );
}

#[tokio::test]
async fn nobody_borrows_where_the_license_does_not_say_so() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 1 }));
    let token = bed.device(&seeded, "device 1").await;
    let refused = bed
        .acquire_with(&token, "ada", &json!({ "borrow_s": 1 }))
        .await;
    assert_eq!(refused.code, Code::BorrowRefused);
    assert!(bed.acquire(&token, "ada").await.valid);
}

#[tokio::test]
async fn what_ends_a_license_or_an_activation_ends_its_leases() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 2, "borrow_max_s": 86_400 }));
    let token = bed.device(&seeded, "device 1").await;
    let other = bed.device(&seeded, "device 2").await;
    let borrow = json!({ "borrow_s": 86_400 });
    let lease = bed.acquire_with(&token, "ada", &borrow).await;
    let kept = bed.acquire(&other, "grace").await;
    let operator = |command: &str| {
        let id = seeded.license.to_string();
        bed.database
            .command(&["license", command, "--org", &seeded.slug, &id])
            .succeed();
    };

    operator("suspend");
    assert_eq!(
        bed.verdict(&seeded, &token, Some(text(&lease))).await,
        Code::Suspended
    );
    assert_eq!(bed.heartbeat(text(&kept)).await.code, Code::Suspended);
    assert_eq!(bed.acquire(&token, "x").await.code, Code::Suspended);
    operator("reinstate");
    assert!(bed.heartbeat(text(&kept)).await.valid);

    assert!(bed.deactivate(&token).await.valid);
    assert_eq!(
        bed.verdict(&seeded, &token, Some(text(&lease))).await,
        Code::Deactivated
    );
    assert_eq!(bed.heartbeat(text(&lease)).await.code, Code::Deactivated);
    assert_eq!(bed.acquire(&token, "x").await.code, Code::Deactivated);
    assert!(
        bed.acquire(&other, "edsger").await.valid,
        "its seat is free"
    );

    bed.database
        .admin("UPDATE licet.licenses SET expires_at = now() - interval '1 second'");
    assert_eq!(bed.heartbeat(text(&kept)).await.code, Code::LicenseExpired);
    assert_eq!(bed.acquire(&other, "x").await.code, Code::LicenseExpired);
    operator("revoke");
    assert_eq!(bed.heartbeat(text(&kept)).await.code, Code::Revoked);
    assert_eq!(
        bed.verdict(&seeded, &other, Some(text(&kept))).await,
        Code::Revoked
    );
    assert!(
        bed.release(text(&kept)).await.valid,
        "that is always possible"
    );
}

#[tokio::test]
async fn a_retry_with_its_key_takes_no_second_seat() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 5 }));
    let token = bed.device(&seeded, "device 1").await;
    let keyed = async |token: &str, holder: &str, key: &str| {
        let call = Call::post(ACQUIRE, &seat(token, holder, &json!({}))).once(key);
        bed.call(call).await
    };
    let first = lease_answer(&keyed(&token, "ada", "k").await);
    // The token may have been refreshed meanwhile.
    let refreshed = bed.refresh(&token).await.license_token.unwrap();
    let again = lease_answer(&keyed(&refreshed, "ada", "k").await);
    assert_eq!((again.valid, id(&again)), (true, id(&first)));
    assert_eq!(bed.held(), 1);
    let other = keyed(&token, "grace", "k").await;
    assert_eq!(other.code(), "IDEMPOTENCY_KEY_REUSED");
    // Another activation's keys are its own.
    let elsewhere = bed.device(&seeded, "device 2").await;
    let theirs = lease_answer(&keyed(&elsewhere, "grace", "k").await);
    assert_ne!(id(&theirs), id(&first));
    // What is over is not begun again.
    bed.release(text(&first)).await;
    let over = lease_answer(&keyed(&token, "ada", "k").await);
    assert_eq!(over.code, Code::LeaseNotFound);
    // Who was refused may well be served the next time.
    for holder in ["b", "c", "d", "e"] {
        assert!(bed.acquire(&token, holder).await.valid);
    }
    let refused = lease_answer(&keyed(&token, "ada", "later").await);
    assert_eq!(refused.code, Code::SeatLimit);
    bed.release(text(&theirs)).await;
    assert!(lease_answer(&keyed(&token, "ada", "later").await).valid);
}

#[tokio::test]
async fn what_is_no_token_gets_its_code_and_what_is_no_body_a_problem() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 5 }));
    let token = bed.device(&seeded, "device 1").await;
    let lease = bed.acquire(&token, "ada").await;
    assert_eq!(bed.acquire("nonsense", "ada").await.code, Code::Malformed);
    // One in place of the other.
    assert_eq!(bed.acquire(text(&lease), "ada").await.code, Code::Malformed);
    for bad in ["nonsense", "", &token] {
        assert_eq!(bed.heartbeat(bad).await.code, Code::LeaseInvalid, "{bad}");
        assert_eq!(bed.release(bad).await.code, Code::LeaseInvalid, "{bad}");
    }
    for bad in [
        json!({ "holder": "" }),
        json!({ "holder": "x".repeat(129) }),
        json!({ "holder": "a\nb" }),
        json!({ "holder": "ada", "borrow_s": 0 }),
        json!({ "holder": "ada", "borrow_s": -1 }),
        json!({ "holder": "ada", "colour": 1 }),
        json!({}),
    ] {
        let call = Call::post(ACQUIRE, &json!({ "token": token, "seat": bad }));
        assert_eq!(bed.call(call).await.code(), "BAD_REQUEST", "{bad}");
    }
    let answer = bed.acquire(&token, &"ü".repeat(64)).await;
    assert!(answer.valid, "{answer:?}");
}
