//! `invitations`.

use std::time::SystemTime;

use licet_shared::{id::InvitationId, time::Timestamp};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{Error, Tx, users::role};
use crate::{
    accounts::permissions::Role,
    clock::{self, system_time},
    random::RowId,
};

/// An invitation.
#[derive(Clone)]
pub(crate) struct Invitation {
    pub(crate) id: InvitationId,
    pub(crate) email: String,
    pub(crate) role: Role,
    pub(crate) invited_by: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) accepted_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
}

impl Invitation {
    /// Whether it can still be accepted.
    pub(crate) fn is_open(&self, now: Timestamp) -> bool {
        self.accepted_at.is_none() && self.revoked_at.is_none() && self.expires_at > now
    }
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, email, role, invited_by, created_at, expires_at, accepted_at, revoked_at
             FROM licet.invitations ",
            $rest
        )
    };
}

fn invitation(row: &Row) -> Result<Invitation, Error> {
    let time = |column: usize| -> Result<Option<Timestamp>, Error> {
        Ok(row
            .try_get::<_, Option<SystemTime>>(column)?
            .map(clock::timestamp))
    };
    Ok(Invitation {
        id: InvitationId::from_uuid(row.try_get(0)?),
        email: row.try_get(1)?,
        role: role(row.try_get(2)?)?,
        invited_by: row.try_get(3)?,
        created_at: clock::timestamp(row.try_get(4)?),
        expires_at: clock::timestamp(row.try_get(5)?),
        accepted_at: time(6)?,
        revoked_at: time(7)?,
    })
}

/// Makes an invitation in place of an earlier open one to the same e-mail.
pub(crate) async fn insert(
    tx: &Tx<'_>,
    invitation: &Invitation,
    token_hash: &[u8; 32],
) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.invitations SET revoked_at = $3
         WHERE org_id = $1 AND email = $2 AND accepted_at IS NULL AND revoked_at IS NULL",
        &[
            (&tx.org(), Type::UUID),
            (&invitation.email, Type::TEXT),
            (&system_time(invitation.created_at), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    tx.execute(
        "INSERT INTO licet.invitations
             (org_id, id, email, role, token_hash, invited_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            (&tx.org(), Type::UUID),
            (&invitation.id.uuid(), Type::UUID),
            (&invitation.email, Type::TEXT),
            (&invitation.role.as_str(), Type::TEXT),
            (&token_hash.as_slice(), Type::BYTEA),
            (&invitation.invited_by, Type::TEXT),
            (&system_time(invitation.created_at), Type::TIMESTAMPTZ),
            (&system_time(invitation.expires_at), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn find(tx: &Tx<'_>, id: InvitationId) -> Result<Option<Invitation>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| invitation(&row)).transpose()
}

/// The invitation with this token, locked: it is accepted once.
pub(crate) async fn lock_by_token(
    tx: &Tx<'_>,
    token_hash: &[u8; 32],
) -> Result<Option<Invitation>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND token_hash = $2 FOR NO KEY UPDATE"),
            &[
                (&tx.org(), Type::UUID),
                (&token_hash.as_slice(), Type::BYTEA),
            ],
        )
        .await?;
    row.map(|row| invitation(&row)).transpose()
}

/// Invitations, the newest first, the open ones alone or all.
pub(crate) async fn list(
    tx: &Tx<'_>,
    open_at: Option<Timestamp>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Invitation>, Error> {
    let rows = tx
        .query(
            columns!(
                "WHERE org_id = $1 AND ($2::uuid IS NULL OR id < $2)
                     AND ($3::timestamptz IS NULL
                          OR accepted_at IS NULL AND revoked_at IS NULL AND expires_at > $3)
                 ORDER BY id DESC LIMIT $4"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::UUID),
                (&open_at.map(system_time), Type::TIMESTAMPTZ),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(invitation).collect()
}

/// Takes an invitation back; false when there is none, or it was over.
pub(crate) async fn revoke(tx: &Tx<'_>, id: InvitationId, now: Timestamp) -> Result<bool, Error> {
    let revoked = tx
        .execute(
            "UPDATE licet.invitations SET revoked_at = $3
             WHERE org_id = $1 AND id = $2 AND accepted_at IS NULL AND revoked_at IS NULL",
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&system_time(now), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    Ok(revoked == 1)
}

/// Deletes all invitations to an e-mail, open or not. Hands back how many.
pub(crate) async fn forget(tx: &Tx<'_>, email: &str) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM licet.invitations WHERE org_id = $1 AND email = $2",
        &[(&tx.org(), Type::UUID), (&email, Type::TEXT)],
    )
    .await
}

/// Notes that an invitation, which is locked, was accepted.
pub(crate) async fn accept(tx: &Tx<'_>, id: InvitationId, now: Timestamp) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.invitations SET accepted_at = $3 WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&system_time(now), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}
