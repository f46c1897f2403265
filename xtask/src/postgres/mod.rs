//! A Postgres of our own: found or brought, started on loopback, killed and
//! restarted at will.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use xtask::postgres::{Cluster, Options};
//!
//! let mut cluster = Cluster::temporary(&Options::default())?;
//! cluster.create_database("licet")?;
//! println!("{}", cluster.admin_url("licet"));
//! cluster.kill()?; // as a crash would
//! cluster.restart()?;
//! # Ok(())
//! # }
//! ```

mod binaries;
mod pgbouncer;
mod place;
mod user;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

pub use self::binaries::Binaries;
pub use self::pgbouncer::{PgBouncer, PgBouncerBinary};
pub use self::place::DevDir;
pub(crate) use self::place::bench_dir;
pub use self::user::ServerUser;
use self::wire::Connection;
pub use self::wire::Row;
use crate::process::{self, Service};
use crate::{net, paths, step};

/// The superuser's name in every cluster.
pub const ADMIN: &str = "postgres";

/// How a cluster is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Loopback port; a free one when `None`.
    pub port: Option<u16>,
    /// Keep `fsync` and full-page writes on, so that what was acknowledged
    /// outlives a crash of the machine. (A killed server alone loses nothing
    /// either way, but crash tests should run what production runs.)
    pub durable: bool,
    /// Further settings, such as `("max_connections", "300")`.
    pub settings: Vec<(String, String)>,
}

/// A running Postgres server on loopback with its data directory.
///
/// Stopped when dropped; a temporary one is then removed as well.
pub struct Cluster {
    dir: PathBuf,
    binaries: Binaries,
    user: ServerUser,
    options: Options,
    port: u16,
    password: String,
    temporary: bool,
    service: Option<Service>,
}

impl Cluster {
    /// Starts the cluster kept in `dir`, creating it the first time.
    ///
    /// `dir` must be a directory the server's user can enter: see [`DevDir`].
    pub fn start(dir: &Path, options: &Options) -> Result<Self> {
        let user = ServerUser::pick()?;
        let binaries = Binaries::find(&user)?;
        Self::start_as(user, binaries, dir.to_path_buf(), options, false)
    }

    /// Starts a new cluster in the system's temporary directory.
    pub fn temporary(options: &Options) -> Result<Self> {
        let user = ServerUser::pick()?;
        let binaries = Binaries::find(&user)?;
        let dir = place::temporary(&user)?;
        Self::start_as(user, binaries, dir, options, true)
    }

    fn start_as(
        user: ServerUser,
        binaries: Binaries,
        dir: PathBuf,
        options: &Options,
        temporary: bool,
    ) -> Result<Self> {
        let mut cluster = Self {
            port: options.port.map_or_else(net::free_port, Ok)?,
            dir: paths::make_dir(dir)?,
            binaries,
            user,
            options: options.clone(),
            password: String::new(),
            temporary,
            service: None,
        };
        cluster.initialize()?;
        cluster.restart()?;
        Ok(cluster)
    }

    /// Creates the data directory unless a former run finished doing so.
    fn initialize(&mut self) -> Result<()> {
        let (data, password) = (self.dir.join("data"), self.dir.join("admin-password"));
        if password.is_file() {
            self.password = fs::read_to_string(&password)?.trim().to_owned();
            return self.expect_same_version(&data);
        }
        self.password = net::random_password()?;
        fs::remove_dir_all(&data).ok();
        paths::make_dir(data.clone())?;
        self.user.own(&data)?;
        let file = self.dir.join("initdb-password");
        paths::write_private(&file, &self.password)?;
        self.user.own(&file)?;
        let mut initdb = Command::new(self.binaries.path("initdb"));
        initdb.args([
            "--encoding=UTF8",
            "--no-locale",
            "--auth=scram-sha-256",
            "--username",
            ADMIN,
        ]);
        initdb.arg("--pwfile").arg(&file).arg("--pgdata").arg(&data);
        if !self.options.durable {
            initdb.arg("--no-sync");
        }
        self.user.apply(&mut initdb);
        let result = step::run_quiet("initdb", &mut initdb);
        fs::remove_file(&file).ok();
        result?;
        fs::write(data.join("pg_hba.conf"), HBA).context("cannot write pg_hba.conf")?;
        // Last: its presence says that all of the above is done.
        paths::write_private(&password, &self.password)
    }

    fn expect_same_version(&self, data: &Path) -> Result<()> {
        let made_by = fs::read_to_string(data.join("PG_VERSION")).unwrap_or_default();
        if made_by.trim() == self.binaries.major.to_string() {
            return Ok(());
        }
        bail!(
            "{} was made by Postgres {}, but {} is what was found: use the former again \
             (LICET_POSTGRES_BIN=its bin directory), or delete the data with --reset",
            data.display(),
            made_by.trim(),
            self.binaries.major
        );
    }

    /// Starts the server again on the same port after [`kill`](Self::kill) or
    /// [`stop`](Self::stop), and waits until it takes queries.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let mut command = Command::new(self.binaries.path("postgres"));
        command.arg("-D").arg(self.dir.join("data"));
        for (name, value) in self.settings() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        self.user.apply(&mut command);
        // SIGINT is Postgres's "fast shutdown": it does not wait for clients.
        let log = self.dir.join("postgres.log");
        let mut service = Service::spawn("Postgres", &mut command, &log, Signal::INT)?;
        service.wait_ready(Duration::from_secs(60), || self.connect("postgres").is_ok())?;
        self.service = Some(service);
        Ok(())
    }

    fn settings(&self) -> Vec<(String, String)> {
        let durable = if self.options.durable { "on" } else { "off" };
        let ours = [
            ("listen_addresses", "127.0.0.1"),
            ("port", &self.port.to_string()),
            // No socket: its path is short of room and nobody needs it.
            ("unix_socket_directories", ""),
            ("fsync", durable),
            ("full_page_writes", durable),
            ("synchronous_commit", "on"),
            ("timezone", "UTC"),
            ("log_line_prefix", "%m [%p] %u@%d "),
        ];
        let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
        ours.into_iter()
            .chain(self.options.settings.iter().cloned())
            .collect()
    }

    /// Changes a setting, from the next [`restart`](Self::restart) on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.options.settings.retain(|(other, _)| other != name);
        self.options.settings.push((name.into(), value.into()));
    }

    /// The port it listens on, the same for all its life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its directory: `data`, `postgres.log`, `admin-password`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a program that came with the server would be.
    pub fn program(&self, name: &str) -> PathBuf {
        self.binaries.path(name)
    }

    /// Major version of the server.
    pub fn major(&self) -> u32 {
        self.binaries.major
    }

    /// URL of a database for the superuser. Holds a password: don't log it.
    pub fn admin_url(&self, database: &str) -> String {
        self.url(database, ADMIN, &self.password)
    }

    /// URL of a database for a role. `role`, `password` and `database` are put in as they are.
    pub fn url(&self, database: &str, role: &str, password: &str) -> String {
        format!(
            "postgres://{role}:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Creates a database unless it is there.
    pub fn create_database(&self, name: &str) -> Result<()> {
        let quoted = name.replace('\'', "''");
        let there = self.query(
            "postgres",
            &format!("SELECT 1 FROM pg_database WHERE datname = '{quoted}'"),
        )?;
        if there.is_empty() {
            self.query(
                "postgres",
                &format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")),
            )?;
        }
        Ok(())
    }

    /// Runs one statement as the superuser and hands back its rows as text.
    pub fn query(&self, database: &str, sql: &str) -> Result<Vec<Row>> {
        self.connect(database)?.query(sql)
    }

    fn connect(&self, database: &str) -> Result<Connection> {
        Connection::open(self.port, database, ADMIN, &self.password)
    }

    /// Kills every process of the server with SIGKILL, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut service) = self.service.take() else {
            return Ok(());
        };
        // Each backend leads a group of its own. Listed while their parent still
        // lives; one that starts in between sees its parent gone and ends itself.
        let backends = process::children(service.id());
        service.kill()?;
        for pid in &backends {
            process::kill_one(*pid);
        }
        let started = Instant::now();
        while backends.iter().any(|pid| process::is_alive(*pid)) {
            if started.elapsed() > Duration::from_secs(10) {
                bail!("Postgres processes outlived SIGKILL by 10 s");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops the server in good order, ending its clients' connections.
    pub fn stop(&mut self) -> Result<()> {
        match self.service.take() {
            Some(mut service) => service.stop(Duration::from_secs(30)),
            None => Ok(()),
        }
    }

    /// One sentence and the last log lines, if the server ended unasked.
    pub fn obituary(&mut self) -> Option<String> {
        self.service.as_mut()?.obituary()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop().ok();
        if self.temporary {
            fs::remove_dir_all(&self.dir).ok();
        }
    }
}

/// Loopback only. The superuser's password goes in clear over loopback, so that
/// our own small client need not speak SCRAM; every other role uses SCRAM.
const HBA: &str = "\
# Written by `cargo xtask`.
host all postgres 127.0.0.1/32 password
host all all      127.0.0.1/32 scram-sha-256
";
