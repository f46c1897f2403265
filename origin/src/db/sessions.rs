//! `sessions`.

use std::time::SystemTime;

use licet_shared::{
    id::{EventId, UserId},
    time::Timestamp,
};
use tokio_postgres::types::Type;

use super::{Error, Tx, organizations::Plan, users::role};
use crate::{
    accounts::permissions::Role,
    clock::{self, system_time},
    random::RowId,
};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Logout,
    /// By its person, from another session.
    Ended,
    /// A spent refresh token was shown.
    Reused,
    /// The password was changed.
    Password,
    Disabled,
    Removed,
}

impl Why {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "LOGOUT",
            Self::Ended => "ENDED",
            Self::Reused => "REUSED",
            Self::Password => "PASSWORD",
            Self::Disabled => "DISABLED",
            Self::Removed => "REMOVED",
        }
    }
}

/// A session to be begun.
pub(crate) struct NewSession {
    pub(crate) id: EventId,
    pub(crate) user: UserId,
    pub(crate) token_hash: [u8; 32],
    pub(crate) expires_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) now: Timestamp,
}

pub(crate) async fn insert(tx: &Tx<'_>, session: &NewSession) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.sessions
             (org_id, id, user_id, token_hash, renewed_at, expires_at, ends_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $5)",
        &[
            (&tx.org(), Type::UUID),
            (&session.id.uuid(), Type::UUID),
            (&session.user.uuid(), Type::UUID),
            (&session.token_hash.as_slice(), Type::BYTEA),
            (&system_time(session.now), Type::TIMESTAMPTZ),
            (&system_time(session.expires_at), Type::TIMESTAMPTZ),
            (&system_time(session.ends_at), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}

/// Whom a session is of, if it and its person are alive.
pub(crate) async fn live(
    tx: &Tx<'_>,
    session: EventId,
    user: UserId,
    now: Timestamp,
) -> Result<Option<(Role, Plan)>, Error> {
    let row = tx
        .query_opt(
            "SELECT u.role, o.plan FROM licet.sessions s
             JOIN licet.users u ON u.org_id = s.org_id AND u.id = s.user_id
             JOIN licet.organizations o ON o.org_id = s.org_id
             WHERE s.org_id = $1 AND s.id = $2 AND s.user_id = $3 AND s.ended_at IS NULL
                 AND s.ends_at > $4 AND u.disabled_at IS NULL AND u.deleted_at IS NULL
                 AND o.closed_at IS NULL",
            &[
                (&tx.org(), Type::UUID),
                (&session.uuid(), Type::UUID),
                (&user.uuid(), Type::UUID),
                (&system_time(now), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    row.map(|row| Ok((role(row.try_get(0)?)?, Plan::from_column(row.try_get(1)?)?)))
        .transpose()
}

/// A session's row.
pub(crate) struct SessionRow {
    pub(crate) user: UserId,
    pub(crate) generation: u32,
    pub(crate) token_hash: Vec<u8>,
    pub(crate) renewed_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) ended_at: Option<SystemTime>,
    /// Neither disabled nor removed, in an organization that is not closed.
    pub(crate) user_active: bool,
}

/// A session, locked: of two renewals at once, one is first.
pub(crate) async fn lock(tx: &Tx<'_>, id: EventId) -> Result<Option<SessionRow>, Error> {
    let row = tx
        .query_opt(
            "SELECT s.user_id, s.generation, s.token_hash, s.renewed_at, s.expires_at, s.ends_at,
                 s.ended_at,
                 u.disabled_at IS NULL AND u.deleted_at IS NULL AND o.closed_at IS NULL
             FROM licet.sessions s
             JOIN licet.users u ON u.org_id = s.org_id AND u.id = s.user_id
             JOIN licet.organizations o ON o.org_id = s.org_id
             WHERE s.org_id = $1 AND s.id = $2 FOR NO KEY UPDATE OF s",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(SessionRow {
        user: UserId::from_uuid(row.try_get(0)?),
        generation: u32::try_from(row.try_get::<_, i32>(1)?)
            .map_err(|_| Error::Row("sessions.generation"))?,
        token_hash: row.try_get(2)?,
        renewed_at: clock::timestamp(row.try_get(3)?),
        expires_at: clock::timestamp(row.try_get(4)?),
        ends_at: clock::timestamp(row.try_get(5)?),
        ended_at: row.try_get(6)?,
        user_active: row.try_get(7)?,
    }))
}

/// Gives a session its next token.
pub(crate) async fn renew(
    tx: &Tx<'_>,
    id: EventId,
    token_hash: &[u8; 32],
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.sessions
         SET generation = generation + 1, token_hash = $3, expires_at = $4, renewed_at = $5
         WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&token_hash.as_slice(), Type::BYTEA),
            (&system_time(expires_at), Type::TIMESTAMPTZ),
            (&system_time(now), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}

/// Ends a session; false when there is none, or it was over.
pub(crate) async fn end(tx: &Tx<'_>, id: EventId, why: Why, now: Timestamp) -> Result<bool, Error> {
    let ended = tx
        .execute(
            "UPDATE licet.sessions SET ended_at = $3, ended_why = $4
             WHERE org_id = $1 AND id = $2 AND ended_at IS NULL",
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&system_time(now), Type::TIMESTAMPTZ),
                (&why.as_str(), Type::TEXT),
            ],
        )
        .await?;
    Ok(ended == 1)
}

/// Ends a person's sessions, all or all but one. Hands back how many.
pub(crate) async fn end_all(
    tx: &Tx<'_>,
    user: UserId,
    but: Option<EventId>,
    why: Why,
    now: Timestamp,
) -> Result<u64, Error> {
    tx.execute(
        "UPDATE licet.sessions SET ended_at = $4, ended_why = $5
         WHERE org_id = $1 AND user_id = $2 AND ended_at IS NULL
             AND ($3::uuid IS NULL OR id <> $3)",
        &[
            (&tx.org(), Type::UUID),
            (&user.uuid(), Type::UUID),
            (&but.map(RowId::uuid), Type::UUID),
            (&system_time(now), Type::TIMESTAMPTZ),
            (&why.as_str(), Type::TEXT),
        ],
    )
    .await
}

/// A session as its person sees it.
pub(crate) struct SessionView {
    pub(crate) id: EventId,
    pub(crate) created_at: Timestamp,
    pub(crate) renewed_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// A person's sessions that are alive, the newest first, after `before`.
pub(crate) async fn of_user(
    tx: &Tx<'_>,
    user: UserId,
    now: Timestamp,
    before: Option<uuid::Uuid>,
    limit: i64,
) -> Result<Vec<SessionView>, Error> {
    let rows = tx
        .query(
            "SELECT id, created_at, renewed_at, expires_at FROM licet.sessions
             WHERE org_id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > $3
                 AND ($4::uuid IS NULL OR id < $4)
             ORDER BY id DESC LIMIT $5",
            &[
                (&tx.org(), Type::UUID),
                (&user.uuid(), Type::UUID),
                (&system_time(now), Type::TIMESTAMPTZ),
                (&before, Type::UUID),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(SessionView {
                id: EventId::from_uuid(row.try_get(0)?),
                created_at: clock::timestamp(row.try_get(1)?),
                renewed_at: clock::timestamp(row.try_get(2)?),
                expires_at: clock::timestamp(row.try_get(3)?),
            })
        })
        .collect()
}

/// Whose session it is, if it is alive.
pub(crate) async fn owner(tx: &Tx<'_>, id: EventId) -> Result<Option<UserId>, Error> {
    let row = tx
        .query_opt(
            "SELECT user_id FROM licet.sessions WHERE org_id = $1 AND id = $2 AND ended_at IS NULL",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| Ok(UserId::from_uuid(row.try_get(0)?)))
        .transpose()
}
