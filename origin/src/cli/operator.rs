//! Whoever can run commands with the database's password: an operator.

use std::sync::Arc;

use super::{CliError, DATABASE_URL, DatabaseArgs, warn};
use crate::{
    db::{Database, DatabaseSettings, Tenant, sealed::Authenticated},
    licensing::Origin,
    metrics::Metrics,
};

/// What operators do is written down as done by.
pub(super) const ORIGIN: Origin<'static> = Origin {
    actor: "operator",
    request_id: None,
};

/// An operator with a database that has been checked.
pub(super) struct Operator {
    database: Database,
}

impl Authenticated for Operator {}

impl Operator {
    /// Connects, and refuses a role or a schema that the origin would not serve from.
    pub(super) async fn connect(args: &DatabaseArgs) -> Result<Self, CliError> {
        let server = args.server()?;
        warn(DATABASE_URL, &server);
        let settings = DatabaseSettings {
            pool_size: 1,
            ..DatabaseSettings::default()
        };
        let database = Database::new(&server, &settings, Arc::new(Metrics::new()))
            .map_err(CliError::failed)?;
        database.check().await?.map_err(CliError::failed)?;
        Ok(Self { database })
    }

    /// The organization that a slug names, if there is one.
    pub(super) async fn find_org(&self, slug: &str) -> Result<Option<Tenant>, CliError> {
        Ok(self.database.tenant_by_slug(self, slug).await?)
    }

    /// The organization that a slug names.
    pub(super) async fn for_org(&self, slug: &str) -> Result<Tenant, CliError> {
        let found = self.find_org(slug).await?;
        found.ok_or_else(|| CliError::Failed(format!("there is no organization {slug:?}")))
    }

    /// An organization that is about to be made.
    pub(super) fn org_to_be(&self, org: licet_shared::id::OrgId) -> Tenant {
        self.database.tenant_to_be(self, org)
    }
}
