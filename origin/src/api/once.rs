//! `Idempotency-Key`: a request that creates something, or would act again, and is sent again acts once.
//!
//! The key's row is written in the transaction that creates, and holds the ids of what was made.
//! A repeated request is answered from them as things now stand. Secrets that are shown once are
//! not among them, and are not shown again.

use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::problem::ProblemCode;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{Call, Reply};
use crate::{
    db::{Error, Tx, Work, idempotency},
    fault::Fault,
    http::{HandlerError, body},
    rejection::Rejection,
};

/// Something that is created. Work runs in one transaction, and may run several times.
pub(crate) trait Creation: Sync {
    /// What is remembered of it: its id, or ids.
    type Made: Serialize + DeserializeOwned + Send + Sync;
    /// What is answered.
    type Answer: Send;
    /// The transaction's name in metrics.
    const NAME: &'static str;

    /// Makes it, and writes the audit event.
    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (Self::Made, Self::Answer)>;

    /// The answer to the same request when it is sent again; none if what was made is gone.
    fn again<'a>(&'a self, tx: &'a Tx<'_>, made: Self::Made) -> Work<'a, Option<Self::Answer>>;
}

/// A key as it is stored, and what tells its request from others.
struct Once {
    key: String,
    hash: [u8; 32],
}

impl Call {
    /// Creates, once per key, and answers 201.
    pub(crate) async fn create<C: Creation>(
        &self,
        creation: &C,
        reply: impl FnOnce(C::Answer) -> Result<Reply, HandlerError>,
    ) -> Result<Reply, HandlerError> {
        let once = self.once()?;
        let outworn = self.now.plus(-idempotency::KEPT_S);
        let created = self.tenant().run_tx(C::NAME, |tx| {
            let once = &once;
            Box::pin(async move {
                let Some(once) = once else {
                    return Ok((creation.make(tx).await?.1, false));
                };
                if !idempotency::claim_for_caller(tx, &once.key, &once.hash, outworn).await? {
                    return Ok((repeat(tx, creation, once).await?, true));
                }
                let (made, answer) = creation.make(tx).await?;
                let made = serde_json::to_value(made)
                    .map_err(|error| Fault::internal("remembering what was made", error))?;
                idempotency::record_made(tx, &once.key, &made).await?;
                idempotency::sweep(tx).await?;
                Ok((answer, false))
            })
        });
        let (answer, replayed) = created.await?;
        Ok(reply(answer)?.replayed(replayed))
    }

    fn once(&self) -> Result<Option<Once>, HandlerError> {
        let Some(key) = self.header("idempotency-key")? else {
            return Ok(None);
        };
        let key = body::check_key(key)?;
        let mut hash = Sha256::new();
        for part in self.identity() {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        // One caller's keys are not another's; the space keeps them apart from those of edges,
        // which have none.
        let digest = Base64UrlUnpadded::encode_string(&Sha256::digest(key.as_bytes()));
        Ok(Some(Once {
            key: format!("{} {digest}", self.actor_name()),
            hash: hash.finalize().into(),
        }))
    }
}

async fn repeat<C: Creation>(tx: &Tx<'_>, creation: &C, once: &Once) -> Result<C::Answer, Error> {
    // Gone again when another request has just cleared it away: then begin anew.
    let (hash, made) = idempotency::made(tx, &once.key)
        .await?
        .ok_or(Error::Changed)?;
    if hash != once.hash {
        return Err(Rejection::new(
            ProblemCode::IdempotencyKeyReused,
            "This Idempotency-Key came with another request before. Use a new key for a new request.",
        )
        .into());
    }
    let made = serde_json::from_value(made).map_err(|_| Error::Row("idempotency_keys.made"))?;
    let answer = creation.again(tx, made).await?;
    let gone =
        || Rejection::conflict("This request was done before, and what it made is gone since.");
    Ok(answer.ok_or_else(gone)?)
}
