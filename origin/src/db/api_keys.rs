//! `api_keys`.

use std::time::SystemTime;

use licet_shared::{id::ApiKeyId, time::Timestamp};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{Error, Tx, organizations::Plan};
use crate::{
    accounts::permissions::Permission,
    clock::{self, system_time},
    random::RowId,
};

/// A key as people see it.
#[derive(Clone, Debug)]
pub(crate) struct ApiKey {
    pub(crate) id: ApiKeyId,
    pub(crate) name: String,
    pub(crate) hint: String,
    pub(crate) scopes: Vec<Permission>,
    pub(crate) created_by: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) version: i32,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, hint, scopes, created_by, created_at, expires_at, last_used_at,
                 revoked_at, version FROM licet.api_keys ",
            $rest
        )
    };
}

fn key(row: &Row) -> Result<ApiKey, Error> {
    let time = |column: usize| -> Result<Option<Timestamp>, Error> {
        Ok(row
            .try_get::<_, Option<SystemTime>>(column)?
            .map(clock::timestamp))
    };
    Ok(ApiKey {
        id: ApiKeyId::from_uuid(row.try_get(0)?),
        name: row.try_get(1)?,
        hint: row.try_get(2)?,
        scopes: scopes(&row.try_get::<_, Vec<String>>(3)?),
        created_by: row.try_get(4)?,
        created_at: clock::timestamp(row.try_get(5)?),
        expires_at: time(6)?,
        last_used_at: time(7)?,
        revoked_at: time(8)?,
        version: row.try_get(9)?,
    })
}

/// A scope that this version does not know allows nothing here.
fn scopes(names: &[String]) -> Vec<Permission> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// A key to be made.
pub(crate) struct NewApiKey<'a> {
    pub(crate) id: ApiKeyId,
    pub(crate) name: &'a str,
    pub(crate) hint: &'a str,
    pub(crate) key_hash: [u8; 32],
    pub(crate) scopes: &'a [Permission],
    pub(crate) created_by: &'a str,
    pub(crate) expires_at: Option<Timestamp>,
}

pub(crate) async fn insert(tx: &Tx<'_>, key: &NewApiKey<'_>) -> Result<(), Error> {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    tx.execute(
        "INSERT INTO licet.api_keys
             (org_id, id, name, hint, key_hash, scopes, created_by, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            (&tx.org(), Type::UUID),
            (&key.id.uuid(), Type::UUID),
            (&key.name, Type::TEXT),
            (&key.hint, Type::TEXT),
            (&key.key_hash.as_slice(), Type::BYTEA),
            (&scopes, Type::TEXT_ARRAY),
            (&key.created_by, Type::TEXT),
            (&key.expires_at.map(system_time), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}

/// A key in force, as a request is authenticated with it.
pub(crate) struct LiveKey {
    pub(crate) id: ApiKeyId,
    pub(crate) scopes: Vec<Permission>,
    pub(crate) plan: Plan,
    /// Its use was last noted more than a minute ago.
    pub(crate) use_is_news: bool,
}

/// The key with this hash, if it is in force.
pub(crate) async fn live(
    tx: &Tx<'_>,
    key_hash: [u8; 32],
    now: Timestamp,
) -> Result<Option<LiveKey>, Error> {
    let hash = key_hash.as_slice();
    let row = tx
        .query_opt(
            "SELECT k.id, k.scopes, o.plan,
             coalesce(k.last_used_at < $3::timestamptz - interval '1 minute', true)
         FROM licet.api_keys k
         JOIN licet.organizations o ON o.org_id = k.org_id
         WHERE k.org_id = $1 AND k.key_hash = $2 AND k.revoked_at IS NULL
             AND (k.expires_at IS NULL OR k.expires_at > $3) AND o.closed_at IS NULL",
            &[
                (&tx.org(), Type::UUID),
                (&hash, Type::BYTEA),
                (&system_time(now), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(LiveKey {
        id: ApiKeyId::from_uuid(row.try_get(0)?),
        scopes: scopes(&row.try_get::<_, Vec<String>>(1)?),
        plan: Plan::from_column(row.try_get(2)?)?,
        use_is_news: row.try_get(3)?,
    }))
}

/// Notes that a key was used. Not worth a wait: another request notes it just now.
pub(crate) async fn note_use(tx: &Tx<'_>, id: ApiKeyId, now: Timestamp) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.api_keys SET last_used_at = $3
         WHERE org_id = $1 AND id = (SELECT k.id FROM licet.api_keys k WHERE k.org_id = $1 AND k.id = $2
             FOR NO KEY UPDATE SKIP LOCKED)",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&system_time(now), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn find(tx: &Tx<'_>, id: ApiKeyId) -> Result<Option<ApiKey>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| key(&row)).transpose()
}

/// The same, locked.
pub(crate) async fn lock(tx: &Tx<'_>, id: ApiKeyId) -> Result<Option<ApiKey>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| key(&row)).transpose()
}

/// Writes name, scopes and end as they now stand, and counts the version up.
pub(crate) async fn update(tx: &Tx<'_>, key: &ApiKey) -> Result<(), Error> {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    tx.execute(
        "UPDATE licet.api_keys SET name = $3, scopes = $4, expires_at = $5, version = $6
         WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&key.id.uuid(), Type::UUID),
            (&key.name, Type::TEXT),
            (&scopes, Type::TEXT_ARRAY),
            (&key.expires_at.map(system_time), Type::TIMESTAMPTZ),
            (&key.version, Type::INT4),
        ],
    )
    .await?;
    Ok(())
}

/// Keys, the newest first, those in force alone or all.
pub(crate) async fn list(
    tx: &Tx<'_>,
    revoked_too: bool,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ApiKey>, Error> {
    let rows = tx
        .query(
            columns!(
                "WHERE org_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($3 OR revoked_at IS NULL)
                 ORDER BY id DESC LIMIT $4"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::UUID),
                (&revoked_too, Type::BOOL),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(key).collect()
}

/// Ends a key; false when there is none, or it was ended before.
pub(crate) async fn revoke(tx: &Tx<'_>, id: ApiKeyId, now: Timestamp) -> Result<bool, Error> {
    let revoked = tx
        .execute(
            "UPDATE licet.api_keys SET revoked_at = $3, version = version + 1
             WHERE org_id = $1 AND id = $2 AND revoked_at IS NULL",
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&system_time(now), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    Ok(revoked == 1)
}
