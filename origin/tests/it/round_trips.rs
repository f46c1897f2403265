//! How often the origin has to wait for the database.

use std::time::Duration;

use licet_origin::db::DatabaseSettings;

use super::{
    support::{
        Bed, BedOptions, TestDatabase,
        edge::{Call, REFRESH, activation},
        proxy::Proxy,
        tls::TlsCluster,
    },
    tls::by_tls,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_operation_waits_for_the_database_this_often() {
    let database = TestDatabase::migrated();
    let proxy = Proxy::to(database.port()).await;
    let url = database.app_url().replace(
        &format!(":{}/", database.port()),
        &format!(":{}/", proxy.port),
    );
    count(database, proxy, url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tls_it_is_no_more() {
    let tls = TlsCluster::new();
    let database = tls.database();
    let proxy = Proxy::to(database.port()).await;
    let url = by_tls(&tls, &database, proxy.port);
    count(database, proxy, url).await;
}

async fn count(database: TestDatabase, proxy: Proxy, url: String) {
    let seeded = database.seed("alpha", 9);
    let options = BedOptions {
        database: DatabaseSettings {
            // So that the next request waits until statements are prepared after the one before.
            pool_size: 1,
            pool_wait: Duration::from_secs(10),
            ..DatabaseSettings::default()
        },
        url: Some(url),
        ..BedOptions::default()
    };
    let bed = Bed::with(database, &options);
    let keys = || Call::get(&format!("/edge/v1/orgs/{}/keys", seeded.tag));
    let list = || Call::get(&format!("/edge/v1/orgs/{}/statuslists/0", seeded.tag));
    // Connects, finds the organization, reads its keys.
    assert_eq!(bed.call(keys()).await.status.as_u16(), 200);
    let token = bed
        .call(activation(&seeded.key, "one"))
        .await
        .answer()
        .license_token
        .unwrap();
    // Until every statement is kept, or was seen once.
    for turn in ["w1", "w2", "w3"] {
        let given_back = bed.activate(&seeded.key, turn).await.license_token.unwrap();
        for call in [
            activation(&seeded.key, turn).once(turn),
            activation(&seeded.key, turn).once(turn),
            Call::post(REFRESH, &json!({ "token": token })),
            list(),
            keys(),
        ] {
            assert_eq!(bed.call(call).await.status.as_u16(), 200);
        }
        // The list is another one then.
        bed.deactivate(&given_back).await;
        bed.call(keys()).await;
    }
    bed.float(&seeded, &json!({ "max": 9 }));
    let acquire = |key: &str| {
        let body = json!({ "token": token, "seat": { "holder": "ada" } });
        Call::post("/edge/v1/leases/acquire", &body).once(key)
    };
    let lease = |action: &str, lease: &str| {
        let body = json!({ "token": lease });
        Call::post(&format!("/edge/v1/leases/{action}"), &body)
    };
    let mut kept = String::new();
    for turn in ["s1", "s2", "s3"] {
        for _ in 0..2 {
            let reply = bed.call(acquire(turn)).await.json(200);
            kept = reply["lease_token"].as_str().unwrap().to_owned();
        }
        bed.heartbeat(&kept).await;
        // The last one is still there.
        let other = bed.call(acquire(&format!("{turn}b"))).await.json(200);
        bed.release(other["lease_token"].as_str().unwrap()).await;
    }
    proxy.take();

    let mut trips = Vec::new();
    for (what, call) in [
        ("one statement", keys()),
        ("refresh", Call::post(REFRESH, &json!({ "token": token }))),
        ("status list, new copy", list()),
        ("status list, same copy", list()),
        (
            "activate, first time",
            activation(&seeded.key, "two").once("k1"),
        ),
        ("activate, again", activation(&seeded.key, "two").once("k2")),
        (
            "activate, repeated",
            activation(&seeded.key, "two").once("k1"),
        ),
        ("acquire", acquire("k3")),
        ("acquire, repeated", acquire("k3")),
        ("heartbeat", lease("heartbeat", &kept)),
        ("release", lease("release", &kept)),
    ] {
        assert_eq!(bed.call(call).await.status.as_u16(), 200, "{what}");
        trips.push((what, proxy.take()));
    }
    println!("{trips:?}");
    assert_eq!(
        trips,
        [
            ("one statement", 1),
            ("refresh", 1),
            ("status list, new copy", 3),
            ("status list, same copy", 2),
            ("activate, first time", 3),
            ("activate, again", 3),
            ("activate, repeated", 4),
            ("acquire", 3),
            ("acquire, repeated", 2),
            ("heartbeat", 1),
            ("release", 3),
        ]
    );
}
