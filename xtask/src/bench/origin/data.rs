//! A database with everything in it, made once and copied for each run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Size;
use crate::origin::{self, Keys};
use crate::postgres::{Cluster, Options, bench_dir};
use crate::step::{long_step, step};
use crate::{net, paths};

const LOADED: &str = "loaded";
const RUN: &str = "run";
/// Durable, as production is: what was acknowledged is on disk.
const SETTINGS: [(&str, &str); 5] = [
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("max_connections", "300"),
    ("checkpoint_timeout", "30min"),
    ("random_page_cost", "1.1"),
];

/// The database of a run.
pub(super) struct Data {
    pub(super) cluster: Cluster,
    pub(super) keys: Keys,
    pub(super) app_password: String,
    pub(super) size: Size,
    /// What `seed` said when it loaded.
    pub(super) loaded: String,
}

impl Data {
    /// Starts the database of this size, filled the first time.
    pub(super) fn prepare(size: Size) -> Result<Self> {
        let dir = bench_dir(&key(size)?)?;
        let keys = Keys::load_or_generate(&dir.join("keys.json"))?;
        let password = dir.join("app-password");
        if !password.is_file() {
            paths::write_private(&password, &net::random_password()?)?;
        }
        let app_password = fs::read_to_string(&password)?.trim().to_owned();
        let options = Options {
            durable: true,
            settings: SETTINGS
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            ..Options::default()
        };
        let cluster = step("Postgres", || {
            Cluster::start(&dir.join("cluster"), &options)
        })?;
        let mut data = Self {
            cluster,
            keys,
            app_password,
            size,
            loaded: String::new(),
        };
        let stamp = dir.join("loaded.json");
        if !stamp.is_file() {
            let what = format!("load {} licenses", size.licenses);
            let said = long_step(&what, "some minutes, this once", || data.load())?;
            fs::write(&stamp, said)?;
        }
        data.loaded = fs::read_to_string(&stamp)?;
        long_step("a copy for this run", "half a minute", || data.copy())?;
        Ok(data)
    }

    fn load(&self) -> Result<String> {
        let cluster = &self.cluster;
        cluster.query("postgres", &format!("DROP DATABASE IF EXISTS {LOADED}"))?;
        cluster.create_database(LOADED)?;
        let admin = cluster.admin_url(LOADED);
        let system = net::random_password()?;
        origin::migrate(&admin, &self.app_password, &system)?;
        let said = self.seed(&[], Some(&admin))?;
        Ok(said)
    }

    fn copy(&self) -> Result<()> {
        let cluster = &self.cluster;
        cluster.query(
            "postgres",
            &format!("DROP DATABASE IF EXISTS {RUN} WITH (FORCE)"),
        )?;
        let sql = format!("CREATE DATABASE {RUN} TEMPLATE {LOADED} STRATEGY file_copy");
        cluster.query("postgres", &sql)?;
        // Settings of a role are a database's own and are not copied.
        Ok(())
    }

    fn seed(&self, more: &[&str], admin: Option<&str>) -> Result<String> {
        let (orgs, licenses) = (self.size.orgs.to_string(), self.size.licenses.to_string());
        let args = [&["seed", "--orgs", &orgs, "--licenses", &licenses], more].concat();
        let mut command = origin::command()?;
        command.args(args);
        command.env("LICET_MASTER_KEY", &self.keys.master_key);
        if let Some(admin) = admin {
            command.env("LICET_ADMIN_DATABASE_URL", admin);
        }
        crate::step::run_text(&mut command)
    }

    /// Licenses that can be activated: one of each of `count` organizations, or as many of one.
    pub(super) fn licenses(&self, count: usize, of: Option<u32>) -> Result<Vec<Value>> {
        let count = count.to_string();
        let number = of.map(|number| number.to_string());
        let mut args = vec!["--print-keys", &count];
        if let Some(number) = &number {
            args.extend(["--of", number]);
        }
        let text = self.seed(&args, None)?;
        let licenses: Vec<Value> = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .context("not what seed prints")?;
        if licenses.is_empty() {
            bail!("there is no license to activate");
        }
        Ok(licenses)
    }

    /// URL of the run's database for a role.
    pub(super) fn url(&self, role: &str, password: &str) -> String {
        self.cluster.url(RUN, role, password)
    }

    /// The same for the role that serves.
    pub(super) fn app_url(&self) -> String {
        self.url("licet_app", &self.app_password)
    }

    /// Runs a statement in the run's database as the superuser.
    pub(super) fn admin(&self, sql: &str) -> Result<Vec<crate::postgres::Row>> {
        self.cluster.query(RUN, sql)
    }
}

/// Names what the data is made from: with another, it is made anew.
fn key(size: Size) -> Result<String> {
    let root = paths::workspace();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for dir in ["migrations", "origin/src/generate"] {
        for file in files(&root.join(dir))? {
            add(&fs::read(file)?);
        }
    }
    add(format!("{}/{}", size.orgs, size.licenses).as_bytes());
    Ok(format!("{hash:016x}"))
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
