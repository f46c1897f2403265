//! `serve`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::{Args, builder::RangedU64ValueParser};
use licet_shared::documents::Ttl;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use super::{
    CliError, DATABASE_URL, DatabaseArgs, MasterKeyArgs, SYSTEM_DATABASE_URL, SystemDatabaseArgs,
};
use crate::{
    api::AccountSettings,
    buckets::Quota,
    config::{self, ConfigError, Secret},
    db::{Database, DatabaseSettings, Error},
    http::{AppState, EdgeAuthenticator, Limits, ReplayCapacity, StateSettings, app, serve},
    jobs::Jobs,
    keys::Keyrings,
    metrics::Metrics,
    postgres::Server,
};

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1_000_000)
}

fn replay_capacity() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=100_000_000)
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    /// Address to listen on; /metrics is served there too, so keep it from the public
    #[arg(
        long,
        env = "LICET_LISTEN",
        default_value = "127.0.0.1:8600",
        value_name = "ADDRESS"
    )]
    listen: SocketAddr,
    /// The platform's private key, which signs key sets: KID:SEED, or pkcs11:KID for one that is in the
    /// module under this label
    #[arg(
        long,
        env = "LICET_PLATFORM_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    platform_key: Option<Secret>,
    /// The platform's public keys as the edges' PLATFORM_KEYS has them, one or two: tokens of people by
    /// either count, and serving begins only if the private key is one of them
    #[arg(long, env = "LICET_PLATFORM_KEYS", value_name = "KEYS")]
    platform_keys: Option<String>,
    /// Public keys of the edges that may call: KID:X, with commas between several
    #[arg(
        long,
        env = "LICET_EDGE_KEYS",
        hide_env_values = true,
        value_name = "KEYS"
    )]
    edge_keys: Option<Secret>,
    /// The edge's public base URL, which stands in every token as its issuer
    #[arg(long, env = "LICET_ISSUER", value_name = "URL")]
    issuer: Option<String>,
    /// Most database connections
    #[arg(long, env = "LICET_POOL_SIZE", default_value = "16", value_name = "N", value_parser = at_least_one())]
    pool_size: usize,
    /// Exports at once, each on a database connection beside these; more are refused with 503
    #[arg(long, env = "LICET_EXPORTS", default_value = "2", value_name = "N", value_parser = at_least_one())]
    exports: usize,
    /// Longest wait for a database connection, in milliseconds; then 503
    #[arg(
        long,
        env = "LICET_POOL_WAIT_MS",
        default_value = "1000",
        value_name = "MS"
    )]
    pool_wait_ms: u64,
    /// Longest run of one statement, in milliseconds
    #[arg(
        long,
        env = "LICET_STATEMENT_TIMEOUT_MS",
        default_value = "5000",
        value_name = "MS"
    )]
    statement_timeout_ms: u64,
    /// Longest wait for a lock, in milliseconds
    #[arg(
        long,
        env = "LICET_LOCK_TIMEOUT_MS",
        default_value = "2000",
        value_name = "MS"
    )]
    lock_timeout_ms: u64,
    /// Seconds for which a status list counts as fresh: the bound on how late a revocation shows
    #[arg(long, env = "LICET_STATUS_TTL_S", default_value = "30", value_name = "S", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    status_ttl_s: u32,
    /// Most requests at work at once; more are refused with 503
    #[arg(long, env = "LICET_MAX_IN_FLIGHT", default_value = "256", value_name = "N", value_parser = at_least_one())]
    max_in_flight: usize,
    /// Most open connections
    #[arg(long, env = "LICET_MAX_CONNECTIONS", default_value = "1024", value_name = "N", value_parser = at_least_one())]
    max_connections: usize,
    /// Longest time for one request, in milliseconds
    #[arg(
        long,
        env = "LICET_REQUEST_TIMEOUT_MS",
        default_value = "10000",
        value_name = "MS"
    )]
    request_timeout_ms: u64,
    /// Edge calls that act (POST) remembered against replay, each for 80 seconds in about 50 bytes; when full, more are refused
    #[arg(long, env = "LICET_REPLAY_CAPACITY", default_value_t = ReplayCapacity::default().writes, value_name = "N", value_parser = replay_capacity())]
    replay_capacity: usize,
    /// The same for those that read (GET); when full, the oldest are forgotten
    #[arg(long, env = "LICET_REPLAY_READ_CAPACITY", default_value_t = ReplayCapacity::default().reads, value_name = "N", value_parser = replay_capacity())]
    replay_read_capacity: usize,
    #[command(flatten)]
    accounts: AccountArgs,
    #[command(flatten)]
    system_database: SystemDatabaseArgs,
    /// Seconds between two runs of background work, of which one process at a time does it; 0 is never
    #[arg(long, env = "LICET_JOBS_INTERVAL_S", default_value = "60", value_name = "S", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    jobs_interval_s: u32,
    /// What is logged: a level (error, warn, info, debug), or target=level with commas between
    #[arg(long, env = "LICET_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

/// Options of the account API.
#[derive(Debug, Args)]
struct AccountArgs {
    /// Origins whose pages may call the account API, with commas between; * is any
    #[arg(long, env = "LICET_CORS_ORIGINS", value_name = "ORIGINS")]
    cors_origins: Option<String>,
    /// Addresses of proxies whose X-Forwarded-For is believed, with commas between
    #[arg(long, env = "LICET_TRUSTED_PROXIES", value_name = "ADDRESSES")]
    trusted_proxies: Option<String>,
    /// Requests per minute and organization, by plan; each process counts by itself
    #[arg(
        long,
        env = "LICET_RATE_LIMITS",
        default_value = "FREE=600,PRO=3000,ENTERPRISE=30000",
        value_name = "LIMITS"
    )]
    rate_limits: String,
    /// New organizations and accepted invitations per hour from one address
    #[arg(long, env = "LICET_NEWCOMER_LIMIT", default_value = "20", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    newcomer_limit: u32,
    /// Tokens and API keys that are refused, per minute from one address
    #[arg(long, env = "LICET_REFUSED_LIMIT", default_value = "60", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    refused_limit: u32,
    /// Passwords hashed at once, each on 19 MiB of memory and a thread of its own
    #[arg(long, env = "LICET_PASSWORD_THREADS", default_value = "2", value_name = "N", value_parser = at_least_one())]
    password_threads: usize,
}

impl AccountArgs {
    fn settings(&self) -> Result<AccountSettings, ConfigError> {
        Ok(AccountSettings {
            quotas: config::rate_limits(Some(&self.rate_limits))?,
            cors_origins: config::cors_origins(self.cors_origins.as_deref())?,
            trusted_proxies: config::trusted_proxies(self.trusted_proxies.as_deref())?,
            newcomers: Quota {
                capacity: self.newcomer_limit,
                window_s: 3600,
            },
            refusals: Quota {
                capacity: self.refused_limit,
                window_s: 60,
            },
            password_threads: self.password_threads,
            ..AccountSettings::default()
        })
    }
}

impl Serve {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        let filter: Targets = self.log.parse().map_err(|_| {
            ConfigError::new(
                "LICET_LOG",
                format!("is {:?}: it must be a level such as info", self.log),
            )
        })?;
        let server = self.database.server()?;
        let state = self.state(&server)?;
        self.check(&state.1).await?;
        let jobs = self.jobs(state.0.metrics()).await?;
        let listener = TcpListener::bind(self.listen).await.map_err(|error| {
            CliError::Failed(format!(
                "can't listen on {} (LICET_LISTEN): {error}",
                self.listen
            ))
        })?;
        start_log(filter);
        if let Some(warning) = server.warning() {
            tracing::warn!("{DATABASE_URL} has {warning}");
        }
        let lost = state.1.lost_settings().await?;
        if !lost.is_empty() {
            tracing::warn!(
                "a pooler ignores the settings of our connections: run {}, and let it connect anew",
                lost.join("; ")
            );
        }
        let address = listener.local_addr().map_err(CliError::failed)?;
        let platform_key = state.0.keyrings().platform_signer().kid();
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), platform_key, "serving");
        let limits = Limits {
            max_connections: self.max_connections,
            ..Limits::default()
        };
        let stop = stop_signal()?;
        let work = self.start(jobs);
        let result = serve(listener, app(state.0), limits, stop).await;
        // Wherever it is: every step is a transaction.
        if let Some(work) = work {
            work.abort();
        }
        match &result {
            Ok(()) => tracing::info!("stopped"),
            Err(error) => tracing::warn!(%error, "stopped"),
        }
        result.map_err(CliError::failed)
    }

    fn state(&self, server: &Server) -> Result<(AppState, Database), CliError> {
        let module = self.master_key.module.open()?;
        let vault = self.master_key.vault_with(module.as_ref())?;
        let platform = config::platform_key(self.platform_key.as_ref(), module.as_ref())?
            .pinned(self.platform_keys.as_deref())?;
        let edge_keys = config::edge_keys(self.edge_keys.as_ref().map(Secret::reveal))?;
        let issuer = config::issuer(self.issuer.as_deref())?;
        let accounts = self.accounts.settings()?;
        let metrics = Arc::new(Metrics::new());
        let settings = DatabaseSettings {
            pool_size: self.pool_size,
            snapshots: self.exports,
            pool_wait: Duration::from_millis(self.pool_wait_ms),
            statement_timeout: Duration::from_millis(self.statement_timeout_ms),
            lock_timeout: Duration::from_millis(self.lock_timeout_ms),
        };
        let database = Database::new(server, &settings, Arc::clone(&metrics))
            .map_err(|why| ConfigError::new("LICET_POOL_SIZE", why))?;
        let settings = StateSettings {
            status_ttl: Ttl(self.status_ttl_s),
            max_in_flight: self.max_in_flight,
            request_timeout: Duration::from_millis(self.request_timeout_ms),
        };
        let keyrings = Keyrings::new(vault, platform, issuer);
        let capacity = ReplayCapacity {
            reads: self.replay_read_capacity,
            writes: self.replay_capacity,
        };
        let edges = EdgeAuthenticator::new(edge_keys, capacity);
        let state = AppState::with_accounts(
            database.clone(),
            keyrings,
            edges,
            metrics,
            settings,
            accounts,
        );
        Ok((state, database))
    }

    /// The jobs, unless they are off.
    async fn jobs(&self, metrics: &Arc<Metrics>) -> Result<Option<(Jobs, Server)>, CliError> {
        let url = self.system_database.system_database_url.as_ref();
        if self.jobs_interval_s == 0 || url.is_none_or(|url| url.reveal().trim().is_empty()) {
            return Ok(None);
        }
        let server = self.system_database.server()?;
        let jobs = self
            .system_database
            .jobs(&server, Arc::clone(metrics))
            .await?;
        Ok(Some((jobs, server)))
    }

    fn start(&self, jobs: Option<(Jobs, Server)>) -> Option<JoinHandle<()>> {
        let Some((jobs, server)) = jobs else {
            let why = if self.jobs_interval_s == 0 {
                "LICET_JOBS_INTERVAL_S is 0"
            } else {
                "LICET_SYSTEM_DATABASE_URL is not set"
            };
            tracing::warn!(
                why,
                "background work is off in this process: licet-origin jobs run does it"
            );
            return None;
        };
        if let Some(warning) = server.warning() {
            tracing::warn!("{SYSTEM_DATABASE_URL} has {warning}");
        }
        let every = Duration::from_secs(self.jobs_interval_s.into());
        Some(tokio::spawn(jobs.repeat(every)))
    }

    async fn check(&self, database: &Database) -> Result<(), CliError> {
        let checked = database.check().await.map_err(|error| match error {
            Error::Untrusted(why) => CliError::untrusted(DATABASE_URL, &why),
            error => CliError::Failed(format!(
                "the database of {DATABASE_URL} can't be used: {error}"
            )),
        })?;
        checked.map_err(|refusal| CliError::Failed(format!("refusing to serve: {refusal}")))
    }
}

fn start_log(filter: Targets) {
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
    // Where it happened is enough to find it; a panic's text may quote anything.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}

fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new requests are taken");
    })
}
