//! `/api/v1/signing-keys`: what an organization's tokens and documents are signed by.

use licet_shared::{
    api::{Body, BodyError},
    problem::ProblemCode,
};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Call, Operation, Reply,
    once::Creation,
    operation::Verb::{Get, Post},
};
use crate::{
    accounts::permissions::Permission::{SigningKeysRead, SigningKeysWrite},
    db::{
        Tx, Work,
        signing_keys::{self, WithdrawnWhy},
    },
    http::HandlerError,
    keys::{
        Kid,
        rotation::{self, SigningKeyView},
    },
};

const PATH: &str = "/api/v1/signing-keys";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, PATH, SigningKeysRead, |call| Box::pin(list(call)))
            .named("list_signing_keys", "List signing keys")
            .lists::<SigningKeyView>(),
        Operation::new(Post, PATH, SigningKeysWrite, |call| Box::pin(create(call)))
            .named("create_signing_key", "Make a signing key and publish it")
            .detail("It is in the key set from now on, and signs nothing until it is activated.")
            .creates::<SigningKeyView>()
            .or(ProblemCode::Conflict),
        Operation::new(
            Get,
            "/api/v1/signing-keys/{id}",
            SigningKeysRead,
            |call| Box::pin(read(call)),
        )
        .named("read_signing_key", "Read a signing key")
        .about::<Kid>()
        .gives::<SigningKeyView>(),
        Operation::new(
            Post,
            "/api/v1/signing-keys/{id}/activate",
            SigningKeysWrite,
            |call| Box::pin(activate(call)),
        )
        .named("activate_signing_key", "Have a published key sign")
        .detail(
            "It must have been published for two minutes, so that edges know it. The key before it \
             verifies what it has signed, until it is retired; its private half is deleted. Of two \
             that are activated at once, the later one signs. Doing so twice is the same as doing so once.",
        )
        .about::<Kid>()
        .takes::<Activation>()
        .gives::<SigningKeyView>()
        .or(ProblemCode::Conflict),
        Operation::new(
            Post,
            "/api/v1/signing-keys/{id}/retire",
            SigningKeysWrite,
            |call| Box::pin(retire(call)),
        )
        .named("retire_signing_key", "Take an outworn key out of the key set")
        .detail(
            "One that never signed, or whose `signed_until` is past. A device that has not been \
             refreshed since then activates again.",
        )
        .about::<Kid>()
        .gives::<SigningKeyView>()
        .or(ProblemCode::Conflict),
        Operation::new(
            Post,
            "/api/v1/signing-keys/{id}/withdraw",
            SigningKeysWrite,
            |call| Box::pin(withdraw(call)),
        )
        .named("withdraw_signing_key", "Withdraw a compromised key")
        .detail(
            "It is out of the key set at once. Whatever it has signed is answered `UNKNOWN_KEY`, at \
             edges within a minute: devices activate again. If it is the key that signs, the newest \
             published one takes its place, or else a new one.",
        )
        .about::<Kid>()
        .takes::<Withdrawal>()
        .gives::<SigningKeyView>()
        .or(ProblemCode::Conflict),
    ]
}

/// How a key is to be activated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SigningKeyActivation)]
struct Activation {
    /// Also where edges can't all know the key yet: an edge that has no word from the origin at that
    /// moment refuses what it signs.
    #[serde(default)]
    emergency: bool,
}

impl Body for Activation {
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}

/// Why a key is withdrawn.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SigningKeyWithdrawal)]
struct Withdrawal {
    reason: WithdrawnWhy,
}

impl Body for Withdrawal {
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let before = page.before.map(number_of_cursor);
    let (tag, keys) = call
        .tenant()
        .run_pipelined("list_signing_keys", |tx| {
            Box::pin(async move {
                let keys = signing_keys::list(tx, before, page.fetch());
                futures_util::future::try_join(rotation::tag(tx), keys).await
            })
        })
        .await?;
    page.reply_by(
        keys,
        |key| Uuid::from_u128(key.number.into()),
        |key| SigningKeyView::new(tag, &key),
    )
}

/// A cursor holds an id; here it holds a key's number. What is none lies after them all.
fn number_of_cursor(cursor: Uuid) -> u32 {
    u32::try_from(cursor.as_u128()).unwrap_or(u32::MAX)
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let kid: Kid = call.id()?;
    let key = call
        .tenant()
        .run_tx("read_signing_key", |tx| Box::pin(rotation::show(tx, kid)));
    Reply::ok(&key.await?)
}

struct Create<'a>(&'a Call);

impl Creation for Create<'_> {
    type Made = u32;
    type Answer = SigningKeyView;
    const NAME: &'static str = "create_signing_key";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (u32, SigningKeyView)> {
        Box::pin(async move {
            let vault = self.0.keyrings().vault();
            let view = rotation::publish(tx, vault, self.0.origin()).await?;
            Ok((view.id.number, view))
        })
    }

    fn again<'a>(&'a self, tx: &'a Tx<'_>, number: u32) -> Work<'a, Option<SigningKeyView>> {
        Box::pin(async move {
            let tag = rotation::tag(tx).await?;
            let found = signing_keys::find(tx, number).await?;
            Ok(found.map(|key| SigningKeyView::new(tag, &key)))
        })
    }
}

async fn create(call: Call) -> Result<Reply, HandlerError> {
    call.create(&Create(&call), |made| {
        Ok(Reply::created(&made)?.location(PATH, made.id))
    })
    .await
}

async fn activate(call: Call) -> Result<Reply, HandlerError> {
    let kid: Kid = call.id()?;
    let Activation { emergency } = call.json()?;
    let origin = call.origin();
    let key = call.tenant().run_tx("activate_signing_key", |tx| {
        Box::pin(rotation::activate(tx, kid, emergency, origin))
    });
    Reply::ok(&key.await?)
}

async fn retire(call: Call) -> Result<Reply, HandlerError> {
    let kid: Kid = call.id()?;
    let origin = call.origin();
    let key = call.tenant().run_tx("retire_signing_key", |tx| {
        Box::pin(rotation::retire(tx, kid, origin))
    });
    Reply::ok(&key.await?)
}

async fn withdraw(call: Call) -> Result<Reply, HandlerError> {
    let kid: Kid = call.id()?;
    let Withdrawal { reason } = call.json()?;
    let (vault, origin) = (call.keyrings().vault(), call.origin());
    let key = call.tenant().run_tx("withdraw_signing_key", |tx| {
        Box::pin(rotation::withdraw(tx, vault, kid, reason, origin))
    });
    Reply::ok(&key.await?)
}
