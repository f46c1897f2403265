//! The life of an organization's key: published ahead, in use, verifying what it signed, retired;
//! or withdrawn, with all that it signed. Each step is one transaction under the organization's row,
//! which raises the version of the key set.

use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::{id::OrgTag, time::Timestamp};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Kid, Vault};
use crate::{
    db::{
        Error, Tx, audit, organizations,
        signing_keys::{self, KeyRecord, KeyState, NewKey, Store, WithdrawnWhy},
    },
    documents::DOCUMENT_LIFE_S,
    licensing::Origin,
    rejection::Rejection,
};

/// Seconds for which a key must have been published before it signs. Edges ask for the key sets in
/// use every minute; twice that, for an answer may be under way.
pub(crate) const PUBLISHED_AHEAD_S: i64 = 120;
/// Keys that a set has at most: edges keep it in memory, and license files carry it.
const MOST_KEYS: usize = 16;

/// A key that an organization's tokens and documents are signed by.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SigningKey)]
pub(crate) struct SigningKeyView {
    pub(crate) id: Kid,
    pub(crate) state: KeyState,
    pub(crate) store: Store,
    /// The public key: 32 bytes in base64url, `x` of its JWK.
    x: String,
    created_at: Timestamp,
    /// Since when it signs; null where it never did.
    activated_at: Option<Timestamp>,
    /// Since when another signs in its place.
    superseded_at: Option<Timestamp>,
    /// When nothing that it has signed counts any more, license files apart: from then on it can be
    /// retired. Null while it signs, and where it never did.
    signed_until: Option<Timestamp>,
    /// Since when it is not in the key set.
    ended_at: Option<Timestamp>,
    withdrawn_why: Option<WithdrawnWhy>,
}

impl SigningKeyView {
    pub(crate) fn new(tag: OrgTag, key: &KeyRecord) -> Self {
        Self {
            id: Kid {
                tag,
                number: key.number,
            },
            state: key.state,
            store: key.store,
            x: Base64UrlUnpadded::encode_string(&key.public),
            created_at: key.created_at,
            activated_at: key.activated_at,
            superseded_at: key.superseded_at,
            signed_until: key.signed_until,
            ended_at: key.ended_at,
            withdrawn_why: key.withdrawn_why,
        }
    }
}

/// A key of the transaction's organization.
pub(crate) async fn show(tx: &Tx<'_>, kid: Kid) -> Result<SigningKeyView, Error> {
    let tag = tag(tx).await?;
    let key = found(tx, tag, kid).await?;
    Ok(SigningKeyView::new(tag, &key))
}

/// The tag of the transaction's organization.
pub(crate) async fn tag(tx: &Tx<'_>) -> Result<OrgTag, Error> {
    let organization = organizations::find(tx).await?;
    Ok(organization.ok_or(Error::Row("organizations"))?.tag)
}

async fn found(tx: &Tx<'_>, tag: OrgTag, kid: Kid) -> Result<KeyRecord, Error> {
    if kid.tag != tag {
        return Err(Rejection::not_found().into());
    }
    let found = signing_keys::find(tx, kid.number).await?;
    Ok(found.ok_or_else(Rejection::not_found)?)
}

/// What holds while a key is changed.
struct Step<'a, 'tx> {
    tx: &'a Tx<'tx>,
    tag: OrgTag,
    origin: Origin<'a>,
}

impl<'a, 'tx> Step<'a, 'tx> {
    /// Nobody else changes the organization's keys until the transaction ends.
    async fn begin(tx: &'a Tx<'tx>, origin: Origin<'a>) -> Result<Self, Error> {
        let tag = organizations::lock_profile(tx).await?.tag;
        Ok(Self { tx, tag, origin })
    }

    fn kid(&self, number: u32) -> Kid {
        Kid {
            tag: self.tag,
            number,
        }
    }

    async fn view(&self, number: u32) -> Result<SigningKeyView, Error> {
        let key = signing_keys::find(self.tx, number).await?;
        let key = key.ok_or(Error::Row("signing_keys"))?;
        Ok(SigningKeyView::new(self.tag, &key))
    }

    /// Makes a key in this state, and writes that down.
    async fn create(&self, vault: &Vault, state: KeyState) -> Result<u32, Error> {
        let newest = signing_keys::list(self.tx, None, 1).await?;
        let number = newest.first().map_or(1, |key| key.number + 1);
        let kid = self.kid(number);
        let made = vault.make(self.tx.org_id(), kid)?;
        let key = NewKey {
            number,
            public: &made.public,
            private: &made.private,
        };
        signing_keys::insert(self.tx, &key, state).await?;
        let view = self.view(number).await?;
        let event = audit::Event::new(self.origin, "signing_key.created").after(&view);
        audit::write(self.tx, &kid, &event).await?;
        Ok(number)
    }
}

/// Makes a key and publishes it. It signs nothing until it is activated.
pub(crate) async fn publish(
    tx: &Tx<'_>,
    vault: &Vault,
    origin: Origin<'_>,
) -> Result<SigningKeyView, Error> {
    let step = Step::begin(tx, origin).await?;
    if signing_keys::in_force(tx).await?.len() >= MOST_KEYS {
        let detail = format!(
            "There are {MOST_KEYS} keys in the key set, and no more can be. Retire those that are no longer needed."
        );
        return Err(Rejection::conflict(detail).into());
    }
    organizations::raise_keys_version(tx).await?;
    let number = step.create(vault, KeyState::Published).await?;
    step.view(number).await
}

/// Has a published key sign from now on. The one before it verifies what it signed.
pub(crate) async fn activate(
    tx: &Tx<'_>,
    kid: Kid,
    emergency: bool,
    origin: Origin<'_>,
) -> Result<SigningKeyView, Error> {
    let step = Step::begin(tx, origin).await?;
    let key = found(tx, step.tag, kid).await?;
    match key.state {
        KeyState::Published => {}
        KeyState::Active => return Ok(SigningKeyView::new(step.tag, &key)),
        state => {
            let detail = format!(
                "This key is {}, and its private half is deleted. Make another.",
                state.as_str()
            );
            return Err(Rejection::conflict(detail).into());
        }
    }
    let wait = PUBLISHED_AHEAD_S - key.age_s;
    if wait > 0 && !emergency {
        let detail = format!(
            "Edges may not know this key yet. Activate it {wait} seconds from now, or at once with emergency: true."
        );
        return Err(Rejection::conflict(detail).into());
    }
    organizations::raise_keys_version(tx).await?;
    let superseded = signing_keys::supersede_active(tx, DOCUMENT_LIFE_S).await?;
    if !signing_keys::activate(tx, kid.number).await? {
        return Err(Error::Row("signing_keys.state"));
    }
    let view = step.view(kid.number).await?;
    let event = audit::Event::new(origin, "signing_key.activated")
        .details(json!({
            "supersedes": superseded.map(|number| step.kid(number)),
            "emergency": emergency && wait > 0,
        }))
        .before(&SigningKeyView::new(step.tag, &key))
        .after(&view);
    audit::write(tx, &kid, &event).await?;
    Ok(view)
}

/// Takes a key out of the key set that nothing needs any more.
pub(crate) async fn retire(
    tx: &Tx<'_>,
    kid: Kid,
    origin: Origin<'_>,
) -> Result<SigningKeyView, Error> {
    let step = Step::begin(tx, origin).await?;
    let key = found(tx, step.tag, kid).await?;
    let conflict = |detail: String| Err(Rejection::conflict(detail).into());
    match (key.state, key.signed_until) {
        (KeyState::Published, _) => {}
        (KeyState::VerifyOnly, Some(until)) if key.in_use => {
            return conflict(format!(
                "Tokens that this key has signed may count until {until}. Retire it then; withdraw it if they are not to count."
            ));
        }
        (KeyState::VerifyOnly, _) => {}
        (KeyState::Retired, _) => return Ok(SigningKeyView::new(step.tag, &key)),
        (KeyState::Active, _) => {
            return conflict("This key signs. Activate another one first.".into());
        }
        (KeyState::Withdrawn, _) => return conflict("This key is withdrawn already.".into()),
    }
    organizations::raise_keys_version(tx).await?;
    signing_keys::end(tx, kid.number, None).await?;
    let view = step.view(kid.number).await?;
    let event = audit::Event::new(origin, "signing_key.retired")
        .before(&SigningKeyView::new(step.tag, &key))
        .after(&view);
    audit::write(tx, &kid, &event).await?;
    Ok(view)
}

/// Takes a key out of the key set at once: nothing that it has signed counts any more. If it is the
/// one that signs, the newest published one takes its place, or a new one.
pub(crate) async fn withdraw(
    tx: &Tx<'_>,
    vault: &Vault,
    kid: Kid,
    why: WithdrawnWhy,
    origin: Origin<'_>,
) -> Result<SigningKeyView, Error> {
    let step = Step::begin(tx, origin).await?;
    let key = found(tx, step.tag, kid).await?;
    match key.state {
        KeyState::Published | KeyState::Active | KeyState::VerifyOnly => {}
        KeyState::Withdrawn => return Ok(SigningKeyView::new(step.tag, &key)),
        KeyState::Retired => {
            let detail = "This key is retired: it is in no key set, and nothing that it has signed counts any more.";
            return Err(Rejection::conflict(detail).into());
        }
    }
    organizations::raise_keys_version(tx).await?;
    signing_keys::end(tx, kid.number, Some(why)).await?;
    let successor = match key.state {
        KeyState::Active => Some(step.succeed(vault).await?),
        _ => None,
    };
    let view = step.view(kid.number).await?;
    let event = audit::Event::new(origin, "signing_key.withdrawn")
        .details(json!({ "successor": successor }))
        .before(&SigningKeyView::new(step.tag, &key))
        .after(&view);
    audit::write(tx, &kid, &event).await?;
    Ok(view)
}

impl Step<'_, '_> {
    /// Finds or makes a key that signs, where none is left.
    async fn succeed(&self, vault: &Vault) -> Result<Kid, Error> {
        let in_force = signing_keys::in_force(self.tx).await?;
        let published = in_force.iter().find(|key| key.state == KeyState::Published);
        let Some(published) = published else {
            let number = self.create(vault, KeyState::Active).await?;
            return Ok(self.kid(number));
        };
        let kid = self.kid(published.number);
        let before = self.view(kid.number).await?;
        if !signing_keys::activate(self.tx, kid.number).await? {
            return Err(Error::Row("signing_keys.state"));
        }
        let event = audit::Event::new(self.origin, "signing_key.activated")
            .details(json!({ "supersedes": null, "emergency": true }))
            .before(&before)
            .after(&self.view(kid.number).await?);
        audit::write(self.tx, &kid, &event).await?;
        Ok(kid)
    }
}

/// Seals what is sealed under another master key than the present one anew. Hands back how many
/// keys that were; done again, it finds none.
pub(crate) async fn reseal(tx: &Tx<'_>, vault: &Vault, origin: Origin<'_>) -> Result<u64, Error> {
    let step = Step::begin(tx, origin).await?;
    let seeds = signing_keys::sealed_otherwise(tx, &vault.master().head()).await?;
    if seeds.is_empty() {
        return Ok(0);
    }
    for key in &seeds {
        let sealed = vault.reseal(tx.org_id(), step.kid(key.number), key)?;
        signing_keys::put_sealed(tx, key.number, &sealed).await?;
    }
    let event =
        audit::Event::new(origin, "signing_key.resealed").details(json!({ "keys": seeds.len() }));
    audit::write(tx, &tx.org_id(), &event).await?;
    Ok(seeds.len() as u64)
}
