//! What the account API is configured by, and what its calls share.

use std::{
    collections::HashSet,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use licet_shared::id::OrgId;

use crate::{
    accounts::{
        credentials::{self, CredentialLimits},
        limits::{self, LoginLimits},
        passwords::PasswordPool,
        principal::Principal,
    },
    buckets::{Buckets, Level, Quota},
    db::organizations::Plan,
    metrics::Metrics,
};

/// Organizations whose requests are counted: about a hundred bytes each.
const COUNTED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// How many requests an organization may send, by plan. Each process counts by itself.
#[derive(Clone, Copy, Debug)]
pub struct PlanQuotas {
    /// For FREE.
    pub free: Quota,
    /// For PRO.
    pub pro: Quota,
    /// For ENTERPRISE.
    pub enterprise: Quota,
}

impl Default for PlanQuotas {
    fn default() -> Self {
        let per_minute = |capacity| Quota {
            capacity,
            window_s: 60,
        };
        Self {
            free: per_minute(600),
            pro: per_minute(3_000),
            enterprise: per_minute(30_000),
        }
    }
}

/// How the account API behaves.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    /// Requests by plan.
    pub quotas: PlanQuotas,
    /// Origins whose pages may call, such as `https://console.example.com`; `*` is any.
    pub cors_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// New organizations and accepted invitations from one address.
    pub newcomers: Quota,
    /// Refused tokens and keys from one address.
    pub refusals: Quota,
    /// Passwords that are hashed at once, each on 19 MiB.
    pub password_threads: usize,
    /// Passwords that wait for their turn; more are refused.
    pub passwords_waiting: usize,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self {
            quotas: PlanQuotas::default(),
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            newcomers: limits::NEWCOMERS,
            refusals: credentials::REFUSALS,
            password_threads: 2,
            passwords_waiting: 32,
        }
    }
}

/// Which organizations are exporting: one export at a time for each, so that none takes them all.
#[derive(Clone, Default)]
pub(crate) struct Exports(Arc<Mutex<HashSet<OrgId>>>);

/// An export under way. Over when it is dropped.
pub(crate) struct ExportTurn {
    exports: Exports,
    org: OrgId,
}

impl Exports {
    /// Begins one; none when the organization has one under way.
    pub(crate) fn begin(&self, org: OrgId) -> Option<ExportTurn> {
        let is_first = self.lock().insert(org);
        is_first.then(|| ExportTurn {
            exports: self.clone(),
            org,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<OrgId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ExportTurn {
    fn drop(&mut self) {
        self.exports.lock().remove(&self.org);
    }
}

/// What all calls of the account API share.
pub(crate) struct Accounts {
    pub(crate) passwords: PasswordPool,
    pub(crate) logins: LoginLimits,
    pub(crate) exports: Exports,
    pub(crate) credentials: CredentialLimits,
    requests: Buckets<OrgId>,
    settings: AccountSettings,
}

impl Accounts {
    pub(crate) fn new(settings: AccountSettings, metrics: Arc<Metrics>) -> Self {
        Self {
            passwords: PasswordPool::new(
                settings.password_threads,
                settings.passwords_waiting,
                metrics,
            ),
            logins: LoginLimits::new(settings.newcomers),
            exports: Exports::default(),
            credentials: CredentialLimits::new(settings.refusals),
            requests: Buckets::new(COUNTED),
            settings,
        }
    }

    /// Counts a request of the caller's organization.
    pub(super) fn take(&self, principal: &Principal, now_ms: u64) -> (Quota, Level) {
        let quotas = &self.settings.quotas;
        let quota = match principal.plan {
            Plan::Free => quotas.free,
            Plan::Pro => quotas.pro,
            Plan::Enterprise => quotas.enterprise,
        };
        (quota, self.requests.take(principal.org(), quota, now_ms))
    }

    pub(crate) fn trusted_proxies(&self) -> &[IpAddr] {
        &self.settings.trusted_proxies
    }

    pub(crate) fn cors_origins(&self) -> &[String] {
        &self.settings.cors_origins
    }
}
