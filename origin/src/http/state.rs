//! What all requests share.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use licet_shared::documents::Ttl;
use tokio::sync::{Mutex, Semaphore};

use super::EdgeAuthenticator;
use crate::{
    api::{AccountSettings, Accounts},
    db::Database,
    documents::DocumentCache,
    keys::Keyrings,
    metrics::Metrics,
};

/// How requests are answered.
#[derive(Clone, Copy, Debug)]
pub struct StateSettings {
    /// Freshness of status lists.
    pub status_ttl: Ttl,
    /// Most requests at work at once; more are refused.
    pub max_in_flight: usize,
    /// Longest time for one request.
    pub request_timeout: Duration,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self {
            status_ttl: Ttl(30),
            max_in_flight: 256,
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// What all requests share. Handlers find no database in here: that comes with their caller.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    database: Database,
    keyrings: Keyrings,
    documents: DocumentCache,
    edges: EdgeAuthenticator,
    accounts: Accounts,
    metrics: Arc<Metrics>,
    permits: Semaphore,
    readiness: Mutex<Option<(Instant, bool)>>,
    settings: StateSettings,
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppState(…)")
    }
}

impl AppState {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        database: Database,
        keyrings: Keyrings,
        edges: EdgeAuthenticator,
        metrics: Arc<Metrics>,
        settings: StateSettings,
    ) -> Self {
        Self::with_accounts(
            database,
            keyrings,
            edges,
            metrics,
            settings,
            AccountSettings::default(),
        )
    }

    /// The same, with settings for the account API.
    #[must_use]
    pub fn with_accounts(
        database: Database,
        keyrings: Keyrings,
        edges: EdgeAuthenticator,
        metrics: Arc<Metrics>,
        settings: StateSettings,
        accounts: AccountSettings,
    ) -> Self {
        Self(Arc::new(Shared {
            database,
            keyrings,
            documents: DocumentCache::default(),
            edges,
            accounts: Accounts::new(accounts, Arc::clone(&metrics)),
            metrics,
            permits: Semaphore::new(settings.max_in_flight),
            readiness: Mutex::new(None),
            settings,
        }))
    }

    /// For tests of what needs no database: there is none.
    #[cfg(test)]
    pub(crate) fn unreachable(settings: StateSettings) -> Self {
        let metrics = Arc::new(Metrics::new());
        let config = "postgres://nobody@127.0.0.1:9/none".parse().unwrap();
        let pool = crate::db::DatabaseSettings::default();
        let database = Database::new(&config, &pool, Arc::clone(&metrics)).unwrap();
        let platform = licet_shared::jws::LocalSigner::from_seed("platform.1", [1; 32]);
        let master = crate::keys::MasterKey::new([2; 32]);
        let platform = crate::keys::Platform::local(&platform).unwrap();
        let keyrings = Keyrings::new(master, platform, "https://edge.test".into());
        let edges = EdgeAuthenticator::new(Vec::new(), super::ReplayCapacity::default());
        Self::new(database, keyrings, edges, metrics, settings)
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    pub(super) fn edges(&self) -> &EdgeAuthenticator {
        &self.0.edges
    }

    pub(super) fn permits(&self) -> &Semaphore {
        &self.0.permits
    }

    pub(super) fn readiness(&self) -> &Mutex<Option<(Instant, bool)>> {
        &self.0.readiness
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.0.settings.request_timeout
    }

    pub(crate) fn keyrings(&self) -> &Keyrings {
        &self.0.keyrings
    }

    pub(crate) fn documents(&self) -> &DocumentCache {
        &self.0.documents
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    pub(crate) fn status_ttl(&self) -> Ttl {
        self.0.settings.status_ttl
    }
}
