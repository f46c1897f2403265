//! Many at once: seats are decided by the database.

use futures_util::future::{join, join_all};
use licet_shared::decision::Code;
use serde_json::json;

use super::{Bed, id, text};
use crate::{
    licenses::Shop,
    support::sql::{connect, uuid},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_for_ten_seats_are_ten() {
    let bed = Bed::new();
    for (per, slug) in [("LICENSE", "alpha"), ("USER", "beta"), ("MACHINE", "gamma")] {
        let seeded = bed.database.seed(slug, 64);
        bed.float(&seeded, &json!({ "max": 10, "per": per }));
        let mut tokens = Vec::new();
        for n in 0..64 {
            tokens.push(bed.device(&seeded, &format!("device {n}")).await);
        }
        let before = bed.held();
        let asked = tokens.iter().enumerate().map(|(n, token)| {
            let bed = &bed;
            async move { bed.acquire(token, &format!("user {n}")).await }
        });
        let answers = join_all(asked).await;
        let won = answers.iter().filter(|answer| answer.valid).count();
        let refused = answers
            .iter()
            .filter(|answer| answer.code == Code::SeatLimit)
            .count();
        assert_eq!((won, refused), (10, 54), "{per}");
        assert_eq!(bed.held() - before, 10, "{per}");
        let mut taken: Vec<u32> = answers
            .iter()
            .filter(|answer| answer.valid)
            .map(|answer| answer.seats.unwrap().taken)
            .collect();
        taken.sort_unstable();
        assert_eq!(taken, (1..=10).collect::<Vec<_>>(), "{per}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_request_many_times_at_once_is_one_lease() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 50 }));
    let token = bed.device(&seeded, "device 1").await;
    let asked = (0..32).map(|_| {
        let body = super::seat(&token, "ada", &json!({}));
        bed.call(super::Call::post(super::ACQUIRE, &body).once("the-same"))
    });
    let answers = join_all(asked).await;
    let first = super::lease_answer(&answers[0]);
    for answer in &answers {
        assert_eq!(id(&super::lease_answer(answer)), id(&first));
    }
    assert_eq!(bed.held(), 1);
}

/// The holder's heartbeat and somebody else's request meet at the very end of the margin: one of
/// them has the seat, never both, and never neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_seat_at_the_end_of_its_margin_is_one_of_two() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 1 }));
    let token = bed.device(&seeded, "device 1").await;
    let (mut kept, mut passed_on) = (0, 0);
    let mut lease = bed.acquire(&token, "ada").await;
    for round in 0..150 {
        let row = uuid(id(&lease));
        // Ends 0 to 15 ms from now, while both are under way.
        bed.database.admin(&format!(
            "UPDATE licet.leases SET expires_at = clock_timestamp() - interval '5 seconds'
                 + interval '{} milliseconds' WHERE id = '{row}'",
            round % 16
        ));
        let (beaten, asked) = join(
            bed.heartbeat(text(&lease)),
            bed.acquire(&token, &format!("user {round}")),
        )
        .await;
        assert!(bed.held() <= 1, "{round}: {beaten:?} {asked:?}");
        match (beaten.code, asked.code) {
            (Code::Valid, Code::SeatLimit) => {
                kept += 1;
                lease = beaten;
            }
            (Code::LeaseExpired, Code::Valid) => {
                passed_on += 1;
                lease = asked;
            }
            // The one came before the end, the other after: then the seat is free.
            (Code::LeaseExpired, Code::SeatLimit) => {
                lease = bed.acquire(&token, "ada").await;
                assert!(lease.valid, "{round}: a free seat is not given");
            }
            other => panic!("{round}: {other:?}"),
        }
    }
    assert!(kept > 0 && passed_on > 0, "{kept} {passed_on}");
}

/// Giving the activation back and taking seats for it at the same time leaves no seat behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_seat_stays_with_an_activation_that_is_given_back() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": 4, "borrow_max_s": 1_000_000 }));
    for round in 0..20 {
        let token = bed.device(&seeded, "device 1").await;
        let borrow = json!({ "borrow_s": 1_000_000 });
        let asked = (0..4).map(|n| {
            let (bed, token, borrow) = (&bed, &token, &borrow);
            async move { bed.acquire_with(token, &format!("{n}"), borrow).await.code }
        });
        let (codes, given_back) = join(join_all(asked), bed.deactivate(&token)).await;
        assert!(given_back.valid);
        for code in codes {
            assert!(
                [Code::Valid, Code::Deactivated].contains(&code),
                "{round}: {code}"
            );
        }
        assert_eq!(bed.held(), 0, "{round}");
    }
}

/// A heartbeat that finds everything in order, and then that its lease has just been ended along
/// with the activation, says what it was: not that it came too late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_between_is_what_a_heartbeat_is_told() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    bed.float(&shop.seeded, &json!({ "max": 1 }));
    let token = bed.device(&shop.seeded, "device 1").await;
    let lease = bed.acquire(&token, "ada").await;
    let (row, activation) = (uuid(id(&lease)), uuid(lease.activation_id.unwrap()));
    let other = connect(&bed.database.admin_url()).await;
    let give_back = format!(
        "BEGIN;
         UPDATE licet.activations SET deactivated_at = now() WHERE id = '{activation}';
         UPDATE licet.leases SET ended_at = now(), ended_why = 'DEACTIVATED' WHERE id = '{row}'"
    );
    other.batch_execute(&give_back).await.unwrap();
    let commit = async {
        shop.until_waiting(1).await;
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (beaten, ()) = join(bed.heartbeat(text(&lease)), commit).await;
    assert_eq!(beaten.code, Code::Deactivated);
}
