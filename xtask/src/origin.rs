//! The built origin: its one-off commands, and the service with its keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::process::Service;
use crate::step::run_text;
use crate::{net, paths};

/// What an origin and its edges share, as `licet-origin keygen` prints it.
#[derive(Clone)]
pub struct Keys {
    /// Seals private keys in the database.
    pub master_key: String,
    /// `kid:seed` of the platform's signing key.
    pub platform_key: String,
    /// `kid:x` of the same, for edges to trust.
    pub platform_public: String,
    /// `kid:seed` of the edge's key.
    pub edge_key: String,
    /// `kid:x` of the same, for the origin to trust.
    pub edge_public: String,
}

impl Keys {
    /// Makes fresh keys with the origin's own command.
    pub fn generate() -> Result<Self> {
        Self::parse(&run_text(command()?.args(["keygen", "--format", "json"]))?)
    }

    /// Those kept in `file`; made and written there (for its owner only) the first time.
    pub fn load_or_generate(file: &Path) -> Result<Self> {
        if let Ok(text) = fs::read_to_string(file) {
            return Self::parse(&text).with_context(|| format!("cannot use {}", file.display()));
        }
        let text = run_text(command()?.args(["keygen", "--format", "json"]))?;
        let keys = Self::parse(&text)?;
        paths::write_private(file, &text)?;
        Ok(keys)
    }

    fn parse(text: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(text).context("not the JSON of `keygen`")?;
        let field = |name: &str| match json[name].as_str() {
            Some(value) => Ok(value.to_owned()),
            None => bail!("the keys lack `{name}`"),
        };
        Ok(Self {
            master_key: field("master_key")?,
            platform_key: field("platform_key")?,
            platform_public: field("platform_public")?,
            edge_key: field("edge_key")?,
            edge_public: field("edge_public")?,
        })
    }
}

/// Shows no key.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Brings the database behind `admin_url` to the current schema and sets the
/// passwords of the two roles that log in.
pub fn migrate(admin_url: &str, app_password: &str, system_password: &str) -> Result<()> {
    let mut command = self::command()?;
    command.arg("migrate");
    command.env("LICET_ADMIN_DATABASE_URL", admin_url);
    command.env("LICET_APP_PASSWORD", app_password);
    command.env("LICET_SYSTEM_PASSWORD", system_password);
    run_text(&mut command).map(drop)
}

/// Makes sure of the demo organization and issues it a new license; `args` such
/// as `["--max-activations", "5"]`. The answer is the command's JSON.
pub fn seed(database_url: &str, keys: &Keys, args: &[&str]) -> Result<Value> {
    operator(database_url, keys, &[&["seed"], args].concat())
}

/// Runs an operator's command, such as `["license", "revoke", …]`, and hands
/// back the JSON it prints (null when it prints none).
pub fn operator(database_url: &str, keys: &Keys, args: &[&str]) -> Result<Value> {
    let mut command = self::command()?;
    command.args(args);
    command.env("LICET_DATABASE_URL", database_url);
    command.env("LICET_MASTER_KEY", &keys.master_key);
    let text = run_text(&mut command)?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("licet-origin {args:?}: not JSON"))
}

/// How an origin is run.
#[derive(Clone, Debug)]
pub struct OriginConfig {
    /// Loopback port; a free one when `None`.
    pub port: Option<u16>,
    /// As `licet_app`, the serving role.
    pub database_url: String,
    /// Its keys and the edge's.
    pub keys: Keys,
    /// Public base URL of the edge.
    pub issuer: String,
    /// File that gets its log lines.
    pub log: PathBuf,
    /// Further environment, such as `("LICET_STATUS_TTL_S", "2")`.
    pub env: Vec<(String, String)>,
}

/// A running `licet-origin serve`. Stopped when dropped.
pub struct Origin {
    config: OriginConfig,
    port: u16,
    service: Option<Service>,
}

impl Origin {
    /// Starts it and waits until it is ready.
    pub fn start(config: OriginConfig) -> Result<Self> {
        let port = config.port.map_or_else(net::free_port, Ok)?;
        let mut origin = Self {
            config,
            port,
            service: None,
        };
        origin.restart()?;
        Ok(origin)
    }

    /// Starts it again on the same port, after [`stop`](Self::stop) or
    /// [`kill`](Self::kill) or while it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let mut command = self::command()?;
        command.arg("serve");
        command.env("LICET_LISTEN", format!("127.0.0.1:{}", self.port));
        command.env("LICET_DATABASE_URL", &self.config.database_url);
        command.env("LICET_MASTER_KEY", &self.config.keys.master_key);
        command.env("LICET_PLATFORM_KEY", &self.config.keys.platform_key);
        command.env("LICET_EDGE_KEYS", &self.config.keys.edge_public);
        command.env("LICET_ISSUER", &self.config.issuer);
        for (name, value) in &self.config.env {
            command.env(name, value);
        }
        let mut service =
            Service::spawn("the origin", &mut command, &self.config.log, Signal::TERM)?;
        let ready = format!("{}/health/ready", self.url());
        service.wait_ready(Duration::from_secs(30), || net::answers_ok(&ready))?;
        self.service = Some(service);
        Ok(())
    }

    /// Has it start with another variable from the next [`restart`](Self::restart) on.
    pub fn set_env(&mut self, name: &str, value: impl Into<String>) {
        self.config.env.push((name.to_owned(), value.into()));
    }

    /// Lets it finish its requests and end. May be called again.
    pub fn stop(&mut self) -> Result<()> {
        match self.service.take() {
            Some(mut service) => service.stop(Duration::from_secs(30)),
            None => Ok(()),
        }
    }

    /// Kills it with SIGKILL. May be called again.
    pub fn kill(&mut self) -> Result<()> {
        match self.service.take() {
            Some(mut service) => service.kill(),
            None => Ok(()),
        }
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port it listens on, the same for all its life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.service.as_ref().map(Service::id)
    }

    /// One sentence and the last log lines, if it ended unasked.
    pub fn obituary(&mut self) -> Option<String> {
        self.service.as_mut()?.obituary()
    }
}

/// The built origin as a command, with none of our own `LICET_…` settings.
pub(crate) fn command() -> Result<Command> {
    let binary = paths::origin_binary();
    if !paths::is_executable(&binary) {
        bail!(
            "no built origin at {}: run `cargo build -p licet-origin`",
            binary.display()
        );
    }
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("LICET_") && name != "LICET_LOG")
        {
            command.env_remove(&name);
        }
    }
    command.env_remove("DATABASE_URL");
    Ok(command)
}
