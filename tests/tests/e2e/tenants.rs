//! Two vendors on one installation (SECURITY 7, 9 to 14): neither sees nor hinders the other.

use licet_shared::id::LicenseId;
use licet_shared::jws::LocalSigner;
use licet_tests::device::code;
use licet_tests::forge::ForgedOrg;
use licet_tests::license::Org;
use licet_tests::sql::Sql;
use licet_tests::{License, LoneEdge, Stack};
use serde_json::json;

struct Vendors {
    stack: &'static Stack,
    ours: License,
    theirs: License,
}

fn vendors() -> Vendors {
    let stack = Stack::shared();
    Vendors {
        stack,
        ours: stack.license("tenant-a", 1),
        theirs: stack.license("tenant-b", 1),
    }
}

#[test]
fn the_same_product_and_device_at_two_vendors_do_not_meet() {
    let Vendors {
        stack,
        ours,
        theirs,
    } = vendors();
    assert_eq!(ours.product, theirs.product);
    let (here, there) = (
        stack.device(&ours, "same device"),
        stack.device(&theirs, "same device"),
    );
    let (here, there) = (here.activated(), there.activated());
    assert_ne!(here.id, there.id);
    assert_eq!(
        (here.code(), there.code()),
        ("VALID".to_owned(), "VALID".to_owned())
    );

    // What one does has no effect on the other, although both have entry 0 and the like.
    stack.license_command("revoke", &theirs);
    let now = json!({"max_staleness_s": 0});
    assert_eq!(code(&there.validate_with(&now)), "REVOKED");
    assert_eq!(code(&here.validate_with(&now)), "VALID");
    assert_eq!(code(&here.deactivate().send().verdict()), "VALID");
    assert_eq!(stack.seats_taken(&ours), 0);
    assert_eq!(stack.seats_taken(&theirs), 1);
}

#[test]
fn an_idempotency_key_used_by_one_vendor_s_customer_is_free_for_another_s() {
    let Vendors {
        stack,
        ours,
        theirs,
    } = vendors();
    let key = "tenants-same-key";
    let first = stack
        .device(&ours, "idem")
        .request()
        .header("Idempotency-Key", key)
        .send();
    let second = stack
        .device(&theirs, "idem")
        .request()
        .header("Idempotency-Key", key)
        .send();
    let ids = [&first, &second].map(|answer| answer.verdict()["activation_id"].clone());
    assert!(
        ids.iter().all(serde_json::Value::is_string),
        "{first:?} {second:?}"
    );
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn documents_are_had_under_their_own_vendor_s_name_only() {
    let Vendors {
        stack,
        ours,
        theirs,
    } = vendors();
    let theirs_activated = stack.device(&theirs, "documents").activated();
    let ours_activated = stack.device(&ours, "documents").activated();
    let feature_set = |activation: &licet_tests::Activation| {
        activation.validate()["feature_set"]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (our_set, their_set) = (feature_set(&ours_activated), feature_set(&theirs_activated));
    let caller = stack.caller();
    let get = |org: &Org, set: &str| {
        caller
            .get(&format!("/edge/v1/orgs/{}/feature-sets/{set}", org.tag))
            .send()
    };
    get(&ours.org, &our_set).expect(200);
    // "Not yours" and "not there" are one answer.
    let not_yours = get(&ours.org, &their_set);
    let not_there = get(&ours.org, "fs_00000000000000000000000000");
    let problems = [
        not_yours.problem(404, "NOT_FOUND"),
        not_there.problem(404, "NOT_FOUND"),
    ];
    assert_eq!(problems[0]["detail"], problems[1]["detail"]);

    // An operator's command can't reach across, either.
    for verb in ["show", "revoke", "suspend", "reinstate"] {
        let run = |id: &str| {
            let args = ["license", verb, "--org", &ours.org.slug, id];
            let error = xtask::origin::operator(stack.app_url(), stack.keys(), &args).unwrap_err();
            error.to_string().replace(id, "ID")
        };
        let nobodys = LicenseId::new(0, [7; 10]).to_string();
        assert_eq!(run(&theirs.id.to_string()), run(&nobodys), "{verb}");
    }
    assert_eq!(theirs_activated.code(), "VALID");
}

#[test]
fn a_vendor_can_t_make_a_token_that_counts_as_another_s() {
    let edge = LoneEdge::start();
    let (ours, theirs) = (edge.org(), edge.org());
    for org in [&ours, &theirs] {
        org.shelve_all(&edge.origin, 30);
        let good = org.installation(&edge.url(), org.sign(&org.license_claims(0)));
        assert_eq!(good.code(), "VALID");
    }
    let code = |token: String| ours.installation(&edge.url(), token).code();
    // Their claims under our key and kid.
    let their_claims = theirs.license_claims(0);
    assert_eq!(code(ours.sign(&their_claims)), "UNKNOWN_KEY");
    // Their claims and kid under our key.
    let impostor = ForgedOrg {
        key: renamed(&ours.key, &format!("{}.1", theirs.tag)),
        ..theirs.clone()
    };
    assert_eq!(code(impostor.sign(&their_claims)), "SIGNATURE_INVALID");
    // Our claims, with our status in their list, where nobody revokes us.
    let mut elsewhere = ours.license_claims(0);
    elsewhere.status = their_claims.status;
    assert_eq!(code(ours.sign(&elsewhere)), "MALFORMED");
    // Our claims with their features.
    let mut generous = ours.license_claims(0);
    generous.fs = their_claims.fs;
    let generous = ours.installation(&edge.url(), ours.sign(&generous));
    let answer = generous.ask(&json!({}));
    assert!(
        answer.status != 200 || answer.verdict()["valid"] == false,
        "{answer:?}"
    );
}

/// The same key under another name.
fn renamed(key: &LocalSigner, kid: &str) -> LocalSigner {
    let secret = key.reveal();
    let (_, seed) = secret.split_once(':').unwrap();
    format!("{kid}:{seed}").parse().unwrap()
}

/// Tables of the schema, whoever may see them.
fn tables(sql: &Sql, condition: &str) -> Vec<String> {
    sql.column(&format!(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'licet' AND c.relkind IN ('r', 'p', 'v', 'm', 'f') {condition} ORDER BY 1"
    ))
}

const WITH_ORG: &str = "AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid \
                        AND a.attname = 'org_id' AND NOT a.attisdropped)";

#[test]
fn without_a_tenant_the_serving_role_sees_no_row_of_any_table() {
    let Vendors { stack, ours, .. } = vendors();
    stack.device(&ours, "rows").activated();
    let (superuser, app) = (stack.superuser(), stack.app());
    let all = tables(&superuser, "");
    let filled: Vec<_> = all
        .iter()
        .filter(|table| superuser.number(&format!("SELECT count(*) FROM licet.{table}")) > 0)
        .collect();
    assert!(filled.len() >= 10, "hardly anything to be seen: {filled:?}");
    let states = [
        "SELECT 1",
        "SET LOCAL licet.org_id = ''",
        "SET LOCAL licet.org_id = '00000000-0000-0000-0000-000000000000'",
    ];
    for table in &all {
        for state in states {
            match app.in_transaction(state, &format!("SELECT 'row' FROM licet.{table}")) {
                Ok(rows) => {
                    let seen = rows
                        .iter()
                        .filter(|row| row[0].as_deref() == Some("row"))
                        .count();
                    // What belongs to no tenant may be read where it is granted: the schema's versions.
                    let is_tenant_s = superuser.number(&format!(
                        "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'licet' \
                         AND table_name = '{table}' AND column_name = 'org_id'"
                    )) > 0;
                    assert!(
                        seen == 0 || !is_tenant_s,
                        "{seen} rows of {table} after {state}"
                    );
                }
                Err(error) => assert!(error.starts_with("42501"), "{table}: {error}"),
            }
        }
    }
    // A tenant that ended with its transaction leaves nothing behind on the connection.
    app.as_tenant(ours.org.uuid(), "SELECT 1").unwrap();
    assert!(app.rows("SELECT 1 FROM licet.licenses").is_empty());
}

#[test]
fn a_tenant_sees_its_own_rows_and_no_others() {
    let Vendors {
        stack,
        ours,
        theirs,
    } = vendors();
    stack.device(&ours, "own rows").activated();
    stack.device(&theirs, "own rows").activated();
    let (superuser, app) = (stack.superuser(), stack.app());
    for table in tables(&superuser, WITH_ORG) {
        let by_org = |org: &Org| {
            let sql = format!(
                "SELECT count(*) FROM licet.{table} WHERE org_id = '{}'",
                org.uuid()
            );
            superuser.number(&sql)
        };
        let Ok(rows) = app.as_tenant(
            ours.org.uuid(),
            &format!("SELECT org_id FROM licet.{table}"),
        ) else {
            // Not granted at all: nobody's rows are seen.
            continue;
        };
        let own = ours.org.uuid().to_string();
        assert!(
            rows.iter()
                .all(|row| row[0].as_deref() == Some(own.as_str())),
            "{table}"
        );
        if by_org(&ours.org) > 0 {
            assert!(!rows.is_empty(), "{table}: a tenant can't see its own rows");
        }
    }
}

#[test]
fn a_tenant_can_neither_write_into_another_nor_move_a_row_there() {
    let Vendors {
        stack,
        ours,
        theirs,
    } = vendors();
    let app = stack.app();
    let (own, other) = (ours.org.uuid(), theirs.org.uuid());
    let refused = |sql: &str| {
        let error = app.as_tenant(own, sql).expect_err(sql);
        assert!(error.starts_with("42501"), "{sql}: {error}");
    };
    refused(&format!(
        "INSERT INTO licet.products (org_id, id, code, name) \
         VALUES ('{other}', gen_random_uuid(), 'planted', 'planted')"
    ));
    refused(&format!("UPDATE licet.products SET org_id = '{other}'"));
    refused(&format!(
        "UPDATE licet.licenses SET org_id = '{other}' WHERE org_id = '{own}'"
    ));
    // Theirs are simply not there: changing or deleting them is no error that tells.
    let sql = format!(
        "UPDATE licet.licenses SET status = 'REVOKED' WHERE org_id = '{other}' RETURNING 1"
    );
    assert_eq!(app.as_tenant(own, &sql), Ok(Vec::new()));
    let sql = format!("DELETE FROM licet.idempotency_keys WHERE org_id = '{other}' RETURNING 1");
    assert_eq!(app.as_tenant(own, &sql), Ok(Vec::new()));
    assert_eq!(stack.license_command("show", &theirs)["status"], "ACTIVE");
    // A license can't hang off another vendor's policy, and the answer does not tell whether it exists.
    let policy = |uuid: &str| {
        app.as_tenant(
            own,
            &format!(
                "INSERT INTO licet.licenses (org_id, id, key_hash, policy_id, feature_set_id, max_activations) \
                 SELECT '{own}', gen_random_uuid(), decode(repeat('ab', 32), 'hex'), '{uuid}', id, 1 \
                 FROM licet.feature_sets LIMIT 1"
            ),
        )
        .unwrap_err()
    };
    let theirs_policy = stack
        .superuser()
        .column(&format!(
            "SELECT id FROM licet.policies WHERE org_id = '{other}' LIMIT 1"
        ))
        .remove(0);
    assert_eq!(
        policy(&theirs_policy),
        policy("00000000-0000-7000-8000-000000000000")
    );
}

#[test]
fn the_serving_role_owns_nothing_and_can_bypass_nothing() {
    let stack = Stack::shared();
    let sql = stack.superuser();
    let role = sql.rows(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication \
         FROM pg_roles WHERE rolname IN ('licet_app', 'licet_system')",
    );
    assert_eq!(role.len(), 2);
    assert!(
        role.iter()
            .flatten()
            .all(|flag| flag.as_deref() == Some("f")),
        "{role:?}"
    );
    let owned = "SELECT count(*) FROM pg_class WHERE relowner IN ('licet_app'::regrole, 'licet_system'::regrole)";
    assert_eq!(sql.number(owned), 0);
    let memberships = "SELECT count(*) FROM pg_auth_members WHERE member IN ('licet_app'::regrole, 'licet_system'::regrole)";
    assert_eq!(sql.number(memberships), 0);
    let app = stack.app();
    for table in tables(&sql, "") {
        let error = app
            .try_rows(&format!("TRUNCATE licet.{table} CASCADE"))
            .expect_err(&table);
        assert!(error.starts_with("42501"), "TRUNCATE {table}: {error}");
    }
    for sql in [
        "SET ROLE licet_owner",
        "SET ROLE postgres",
        "CREATE TABLE licet.mine ()",
        "CREATE SCHEMA mine",
    ] {
        let error = app.try_rows(sql).expect_err(sql);
        assert!(error.starts_with("42501"), "{sql}: {error}");
    }
    for table in tables(&sql, WITH_ORG) {
        let forced = format!(
            "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = 'licet.{table}'::regclass"
        );
        assert_eq!(sql.column(&forced), ["t"], "{table}");
        let error = app.try_rows(&format!(
            "ALTER TABLE licet.{table} DISABLE ROW LEVEL SECURITY"
        ));
        assert!(error.is_err(), "{table}");
    }
}
