//! Which organization a tag or a slug names. The one thing that is asked outside of a tenant,
//! and only through functions that answer nothing else.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use licet_shared::id::{OrgId, OrgTag};
use lru::LruCache;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Database, Error};
use crate::{postgres::Server, random::RowId};

const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Tags never change hands, so what was found once is remembered; what was not is asked again.
pub(super) struct Directory(Mutex<LruCache<OrgTag, OrgId>>);

impl Directory {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }

    fn known(&self, tag: OrgTag) -> Option<OrgId> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&tag)
            .copied()
    }

    fn remember(&self, tag: OrgTag, org: OrgId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(tag, org);
    }
}

impl Database {
    /// Whether a tag's organization is known without a question.
    pub(crate) fn remembers(&self, tag: OrgTag) -> bool {
        self.directory.known(tag).is_some()
    }

    pub(super) async fn org_by_tag(&self, tag: OrgTag) -> Result<Option<OrgId>, Error> {
        if let Some(org) = self.directory.known(tag) {
            return Ok(Some(org));
        }
        let found = self
            .look_up("SELECT licet.org_id_by_tag($1)", tag.as_str())
            .await?;
        if let Some(org) = found {
            self.directory.remember(tag, org);
        }
        Ok(found)
    }

    pub(super) async fn org_by_slug(&self, slug: &str) -> Result<Option<OrgId>, Error> {
        self.look_up("SELECT licet.org_id_by_slug($1)", slug).await
    }

    async fn look_up(&self, sql: &str, name: &str) -> Result<Option<OrgId>, Error> {
        let connection = self.connection().await?;
        let row = connection
            .query_typed_one(sql, &[(&name, Type::TEXT)])
            .await?;
        Ok(row.try_get::<_, Option<Uuid>>(0)?.map(OrgId::from_uuid))
    }
}

/// Every organization, for an operator with the migrating role's URL: the serving role can't list
/// them.
pub(crate) async fn all_slugs(admin: &Server) -> Result<Vec<String>, Error> {
    let connected = admin.connect("licet-origin republish").await;
    let (client, connection) = connected.map_err(Error::of_connecting)?;
    let asked = async move {
        client.batch_execute("SET ROLE licet_owner").await?;
        let sql = "SELECT slug FROM licet.org_directory ORDER BY slug";
        let rows = client.query_typed(sql, &[]).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    };
    // The connection ends with the client, which the question has taken.
    let (slugs, _) = futures_util::future::join(asked, connection).await;
    slugs
}
