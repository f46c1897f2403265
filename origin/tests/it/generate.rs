//! `seed --orgs`: many organizations at once, which work like any other.

use licet_shared::status_list::status;
use serde_json::{Value, json};

use super::support::{Bed, Seeded, TestDatabase, account::Caller, edge::Call};

fn seed(database: &TestDatabase, orgs: &str, licenses: &str, more: &[&str]) -> Value {
    let args = [&["seed", "--orgs", orgs, "--licenses", licenses], more].concat();
    database.command(&args).json()
}

fn usable(database: &TestDatabase, orgs: &str, licenses: &str, more: &[&str]) -> Vec<Value> {
    let args = [
        &[
            "seed",
            "--orgs",
            orgs,
            "--licenses",
            licenses,
            "--print-keys",
        ],
        more,
    ]
    .concat();
    let lines = database.command(&args).succeed().stdout;
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn number(database: &TestDatabase, sql: &str) -> u64 {
    database.admin(sql)[0][0].as_ref().unwrap().parse().unwrap()
}

/// Everything that was made, but for what is sealed or salted.
fn fingerprint(database: &TestDatabase) -> Vec<Vec<Option<String>>> {
    database.admin(
        "SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM (
             SELECT row(l.*) FROM licet.licenses l UNION ALL SELECT row(a.*) FROM licet.activations a
             UNION ALL SELECT row(e.*) FROM licet.audit_events e UNION ALL SELECT row(k.public_key) FROM licet.signing_keys k
             UNION ALL SELECT row(o.*) FROM licet.organizations o UNION ALL SELECT row(w.*) FROM licet.withdrawals w) AS t",
    )
}

#[test]
fn the_numbers_come_true_and_the_same_seed_makes_the_same() {
    let database = TestDatabase::migrated();
    let made = seed(&database, "7", "900", &["--activations", "1500"]);
    assert_eq!(made["outcome"]["made"], 7);
    for (table, count) in [
        ("organizations", 7),
        ("licenses", 900),
        ("activations", 1500),
        ("audit_events", 907),
        ("signing_keys", 7),
    ] {
        let sql = format!("SELECT count(*) FROM licet.{table}");
        assert_eq!(number(&database, &sql), count, "{table}");
    }
    let statuses = "SELECT count(DISTINCT status) FROM licet.licenses";
    let tiers = "SELECT count(DISTINCT tier) FROM licet.policies";
    assert_eq!(
        (number(&database, statuses), number(&database, tiers)),
        (4, 4)
    );
    let seats = "SELECT count(*) FROM licet.licenses l WHERE l.max_activations < (SELECT count(*)
        FROM licet.activations a WHERE a.license_id = l.id AND a.deactivated_at IS NULL)";
    assert_eq!(number(&database, seats), 0);

    let again = seed(&database, "7", "900", &["--activations", "1500"]);
    assert_eq!(
        (&again["outcome"]["made"], &again["outcome"]["found"]),
        (&json!(0), &json!(7))
    );
    let twin = TestDatabase::migrated();
    seed(&twin, "7", "900", &["--activations", "1500"]);
    assert_eq!(fingerprint(&database), fingerprint(&twin));
    let other = TestDatabase::migrated();
    seed(
        &other,
        "7",
        "900",
        &["--activations", "1500", "--seed", "2"],
    );
    assert_ne!(fingerprint(&database), fingerprint(&other));
}

#[test]
fn a_database_in_use_and_a_role_that_rls_binds_are_refused() {
    let database = TestDatabase::migrated();
    database.seed("somebody", 1);
    let refused = |database: &TestDatabase, variable: &str, value: &str| {
        let args = ["seed", "--orgs", "2", "--licenses", "10"];
        let ended = database.command(&args).env(variable, value).end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        ended.stderr
    };
    let stderr = refused(&database, "LANG", "C");
    assert!(
        stderr.contains("1 organizations that are not of this plan"),
        "{stderr}"
    );
    assert_eq!(
        number(&database, "SELECT count(*) FROM licet.organizations"),
        1
    );

    let empty = TestDatabase::migrated();
    let stderr = refused(&empty, "LICET_ADMIN_DATABASE_URL", &empty.app_url());
    assert!(stderr.contains("bound by row-level security"), "{stderr}");
    seed(&empty, "2", "10", &[]);
    let stderr = {
        let args = ["seed", "--orgs", "2", "--licenses", "11"];
        empty.command(&args).end().stderr
    };
    assert!(
        stderr.contains("2 organizations that are not of this plan"),
        "{stderr}"
    );

    for args in [
        &["seed", "--orgs", "2"][..],
        &["seed", "--orgs", "2", "--licenses", "1"],
        &["seed", "--orgs", "2", "--licenses", "9", "--org", "x"],
        &["seed", "--licenses", "2"],
    ] {
        assert_eq!(empty.command(args).end().code, Some(2), "{args:?}");
    }
}

#[test]
fn an_interrupted_run_is_continued() {
    let database = TestDatabase::migrated();
    let args = ["seed", "--orgs", "60", "--licenses", "40000"];
    let mut run = database.command(&args).command.spawn().unwrap();
    let count = "SELECT count(*) FROM licet.org_directory";
    while number(&database, count) == 0 {
        assert!(
            run.try_wait()
                .unwrap()
                .is_none_or(|status| status.success())
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let rest = seed(&database, "60", "40000", &[]);
    let part = |name: &str| rest["outcome"][name].as_u64().unwrap();
    assert!(part("found") > 0);
    assert_eq!(part("found") + part("made"), 60);
    assert_eq!(
        number(&database, "SELECT count(*) FROM licet.licenses"),
        40_000
    );
    assert_eq!(
        number(&database, "SELECT count(*) FROM licet.activations"),
        40_000
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_organizations_work_like_any_other() {
    let database = TestDatabase::migrated();
    seed(&database, "4", "600", &[]);
    let keys = usable(&database, "4", "600", &["4"]);
    // The one of each organization that has many seats.
    assert_eq!(keys.len(), 4);
    assert_ne!(keys[0]["slug"], keys[1]["slug"]);
    let slug = keys[0]["slug"].as_str().unwrap();
    let verified = database.command(&["audit", "verify", "--org", slug]).json();
    assert_eq!(verified["whole"], true);
    let withdrawn =
        "SELECT min(id::text) FROM (SELECT a.status_index AS id FROM licet.activations a
        JOIN licet.licenses l ON l.org_id = a.org_id AND l.id = a.license_id
        JOIN licet.organizations o ON o.org_id = l.org_id
        WHERE o.slug = 'load-00000' AND l.status = 'REVOKED' LIMIT 1) AS one";
    let revoked = usize::try_from(number(&database, withdrawn)).unwrap();

    let bed = Bed::with(database, &super::support::BedOptions::default());
    for key in &keys {
        let text = |name: &str| key[name].as_str().unwrap();
        let body = json!({
            "license_key": text("license_key"), "product": text("product"), "fingerprint": "new device",
        });
        let call = Call::post("/edge/v1/activations", &body);
        let answer = bed.call(call).await.answer();
        let token = answer
            .license_token
            .unwrap_or_else(|| panic!("{:?}", answer.code));
        assert!(bed.refresh(&token).await.license_token.is_some());
    }
    let text = |name: &str| keys[0][name].as_str().unwrap();
    let machine = Caller {
        bearer: text("api_key").into(),
    };
    bed.get(&machine, "/api/v1/licenses").await.json(200);
    let login = bed.log_in(text("owner"), text("password"), slug).await;
    let owner = Caller {
        bearer: login.json(200)["access_token"].as_str().unwrap().into(),
    };
    bed.get(&owner, "/api/v1/activations").await.json(200);

    let seeded = Seeded {
        org: text("org").parse().unwrap(),
        slug: slug.into(),
        tag: text("tag").parse().unwrap(),
        license: text("license").parse().unwrap(),
        key: text("license_key").into(),
    };
    let list = bed.status(&seeded).await;
    assert_eq!(list.list().get(revoked), Some(status::REVOKED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_is_looked_for_page_by_page() {
    let database = TestDatabase::migrated();
    seed(&database, "1", "12000", &["--activations", "0"]);
    let key = &usable(&database, "1", "12000", &["1", "--activations", "0"])[0];
    let text = |name: &str| key[name].as_str().unwrap();
    let bed = Bed::with(database, &super::support::BedOptions::default());
    let caller = Caller {
        bearer: text("api_key").into(),
    };
    let page = async |query: &str| {
        let path = format!("/api/v1/licenses?{query}");
        bed.get(&caller, &path).await.json(200)
    };
    // The oldest but one, beyond what one page looks through.
    let first = page("text=a-000001").await;
    assert_eq!(first["data"], json!([]));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = page(&format!("text=a-000001&cursor={cursor}")).await;
    assert_eq!(second["data"].as_array().unwrap().len(), 1);
    assert_eq!(second["data"][0]["metadata"]["order"], "A-000001");
    assert_eq!(second["next_cursor"], Value::Null);
    // Everything is found once, whatever the size of the pages.
    for filter in [
        "status=EXPIRED",
        "tier=TRIAL",
        "product=app-03",
        "text=customer%2012",
    ] {
        let (mut seen, mut cursor) = (std::collections::BTreeSet::new(), String::new());
        loop {
            let part = page(&format!("{filter}&limit=97{cursor}")).await;
            for license in part["data"].as_array().unwrap() {
                assert!(
                    seen.insert(license["id"].as_str().unwrap().to_owned()),
                    "{filter}"
                );
            }
            match part["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let condition = match filter {
            "status=EXPIRED" => {
                "l.status = 'EXPIRED' OR l.status = 'ACTIVE' AND l.expires_at <= now()"
            }
            "tier=TRIAL" => {
                "EXISTS (SELECT FROM licet.policies p WHERE p.id = l.policy_id AND p.tier = 'TRIAL')"
            }
            "product=app-03" => {
                "EXISTS (SELECT FROM licet.license_products x JOIN licet.products d
                ON d.id = x.product_id WHERE x.license_id = l.id AND d.code = 'app-03')"
            }
            _ => "l.metadata::text ILIKE '%customer 12%'",
        };
        let sql = format!("SELECT count(*) FROM licet.licenses l WHERE {condition}");
        assert_eq!(seen.len() as u64, number(&bed.database, &sql), "{filter}");
    }
}
