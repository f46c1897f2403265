//! `users`, and the `login_directory` that leads to them.

use std::time::SystemTime;

use licet_shared::{
    id::{LicenseId, OrgId, UserId},
    problem::ProblemCode,
    time::Timestamp,
};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{Database, Error, Tx, organizations::Profile};
use crate::{
    accounts::permissions::Role,
    clock::{self, system_time},
    random::RowId,
    rejection::Rejection,
};

/// A person of the tenant. Names and e-mails are never logged.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The license that they are to use.
    pub(crate) license: Option<LicenseId>,
    pub(crate) version: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) last_login_at: Option<Timestamp>,
    pub(crate) disabled_at: Option<Timestamp>,
    /// When they were removed.
    pub(crate) deleted_at: Option<Timestamp>,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, email, name, role, version, created_at, updated_at, last_login_at,
                 disabled_at, deleted_at, license_id FROM licet.users ",
            $rest
        )
    };
}

pub(super) fn role(text: &str) -> Result<Role, Error> {
    text.parse().map_err(|_| Error::Row("a role"))
}

fn user(row: &Row) -> Result<User, Error> {
    let time = |column: usize| -> Result<Option<Timestamp>, Error> {
        Ok(row
            .try_get::<_, Option<SystemTime>>(column)?
            .map(clock::timestamp))
    };
    Ok(User {
        id: UserId::from_uuid(row.try_get(0)?),
        email: row.try_get(1)?,
        name: row.try_get(2)?,
        role: role(row.try_get(3)?)?,
        version: row.try_get(4)?,
        created_at: clock::timestamp(row.try_get(5)?),
        updated_at: clock::timestamp(row.try_get(6)?),
        last_login_at: time(7)?,
        disabled_at: time(8)?,
        deleted_at: time(9)?,
        license: row
            .try_get::<_, Option<Uuid>>(10)?
            .map(LicenseId::from_uuid),
    })
}

/// A person who joins.
pub(crate) struct NewUser<'a> {
    pub(crate) id: UserId,
    pub(crate) email: &'a str,
    pub(crate) name: &'a str,
    pub(crate) role: Role,
    pub(crate) password_hash: &'a str,
}

/// Lets an e-mail log in as a person; false when the organization knows the e-mail already.
async fn enter(tx: &Tx<'_>, email: &str, id: UserId) -> Result<bool, Error> {
    let entered = tx
        .query_opt(
            "SELECT licet.enter_login($1, $2)",
            &[(&email, Type::TEXT), (&id.uuid(), Type::UUID)],
        )
        .await?;
    entered.map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

/// Has a person join; false when the organization knows the e-mail already.
pub(crate) async fn insert(tx: &Tx<'_>, user: &NewUser<'_>) -> Result<bool, Error> {
    if !enter(tx, user.email, user.id).await? {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO licet.users (org_id, id, email, name, role, password_hash)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            (&tx.org(), Type::UUID),
            (&user.id.uuid(), Type::UUID),
            (&user.email, Type::TEXT),
            (&user.name, Type::TEXT),
            (&user.role.as_str(), Type::TEXT),
            (&user.password_hash, Type::TEXT),
        ],
    )
    .await?;
    Ok(true)
}

/// A person who has not been removed.
pub(crate) async fn find(tx: &Tx<'_>, id: UserId) -> Result<Option<User>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2 AND deleted_at IS NULL"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| user(&row)).transpose()
}

/// The same, locked.
pub(crate) async fn lock(tx: &Tx<'_>, id: UserId) -> Result<Option<User>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2 AND deleted_at IS NULL FOR NO KEY UPDATE"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| user(&row)).transpose()
}

/// What a list of people is filtered by.
#[derive(Default)]
pub(crate) struct UserFilter<'a> {
    pub(crate) role: Option<Role>,
    /// Begins the e-mail or stands in the name.
    pub(crate) text: Option<&'a str>,
    pub(crate) disabled: Option<bool>,
    /// Those who were removed and not erased instead of the others.
    pub(crate) removed: bool,
}

/// People, the newest first.
pub(crate) async fn list(
    tx: &Tx<'_>,
    filter: &UserFilter<'_>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<User>, Error> {
    let rows = tx
        .query(
            columns!(
                "WHERE org_id = $1 AND ($2::uuid IS NULL OR id < $2)
                     AND (deleted_at IS NOT NULL) = $7 AND email <> ''
                     AND ($3::text IS NULL OR role = $3)
                     AND ($4::text IS NULL OR starts_with(email, lower($4))
                          OR strpos(lower(name), lower($4)) > 0)
                     AND ($5::boolean IS NULL OR (disabled_at IS NOT NULL) = $5)
                 ORDER BY id DESC LIMIT $6"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::UUID),
                (&filter.role.map(Role::as_str), Type::TEXT),
                (&filter.text, Type::TEXT),
                (&filter.disabled, Type::BOOL),
                (&limit, Type::INT8),
                (&filter.removed, Type::BOOL),
            ],
        )
        .await?;
    rows.iter().map(user).collect()
}

/// Refuses one person more than the plan allows. Sure only while the tenant's row is locked.
pub(crate) async fn check_quota(tx: &Tx<'_>, profile: &Profile) -> Result<(), Error> {
    let row = tx
        .query_opt(
            "SELECT count(*) FROM licet.users WHERE org_id = $1 AND deleted_at IS NULL",
            &[(&tx.org(), Type::UUID)],
        )
        .await?;
    let count: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    if count < i64::from(profile.quotas.max_users) {
        return Ok(());
    }
    let detail = format!("Your plan allows {} people.", profile.quotas.max_users);
    Err(Rejection::new(ProblemCode::QuotaExceeded, detail).into())
}

/// Whether somebody of the tenant has this e-mail.
pub(crate) async fn is_member(tx: &Tx<'_>, email: &str) -> Result<bool, Error> {
    let row = tx
        .query_opt(
            "SELECT true FROM licet.users WHERE org_id = $1 AND email = $2 AND deleted_at IS NULL",
            &[(&tx.org(), Type::UUID), (&email, Type::TEXT)],
        )
        .await?;
    Ok(row.is_some())
}

/// Locks all owners who count, in one order for all, and hands back who they are: whether the
/// last one goes is decided under this lock.
pub(crate) async fn lock_owners(tx: &Tx<'_>) -> Result<Vec<UserId>, Error> {
    let rows = tx
        .query(
            "SELECT id FROM licet.users
             WHERE org_id = $1 AND role = 'OWNER' AND disabled_at IS NULL AND deleted_at IS NULL
             ORDER BY id FOR NO KEY UPDATE",
            &[(&tx.org(), Type::UUID)],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(UserId::from_uuid(row.try_get(0)?)))
        .collect()
}

/// Writes name, role, license and whether disabled as they now stand, and counts the version up.
///
/// # Errors
/// Violates `users_license_fkey` when there is no such license.
pub(crate) async fn update(tx: &Tx<'_>, user: &User, now: Timestamp) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.users SET name = $3, role = $4, disabled_at = $5, updated_at = $6,
             license_id = $7, version = version + 1
         WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&user.id.uuid(), Type::UUID),
            (&user.name, Type::TEXT),
            (&user.role.as_str(), Type::TEXT),
            (&user.disabled_at.map(system_time), Type::TIMESTAMPTZ),
            (&system_time(now), Type::TIMESTAMPTZ),
            (&user.license.map(RowId::uuid), Type::UUID),
        ],
    )
    .await?;
    Ok(())
}

/// Removes a person: they can't log in, and the e-mail is free again.
pub(crate) async fn remove(tx: &Tx<'_>, id: UserId, now: Timestamp) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.users SET deleted_at = $3, updated_at = $3, version = version + 1
         WHERE org_id = $1 AND id = $2 AND deleted_at IS NULL",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&system_time(now), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    tx.query_opt("SELECT licet.leave_login($1)", &[(&id.uuid(), Type::UUID)])
        .await?;
    Ok(())
}

/// What is left of a person, whether they belong to the organization or have been removed.
pub(crate) struct Remains {
    pub(crate) email: String,
    pub(crate) removed: bool,
    pub(crate) erased: bool,
}

/// A person, removed or not, locked.
pub(crate) async fn lock_remains(tx: &Tx<'_>, id: UserId) -> Result<Option<Remains>, Error> {
    let row = tx
        .query_opt(
            "SELECT email, deleted_at IS NOT NULL, erased_at IS NOT NULL FROM licet.users
             WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| {
        Ok(Remains {
            email: row.try_get(0)?,
            removed: row.try_get(1)?,
            erased: row.try_get(2)?,
        })
    })
    .transpose()
}

/// Takes from a removed person's row all that is about them; false when there was nothing left.
pub(crate) async fn erase(tx: &Tx<'_>, id: UserId) -> Result<bool, Error> {
    let erased = tx
        .execute(
            "UPDATE licet.users SET email = '', name = '', password_hash = '', license_id = NULL,
                 erased_at = now(), updated_at = now(), version = version + 1
             WHERE org_id = $1 AND id = $2 AND deleted_at IS NOT NULL AND erased_at IS NULL",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    Ok(erased == 1)
}

/// Some of those who were removed so many seconds ago and are not erased yet.
pub(crate) async fn removed_for(
    tx: &Tx<'_>,
    seconds: f64,
    limit: i64,
) -> Result<Vec<UserId>, Error> {
    let rows = tx
        .query(
            "SELECT id FROM licet.users
             WHERE org_id = $1 AND deleted_at < now() - make_interval(secs => $2)
                 AND deleted_at IS NOT NULL AND erased_at IS NULL
             ORDER BY deleted_at LIMIT $3",
            &[
                (&tx.org(), Type::UUID),
                (&seconds, Type::FLOAT8),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(UserId::from_uuid(row.try_get(0)?)))
        .collect()
}

/// A person who was removed and not erased, locked, with their e-mail as it was.
pub(crate) async fn lock_removed(tx: &Tx<'_>, id: UserId) -> Result<Option<User>, Error> {
    let row = tx
        .query_opt(
            columns!(
                "WHERE org_id = $1 AND id = $2 AND deleted_at IS NOT NULL AND email <> ''
                 FOR NO KEY UPDATE"
            ),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| user(&row)).transpose()
}

/// Undoes a removal; false when somebody else of the organization has the e-mail by now.
pub(crate) async fn restore(tx: &Tx<'_>, user: &User, now: Timestamp) -> Result<bool, Error> {
    if !enter(tx, &user.email, user.id).await? {
        return Ok(false);
    }
    tx.execute(
        "UPDATE licet.users SET deleted_at = NULL, updated_at = $3, version = version + 1
         WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&user.id.uuid(), Type::UUID),
            (&system_time(now), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(true)
}

/// What a login compares with.
pub(crate) struct Login {
    pub(crate) user: UserId,
    pub(crate) password_hash: String,
}

/// The login of a person who may log in.
pub(crate) async fn login(tx: &Tx<'_>, id: UserId) -> Result<Option<Login>, Error> {
    let row = tx
        .query_opt(
            "SELECT u.password_hash FROM licet.users u
             JOIN licet.organizations o ON o.org_id = u.org_id
             WHERE u.org_id = $1 AND u.id = $2 AND u.disabled_at IS NULL AND u.deleted_at IS NULL
                 AND o.closed_at IS NULL",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| {
        Ok(Login {
            user: id,
            password_hash: row.try_get(0)?,
        })
    })
    .transpose()
}

/// Notes a login, if the password is still the one that was compared and the person still may.
pub(crate) async fn logged_in(tx: &Tx<'_>, login: &Login, now: Timestamp) -> Result<bool, Error> {
    let noted = tx
        .execute(
            "UPDATE licet.users SET last_login_at = $4
             WHERE org_id = $1 AND id = $2 AND password_hash = $3
                 AND disabled_at IS NULL AND deleted_at IS NULL",
            &[
                (&tx.org(), Type::UUID),
                (&login.user.uuid(), Type::UUID),
                (&login.password_hash, Type::TEXT),
                (&system_time(now), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    Ok(noted == 1)
}

/// Gives a person another password, if the present one is still the one that was compared.
pub(crate) async fn set_password(
    tx: &Tx<'_>,
    login: &Login,
    password_hash: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    let set = tx
        .execute(
            "UPDATE licet.users SET password_hash = $4, updated_at = $5
             WHERE org_id = $1 AND id = $2 AND password_hash = $3 AND deleted_at IS NULL",
            &[
                (&tx.org(), Type::UUID),
                (&login.user.uuid(), Type::UUID),
                (&login.password_hash, Type::TEXT),
                (&password_hash, Type::TEXT),
                (&system_time(now), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    Ok(set == 1)
}

impl Database {
    /// Which organization and person an e-mail logs in as: in the organization of that slug, or
    /// in the oldest membership.
    pub(crate) async fn find_login(
        &self,
        email: &str,
        slug: Option<&str>,
    ) -> Result<Option<(OrgId, UserId)>, Error> {
        let connection = self.connection().await?;
        let row = connection
            .query_typed_opt(
                "SELECT l.org_id, l.user_id FROM licet.find_login($1, $2) AS l",
                &[(&email, Type::TEXT), (&slug, Type::TEXT)],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let (org, user): (Option<Uuid>, Option<Uuid>) = (row.try_get(0)?, row.try_get(1)?);
        Ok(org.map(OrgId::from_uuid).zip(user.map(UserId::from_uuid)))
    }
}
