//! `cargo xtask postgres`: a database to try things on.

use anyhow::Result;

use super::until_interrupted;
use crate::postgres::{Cluster, DevDir, Options};
use crate::step::step;

/// Starts a cluster, prints its URL and stays up until Ctrl-C. `keep` takes the
/// one that `dev` uses; else it is a new one that goes when this ends.
pub fn postgres(keep: bool, port: Option<u16>) -> Result<()> {
    let options = Options {
        port,
        ..Options::default()
    };
    let kept = if keep { Some(DevDir::claim()?) } else { None };
    let mut cluster = step("start Postgres", || match &kept {
        Some(dir) => Cluster::start(&dir.path().join("postgres"), &options),
        None => Cluster::temporary(&options),
    })?;
    cluster.create_database("licet")?;
    println!(
        "\nPostgres {} for its superuser, until Ctrl-C:\n{}",
        cluster.major(),
        cluster.admin_url("licet")
    );
    until_interrupted(|| cluster.obituary())?;
    step("stop Postgres", || cluster.stop())
}
