//! A database of its own for each test, and an edge that calls an origin in this process.

pub mod account;
pub mod edge;
pub mod http;
pub mod machine;
pub mod proxy;
pub mod sql;
pub mod tls;

use std::{
    process::Command,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::Router;
use licet_origin::{
    api::AccountSettings,
    db::{Database, DatabaseSettings},
    http::{AppState, EdgeAuthenticator, ReplayCapacity, StateSettings, app},
    keys::{Keyrings, MasterKey, MasterKeys, Platform, Vault},
    metrics::Metrics,
};
use licet_shared::{
    documents::PlatformKeys,
    id::{LicenseId, OrgId, OrgTag},
    jws::LocalSigner,
};
use serde_json::Value;
use xtask::postgres::{Cluster, Options};

/// One for all tests that overlap; stopped with the last of them.
static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
static NEXT_DATABASE: AtomicU32 = AtomicU32::new(1);

pub const ISSUER: &str = "https://edge.test";
pub const APP_PASSWORD: &str = "app-password-8c1f";
pub const SYSTEM_PASSWORD: &str = "system-password-77";
pub const MASTER_SEED: [u8; 32] = [0x4d; 32];
/// `MASTER_SEED` in base64url.
pub const MASTER_KEY: &str = "TU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU0";

fn shared_cluster() -> Arc<Cluster> {
    let mut shared = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(new_cluster());
    *shared = Arc::downgrade(&cluster);
    cluster
}

fn new_cluster() -> Cluster {
    let settings = vec![("max_connections".to_owned(), "400".to_owned())];
    let options = Options {
        settings,
        ..Options::default()
    };
    Cluster::temporary(&options).expect("a Postgres for the tests")
}

/// A database, empty or migrated.
pub struct TestDatabase {
    cluster: Arc<Cluster>,
    name: String,
}

impl TestDatabase {
    /// Without anything in it.
    pub fn empty() -> Self {
        Self::on(shared_cluster())
    }

    /// Without anything in it, in a cluster that never had any of our roles.
    pub fn in_new_cluster() -> Self {
        Self::on(Arc::new(new_cluster()))
    }

    /// In this cluster, without anything in it.
    pub fn on(cluster: Arc<Cluster>) -> Self {
        let name = format!("t{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&name).unwrap();
        Self { cluster, name }
    }

    /// At the current schema.
    pub fn migrated() -> Self {
        let database = Self::empty();
        database.command(&["migrate"]).succeed();
        database
    }

    pub fn admin_url(&self) -> String {
        self.cluster.admin_url(&self.name)
    }

    pub fn app_url(&self) -> String {
        self.role_url("licet_app", APP_PASSWORD)
    }

    pub fn system_url(&self) -> String {
        self.role_url("licet_system", SYSTEM_PASSWORD)
    }

    pub fn role_url(&self, role: &str, password: &str) -> String {
        self.cluster.url(&self.name, role, password)
    }

    /// What it is called in the server's log, and that log.
    pub fn log(&self) -> (&str, std::path::PathBuf) {
        (&self.name, self.cluster.dir().join("postgres.log"))
    }

    pub fn port(&self) -> u16 {
        self.cluster.port()
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Runs SQL as the superuser, rows and values as text.
    pub fn admin(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.cluster.query(&self.name, sql).unwrap()
    }

    /// The binary with everything it needs for this database in its environment.
    pub fn command(&self, args: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_licet-origin"));
        for (name, _) in std::env::vars()
            .filter(|(name, _)| name.starts_with("LICET_") || name.starts_with("PG"))
        {
            command.env_remove(name);
        }
        command
            .args(args)
            .env("LICET_ADMIN_DATABASE_URL", self.admin_url())
            .env("LICET_APP_PASSWORD", APP_PASSWORD)
            .env("LICET_SYSTEM_PASSWORD", SYSTEM_PASSWORD)
            .env("LICET_DATABASE_URL", self.app_url())
            .env("LICET_SYSTEM_DATABASE_URL", self.system_url())
            .env("LICET_MASTER_KEY", MASTER_KEY)
            .env("LICET_PLATFORM_KEY", platform().reveal())
            .env("LICET_EDGE_KEYS", edge_key().verifying_key().to_string())
            .env("LICET_ISSUER", ISSUER);
        Run { command }
    }

    /// An organization `slug`, made the first time, with a new license in it.
    pub fn seed(&self, slug: &str, max_activations: u32) -> Seeded {
        let count = max_activations.to_string();
        let json = self
            .command(&["seed", "--org", slug, "--max-activations", &count])
            .json();
        Seeded::from(&json)
    }
}

pub struct Run {
    pub command: Command,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn end(mut self) -> Ended {
        let output = self.command.output().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn succeed(self) -> Ended {
        let ended = self.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    pub fn json(self) -> Value {
        serde_json::from_str(&self.succeed().stdout).unwrap()
    }
}

/// What `seed` prints.
#[derive(Clone, Debug)]
pub struct Seeded {
    pub org: OrgId,
    pub slug: String,
    pub tag: OrgTag,
    pub license: LicenseId,
    pub key: String,
}

impl From<&Value> for Seeded {
    fn from(json: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            org: text(&json["org"]["id"]).parse().unwrap(),
            slug: text(&json["org"]["slug"]),
            tag: text(&json["org"]["tag"]).parse().unwrap(),
            license: text(&json["license"]["id"]).parse().unwrap(),
            key: text(&json["license"]["key"]),
        }
    }
}

pub fn platform() -> LocalSigner {
    LocalSigner::from_seed("platform.1", [0x50; 32])
}

pub fn platform_keys() -> PlatformKeys {
    platform().verifying_key().to_string().parse().unwrap()
}

pub fn edge_key() -> LocalSigner {
    LocalSigner::from_seed("edge.1", [0x45; 32])
}

/// An origin in this process.
pub struct Bed {
    pub database: TestDatabase,
    pub app: Router,
}

/// How a [`Bed`] differs from the usual one.
#[derive(Default)]
pub struct BedOptions {
    pub database: DatabaseSettings,
    pub state: StateSettings,
    pub accounts: AccountSettings,
    pub replay_capacity: ReplayCapacity,
    /// Where the database is reached, if not directly.
    pub url: Option<String>,
    /// The master keys, if not the one of all tests.
    pub master: Option<MasterKeys>,
    /// Where private keys are, if not sealed by these.
    pub vault: Option<Vault>,
    /// The platform's key, if not that of all tests.
    pub platform: Option<Platform>,
}

/// Refuses the commit of a transaction that makes a new version of a document and does not tell the
/// feed, unless it is the test's own hand.
const NOTHING_UNTOLD: &str = "
    CREATE FUNCTION public.untold() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        new jsonb := to_jsonb(NEW);
    BEGIN
        IF (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
            RETURN NULL;
        END IF;
        IF NOT EXISTS (SELECT FROM licet.published p WHERE p.org_id = NEW.org_id AND p.kind = TG_ARGV[0]
            AND p.name = coalesce(new ->> TG_ARGV[1], '') AND p.version >= (new ->> TG_ARGV[2])::bigint)
        THEN
            RAISE EXCEPTION 'a new version of % that the feed is not told of: %', TG_TABLE_NAME, new;
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER untold AFTER UPDATE ON licet.status_versions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION public.untold('STATUS_LIST', 'number', 'version');
    CREATE CONSTRAINT TRIGGER untold AFTER UPDATE ON licet.organizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (OLD.keys_version <> NEW.keys_version) EXECUTE FUNCTION public.untold('KEYS', '', 'keys_version');
    CREATE CONSTRAINT TRIGGER untold AFTER UPDATE ON licet.feature_sets DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (OLD.current_revision <> NEW.current_revision) EXECUTE FUNCTION public.untold('FEATURE_SET', 'id', 'current_revision')";

impl Bed {
    /// One that waits longer than the usual one would: the machine may have other work.
    pub fn new() -> Self {
        let patient = Duration::from_secs(30);
        let mut options = BedOptions {
            database: DatabaseSettings {
                pool_wait: patient,
                statement_timeout: patient,
                lock_timeout: patient,
                ..DatabaseSettings::default()
            },
            state: StateSettings {
                request_timeout: 2 * patient,
                ..StateSettings::default()
            },
            ..BedOptions::default()
        };
        // All tests come from one address.
        options.accounts.refusals.capacity = 1_000_000;
        let database = TestDatabase::migrated();
        database.admin(NOTHING_UNTOLD);
        Self::with(database, &options)
    }

    /// The database again, for another origin on it.
    pub fn into_database(self) -> TestDatabase {
        self.database
    }

    /// An origin with these master keys on somebody else's database.
    pub fn sealed(database: &TestDatabase, sealing: &str, opening: &str) -> Self {
        let opening = opening.split(',').filter(|key| !key.is_empty());
        let opening = opening.map(|key| key.parse().unwrap()).collect();
        let options = BedOptions {
            url: Some(database.app_url()),
            master: Some(MasterKeys::new(sealing.parse().unwrap(), opening)),
            ..BedOptions::default()
        };
        Self::with(TestDatabase::empty(), &options)
    }

    pub fn with(database: TestDatabase, options: &BedOptions) -> Self {
        let metrics = Arc::new(Metrics::new());
        let url = options.url.clone().unwrap_or_else(|| database.app_url());
        let pool = Database::new(
            &url.parse().unwrap(),
            &options.database,
            Arc::clone(&metrics),
        );
        let usual = || MasterKey::new(MASTER_SEED).into();
        let master: MasterKeys = options.master.clone().unwrap_or_else(usual);
        let vault = options.vault.clone().unwrap_or_else(|| master.into());
        let usual = || Platform::local(&platform()).unwrap();
        let platform = options.platform.clone().unwrap_or_else(usual);
        let keyrings = Keyrings::new(vault, platform, ISSUER.into());
        let edges =
            EdgeAuthenticator::new(vec![edge_key().verifying_key()], options.replay_capacity);
        let state = AppState::with_accounts(
            pool.unwrap(),
            keyrings,
            edges,
            metrics,
            options.state,
            options.accounts.clone(),
        );
        Self {
            database,
            app: app(state),
        }
    }
}
