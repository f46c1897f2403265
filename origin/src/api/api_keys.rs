//! `/api/v1/api-keys`: what machines show.

use licet_shared::{
    api::{Body, BodyError},
    id::ApiKeyId,
    problem::ProblemCode,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Call, Operation, Reply, fields,
    once::Creation,
    operation::Verb::{Delete, Get, Patch, Post},
};
use crate::{
    accounts::{
        permissions::Permission::{self, ApiKeysRead, ApiKeysWrite},
        principal::Actor,
        secrets::{OrgSecret, SecretKind},
    },
    db::{
        Error, Tx, Work,
        api_keys::{self, ApiKey, NewApiKey},
        audit, organizations,
    },
    http::HandlerError,
    random::RowId,
    rejection::Rejection,
};

const PATH: &str = "/api/v1/api-keys";
const ONE: &str = "/api/v1/api-keys/{id}";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, PATH, ApiKeysRead, |call| Box::pin(list(call)))
            .named("list_api_keys", "List API keys")
            .lists::<ApiKeyView>()
            .param::<bool>("revoked", "The revoked ones too."),
        Operation::new(Post, PATH, ApiKeysWrite, |call| Box::pin(create(call)))
            .named("create_api_key", "Make an API key")
            .detail("The key is shown this once. Its scopes can be no more than the caller may do.")
            .takes::<NewKey>()
            .creates::<ApiKeyWithSecret>(),
        Operation::new(Get, ONE, ApiKeysRead, |call| Box::pin(read(call)))
            .named("read_api_key", "Read an API key")
            .about::<ApiKeyId>()
            .gives::<ApiKeyView>(),
        Operation::new(Patch, ONE, ApiKeysWrite, |call| Box::pin(update(call)))
            .named("update_api_key", "Change an API key's name, scopes or end")
            .detail("The key itself stays. Who gives it a scope must have that scope. A revoked key is not changed any more.")
            .about::<ApiKeyId>()
            .takes::<KeyChange>()
            .gives::<ApiKeyView>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(Delete, ONE, ApiKeysWrite, |call| Box::pin(revoke(call)))
            .named("revoke_api_key", "Revoke an API key")
            .detail("From the next call on it is good for nothing.")
            .about::<ApiKeyId>()
            .conditional(),
    ]
}

/// An API key, without the key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct ApiKeyView {
    id: ApiKeyId,
    name: String,
    /// The key's last symbols.
    hint: String,
    scopes: Vec<Permission>,
    /// Who made it.
    created_by: String,
    created_at: Timestamp,
    /// Null where it does not end.
    expires_at: Option<Timestamp>,
    /// To the minute; null where it was never used.
    last_used_at: Option<Timestamp>,
    /// Null where it is in force.
    revoked_at: Option<Timestamp>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            hint: key.hint,
            scopes: key.scopes,
            created_by: key.created_by,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// An API key that was just made.
#[derive(Serialize, ToSchema)]
struct ApiKeyWithSecret {
    #[serde(flatten)]
    #[schema(inline)]
    key: ApiKeyView,
    /// The key itself; null when the request was sent again.
    secret: Option<String>,
    #[serde(skip)]
    version: i32,
}

/// An API key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    #[schema(value_type = fields::Name, example = "Shop")]
    name: String,
    #[schema(min_items = 1, max_items = 64)]
    scopes: Vec<Permission>,
    /// Its end; it has none if absent.
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

impl Body for NewKey {
    fn check(&self) -> Result<(), BodyError> {
        fields::check_name("name", &self.name)?;
        check_scopes(&self.scopes)
    }
}

/// What is to be different. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyChange {
    #[serde(default)]
    #[schema(value_type = Option<fields::Name>)]
    name: Option<String>,
    /// In place of those it has.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 64)]
    scopes: Option<Vec<Permission>>,
    /// Its new end; null takes the end away.
    #[serde(default, deserialize_with = "fields::sent")]
    expires_at: Option<Option<Timestamp>>,
}

impl Body for KeyChange {
    fn check(&self) -> Result<(), BodyError> {
        self.name
            .iter()
            .try_for_each(|name| fields::check_name("name", name))?;
        self.scopes
            .iter()
            .try_for_each(|scopes| check_scopes(scopes))
    }
}

fn check_scopes(scopes: &[Permission]) -> Result<(), BodyError> {
    if scopes.is_empty() || scopes.len() > 64 {
        return Err(BodyError::field("scopes", "must be 1 to 64 names"));
    }
    Ok(())
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let revoked = call.flag("revoked")?.unwrap_or(false);
    let rows = call.tenant().run_pipelined("list_api_keys", |tx| {
        Box::pin(api_keys::list(tx, revoked, page.before, page.fetch()))
    });
    page.reply(rows.await?, |key| key.id, ApiKeyView::from)
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: ApiKeyId = call.id()?;
    let found = call
        .tenant()
        .run_pipelined("read_api_key", |tx| Box::pin(api_keys::find(tx, id)))
        .await?;
    show(found.ok_or_else(Rejection::not_found)?)
}

fn show(key: ApiKey) -> Result<Reply, HandlerError> {
    let version = key.version;
    Ok(Reply::ok(&ApiKeyView::from(key))?.version(version))
}

struct Create<'a> {
    call: &'a Call,
    new: NewKey,
}

impl Creation for Create<'_> {
    type Made = ApiKeyId;
    type Answer = ApiKeyWithSecret;
    const NAME: &'static str = "create_api_key";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (ApiKeyId, ApiKeyWithSecret)> {
        Box::pin(async move {
            check_life(tx, self.call, self.new.expires_at).await?;
            let id = ApiKeyId::generate()?;
            let tag = organizations::profile(tx).await?.tag;
            let secret = OrgSecret::generate(SecretKind::ApiKey, tag)?;
            let row = NewApiKey {
                id,
                name: &self.new.name,
                hint: secret.hint(),
                key_hash: secret.hash(),
                scopes: &self.new.scopes,
                created_by: self.call.actor_name(),
                expires_at: self.new.expires_at,
            };
            api_keys::insert(tx, &row).await?;
            let made = api_keys::find(tx, id)
                .await?
                .ok_or(Error::Row("api_keys"))?;
            let version = made.version;
            let key = ApiKeyView::from(made);
            let event = audit::Event::new(self.call.origin(), "api_key.created").after(&key);
            audit::write(tx, &id, &event).await?;
            Ok((
                id,
                ApiKeyWithSecret {
                    key,
                    secret: Some(secret.reveal().into()),
                    version,
                },
            ))
        })
    }

    fn again<'a>(&'a self, tx: &'a Tx<'_>, id: ApiKeyId) -> Work<'a, Option<ApiKeyWithSecret>> {
        Box::pin(async move {
            let found = api_keys::find(tx, id).await?;
            Ok(found.map(|key| ApiKeyWithSecret {
                version: key.version,
                key: key.into(),
                secret: None,
            }))
        })
    }
}

async fn create(call: Call) -> Result<Reply, HandlerError> {
    let mut new: NewKey = call.json()?;
    new.scopes.sort_unstable();
    new.scopes.dedup();
    check_grant(&call, &new.scopes)?;
    check_end(&call, new.expires_at)?;
    let creation = Create { call: &call, new };
    call.create(&creation, |made| {
        Ok(Reply::created(&made)?
            .version(made.version)
            .location(PATH, made.key.id))
    })
    .await
}

/// Nobody gives a scope that they lack, or keeps a key alive that may do more than they.
fn check_grant(call: &Call, scopes: &[Permission]) -> Result<(), Rejection> {
    match scopes.iter().find(|scope| !call.actor().may(**scope)) {
        None => Ok(()),
        Some(beyond) => Err(Rejection::new(
            ProblemCode::Forbidden,
            format!("You can't give the scope {beyond}, which you don't have."),
        )),
    }
}

fn check_end(call: &Call, end: Option<Timestamp>) -> Result<(), Rejection> {
    if end.is_some_and(|end| end <= call.now) {
        return Err(Rejection::field("expires_at", "lies in the past"));
    }
    Ok(())
}

/// A key gives no longer life than it has, be it to itself: else its end would be none.
async fn check_life(tx: &Tx<'_>, call: &Call, end: Option<Timestamp>) -> Result<(), Error> {
    let Actor::Machine { key, .. } = call.actor() else {
        return Ok(());
    };
    let own = api_keys::find(tx, *key).await?;
    match own.and_then(|own| own.expires_at) {
        Some(own) if end.is_none_or(|end| end > own) => {
            let detail =
                format!("A key gives no end later than its own: expires_at must be at most {own}.");
            Err(Rejection::new(ProblemCode::Forbidden, detail).into())
        }
        _ => Ok(()),
    }
}

async fn update(call: Call) -> Result<Reply, HandlerError> {
    let id: ApiKeyId = call.id()?;
    let mut wanted: KeyChange = call.json()?;
    if let Some(scopes) = &mut wanted.scopes {
        scopes.sort_unstable();
        scopes.dedup();
    }
    check_end(&call, wanted.expires_at.flatten())?;
    let (call, wanted) = (&call, &wanted);
    let changed = call
        .tenant()
        .run_tx("update_api_key", |tx| {
            Box::pin(change(tx, call, id, wanted))
        })
        .await?;
    show(changed)
}

async fn change(
    tx: &Tx<'_>,
    call: &Call,
    id: ApiKeyId,
    wanted: &KeyChange,
) -> Result<ApiKey, Error> {
    let found = api_keys::lock(tx, id).await?;
    let before = found.ok_or_else(Rejection::not_found)?;
    call.if_match().check(before.version)?;
    let mut after = before.clone();
    after.name = wanted.name.clone().unwrap_or(after.name);
    after.scopes = wanted.scopes.clone().unwrap_or(after.scopes);
    after.expires_at = wanted.expires_at.unwrap_or(after.expires_at);
    check_grant(call, &after.scopes)?;
    if before.revoked_at.is_some() {
        return Err(Rejection::conflict("This key is revoked. Make another.").into());
    }
    if after.expires_at != before.expires_at {
        check_life(tx, call, after.expires_at).await?;
    }
    if (&after.name, &after.scopes, after.expires_at)
        == (&before.name, &before.scopes, before.expires_at)
    {
        return Ok(before);
    }
    after.version += 1;
    api_keys::update(tx, &after).await?;
    let event = audit::Event::new(call.origin(), "api_key.updated")
        .before(&ApiKeyView::from(before))
        .after(&ApiKeyView::from(after.clone()));
    audit::write(tx, &id, &event).await?;
    Ok(after)
}

async fn revoke(call: Call) -> Result<Reply, HandlerError> {
    let id: ApiKeyId = call.id()?;
    let call = &call;
    call.tenant()
        .run_tx("revoke_api_key", |tx| {
            Box::pin(async move {
                let key = api_keys::lock(tx, id)
                    .await?
                    .ok_or_else(Rejection::not_found)?;
                call.if_match().check(key.version)?;
                if api_keys::revoke(tx, id, call.now).await? {
                    let event = audit::Event::new(call.origin(), "api_key.revoked");
                    audit::write(tx, &id, &event).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(Reply::no_content())
}
