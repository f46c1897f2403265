//! The database fails, or something on our side: who asked is told an id, the log is told the cause.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use licet_tests::device::code;
use licet_tests::edge_caller::Call;
use licet_tests::load::while_running;
use licet_tests::logs::json_lines;
use licet_tests::wait::SOON;
use licet_tests::{Activation, Database, License, Stack, StackOptions, eventually};
use serde_json::json;
use xtask::postgres::{Options, ServerUser};

use super::{expect_come_back_later, insist};

const FORBID: &str = "REVOKE SELECT ON licet.activations FROM licet_app";
const ALLOW: &str = "GRANT SELECT ON licet.activations TO licet_app";

#[test]
fn a_fault_of_the_origin_s_is_an_id_to_the_client_and_a_cause_to_the_log() {
    let stack = Stack::start(&StackOptions::default());
    let license = stack.license("faults", 3);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    stack.superuser().rows(FORBID);

    let body = json!({"license_key": license.key, "product": license.product, "fingerprint": "f"});
    let answer = stack.caller().post("/edge/v1/activations", &body).send();
    let problem = answer.problem(500, "INTERNAL");
    let id = problem["request_id"].as_str().unwrap();
    eventually("the cause in the log, under the request's id", SOON, || {
        let lines = json_lines(&stack.origin_log());
        let about: Vec<_> = lines
            .iter()
            .map(ToString::to_string)
            .filter(|line| line.contains(id))
            .collect();
        let told = about.iter().any(|line| line.contains("permission denied"));
        if told {
            Ok(())
        } else {
            Err(format!("{about:?}"))
        }
    });

    // Through the edge it is the edge's problem with the origin, and no cause either.
    for answer in [
        stack.device(&license, "another").activate(),
        activation.refresh().send(),
        activation.deactivate().send(),
    ] {
        answer.problem(502, "ORIGIN_ERROR");
    }
    // What the edge knows by itself it goes on answering.
    assert_eq!(activation.code(), "VALID");

    stack.superuser().rows(ALLOW);
    assert_eq!(
        stack.device(&license, "another").activated().code(),
        "VALID"
    );
    assert_eq!(code(&activation.refresh().send().verdict()), "VALID");
    assert_eq!(stack.seats_taken(&license), 2);
}

#[test]
fn an_origin_without_its_database_says_so_and_recovers() {
    let mut stack = Stack::start(&StackOptions {
        database: Database::Own(Options::default()),
        ..StackOptions::default()
    });
    let license = stack.license("faults", 3);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    stack.cluster().stop().unwrap();

    let refresh = json!({"token": activation.token});
    let answer = stack
        .caller()
        .post("/edge/v1/activations/refresh", &refresh)
        .send();
    answer.problem(503, "UNAVAILABLE");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let answer = stack.device(&license, "another").activate();
    answer.problem(503, "UNAVAILABLE");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(activation.code(), "VALID");

    stack.cluster().restart().unwrap();
    let admitted = eventually("activation works again", SOON, || {
        let answer = stack.device(&license, "another").activate();
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(format!("{answer:?}"))
        }
    });
    assert_eq!(code(&admitted.verdict()), "VALID");
    assert_eq!(stack.seats_taken(&license), 2);
}

/// A stack whose Postgres is its own, and an activation that its edge knows.
fn with_own_postgres(slug: &str) -> (Stack, License, Activation) {
    let settings = vec![("autovacuum".to_owned(), "off".to_owned())];
    let stack = Stack::start(&StackOptions {
        database: Database::Own(Options {
            settings,
            ..Options::default()
        }),
        ..StackOptions::default()
    });
    let license = stack.license(slug, 100);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    (stack, license, activation)
}

/// Ends all connections that an origin has to this stack's database.
fn cut_connections(stack: &Stack) -> i64 {
    stack.superuser().number(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE usename = 'licet_app' AND datname = '{}'",
        stack.database()
    ))
}

/// Writes are refused so that they are tried again, verdicts go on; `mended`, the same request
/// is done, once.
#[track_caller]
fn expect_passing(
    stack: &mut Stack,
    license: &License,
    activation: &Activation,
    mend: impl FnOnce(&mut Stack),
) {
    let seats = stack.seats_taken(license);
    let device = stack.device(license, "newcomer");
    let request = device.request().header("Idempotency-Key", "newcomer");
    for _ in 0..2 {
        let answer = request.send();
        answer.problem(503, "UNAVAILABLE");
        expect_come_back_later(&answer);
        assert_eq!(activation.code(), "VALID");
    }
    let call = Call::post("/edge/v1/activations", &device.body()).idempotent("directly");
    let answer = stack.caller().signed(&call).send();
    answer.problem(503, "UNAVAILABLE");
    expect_come_back_later(&answer);
    mend(stack);
    let (answer, _) = insist(&request);
    let first = device.activation_in(&answer);
    assert_eq!(device.activated().id, first.id);
    assert_eq!(stack.seats_taken(license), seats + 1);
    assert_eq!(activation.code(), "VALID");
}

#[test]
fn connections_that_postgres_cuts_cost_a_retry_and_no_write() {
    let stack = Stack::start(&StackOptions::default());
    let license = stack.license("cut", 10_000);
    let cut = std::sync::atomic::AtomicI64::new(0);
    let (gathered, ()) = while_running(
        4,
        |thread, round| {
            let name = format!("{thread}-{round}");
            let device = stack.device(&license, &name);
            let (answer, _) = insist(&device.request().header("Idempotency-Key", name));
            device.activation_in(&answer).id
        },
        || {
            for _ in 0..40 {
                cut.fetch_add(cut_connections(&stack), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(100));
            }
        },
    );
    assert!(cut.load(Ordering::SeqCst) >= 4, "{cut:?}");
    let devices: usize = gathered.iter().map(Vec::len).sum();
    let ids: BTreeSet<_> = gathered.into_iter().flatten().collect();
    assert_eq!(ids.len(), devices);
    let taken = usize::try_from(stack.seats_taken(&license)).unwrap();
    assert_eq!(taken, devices);
}

#[test]
fn a_postgres_that_has_no_connections_left_is_a_busy_origin() {
    let (mut stack, license, activation) = with_own_postgres("connections");
    stack
        .superuser()
        .rows("ALTER ROLE licet_app CONNECTION LIMIT 0");
    assert!(cut_connections(&stack) > 0);
    expect_passing(&mut stack, &license, &activation, |stack| {
        stack
            .superuser()
            .rows("ALTER ROLE licet_app CONNECTION LIMIT -1");
    });
}

/// The kernel's own "no space left": a table's file is a link to `/dev/full`.
#[test]
fn a_full_disk_is_a_busy_origin_until_there_is_room() {
    let (mut stack, license, activation) = with_own_postgres("full");
    let sql = stack.superuser();
    sql.rows("TRUNCATE licet.idempotency_keys");
    let path = sql.column("SELECT pg_relation_filepath('licet.idempotency_keys')");
    sql.rows("CHECKPOINT");
    drop(sql);
    let file = stack.cluster().dir().join("data").join(&path[0]);
    stack.cluster().stop().unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    stack.cluster().restart().unwrap();
    eventually("the origin finds the database again", SOON, || {
        let ready = format!("{}/health/ready", stack.origin.url());
        if xtask::net::answers_ok(&ready) {
            Ok(())
        } else {
            Err("not ready".to_owned())
        }
    });

    expect_passing(&mut stack, &license, &activation, |stack| {
        // What needs no new room is done meanwhile, and told.
        stack.license_command("suspend", &license);
        let fresh = json!({"max_staleness_s": 0});
        assert_eq!(code(&activation.validate_with(&fresh)), "SUSPENDED");
        stack.license_command("reinstate", &license);
        assert_eq!(code(&activation.validate_with(&fresh)), "VALID");
        let log = std::fs::read_to_string(stack.cluster().dir().join("postgres.log")).unwrap();
        assert!(
            log.contains("No space left on device"),
            "the disk was not full"
        );

        stack.cluster().stop().unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "").unwrap();
        ServerUser::pick().unwrap().own(&file).unwrap();
        stack.cluster().restart().unwrap();
    });
}

#[test]
fn a_postgres_that_only_reads_is_a_busy_origin() {
    let stack = Stack::start(&StackOptions::default());
    let license = stack.license("read-only", 100);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    let (mut stack, name) = (stack, "default_transaction_read_only");
    let database = stack.database().to_owned();
    let sql = stack.superuser();
    sql.rows(&format!("ALTER DATABASE {database} SET {name} = on"));
    cut_connections(&stack);
    expect_passing(&mut stack, &license, &activation, |stack| {
        sql.rows(&format!("ALTER DATABASE {database} RESET {name}"));
        cut_connections(stack);
    });
}

#[test]
fn a_table_that_somebody_has_locked_is_a_busy_origin() {
    let mut stack = Stack::start(&StackOptions::default());
    let license = stack.license("locked", 100);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    let holder = stack.superuser();
    // Who only reads is not kept waiting, so that the test can count.
    holder.rows("BEGIN; LOCK TABLE licet.activations IN EXCLUSIVE MODE");
    expect_passing(&mut stack, &license, &activation, |_| {
        holder.rows("COMMIT");
    });
}

/// Has each write of an activation meet with this SQLSTATE, but for one in `every`.
fn have_conflicts(stack: &Stack, state: &str, every: u32) {
    stack.superuser().rows(&format!(
        "CREATE SEQUENCE licet.conflicts;
         GRANT USAGE ON SEQUENCE licet.conflicts TO licet_app;
         CREATE FUNCTION licet.conflict() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('licet.conflicts') % {every} <> 0 THEN
                 RAISE EXCEPTION 'as if two had met' USING ERRCODE = '{state}';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER conflict BEFORE INSERT OR UPDATE ON licet.activations
             FOR EACH ROW EXECUTE FUNCTION licet.conflict();"
    ));
}

fn have_no_conflicts(stack: &Stack) -> i64 {
    let sql = stack.superuser();
    let met = sql.number("SELECT last_value FROM licet.conflicts");
    sql.rows("DROP FUNCTION licet.conflict CASCADE; DROP SEQUENCE licet.conflicts");
    met
}

#[test]
fn serialization_failures_and_deadlocks_are_retried_unseen() {
    let stack = Stack::start(&StackOptions::default());
    let license = stack.license("conflicts", 100);
    for state in ["40001", "40P01"] {
        have_conflicts(&stack, state, 3);
        for number in 0..4 {
            let device = stack.device(&license, &format!("{state}-{number}"));
            let activation = device.activated();
            assert_eq!(activation.code(), "VALID");
            assert_eq!(code(&activation.refresh().send().verdict()), "VALID");
        }
        assert!(have_no_conflicts(&stack) >= 12, "nobody met");
    }
    assert_eq!(stack.seats_taken(&license), 8);
}

#[test]
fn conflicts_without_end_are_a_busy_origin() {
    let mut stack = Stack::start(&StackOptions::default());
    let license = stack.license("conflicts", 100);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    have_conflicts(&stack, "40001", 1_000_000);
    expect_passing(&mut stack, &license, &activation, |stack| {
        have_no_conflicts(stack);
    });
}

#[test]
fn a_connection_lost_at_the_word_committed_has_acted_once() {
    let stack = Stack::start(&StackOptions {
        cable: true,
        ..StackOptions::default()
    });
    let license = stack.license("in-doubt", 100);
    for number in 0..10 {
        let name = format!("device-{number}");
        let device = stack.device(&license, &name);
        let request = device.request().header("Idempotency-Key", name);
        stack.cable().cut_at_commit();
        let (answer, _) = insist(&request);
        let first = device.activation_in(&answer);
        assert_eq!(device.activated().id, first.id);
        assert_eq!(stack.seats_taken(&license), number + 1);
    }
    let cuts = stack.cable().cuts();
    assert!(cuts >= 5, "{cuts} cuts");
}
