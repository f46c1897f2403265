//! `cargo xtask dev`: everything up on this machine, and shown to work.

mod demo;
mod follow;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use serde_json::Value;

use self::follow::Follow;
use super::{build, until_interrupted};
use crate::origin::{self, Keys, Origin, OriginConfig};
use crate::postgres::{Cluster, DevDir, Options};
use crate::step::step;
use crate::wrangler::{Source, Worker, WorkerConfig};
use crate::{edge, net, paths};

const DATABASE: &str = "licet";

/// What the command line may say.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// End after the verdict.
    pub once: bool,
    /// Forget all that former runs kept.
    pub reset: bool,
    /// Port of the edge.
    pub port: u16,
    /// Port of the origin.
    pub origin_port: u16,
    /// Port of Postgres.
    pub pg_port: u16,
}

impl Default for DevOptions {
    fn default() -> Self {
        Self {
            once: false,
            reset: false,
            port: 8787,
            origin_port: 8600,
            pg_port: 8632,
        }
    }
}

/// Sets up, starts, shows a verdict through the edge, and stays up until
/// Ctrl-C. With `once` it ends there, well only if the verdict was `VALID`.
pub fn dev(options: &DevOptions) -> Result<()> {
    let claimed = DevDir::claim()?;
    let state = claimed.path();
    expect_free_ports(options)?;
    edge::build()?;
    build::origin(false)?;
    if options.reset {
        step("forget what former runs kept", || claimed.clear())?;
    }
    let mut running = Running::start(options, state)?;
    let shown = demo::show(&running.worker.url(), &running.seed);
    // A part that has died says more than the answer that did not come.
    let demo = shown.map_err(|error| running.obituary().map_or(error, Error::msg))?;
    if options.once {
        running.stop()?;
        return if demo.valid() {
            Ok(())
        } else {
            bail!("the verdict was not VALID")
        };
    }
    demo.print_commands(state)?;
    println!(
        "\nThe edge is at {}, the origin at {}; keys, data and logs are in {}.\n\
         The edge is built anew when its source changes. Ctrl-C ends all of it.",
        running.worker.url(),
        running.origin.url(),
        state.display(),
    );
    let mut log = Follow::from_end(running.worker.log());
    let waited = until_interrupted(|| {
        log.print_builds();
        running.obituary()
    });
    println!();
    running.stop()?;
    waited
}

fn expect_free_ports(options: &DevOptions) -> Result<()> {
    net::expect_free(options.port, "the edge", "--port")?;
    net::expect_free(options.origin_port, "the origin", "--origin-port")?;
    if external_database().is_none() {
        net::expect_free(options.pg_port, "Postgres", "--pg-port")?;
    }
    Ok(())
}

fn external_database() -> Option<String> {
    std::env::var("DATABASE_URL")
        .ok()
        .filter(|url| !url.is_empty())
}

/// Ours, or the one that `DATABASE_URL` names.
enum Database {
    Own(Box<Cluster>),
    External(String),
}

impl Database {
    fn open(state: &Path, port: u16) -> Result<Self> {
        if let Some(url) = external_database() {
            println!("  ok  Postgres is the one that DATABASE_URL names");
            return Ok(Self::External(url));
        }
        let options = Options {
            port: Some(port),
            durable: true,
            ..Options::default()
        };
        let cluster = step("start Postgres", || {
            let cluster = Cluster::start(&state.join("postgres"), &options)?;
            cluster.create_database(DATABASE)?;
            Ok(cluster)
        })?;
        Ok(Self::Own(Box::new(cluster)))
    }

    fn admin_url(&self) -> String {
        match self {
            Self::Own(cluster) => cluster.admin_url(DATABASE),
            Self::External(url) => url.clone(),
        }
    }
}

/// The master key seals what is in the database: new keys need a new database.
fn keys(state: &Path, database: &Database) -> Result<Keys> {
    let file = state.join("keys.json");
    if let (false, Database::Own(cluster)) = (file.is_file(), database) {
        let tables =
            "SELECT 1 FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
        if !cluster.query(DATABASE, tables)?.is_empty() {
            bail!(
                "{} is gone, and with it what opens the database: start anew with --reset",
                file.display()
            );
        }
    }
    Keys::load_or_generate(&file)
}

/// Who connects how. The passwords are new in each run: `migrate` sets them.
struct Urls {
    admin: String,
    app: String,
    system: String,
    app_password: String,
    system_password: String,
}

impl Urls {
    fn new(options: &DevOptions, database: &Database) -> Result<Self> {
        let (app_password, system_password) = (net::random_password()?, net::random_password()?);
        let url = |role: &str, password: &str| match database {
            Database::Own(_) => Ok(format!(
                "postgres://{role}:{password}@127.0.0.1:{}/{DATABASE}",
                options.pg_port
            )),
            Database::External(url) => as_role(url, role, password),
        };
        Ok(Self {
            admin: database.admin_url(),
            app: url("licet_app", &app_password)?,
            system: url("licet_system", &system_password)?,
            app_password,
            system_password,
        })
    }

    fn migrate(&self) -> Result<()> {
        origin::migrate(&self.admin, &self.app_password, &self.system_password)
    }

    /// What an operator's command needs, to be sourced by a shell.
    fn write_env(&self, state: &Path, keys: &Keys) -> Result<()> {
        let text = format!(
            "export LICET_DATABASE_URL='{}'\nexport LICET_SYSTEM_DATABASE_URL='{}'\nexport LICET_ADMIN_DATABASE_URL='{}'\nexport LICET_MASTER_KEY='{}'\n",
            self.app, self.system, self.admin, keys.master_key
        );
        paths::write_private(&state.join("env"), &text)?;
        // For programs that verify by themselves: nothing in it is secret.
        fs::write(state.join("platform-keys"), &keys.platform_public)
            .context("write .licet/platform-keys")
    }
}

/// The same server and database, as another role.
fn as_role(url: &str, role: &str, password: &str) -> Result<String> {
    let (scheme, rest) = url
        .split_once("://")
        .context("DATABASE_URL is not postgres://…")?;
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    Ok(format!("{scheme}://{role}:{password}@{host}{path}"))
}

fn start_origin(state: &Path, options: &DevOptions, urls: &Urls, keys: &Keys) -> Result<Origin> {
    Origin::start(OriginConfig {
        port: Some(options.origin_port),
        database_url: urls.app.clone(),
        keys: keys.clone(),
        issuer: issuer(options),
        log: fresh_log(state.join("origin.log")),
        env: vec![("LICET_SYSTEM_DATABASE_URL".into(), urls.system.clone())],
    })
}

fn start_edge(state: &Path, options: &DevOptions, origin: &Origin, keys: &Keys) -> Result<Worker> {
    let mut config = WorkerConfig::new(state.join("edge"))
        .var("ORIGIN_URL", origin.url())
        .var("ISSUER", issuer(options))
        .var("PLATFORM_KEYS", &keys.platform_public)
        .secret("EDGE_KEY", &keys.edge_key);
    config.port = Some(options.port);
    if !options.once {
        config.source = Source::Watched;
    }
    fresh_log(config.dir.join("wrangler.log"));
    Worker::start(config)
}

fn issuer(options: &DevOptions) -> String {
    format!("http://127.0.0.1:{}", options.port)
}

/// One run, one log.
fn fresh_log(file: PathBuf) -> PathBuf {
    fs::remove_file(&file).ok();
    file
}

/// All that was started, in the order in which it must be stopped.
struct Running {
    worker: Worker,
    origin: Origin,
    database: Database,
    /// What `seed` printed: the demo organization, product and license.
    seed: Value,
}

impl Running {
    fn start(options: &DevOptions, state: &Path) -> Result<Self> {
        let database = Database::open(state, options.pg_port)?;
        let keys = step("keys", || keys(state, &database))?;
        let urls = Urls::new(options, &database)?;
        step("migrate", || urls.migrate())?;
        let seed = step("seed a demo organization, product and license", || {
            origin::seed(&urls.app, &keys, &[])
        })?;
        urls.write_env(state, &keys)?;
        let origin = step("start the origin", || {
            start_origin(state, options, &urls, &keys)
        })?;
        let worker = step("start the edge (wrangler dev)", || {
            start_edge(state, options, &origin, &keys)
        })?;
        Ok(Self {
            worker,
            origin,
            database,
            seed,
        })
    }

    fn stop(&mut self) -> Result<()> {
        step("stop", || {
            self.worker.stop()?;
            self.origin.stop()?;
            match &mut self.database {
                Database::Own(cluster) => cluster.stop(),
                Database::External(_) => Ok(()),
            }
        })
    }

    fn obituary(&mut self) -> Option<String> {
        let database = match &mut self.database {
            Database::Own(cluster) => cluster.obituary(),
            Database::External(_) => None,
        };
        database
            .or_else(|| self.origin.obituary())
            .or_else(|| self.worker.obituary())
    }
}

#[cfg(test)]
mod tests {
    use super::as_role;

    #[test]
    fn another_role_keeps_server_and_database() -> anyhow::Result<()> {
        let url = as_role(
            "postgres://me:p%40ss@db.example:5432/x?sslmode=require",
            "app",
            "pw",
        )?;
        assert_eq!(url, "postgres://app:pw@db.example:5432/x?sslmode=require");
        assert_eq!(
            as_role("postgresql://localhost/x", "app", "pw")?,
            "postgresql://app:pw@localhost/x"
        );
        assert_eq!(
            as_role("postgres://h?host=a@b", "app", "pw")?,
            "postgres://app:pw@h?host=a@b"
        );
        assert!(as_role("host=localhost", "app", "pw").is_err());
        Ok(())
    }
}
