//! Transactions on a real Postgres.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use licet_shared::id::OrgId;
use tokio_postgres::types::{ToSql, Type};
use xtask::postgres::{Cluster, Options};

use super::{Database, DatabaseSettings, Error, Tenant, sealed::Authenticated};
use crate::{
    http::ReplayCapacity,
    metrics::Metrics,
    migrations::{Migrator, Passwords},
    random::RowId,
};

struct Tester;

impl Authenticated for Tester {}

/// A migrated database, and a tenant of it with a pool of one connection.
struct Bench {
    cluster: Cluster,
    tenant: Tenant,
    database: Database,
    metrics: Arc<Metrics>,
}

impl Bench {
    async fn new() -> Self {
        let cluster = Cluster::temporary(&Options::default()).unwrap();
        cluster.create_database("licet").unwrap();
        let admin = cluster.admin_url("licet").parse().unwrap();
        let passwords = Passwords {
            app: Some("p".into()),
            system: None,
        };
        Migrator::connect(&admin)
            .await
            .unwrap()
            .up(&passwords)
            .await
            .unwrap();
        let metrics = Arc::new(Metrics::new());
        let settings = DatabaseSettings {
            pool_size: 1,
            ..DatabaseSettings::default()
        };
        let config = cluster.url("licet", "licet_app", "p").parse().unwrap();
        let database = Database::new(&config, &settings, Arc::clone(&metrics)).unwrap();
        let tenant = database.tenant_to_be(&Tester, OrgId::generate().unwrap());
        Self {
            cluster,
            tenant,
            database,
            metrics,
        }
    }

    /// The server process behind the one connection.
    async fn backend(&self) -> i32 {
        let rows = self.tenant.run_tx("backend", |tx| {
            Box::pin(async move { tx.query("SELECT pg_backend_pid()", &[]).await })
        });
        rows.await.unwrap()[0].get(0)
    }

    fn count(&self) -> String {
        let rows = self
            .cluster
            .query("licet", "SELECT count(*) FROM licet.audit_events")
            .unwrap();
        rows[0][0].clone().unwrap()
    }
}

const RAISE: &str = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$";

const WRITE: &str = "INSERT INTO licet.audit_events (org_id, id, actor, action, subject)
    VALUES ($1, gen_random_uuid(), 'a', 'b', 'c')";

#[tokio::test]
async fn transactions_end_as_they_must() {
    let bench = Bench::new().await;
    conflicts_are_tried_again(&bench).await;
    a_conflict_without_end_is_given_up(&bench).await;
    an_error_rolls_back_and_keeps_the_connection(&bench).await;
    a_swallowed_error_is_no_success(&bench).await;
    a_cancelled_transaction_takes_its_connection_with_it(&bench).await;
    the_error_of_begin_comes_first(&bench).await;
    a_lost_connection_is_replaced_before_commit(&bench).await;
    what_comes_again_is_kept_prepared_but_no_list(&bench).await;
    pipelined_statements_are_done_together_or_not_at_all(&bench).await;
    a_statement_after_commit_is_refused(&bench).await;
    pipelined_work_is_begun_again_on_another_connection(&bench).await;
    a_pooler_that_lost_the_server_is_a_lost_connection(&bench).await;
    nothing_is_seen_outside_of_a_transaction(&bench).await;
}

async fn conflicts_are_tried_again(bench: &Bench) {
    let attempts = AtomicU32::new(0);
    let done = bench.tenant.run_tx("conflict", |tx| {
        let attempts = &attempts;
        Box::pin(async move {
            let attempt = attempts.fetch_add(1, Ordering::Relaxed);
            tx.execute(WRITE, &[(&tx.org(), Type::UUID)]).await?;
            if attempt < 2 {
                tx.execute(RAISE, &[]).await?;
            }
            Ok(attempt)
        })
    });
    assert_eq!(done.await.unwrap(), 2);
    assert_eq!(bench.count(), "1", "only the last attempt counts");
    let text = bench
        .metrics
        .render((0, 0), ReplayCapacity::default())
        .unwrap();
    assert!(
        text.contains(r#"tx_retries_total{name="conflict"} 2"#),
        "{text}"
    );
}

async fn a_conflict_without_end_is_given_up(bench: &Bench) {
    let attempts = AtomicU32::new(0);
    let done = bench.tenant.run_tx("conflict", |tx| {
        attempts.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { tx.execute(RAISE, &[]).await })
    });
    assert!(done.await.unwrap_err().is_conflict());
    assert_eq!(attempts.load(Ordering::Relaxed), 6);
}

async fn an_error_rolls_back_and_keeps_the_connection(bench: &Bench) {
    let backend = bench.backend().await;
    let done = bench.tenant.run_tx("error", |tx| {
        Box::pin(async move {
            tx.execute(WRITE, &[(&tx.org(), Type::UUID)]).await?;
            Err::<(), _>(Error::Row("a test's"))
        })
    });
    assert!(matches!(done.await, Err(Error::Row("a test's"))));
    assert_eq!(bench.count(), "1");
    assert_eq!(bench.backend().await, backend);
}

async fn a_swallowed_error_is_no_success(bench: &Bench) {
    let done = bench.tenant.run_tx("swallow", |tx| {
        Box::pin(async move {
            tx.execute(WRITE, &[(&tx.org(), Type::UUID)]).await?;
            drop(tx.execute("SELECT 1 / 0", &[]).await);
            Ok(())
        })
    });
    assert!(matches!(done.await, Err(Error::Aborted)));
    assert_eq!(bench.count(), "1");
}

async fn a_cancelled_transaction_takes_its_connection_with_it(bench: &Bench) {
    let backend = bench.backend().await;
    let done = bench.tenant.run_tx("cancel", |tx| {
        Box::pin(async move {
            tx.execute(WRITE, &[(&tx.org(), Type::UUID)]).await?;
            tx.execute("SELECT pg_sleep(0.5)", &[]).await
        })
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(100), done)
            .await
            .is_err()
    );
    assert_ne!(bench.backend().await, backend);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(bench.count(), "1");
}

async fn the_error_of_begin_comes_first(bench: &Bench) {
    // A connection in a state that it can't be given back in by any code of ours.
    let connection = bench.database.connection().await.unwrap();
    drop(connection.batch_execute("BEGIN; SELECT 1 / 0").await);
    drop(connection);
    let done = bench.tenant.run_tx("begin", |tx| {
        Box::pin(async move {
            drop(tx.query("SELECT 1", &[]).await);
            Err::<(), _>(Error::Row("a test's"))
        })
    });
    match done.await {
        Err(Error::Statement(error)) => {
            assert_eq!(error.code().map(|code| code.code()), Some("25P02"));
        }
        other => panic!("{other:?}"),
    }
    // And it is gone.
    bench.backend().await;
}

async fn a_lost_connection_is_replaced_before_commit(bench: &Bench) {
    let attempts = AtomicU32::new(0);
    let done = bench.tenant.run_tx("lost", |tx| {
        let attempts = &attempts;
        Box::pin(async move {
            tx.execute(WRITE, &[(&tx.org(), Type::UUID)]).await?;
            if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
                tx.execute("SELECT pg_terminate_backend(pg_backend_pid())", &[])
                    .await?;
            }
            Ok(())
        })
    });
    done.await.unwrap();
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    assert_eq!(bench.count(), "2");
}

async fn pipelined_statements_are_done_together_or_not_at_all(bench: &Bench) {
    let (before, backend) = (bench.count(), bench.backend().await);
    let done = bench.tenant.run_pipelined("pipelined", |tx| {
        Box::pin(async move {
            let org = tx.org();
            let argument: [(&(dyn ToSql + Sync), Type); 1] = [(&org, Type::UUID)];
            let written = tx.execute(WRITE, &argument);
            futures_util::future::join(written, tx.execute("SELECT 1 / 0", &[]))
                .await
                .1
        })
    });
    assert!(matches!(done.await, Err(Error::Statement(_))));
    assert_eq!(bench.count(), before);
    // Nothing was left open on it.
    assert_eq!(bench.backend().await, backend);
}

async fn a_statement_after_commit_is_refused(bench: &Bench) {
    let before: u32 = bench.count().parse().unwrap();
    let done = bench.tenant.run_pipelined("late", |tx| {
        Box::pin(async move {
            tx.execute(WRITE, &[(&tx.org(), Type::UUID)]).await?;
            tx.execute(WRITE, &[(&tx.org(), Type::UUID)]).await
        })
    });
    assert!(matches!(done.await, Err(Error::Ended)));
    assert_eq!(bench.count(), (before + 1).to_string());
}

async fn pipelined_work_is_begun_again_on_another_connection(bench: &Bench) {
    let attempts = AtomicU32::new(0);
    let done = bench.tenant.run_pipelined("lost", |tx| {
        let sql = match attempts.fetch_add(1, Ordering::Relaxed) {
            0 => "SELECT pg_terminate_backend(pg_backend_pid())",
            _ => "SELECT 1",
        };
        Box::pin(async move { tx.execute(sql, &[]).await })
    });
    done.await.unwrap();
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
}

/// PgBouncer tells its clients with this code.
async fn a_pooler_that_lost_the_server_is_a_lost_connection(bench: &Bench) {
    const LOST: &str = "DO $$ BEGIN RAISE 'server conn crashed?' USING ERRCODE = '08P01'; END $$";
    let attempts = AtomicU32::new(0);
    let done = bench.tenant.run_tx("lost", |tx| {
        let sql = match attempts.fetch_add(1, Ordering::Relaxed) {
            0 => LOST,
            _ => "SELECT 1",
        };
        Box::pin(async move { tx.execute(sql, &[]).await })
    });
    done.await.unwrap();
    assert_eq!(attempts.load(Ordering::Relaxed), 2);

    // While it commits, nobody knows.
    let connection = bench.database.connection().await.unwrap();
    for (sql, doubtful) in [(LOST, true), (RAISE, false)] {
        let error = connection.batch_execute(sql).await.unwrap_err();
        assert_eq!(super::tx::in_doubt(error).in_doubt, doubtful, "{sql}");
    }
}

const LOOKUP: &str = "SELECT 1 + $1::int8 AS looked_up";
const LIST: &str = "SELECT 2 + $1::int8 AS listed";
const PREPARED: &str = "SELECT name, statement FROM pg_prepared_statements ORDER BY 2";

/// What the one connection has prepared of the two, after both ran so often.
async fn prepared(bench: &Bench, times: usize) -> Vec<String> {
    for _ in 0..times {
        let both = bench.tenant.run_tx("both", |tx| {
            Box::pin(async move {
                let argument: [(&(dyn ToSql + Sync), Type); 1] = [(&1i64, Type::INT8)];
                let looked_up = tx.query_opt(LOOKUP, &argument).await?;
                let listed = tx.query(LIST, &argument).await?;
                Ok((
                    looked_up.unwrap().get::<_, i64>(0),
                    listed[0].get::<_, i64>(0),
                ))
            })
        });
        assert_eq!(both.await.unwrap(), (2, 3));
    }
    let rows = bench.tenant.run_tx("prepared", |tx| {
        Box::pin(async move { tx.query(PREPARED, &[]).await })
    });
    let statements = rows.await.unwrap();
    let statements = statements.iter().map(|row| row.get::<_, String>(1));
    statements
        .filter(|sql| sql == LOOKUP || sql == LIST)
        .collect()
}

async fn what_comes_again_is_kept_prepared_but_no_list(bench: &Bench) {
    assert_eq!(prepared(bench, 1).await, [""; 0]);
    assert_eq!(prepared(bench, 2).await, [LOOKUP]);
    // A server that forgets them, as one behind a pooler may seem to.
    let connection = bench.database.connection().await.unwrap();
    connection.batch_execute("DEALLOCATE ALL").await.unwrap();
    drop(connection);
    let backend = bench.backend().await;
    assert_eq!(prepared(bench, 3).await, [LOOKUP]);
    assert_ne!(
        bench.backend().await,
        backend,
        "a stale connection was kept"
    );
}

async fn nothing_is_seen_outside_of_a_transaction(bench: &Bench) {
    let connection = bench.database.connection().await.unwrap();
    let row = connection
        .query_one("SELECT count(*) FROM licet.audit_events", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

/// Three thousand revoked licenses in list 0, and two thousand entries in list 1 of which one is
/// suspended and one given back.
const LISTS: &str = "
    INSERT INTO licet.organizations (org_id, slug, tag, name)
        VALUES ('ORG', 'alpha', 'ABCDEFGH', 'alpha');
    INSERT INTO licet.feature_sets (org_id, id, name) VALUES ('ORG', gen_random_uuid(), 'f');
    INSERT INTO licet.policies (org_id, id, name, tier, feature_set_id, max_activations)
        SELECT org_id, gen_random_uuid(), 'p', 'PRO', id, 5 FROM licet.feature_sets;
    INSERT INTO licet.status_versions (org_id, number, next_index)
        VALUES ('ORG', 0, 131072), ('ORG', 1, 2000);
    INSERT INTO licet.licenses (org_id, id, key_hash, policy_id, feature_set_id, max_activations, status)
        SELECT p.org_id, lpad(to_hex(n), 32, '0')::uuid, sha256(n::text::bytea), p.id, p.feature_set_id, 5,
            CASE WHEN n < 3000 THEN 'REVOKED' WHEN n = 3000 THEN 'SUSPENDED' ELSE 'ACTIVE' END
        FROM licet.policies p, generate_series(0, 4999) n;
    INSERT INTO licet.activations (org_id, id, license_id, fingerprint_hash, status_list, status_index, deactivated_at)
        SELECT l.org_id, l.id, l.id, repeat('x', 43), (n >= 3000)::int, n % 3000,
            CASE WHEN n = 4999 THEN now() END
        FROM (SELECT *, row_number() OVER (ORDER BY id) - 1 AS n FROM licet.licenses) l;
    INSERT INTO licet.withdrawals (org_id, status_list, license_id, status)
        SELECT a.org_id, a.status_list, l.id, l.status FROM licet.licenses l
        JOIN licet.activations a ON a.license_id = l.id WHERE l.status <> 'ACTIVE'";

/// Rows that a plan's scans have handed out, by what EXPLAIN ANALYZE says.
fn visited(plan: &[String]) -> u64 {
    let number = |line: &str, name: &str| -> u64 {
        let (_, rest) = line.rsplit_once(name).unwrap();
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest[..end].parse().unwrap()
    };
    plan.iter()
        .filter(|line| line.contains(" Scan ") && line.contains("loops="))
        .map(|line| number(line, " rows=") * number(line, "loops="))
        .sum()
}

#[tokio::test]
async fn a_status_list_costs_what_stands_in_it() {
    let bench = Bench::new().await;
    let org = bench.tenant.org();
    let text = LISTS.replace("ORG", &org.uuid().to_string());
    for statement in text.split(';') {
        bench.cluster.query("licet", statement).unwrap();
    }
    let explain: &'static str = format!(
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {}",
        super::status_lists::CONTENT
    )
    .leak();
    // A planner without statistics may walk the list, but never another; with them it knows better.
    for most in [2010, 10] {
        let plan = bench.tenant.run_tx("plan", |tx| {
            Box::pin(async move {
                let arguments: [(&(dyn ToSql + Sync), Type); 2] =
                    [(&tx.org(), Type::UUID), (&1i32, Type::INT4)];
                tx.query(explain, &arguments).await
            })
        });
        let plan: Vec<String> = plan.await.unwrap().iter().map(|row| row.get(0)).collect();
        assert!(visited(&plan) <= most, "{plan:#?}");
        bench.cluster.query("licet", "ANALYZE").unwrap();
    }
    let content = bench.tenant.run_tx("content", |tx| {
        Box::pin(super::status_lists::content(tx, 1))
    });
    let entries = content.await.unwrap().unwrap().withdrawn;
    let entries: Vec<_> = entries.iter().map(|e| (e.index, e.status)).collect();
    assert_eq!(entries, [(0, 2), (1999, 3)]);
}
