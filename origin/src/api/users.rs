//! `/api/v1/users`: who belongs to the organization.

use licet_shared::{
    api::{Body, BodyError},
    id::{LicenseId, UserId},
    problem::ProblemCode,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Call, Operation, Reply, fields,
    operation::Verb::{Delete, Get, Patch, Post},
};
use crate::{
    accounts::{
        permissions::{
            Permission::{self, UsersErase, UsersRead, UsersWrite},
            Role,
        },
        principal::Actor,
    },
    db::{
        Error, Tx, audit, invitations, organizations,
        sessions::{self, Why},
        users::{self, User, UserFilter},
    },
    http::HandlerError,
    rejection::Rejection,
};

const PATH: &str = "/api/v1/users";
const ONE: &str = "/api/v1/users/{id}";
const RESTORE: &str = "/api/v1/users/{id}/restore";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, PATH, UsersRead, |call| Box::pin(list(call)))
            .named("list_users", "List people")
            .lists::<UserView>()
            .param::<Role>("role", "Only those of this role.")
            .param::<String>("text", "Only those whose e-mail begins with this or whose name has it in it.")
            .param::<bool>("disabled", "Only those who are disabled, or who are not.")
            .param::<bool>("removed", "Those who were removed instead of the others."),
        Operation::new(Get, ONE, UsersRead, |call| Box::pin(read(call)))
            .named("read_user", "Read a person")
            .about::<UserId>()
            .gives::<UserView>(),
        Operation::new(Patch, ONE, UsersWrite, |call| Box::pin(update(call)))
            .named("update_user", "Change a person's name, role or license, or disable them")
            .detail("Nobody gives a role above their own, or changes a person above themselves; an API key gives no role that may do more than its scopes. One OWNER must stay. Whoever is disabled is logged out.")
            .about::<UserId>()
            .takes::<UserChange>()
            .gives::<UserView>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(Delete, ONE, UsersWrite, |call| Box::pin(remove(call)))
            .named("remove_user", "Remove a person")
            .detail("They are logged out; the e-mail may be invited again. One OWNER must stay.")
            .about::<UserId>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(Post, "/api/v1/users/{id}/erase", UsersErase, |call| {
            Box::pin(erase(call))
        })
        .named("erase_user", "Erase what is stored about a person, for good")
        .detail("Removes them if they were not yet. E-mail, name, password and invitations are deleted, and what names them in the audit trail, whose chain holds. Their id stays, and names nobody. Erasing somebody again changes nothing. One OWNER must stay.")
        .about::<UserId>()
        .takes::<Erasure>()
        .or(ProblemCode::Conflict),
        Operation::new(Post, RESTORE, UsersWrite, |call| Box::pin(restore(call)))
            .named("restore_user", "Bring a removed person back")
            .detail("With the role and password they had. Not if the e-mail has joined anew meanwhile, or the person was erased.")
            .about::<UserId>()
            .gives::<UserView>()
            .or(ProblemCode::Conflict)
            .or(ProblemCode::QuotaExceeded),
    ]
}

/// A person of the organization.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
struct UserView {
    id: UserId,
    email: String,
    name: String,
    role: Role,
    /// The license that they are to use; null where none was assigned.
    license_id: Option<LicenseId>,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_login_at: Option<Timestamp>,
    /// Null where they are not disabled.
    disabled_at: Option<Timestamp>,
    /// Null where they were not removed.
    removed_at: Option<Timestamp>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            name: user.name,
            role: user.role,
            license_id: user.license,
            created_at: user.created_at,
            updated_at: user.updated_at,
            last_login_at: user.last_login_at,
            disabled_at: user.disabled_at,
            removed_at: user.deleted_at,
        }
    }
}

/// What is to be different. What is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    #[serde(default)]
    #[schema(value_type = Option<fields::Name>)]
    name: Option<String>,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    disabled: Option<bool>,
    /// One of the organization's; null takes it away.
    #[serde(default, deserialize_with = "fields::sent")]
    #[schema(value_type = Option<LicenseId>)]
    license_id: Option<Option<LicenseId>>,
}

impl Body for UserChange {
    fn check(&self) -> Result<(), BodyError> {
        self.name
            .iter()
            .try_for_each(|name| fields::check_name("name", name))
    }
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let filter = UserFilter {
        role: call.parsed("role")?,
        text: call.param("text"),
        disabled: call.flag("disabled")?,
        removed: call.flag("removed")?.unwrap_or(false),
    };
    let rows = call.tenant().run_pipelined("list_users", |tx| {
        Box::pin(users::list(tx, &filter, page.before, page.fetch()))
    });
    page.reply(rows.await?, |user| user.id, UserView::from)
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: UserId = call.id()?;
    let found = call
        .tenant()
        .run_pipelined("read_user", |tx| Box::pin(users::find(tx, id)))
        .await?;
    show(found.ok_or_else(Rejection::not_found)?)
}

fn show(user: User) -> Result<Reply, HandlerError> {
    let version = user.version;
    Ok(Reply::ok(&UserView::from(user))?.version(version))
}

/// A role that the caller may give. Whoever gets it may do all that it allows, so a machine gives
/// none that allows more than its scopes: else `users:write` alone would be worth every other.
pub(super) fn check_grant(actor: &Actor, rank: Role, granted: Role) -> Result<(), Rejection> {
    let forbidden = |detail: &'static str| Err(Rejection::new(ProblemCode::Forbidden, detail));
    if granted > rank {
        return forbidden("Nobody gives a role above their own.");
    }
    let machine = matches!(actor, Actor::Machine { .. });
    if machine && !granted.permissions().all(|it| actor.may(it)) {
        return forbidden("A key gives no role that may do more than its own scopes.");
    }
    Ok(())
}

/// The caller's rank as it is now: it may have been lowered since the call came. A machine ranks
/// as the least role that may do what it does.
async fn rank(tx: &Tx<'_>, call: &Call, permission: Permission) -> Result<Role, Error> {
    match call.actor() {
        Actor::Machine { .. } => Ok(permission.least_role()),
        Actor::Person { user, .. } => {
            let role = users::find(tx, *user)
                .await?
                .filter(|user| user.disabled_at.is_none());
            let role = role
                .map(|user| user.role)
                .filter(|role| role.may(permission));
            let gone =
                || Rejection::new(ProblemCode::Forbidden, "Your role has just been changed.");
            Ok(role.ok_or_else(gone)?)
        }
    }
}

/// A person, locked, whom the caller may change; and whether they are the last OWNER. Owners are
/// locked before the person, in one order for all.
async fn lock(tx: &Tx<'_>, call: &Call, id: UserId) -> Result<(User, Role, bool), Error> {
    let owners = users::lock_owners(tx).await?;
    let rank = rank(tx, call, UsersWrite).await?;
    let user = users::lock(tx, id)
        .await?
        .ok_or_else(Rejection::not_found)?;
    call.if_match().check(user.version)?;
    if user.role > rank {
        return Err(Rejection::new(
            ProblemCode::Forbidden,
            "Nobody changes a person above themselves.",
        )
        .into());
    }
    Ok((user, rank, owners == [id]))
}

fn last_owner() -> Rejection {
    Rejection::conflict("This is the last OWNER. Make somebody else one first.")
}

async fn update(call: Call) -> Result<Reply, HandlerError> {
    let id: UserId = call.id()?;
    let wanted: UserChange = call.json()?;
    let (call, wanted) = (&call, &wanted);
    let changed = call
        .tenant()
        .run_tx("update_user", |tx| Box::pin(change(tx, call, id, wanted)))
        .await?;
    show(changed)
}

async fn change(tx: &Tx<'_>, call: &Call, id: UserId, wanted: &UserChange) -> Result<User, Error> {
    let (before, rank, last) = lock(tx, call, id).await?;
    let mut after = before.clone();
    after.name = wanted.name.clone().unwrap_or(after.name);
    if let Some(role) = wanted.role {
        // Less than the caller may change already needs no leave.
        if role > before.role {
            check_grant(call.actor(), rank, role)?;
        }
        after.role = role;
    }
    after.disabled_at = match wanted.disabled {
        Some(true) => before.disabled_at.or(Some(call.now)),
        Some(false) => None,
        None => before.disabled_at,
    };
    after.license = wanted.license_id.unwrap_or(after.license);
    if last && (after.role != Role::Owner || after.disabled_at.is_some()) {
        return Err(last_owner().into());
    }
    if (&after.name, after.role, after.disabled_at, after.license)
        == (
            &before.name,
            before.role,
            before.disabled_at,
            before.license,
        )
    {
        return Ok(before);
    }
    after.version += 1;
    after.updated_at = call.now;
    users::update(tx, &after, call.now).await.map_err(|error| {
        error.on_constraint("users_license_fkey", || {
            Rejection::new(ProblemCode::NotFound, "No license has this license_id.")
        })
    })?;
    if after.disabled_at.is_some() {
        sessions::end_all(tx, id, None, Why::Disabled, call.now).await?;
    }
    let facts = |user: &User| {
        json!({
            "id": id,
            "role": user.role,
            "license_id": user.license,
            "disabled_at": user.disabled_at,
        })
    };
    let mut event = audit::Event::new(call.origin(), "user.updated")
        .before(&facts(&before))
        .after(&facts(&after));
    if after.name != before.name {
        event = event.personal(
            id,
            json!({ "before": { "name": before.name }, "after": { "name": after.name } }),
        );
    }
    audit::write(tx, &id, &event).await?;
    Ok(after)
}

async fn remove(call: Call) -> Result<Reply, HandlerError> {
    let id: UserId = call.id()?;
    let call = &call;
    call.tenant()
        .run_tx("remove_user", |tx| {
            Box::pin(async move {
                let (user, _, last) = lock(tx, call, id).await?;
                if last {
                    return Err(last_owner().into());
                }
                users::remove(tx, id, call.now).await?;
                sessions::end_all(tx, id, None, Why::Removed, call.now).await?;
                let event = audit::Event::new(call.origin(), "user.removed");
                let event = event.before(&json!({ "id": id, "role": user.role }));
                audit::write(tx, &id, &event).await
            })
        })
        .await?;
    Ok(Reply::no_content())
}

/// What can't be undone is said twice.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Erasure {
    /// The id of the person, as in the path.
    #[schema(max_length = 64, example = "usr_01jd3t6q8zf5k9v7m2x4c6b8n0")]
    confirm: String,
}

impl Body for Erasure {
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}

async fn erase(call: Call) -> Result<Reply, HandlerError> {
    let id: UserId = call.id()?;
    let Erasure { confirm } = call.json()?;
    if confirm != id.to_string() {
        let detail = "confirm: must be the id of the person, as in the path.";
        return Err(Rejection::conflict(detail).into());
    }
    let call = &call;
    call.tenant()
        .run_tx("erase_user", |tx| Box::pin(erase_all(tx, call, id)))
        .await?;
    Ok(Reply::no_content())
}

async fn erase_all(tx: &Tx<'_>, call: &Call, id: UserId) -> Result<(), Error> {
    let owners = users::lock_owners(tx).await?;
    rank(tx, call, UsersErase).await?;
    let person = users::lock_remains(tx, id)
        .await?
        .ok_or_else(Rejection::not_found)?;
    if person.erased {
        return Ok(());
    }
    if owners == [id] {
        return Err(last_owner().into());
    }
    if !person.removed {
        users::remove(tx, id, call.now).await?;
        sessions::end_all(tx, id, None, Why::Removed, call.now).await?;
    }
    let invitations = invitations::forget(tx, &person.email).await?;
    users::erase(tx, id).await?;
    let events = audit::forget(tx, id).await?;
    let event = audit::Event::new(call.origin(), "user.erased")
        .details(json!({ "invitations": invitations, "events": events }));
    audit::write(tx, &id, &event).await
}

async fn restore(call: Call) -> Result<Reply, HandlerError> {
    let id: UserId = call.id()?;
    let call = &call;
    let restored = call.tenant().run_tx("restore_user", |tx| {
        Box::pin(async move {
            let profile = organizations::lock_profile(tx).await?;
            let rank = rank(tx, call, UsersWrite).await?;
            let Some(mut user) = users::lock_removed(tx, id).await? else {
                // Done already, as when it is asked for twice.
                return Ok(users::find(tx, id)
                    .await?
                    .ok_or_else(Rejection::not_found)?);
            };
            check_grant(call.actor(), rank, user.role)?;
            users::check_quota(tx, &profile).await?;
            if !users::restore(tx, &user, call.now).await? {
                return Err(Rejection::conflict(
                    "Somebody has joined with this person's e-mail since.",
                )
                .into());
            }
            user.version += 1;
            user.updated_at = call.now;
            user.deleted_at = None;
            let event = audit::Event::new(call.origin(), "user.restored");
            let event = event.after(&json!({ "id": id, "role": user.role }));
            audit::write(tx, &id, &event).await?;
            Ok(user)
        })
    });
    show(restored.await?)
}
