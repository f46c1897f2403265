//! The cluster does what crash tests rely on.

use anyhow::Result;
use xtask::postgres::{Cluster, Options};

#[test]
fn acknowledged_rows_survive_a_kill() -> Result<()> {
    let options = Options {
        durable: true,
        ..Options::default()
    };
    let mut cluster = Cluster::temporary(&options)?;
    cluster.create_database("crash")?;
    cluster.create_database("crash")?; // there already: nothing happens
    cluster.query("crash", "CREATE TABLE t (n int)")?;
    cluster.query("crash", "INSERT INTO t VALUES (7), (NULL)")?;
    let port = cluster.port();

    cluster.kill()?;
    assert!(cluster.query("crash", "SELECT 1").is_err());
    cluster.restart()?;

    assert_eq!(cluster.port(), port);
    let rows = cluster.query("crash", "SELECT n FROM t ORDER BY n")?;
    assert_eq!(rows, vec![vec![Some("7".to_owned())], vec![None]]);
    let error = cluster.query("crash", "SELECT * FROM nothing").map(drop);
    assert!(error.is_err_and(|error| error.to_string().contains("nothing")));
    Ok(())
}

#[test]
fn a_kept_cluster_is_found_again_and_a_temporary_one_is_gone() -> Result<()> {
    // Inside of a temporary cluster's directory: one that its user can enter.
    let outer = Cluster::temporary(&Options::default())?;
    let gone = outer.dir().to_owned();
    let kept = gone.join("kept");
    let mut cluster = Cluster::start(&kept, &Options::default())?;
    cluster.create_database("kept")?;
    cluster.stop()?;
    drop(cluster);

    let cluster = Cluster::start(&kept, &Options::default())?;
    assert_eq!(
        cluster.query("kept", "SELECT 'ok'")?,
        vec![vec![Some("ok".to_owned())]]
    );
    drop(cluster);
    drop(outer);
    assert!(!gone.exists());
    Ok(())
}

#[test]
fn other_roles_use_scram() -> Result<()> {
    let cluster = Cluster::temporary(&Options::default())?;
    cluster.query("postgres", "CREATE ROLE app LOGIN PASSWORD 'right'")?;
    let rules = "SELECT auth_method FROM pg_hba_file_rules WHERE user_name = '{all}'";
    assert_eq!(
        cluster.query("postgres", rules)?,
        vec![vec![Some("scram-sha-256".to_owned())]]
    );
    Ok(())
}
