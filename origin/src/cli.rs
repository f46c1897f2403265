//! The command line. Messages for people go to stderr, results as JSON to stdout.

mod audit;
mod jobs;
mod keygen;
mod keys;
mod license;
mod migrate;
mod operator;
mod organization;
mod republish;
mod seed;
mod serve;
mod whose;

use std::{fmt, path::Path, process::ExitCode, sync::Arc};

use clap::{
    Args, CommandFactory, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue},
};

use crate::{
    config::{self, ConfigError, Secret},
    db::{self, SystemDatabase},
    fault::Fault,
    keys::{MasterKeys, Module, Vault},
    metrics::Metrics,
    postgres::Server,
};

/// Licet's origin: licenses, activations and signed documents over Postgres.
#[derive(Debug, Parser)]
#[command(name = "licet-origin", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print fresh keys for an installation. They are shown once and stored nowhere
    Keygen(keygen::Keygen),
    /// Bring a database to this binary's schema, creating roles and setting their passwords
    Migrate(migrate::Migrate),
    /// Serve edges until SIGTERM or SIGINT
    Serve(Box<serve::Serve>),
    /// Make the demo organization unless it is there, and issue a new license in it; or fill an
    /// empty database with many, to measure with
    Seed(seed::Seed),
    /// Issue and manage licenses
    License(license::License),
    /// Show an organization, change its plan, close or reopen its account
    Organization(organization::Organization),
    /// Rotate an organization's signing keys; seal all of them under a new master key
    Keys(keys::Keys),
    /// Check an organization's audit trail
    Audit(audit::Audit),
    /// Do background work: licenses whose end has come, and what is outworn
    Jobs(jobs::Jobs),
    /// Publish everything under higher versions: for use after the database was restored
    Republish(republish::Republish),
}

/// The database, for commands that act as licet_app.
#[derive(Debug, Args)]
struct DatabaseArgs {
    /// Postgres URL, as the role licet_app
    #[arg(
        long,
        env = "LICET_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: Option<Secret>,
}

const DATABASE_URL: &str = "LICET_DATABASE_URL";
const ADMIN_DATABASE_URL: &str = "LICET_ADMIN_DATABASE_URL";

impl DatabaseArgs {
    fn server(&self) -> Result<Server, ConfigError> {
        config::database(DATABASE_URL, self.database_url.as_ref())
    }
}

/// The same for the role that migrates.
fn admin_server(url: Option<&Secret>) -> Result<Server, ConfigError> {
    let server = config::database(ADMIN_DATABASE_URL, url)?;
    warn(ADMIN_DATABASE_URL, &server);
    Ok(server)
}

/// Says to a person how little a connection is protected.
fn warn(variable: &str, server: &Server) {
    if let Some(warning) = server.warning() {
        eprintln!("licet-origin: warning: {variable} has {warning}");
    }
}

/// The database, for background work.
#[derive(Debug, Args)]
struct SystemDatabaseArgs {
    /// Postgres URL, as the role licet_system, for background work
    #[arg(
        long,
        env = "LICET_SYSTEM_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    system_database_url: Option<Secret>,
}

const SYSTEM_DATABASE_URL: &str = "LICET_SYSTEM_DATABASE_URL";

impl SystemDatabaseArgs {
    fn server(&self) -> Result<Server, ConfigError> {
        config::database(SYSTEM_DATABASE_URL, self.system_database_url.as_ref())
    }

    /// The jobs, of a database that has been checked.
    async fn jobs(
        &self,
        server: &Server,
        metrics: Arc<Metrics>,
    ) -> Result<crate::jobs::Jobs, CliError> {
        let database =
            SystemDatabase::new(server, Arc::clone(&metrics)).map_err(CliError::failed)?;
        let checked = database.check().await.map_err(|error| match error {
            db::Error::Untrusted(why) => CliError::untrusted(SYSTEM_DATABASE_URL, &why),
            error => CliError::Failed(format!(
                "the database of {SYSTEM_DATABASE_URL} can't be used: {error}"
            )),
        })?;
        checked.map_err(|refusal| {
            CliError::Failed(format!("refusing to do background work: {refusal}"))
        })?;
        Ok(crate::jobs::Jobs::new(database, metrics))
    }
}

/// The master key.
#[derive(Debug, Args)]
struct MasterKeyArgs {
    /// The key that signing keys are sealed under: 32 bytes in base64url
    #[arg(
        long,
        env = "LICET_MASTER_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    master_key: Option<Secret>,
    /// Master keys, with a comma between two, that open what was sealed under them and seal nothing:
    /// the former one until `keys reseal` is done, and the next one before it is in use everywhere
    #[arg(
        long,
        env = "LICET_OPENING_MASTER_KEYS",
        hide_env_values = true,
        value_name = "KEYS"
    )]
    opening_master_keys: Option<Secret>,
    #[command(flatten)]
    module: ModuleArgs,
}

impl MasterKeyArgs {
    fn is_given(&self) -> bool {
        self.master_key.is_some() || self.opening_master_keys.is_some()
    }

    fn keys(&self) -> Result<MasterKeys, ConfigError> {
        let opening = config::opening_master_keys(self.opening_master_keys.as_ref())?;
        let sealing = config::master_key(self.master_key.as_ref())?;
        Ok(MasterKeys::new(sealing, opening))
    }

    /// Where organizations' private keys are.
    fn vault(&self) -> Result<Vault, ConfigError> {
        self.vault_with(self.module.open()?.as_ref())
    }

    fn vault_with(&self, module: Option<&Arc<Module>>) -> Result<Vault, ConfigError> {
        let vault = Vault::from(self.keys()?);
        let for_new_keys = self.module.new_keys == NewKeys::Pkcs11;
        match module {
            Some(module) => Ok(vault.with_module(Arc::clone(module), for_new_keys)),
            None if for_new_keys => Err(ConfigError::new(
                "LICET_NEW_KEYS",
                "is pkcs11, and LICET_PKCS11_MODULE is not set",
            )),
            None => Ok(vault),
        }
    }
}

/// Where new keys are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NewKeys {
    /// In the database, sealed under the master key
    Sealed,
    /// In the module
    Pkcs11,
}

/// A hardware security module.
#[derive(Debug, Args)]
struct ModuleArgs {
    /// PKCS#11 library of a hardware security module that keys are in
    #[arg(long, env = "LICET_PKCS11_MODULE", value_name = "PATH")]
    pkcs11_module: Option<String>,
    /// Label of the module's token
    #[arg(long, env = "LICET_PKCS11_TOKEN", value_name = "LABEL")]
    pkcs11_token: Option<String>,
    /// PIN of the token's user
    #[arg(
        long,
        env = "LICET_PKCS11_PIN",
        hide_env_values = true,
        value_name = "PIN"
    )]
    pkcs11_pin: Option<Secret>,
    /// File with that PIN
    #[arg(long, env = "LICET_PKCS11_PIN_FILE", value_name = "PATH")]
    pkcs11_pin_file: Option<String>,
    /// Where new signing keys of organizations are made; those that there are stay where they are
    #[arg(
        long,
        env = "LICET_NEW_KEYS",
        value_enum,
        default_value = "sealed",
        value_name = "PLACE"
    )]
    new_keys: NewKeys,
}

impl ModuleArgs {
    /// The module, logged in to, if there is to be one.
    fn open(&self) -> Result<Option<Arc<Module>>, ConfigError> {
        const LIBRARY: &str = "LICET_PKCS11_MODULE";
        let Some(library) = given(self.pkcs11_module.as_ref()) else {
            return Ok(None);
        };
        let token = given(self.pkcs11_token.as_ref()).ok_or_else(|| {
            let why = "is not set: it must be the label of the module's token";
            ConfigError::new("LICET_PKCS11_TOKEN", why)
        })?;
        let module = Module::open(Path::new(library), token, &self.pin()?);
        let module = module.map_err(|error| {
            ConfigError::new(LIBRARY, format!("({library}) can't be used: {error}"))
        })?;
        Ok(Some(Arc::new(module)))
    }

    fn pin(&self) -> Result<Secret, ConfigError> {
        const FILE: &str = "LICET_PKCS11_PIN_FILE";
        if let Some(pin) = &self.pkcs11_pin {
            return Ok(pin.clone());
        }
        let file = given(self.pkcs11_pin_file.as_ref()).ok_or_else(|| {
            let why =
                "is not set, nor is LICET_PKCS11_PIN: one must say the PIN of the token's user";
            ConfigError::new(FILE, why)
        })?;
        let pin = std::fs::read_to_string(file);
        let pin = pin.map_err(|error| {
            ConfigError::new(FILE, format!("is {file:?}, which can't be read: {error}"))
        })?;
        Ok(Secret::from(pin))
    }
}

/// What was set, and not to nothing.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// Why a command did not do what it was to do.
#[derive(Debug)]
enum CliError {
    /// Wrong usage or configuration: exit code 2.
    Config(ConfigError),
    /// It was tried and failed: exit code 1.
    Failed(String),
}

impl CliError {
    fn failed(why: impl fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }

    /// A server that does not show what the URL in `variable` asks for is the configuration's
    /// matter: waiting won't mend it.
    fn untrusted(variable: &'static str, why: &str) -> Self {
        let why = format!("can't be used as its sslmode asks: {why}");
        Self::Config(ConfigError::new(variable, why))
    }

    /// Of what was done as the role that migrates.
    fn of_admin(error: crate::db::Error) -> Self {
        match error {
            crate::db::Error::Untrusted(why) => Self::untrusted(ADMIN_DATABASE_URL, &why),
            error => Self::failed(error),
        }
    }

    const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<Fault> for CliError {
    fn from(fault: Fault) -> Self {
        Self::failed(fault)
    }
}

impl From<crate::db::Error> for CliError {
    fn from(error: crate::db::Error) -> Self {
        match error {
            // A sentence of its own, for whoever asked.
            crate::db::Error::Rejected(rejection) => Self::failed(rejection.detail),
            crate::db::Error::Untrusted(why) => Self::untrusted(DATABASE_URL, &why),
            error => Self::failed(error),
        }
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let Cli { command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => match wrong_variable(&error) {
            Some(error) => return finish(Err(error.into())),
            None => error.exit(),
        },
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return finish(Err(CliError::failed(error))),
    };
    finish(runtime.block_on(async {
        match command {
            Command::Keygen(command) => command.run(),
            Command::Migrate(command) => command.run().await,
            Command::Serve(command) => command.run().await,
            Command::Seed(command) => command.run().await,
            Command::License(command) => command.run().await,
            Command::Organization(command) => command.run().await,
            Command::Keys(command) => command.run().await,
            Command::Audit(command) => command.run().await,
            Command::Jobs(command) => command.run().await,
            Command::Republish(command) => command.run().await,
        }
    }))
}

fn finish(result: Result<(), CliError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("licet-origin: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// The variable behind a value that clap refuses, which itself names only the flag. Values that
/// clap checks are no secrets.
fn wrong_variable(error: &clap::Error) -> Option<ConfigError> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else {
        return None;
    };
    let long = flag.strip_prefix("--")?.split([' ', '=']).next()?;
    let mut command = Cli::command();
    let variable = command
        .get_subcommands_mut()
        .flat_map(|command| command.get_arguments())
        .find(|argument| argument.get_long() == Some(long))?
        .get_env()?
        .to_str()?
        .to_owned();
    let why = std::error::Error::source(error)
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    Some(ConfigError::new(
        variable,
        format!("(or --{long}) can't be {value:?}{why}"),
    ))
}

/// Prints a command's result, one JSON document on a line.
fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    use std::io::Write;
    let text = serde_json::to_string(value).map_err(CliError::failed)?;
    writeln!(std::io::stdout(), "{text}").map_err(CliError::failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_value_that_is_refused_is_named_by_its_variable() {
        let args = ["licet-origin", "serve", "--status-ttl-s", "0"];
        let error = wrong_variable(&Cli::try_parse_from(args).unwrap_err()).unwrap();
        assert_eq!(
            error.to_string(),
            "LICET_STATUS_TTL_S (or --status-ttl-s) can't be \"0\": 0 is not in 1..=86400"
        );
        assert!(
            wrong_variable(&Cli::try_parse_from(["licet-origin", "fly"]).unwrap_err()).is_none()
        );
    }
}
