//! A database with everything in it, made once and copied for each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

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
pub(in crate::bench) struct Data {
    pub(in crate::bench) cluster: Rc<Cluster>,
    database: String,
    pub(in crate::bench) keys: Keys,
    pub(in crate::bench) app_password: String,
    pub(in crate::bench) size: Size,
    /// What `seed` said when it loaded.
    pub(in crate::bench) loaded: String,
}

impl Data {
    /// Starts the database of this size, filled the first time.
    pub(in crate::bench) fn prepare(size: Size) -> Result<Self> {
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
            cluster: Rc::new(cluster),
            database: RUN.into(),
            keys,
            app_password,
            size,
            loaded: String::new(),
        };
        let stamp = dir.join("loaded.json");
        if !stamp.is_file() {
            let what = format!("load {} licenses", size.licenses);
            let said = long_step(&what, "some minutes, this once", || data.load(LOADED))?;
            fs::write(&stamp, said)?;
        }
        data.loaded = fs::read_to_string(&stamp)?;
        long_step("a copy for this run", "half a minute", || data.copy())?;
        Ok(data)
    }

    /// Another database of this size on the same server, filled now.
    pub(in crate::bench) fn beside(&self, size: Size) -> Result<Self> {
        let mut data = Self {
            cluster: Rc::clone(&self.cluster),
            database: format!("run_{}", size.licenses),
            keys: self.keys.clone(),
            app_password: self.app_password.clone(),
            size,
            loaded: String::new(),
        };
        data.loaded = data.load(&data.database)?;
        Ok(data)
    }

    fn load(&self, database: &str) -> Result<String> {
        let cluster = &self.cluster;
        cluster.query(
            "postgres",
            &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
        )?;
        cluster.create_database(database)?;
        let admin = cluster.admin_url(database);
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
    pub(in crate::bench) fn licenses(&self, count: usize, of: Option<u32>) -> Result<Vec<Value>> {
        let licenses = self.usable(count, of)?;
        self.make_room(&licenses)?;
        Ok(licenses)
    }

    /// The same with the limits that they have.
    pub(in crate::bench) fn usable(&self, count: usize, of: Option<u32>) -> Result<Vec<Value>> {
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

    /// Lifts the limits of these licenses: each is activated thousands of times.
    fn make_room(&self, licenses: &[Value]) -> Result<()> {
        let keys: Vec<String> = licenses
            .iter()
            .filter_map(|license| license["license_key"].as_str())
            .map(|key| format!("'{}'", key.replace('-', "").to_uppercase()))
            .collect();
        let hashes: Vec<String> = keys
            .iter()
            .map(|key| format!("sha256({key}::bytea)"))
            .collect();
        let sql = format!(
            "UPDATE licet.licenses l SET max_activations = 1000000 FROM licet.organizations o
             WHERE o.tag = ANY (ARRAY(SELECT substr(k, 1, 8) FROM unnest(ARRAY[{}]) k))
             AND l.org_id = o.org_id AND l.key_hash = ANY (ARRAY[{}]) RETURNING l.id",
            keys.join(", "),
            hashes.join(", ")
        );
        let changed = self.admin(&sql)?.len();
        if changed != licenses.len() {
            bail!("{changed} of {} licenses were found", licenses.len());
        }
        Ok(())
    }

    /// URL of the run's database for a role.
    pub(in crate::bench) fn url(&self, role: &str, password: &str) -> String {
        self.cluster.url(&self.database, role, password)
    }

    /// The same for the role that serves.
    pub(in crate::bench) fn app_url(&self) -> String {
        self.url("licet_app", &self.app_password)
    }

    /// Runs a statement in the run's database as the superuser.
    pub(in crate::bench) fn admin(&self, sql: &str) -> Result<Vec<crate::postgres::Row>> {
        self.cluster.query(&self.database, sql)
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
        // Not what only tells people of them.
        if path.is_file() && path.extension().is_none_or(|extension| extension != "md") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
