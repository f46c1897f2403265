//! The commands for operators.

use serde_json::Value;

use super::support::TestDatabase;

#[test]
fn seed_reuses_what_is_there_and_issues_a_new_license_each_time() {
    let database = TestDatabase::migrated();
    let seed = || database.command(&["seed"]).json();
    let (first, second) = (seed(), seed());
    assert_eq!(first["org"], second["org"]);
    assert_eq!(first["org"]["slug"], "demo");
    assert_eq!(
        (&first["product"], &first["policy"]),
        (&Value::from("local_cli"), &Value::from("pro"))
    );
    assert_ne!(first["license"], second["license"]);
    let rows = database.admin(
        "SELECT (SELECT count(*) FROM licet.organizations), (SELECT count(*) FROM licet.policies),
             (SELECT count(*) FROM licet.licenses), (SELECT count(*) FROM licet.license_products)",
    );
    assert_eq!(
        rows[0],
        [
            Some("1".into()),
            Some("1".into()),
            Some("2".into()),
            Some("2".into())
        ]
    );
    let key = first["license"]["key"].as_str().unwrap();
    assert!(key.starts_with(first["org"]["tag"].as_str().unwrap()));
    let ended = database.command(&["seed", "--org", "Not A Slug"]).end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("is no slug"), "{}", ended.stderr);
}

#[test]
fn seeds_at_once_agree_on_one_organization() {
    let database = TestDatabase::migrated();
    let orgs: Vec<Value> = std::thread::scope(|scope| {
        let run = || database.command(&["seed"]).json()["org"].clone();
        let all: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        all.into_iter().map(|seed| seed.join().unwrap()).collect()
    });
    assert!(orgs.iter().all(|org| *org == orgs[0]), "{orgs:?}");
}

#[test]
fn no_license_key_stands_in_the_database() {
    let database = TestDatabase::migrated();
    let seeded = database.seed("alpha", 5);
    let tables = database
        .admin("SELECT table_name FROM information_schema.tables WHERE table_schema = 'licet'");
    assert!(tables.len() > 10);
    for table in tables.into_iter().flatten().flatten() {
        let rows = database.admin(&format!("SELECT row_to_json(t)::text FROM licet.{table} t"));
        let text = format!("{rows:?}");
        assert!(
            !text.contains(&seeded.key) && !text.contains(&seeded.key.replace('-', "")),
            "{table}"
        );
    }
}

#[test]
fn licenses_are_issued_shown_and_changed() {
    let database = TestDatabase::migrated();
    database.seed("alpha", 5);
    let issue = ["license", "issue", "--org", "alpha", "--policy", "pro"];
    let issued = database
        .command(
            &[
                &issue[..],
                &[
                    "--expires-at",
                    "2099-01-31T00:00:00Z",
                    "--max-activations",
                    "7",
                ],
            ]
            .concat(),
        )
        .json();
    let id = issued["id"].as_str().unwrap();
    assert!(issued["key"].as_str().is_some());
    let show = |command: &str| {
        database
            .command(&["license", command, "--org", "alpha", id])
            .json()
    };
    let shown = show("show");
    assert_eq!(shown["status"], "ACTIVE");
    assert_eq!(shown["expires_at"], "2099-01-31T00:00:00Z");
    assert_eq!(shown["max_activations"], 7);
    assert_eq!(shown["products"], serde_json::json!(["local_cli"]));
    assert_eq!(shown.get("key"), None);
    assert_eq!(show("suspend")["status"], "SUSPENDED");
    assert_eq!(show("reinstate")["status"], "ACTIVE");
    assert_eq!(show("revoke")["status"], "REVOKED");
    let actions = database.admin(&format!(
        "SELECT string_agg(action, ' ' ORDER BY id) FROM licet.audit_events WHERE subject = '{id}'"
    ));
    assert_eq!(
        actions[0][0].as_deref(),
        Some("license.issued license.suspended license.reinstated license.revoked")
    );
}

#[test]
fn what_is_not_there_is_said_to_be_so_even_if_another_organization_has_it() {
    let database = TestDatabase::migrated();
    let alpha = database.seed("alpha", 5);
    database.seed("beta", 5);
    let id = alpha.license.to_string();
    for (args, code, sentence) in [
        (
            vec!["license", "show", "--org", "beta", &id],
            1,
            "has no license",
        ),
        (
            vec!["license", "revoke", "--org", "beta", &id],
            1,
            "has no license",
        ),
        (
            vec!["license", "show", "--org", "gamma", &id],
            1,
            "there is no organization",
        ),
        (
            vec!["license", "show", "--org", "alpha", "lic_nonsense"],
            2,
            "LICENSE_ID",
        ),
        (
            vec!["license", "issue", "--org", "alpha", "--policy", "none"],
            1,
            "has no policy",
        ),
        (
            vec![
                "license",
                "issue",
                "--org",
                "alpha",
                "--policy",
                "pro",
                "--expires-at",
                "soon",
            ],
            2,
            "--expires-at",
        ),
        (
            vec![
                "license",
                "issue",
                "--org",
                "alpha",
                "--policy",
                "pro",
                "--expires-at",
                "2001-01-01T00:00:00Z",
            ],
            2,
            "past",
        ),
        (
            vec![
                "license",
                "issue",
                "--org",
                "alpha",
                "--policy",
                "pro",
                "--max-activations",
                "0",
            ],
            2,
            "--max-activations",
        ),
        (vec!["fly"], 2, "fly"),
    ] {
        let ended = database.command(&args).end();
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(
            ended.stderr.contains(sentence),
            "{args:?}: {}",
            ended.stderr
        );
        assert_eq!(ended.stdout, "");
    }
    let status = database.admin("SELECT count(*) FROM licet.licenses WHERE status <> 'ACTIVE'");
    assert_eq!(status[0][0].as_deref(), Some("0"));
}

#[test]
fn a_license_covers_no_more_products_than_its_token_can_name() {
    let database = TestDatabase::migrated();
    database.seed("alpha", 5);
    database.admin(
        "INSERT INTO licet.products (org_id, id, code, name)
         SELECT org_id, gen_random_uuid(), 'p' || n, 'n' FROM licet.organizations, generate_series(1, 64) n",
    );
    let issue = ["license", "issue", "--org", "alpha", "--policy", "pro"];
    let cover = |up_to: u32| {
        database.admin(&format!(
            "INSERT INTO licet.policy_products (org_id, policy_id, product_id)
             SELECT p.org_id, p.id, d.id FROM licet.policies p, licet.products d
             WHERE d.code LIKE 'p%' ORDER BY d.code LIMIT {up_to} ON CONFLICT DO NOTHING"
        ));
    };
    cover(63);
    database.command(&issue).succeed();
    cover(64);
    let ended = database.command(&issue).end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("at most 64 products"), "{ended:?}");
    let licenses = database.admin("SELECT count(*) FROM licet.licenses");
    assert_eq!(licenses[0][0].as_deref(), Some("2"));
}

#[test]
fn help_lists_every_variable_and_shows_no_secret() {
    let database = TestDatabase::migrated();
    let help = database.command(&["serve", "--help"]).succeed().stdout;
    for variable in [
        "LICET_LISTEN",
        "LICET_DATABASE_URL",
        "LICET_MASTER_KEY",
        "LICET_PLATFORM_KEY",
        "LICET_EDGE_KEYS",
        "LICET_ISSUER",
        "LICET_POOL_SIZE",
        "LICET_STATUS_TTL_S",
        "LICET_LOG",
        "LICET_MAX_IN_FLIGHT",
    ] {
        assert!(help.contains(variable), "{variable}");
    }
    assert!(
        !help.contains(super::support::MASTER_KEY) && !help.contains(super::support::APP_PASSWORD)
    );
}

#[test]
fn keys_are_made_all_together_or_one_kind_alone() {
    let database = TestDatabase::empty();
    let names = |args: &[&str]| {
        let made = database.command(args).json();
        let names: Vec<String> = made.as_object().unwrap().keys().cloned().collect();
        (names.join(" "), made)
    };
    let (all, made) = names(&["keygen", "--format", "json"]);
    assert_eq!(
        all,
        "edge_key edge_public master_key platform_key platform_public"
    );
    for (private, public) in [
        ("platform_key", "platform_public"),
        ("edge_key", "edge_public"),
    ] {
        let signer: licet_shared::jws::LocalSigner =
            made[private].as_str().unwrap().parse().unwrap();
        assert_eq!(made[public], signer.verifying_key().to_string());
        let public = signer.verifying_key();
        assert!(public.kid().ends_with(".1"), "{}", public.kid());
    }
    let next = ["keygen", "--format", "json", "--number", "2", "--only"];
    let (platform, made) = names(&[&next[..], &["platform"]].concat());
    assert_eq!(platform, "platform_key platform_public");
    let key = made["platform_public"].as_str().unwrap();
    assert!(key.starts_with("platform.2:"), "{key}");
    assert_eq!(
        names(&[&next[..], &["edge"]].concat()).0,
        "edge_key edge_public"
    );
    assert_eq!(names(&[&next[..], &["master"]].concat()).0, "master_key");
    let lines = database.command(&["keygen", "--only", "edge"]).succeed();
    let lines: Vec<&str> = lines.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[1].starts_with("LICET_EDGE_KEYS=edge.1:") && lines[3].starts_with("EDGE_KEY="));
    let ended = database.command(&["keygen", "--in-module"]).end();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("LICET_PKCS11_MODULE is not set"));
}
