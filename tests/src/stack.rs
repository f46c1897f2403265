//! A database, an origin and a Worker that belong together.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;
use xtask::origin::{Keys, Origin, OriginConfig};
use xtask::postgres::{Cluster, Options};
use xtask::wrangler::{Worker, WorkerConfig};

use crate::cable::Cable;
use crate::device::Device;
use crate::edge_caller::EdgeCaller;
use crate::license::License;
use crate::parts;
use crate::relay::Relay;
use crate::scratch::Scratch;
use crate::sql::Sql;

/// Which Postgres server a stack's database is on.
#[derive(Clone, Debug, Default)]
pub enum Database {
    /// The one that all such stacks of this program share.
    #[default]
    Shared,
    /// One of its own, to be killed or to be looked at.
    Own(Options),
}

/// How a stack is run.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// Which Postgres server.
    pub database: Database,
    /// `LICET_STATUS_TTL_S`: how long a status list counts as fresh.
    pub status_ttl_s: u32,
    /// Whether there is a Worker; else the origin is all there is to call.
    pub worker: bool,
    /// Where the Worker looks for the origin; the stack's own when `None`.
    pub origin_url: Option<String>,
    /// Whether a [`Relay`] stands between Worker and origin.
    pub relay: bool,
    /// Whether a [`Cable`] leads from the origin to Postgres.
    pub cable: bool,
    /// Further environment of the origin.
    pub origin_env: Vec<(String, String)>,
    /// Further variables of the Worker.
    pub worker_vars: Vec<(String, String)>,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            database: Database::Shared,
            status_ttl_s: 30,
            worker: true,
            origin_url: None,
            relay: false,
            cable: false,
            origin_env: Vec::new(),
            worker_vars: Vec::new(),
        }
    }
}

/// A running stack. All of it is stopped when dropped, and by watchdogs when this program ends
/// in any other way.
pub struct Stack {
    // In the order in which they are dropped.
    worker: Option<Worker>,
    relay: Option<Relay>,
    cable: Option<Cable>,
    /// The origin, to be stopped, killed and restarted.
    pub origin: Origin,
    own_cluster: Option<Cluster>,
    keys: Keys,
    database: String,
    app_url: String,
    admin_url: String,
    scratch: Scratch,
    _permit: Option<Permit>,
}

impl Stack {
    /// The stack that tests share which leave it as it is. Started by the first to ask.
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: Mutex<Option<&'static Stack>> = Mutex::new(None);
        // Held while starting: the others wait. Poisoned when that failed: then they fail, too.
        let mut shared = SHARED.lock().expect("the shared stack did not start");
        shared.get_or_insert_with(|| {
            Box::leak(Box::new(Self::launch(&StackOptions::default(), None)))
        })
    }

    /// A stack of the test's own. Waits while too many others run.
    #[track_caller]
    pub fn start(options: &StackOptions) -> Self {
        Self::launch(options, Some(Permit::wait()))
    }

    #[track_caller]
    fn launch(options: &StackOptions, permit: Option<Permit>) -> Self {
        parts::require();
        let scratch = Scratch::new();
        let database = new_database_name();
        let (own_cluster, admin_url, app_url) = match &options.database {
            Database::Shared => {
                let cluster = shared_cluster();
                let (admin_url, app_url) = prepare(&cluster, &database);
                (None, admin_url, app_url)
            }
            Database::Own(options) => {
                let cluster = Cluster::temporary(options).expect("start Postgres");
                let (admin_url, app_url) = prepare(&cluster, &database);
                (Some(cluster), admin_url, app_url)
            }
        };
        let keys = Keys::generate().expect("licet-origin keygen");
        let port = xtask::net::free_port().unwrap();
        let cable = options.cable.then(|| Cable::to(server_port(&app_url)));
        let origin_url = match &cable {
            Some(cable) => with_port(&app_url, cable.port()),
            None => app_url.clone(),
        };
        let origin = start_origin(options, &keys, &origin_url, port, scratch.path());
        let relay = options.relay.then(|| Relay::to(&origin.url()));
        let worker = options.worker.then(|| {
            let relayed = relay.as_ref().map(Relay::url);
            let url = relayed.or_else(|| options.origin_url.clone());
            let url = url.unwrap_or_else(|| origin.url());
            start_worker(&options.worker_vars, &keys, url, port, scratch.path())
        });
        Self {
            worker,
            relay,
            cable,
            origin,
            own_cluster,
            keys,
            database,
            app_url,
            admin_url,
            scratch,
            _permit: permit,
        }
    }

    /// Base URL of the edge, and the issuer of all tokens.
    #[track_caller]
    pub fn edge(&self) -> String {
        self.worker.as_ref().expect("a stack with a Worker").url()
    }

    /// The Worker, to be stopped and restarted.
    #[track_caller]
    pub fn worker(&mut self) -> &mut Worker {
        self.worker.as_mut().expect("a stack with a Worker")
    }

    /// Postgres, to be killed and restarted: only where it is the stack's own.
    #[track_caller]
    pub fn cluster(&mut self) -> &mut Cluster {
        self.own_cluster
            .as_mut()
            .expect("a stack with its own Postgres")
    }

    /// What stands between Worker and origin: only where there is one.
    #[track_caller]
    pub fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("a stack with a relay")
    }

    /// What leads from the origin to Postgres: only where there is one.
    #[track_caller]
    pub fn cable(&self) -> &Cable {
        self.cable.as_ref().expect("a stack with a cable")
    }

    /// The secrets of this stack.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// URL of the database for `licet_app`, the serving role.
    pub fn app_url(&self) -> &str {
        &self.app_url
    }

    /// The stack's directory.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// What the origin has logged so far.
    pub fn origin_log(&self) -> PathBuf {
        self.dir().join("origin.log")
    }

    /// Directory of what the Worker persists: KV and Cache API.
    pub fn persisted(&self) -> PathBuf {
        self.dir().join("edge/state")
    }

    /// A connection of the superuser.
    #[track_caller]
    pub fn superuser(&self) -> Sql {
        Sql::connect(&self.admin_url)
    }

    /// A connection of `licet_app`.
    #[track_caller]
    pub fn app(&self) -> Sql {
        Sql::connect(&self.app_url)
    }

    /// This stack's edge, as far as the origin can tell.
    pub fn caller(&self) -> EdgeCaller {
        EdgeCaller::new(&self.keys.edge_key, self.origin.url())
    }

    /// A new license for `max_activations` devices in the organization `slug`, which is made if need be.
    #[track_caller]
    pub fn license(&self, slug: &str, max_activations: u32) -> License {
        let max = max_activations.to_string();
        let args = ["--org", slug, "--max-activations", &max];
        // Two at once would both find the organization missing.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = lock(&ONE_AT_A_TIME);
        let json =
            xtask::origin::seed(&self.app_url, &self.keys, &args).expect("licet-origin seed");
        License::from_seed(&json)
    }

    /// Another license of the same organization and policy; `args` such as `--expires-at`.
    #[track_caller]
    pub fn issue_like(&self, license: &License, args: &[&str]) -> License {
        let fixed = [
            "license",
            "issue",
            "--org",
            &license.org.slug,
            "--policy",
            &license.policy,
        ];
        license.sibling(&self.operate(&[&fixed, args].concat()))
    }

    /// `licet-origin license revoke`, `suspend`, `reinstate` or `show`.
    #[track_caller]
    pub fn license_command(&self, verb: &str, license: &License) -> Value {
        self.operate(&[
            "license",
            verb,
            "--org",
            &license.org.slug,
            &license.id.to_string(),
        ])
    }

    /// An operator's command.
    #[track_caller]
    pub fn operate(&self, args: &[&str]) -> Value {
        xtask::origin::operator(&self.app_url, &self.keys, args)
            .unwrap_or_else(|error| panic!("licet-origin {args:?}: {error:#}"))
    }

    /// A device with this license near this stack's edge.
    #[track_caller]
    pub fn device(&self, license: &License, fingerprint: &str) -> Device {
        Device::new(self.edge(), license, fingerprint)
    }

    /// How many devices hold a seat of a license, by the database.
    #[track_caller]
    pub fn seats_taken(&self, license: &License) -> i64 {
        self.superuser().number(&format!(
            "SELECT count(*) FROM licet.activations WHERE license_id = '{}' AND deactivated_at IS NULL",
            license.uuid()
        ))
    }
}

fn start_origin(
    options: &StackOptions,
    keys: &Keys,
    app_url: &str,
    edge_port: u16,
    dir: &Path,
) -> Origin {
    let ttl = (
        "LICET_STATUS_TTL_S".to_owned(),
        options.status_ttl_s.to_string(),
    );
    let config = OriginConfig {
        port: None,
        database_url: app_url.to_owned(),
        keys: keys.clone(),
        issuer: format!("http://127.0.0.1:{edge_port}"),
        log: dir.join("origin.log"),
        env: [vec![ttl], options.origin_env.clone()].concat(),
    };
    Origin::start(config).expect("start the origin")
}

/// Starts a Worker with a stack's keys: for other stacks' documents, for a fake origin.
#[track_caller]
pub fn start_worker(
    vars: &[(String, String)],
    keys: &Keys,
    origin_url: impl Into<String>,
    port: u16,
    dir: &Path,
) -> Worker {
    parts::require();
    let mut config = WorkerConfig::new(dir.join("edge"))
        .var("ORIGIN_URL", origin_url)
        .var("ISSUER", format!("http://127.0.0.1:{port}"))
        .var("PLATFORM_KEYS", &keys.platform_public)
        .secret("EDGE_KEY", &keys.edge_key);
    config.port = Some(port);
    for (name, value) in vars {
        config = config.var(name, value);
    }
    Worker::start(config).expect("start the Worker")
}

/// The port in a `postgres://…@127.0.0.1:port/…` URL.
fn server_port(url: &str) -> u16 {
    let (_, rest) = url.rsplit_once(':').expect("a port");
    let (port, _) = rest.split_once('/').expect("a database");
    port.parse().expect("a port")
}

/// The same URL with another port.
fn with_port(url: &str, port: u16) -> String {
    let (start, rest) = url.rsplit_once(':').expect("a port");
    let (_, database) = rest.split_once('/').expect("a database");
    format!("{start}:{port}/{database}")
}

/// Roles are the server's, not the database's: one password each for the whole program.
fn role_passwords() -> &'static [String; 2] {
    static PASSWORDS: OnceLock<[String; 2]> = OnceLock::new();
    let new = || xtask::net::random_password().unwrap();
    PASSWORDS.get_or_init(|| [new(), new()])
}

/// Creates and migrates a database; hands back its URLs for superuser and `licet_app`.
fn prepare(cluster: &Cluster, database: &str) -> (String, String) {
    // Two at once would both find the roles missing.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = lock(&ONE_AT_A_TIME);
    let [app, system] = role_passwords();
    cluster
        .create_database(database)
        .expect("create a database");
    let admin_url = cluster.admin_url(database);
    xtask::origin::migrate(&admin_url, app, system).expect("licet-origin migrate");
    (admin_url, cluster.url(database, "licet_app", app))
}

fn shared_cluster() -> Arc<Cluster> {
    static CLUSTER: Mutex<Option<Arc<Cluster>>> = Mutex::new(None);
    let options = Options {
        settings: vec![("max_connections".to_owned(), "300".to_owned())],
        ..Options::default()
    };
    let mut cluster = CLUSTER.lock().expect("the shared Postgres did not start");
    Arc::clone(
        cluster
            .get_or_insert_with(|| Arc::new(Cluster::temporary(&options).expect("start Postgres"))),
    )
}

fn new_database_name() -> String {
    let random: [u8; 4] = xtask::net::random().unwrap();
    format!("licet_{:08x}", u32::from_le_bytes(random))
}

/// The right to run a stack of one's own beside the shared one.
pub(crate) struct Permit;

static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Permit {
    /// As many at once as there are processors, and never more than four: each stack is three
    /// servers, but mostly waits.
    pub(crate) fn wait() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let most = cores.min(4);
        let (running, changed) = &RUNNING;
        let mut running = changed
            .wait_while(lock(running), |running| *running >= most)
            .unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (running, changed) = &RUNNING;
        *lock(running) -= 1;
        changed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
