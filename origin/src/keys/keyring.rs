//! An organization's keys in use: the signer, the public keys, and the signed document that
//! makes them known.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use licet_shared::{
    documents::{Jwk, KeysClaims, OrgKeys},
    id::{OrgId, OrgTag},
    jws::{Signer, Times, VerifyingKey, sign},
    time::Timestamp,
};
use lru::LruCache;

use super::{Kid, MasterKeys, Platform, Vault, vault::SharedSigner};
use crate::{
    db::{
        self, Tenant,
        organizations::Organization,
        signing_keys::{KeyState, SigningKey},
    },
    documents::{DOCUMENT_LIFE_S, SignedDocument},
    fault::Fault,
};

/// Organizations whose keys are kept ready: about a kilobyte each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// A key set is read anew after an hour, so that whoever needs its document gets most of its life.
const RELOAD_AFTER_S: i64 = 3600;
/// Its document is signed anew after this time for edges, who need its word on how far the feed had
/// come.
const RESIGN_AFTER_S: i64 = 30;

/// One organization's keys.
pub struct Keyring {
    version: u64,
    signer: SharedSigner,
    public: OrgKeys,
    claims: KeysClaims,
    document: Arc<SignedDocument>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Keyring({}, version {})",
            self.public.tag(),
            self.version
        )
    }
}

impl Keyring {
    /// Counted up with each change of the keys.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// What signs for the organization.
    #[must_use]
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// What verifies the organization's tokens.
    #[must_use]
    pub const fn public(&self) -> &OrgKeys {
        &self.public
    }

    /// The signed key set.
    #[must_use]
    pub const fn document(&self) -> &Arc<SignedDocument> {
        &self.document
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.document.issued_at()) < RELOAD_AFTER_S
    }
}

/// Opens, makes and remembers keyrings.
pub struct Keyrings {
    vault: Vault,
    platform: Platform,
    issuer: String,
    remembered: Mutex<LruCache<OrgId, Arc<Keyring>>>,
}

impl fmt::Debug for Keyrings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyrings(…)")
    }
}

impl Keyrings {
    /// Keyrings whose private keys are in `vault`, vouched for by `platform`.
    #[must_use]
    pub fn new(vault: impl Into<Vault>, platform: Platform, issuer: String) -> Self {
        Self {
            vault: vault.into(),
            platform,
            issuer,
            remembered: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// Who issues: the public base URL.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What signs for the platform.
    pub(crate) fn platform_signer(&self) -> &dyn Signer {
        self.platform.signer()
    }

    /// What verifies the platform's signatures by the key of this name, if that counts.
    pub(crate) fn platform_key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.platform.find(kid)
    }

    /// Where organizations' private keys are.
    pub(crate) const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// What other keys are sealed under and derived from.
    pub(crate) const fn master(&self) -> &MasterKeys {
        self.vault.master()
    }

    /// The keyring that is remembered, or else the current one.
    ///
    /// # Errors
    /// [`Fault`] when the keys can't be read or opened.
    pub async fn get(&self, tenant: &Tenant, now: Timestamp) -> Result<Arc<Keyring>, Fault> {
        match self.recall(tenant.org()) {
            Some(ring) if ring.is_fresh(now) => Ok(ring),
            _ => self.load(tenant, now).await,
        }
    }

    /// The keyring of a version that the database has just named, which may be newer than the one
    /// remembered.
    ///
    /// # Errors
    /// [`Fault`] when the keys can't be read or opened.
    pub async fn get_version(
        &self,
        tenant: &Tenant,
        version: u64,
        now: Timestamp,
    ) -> Result<Arc<Keyring>, Fault> {
        match self.recall(tenant.org()) {
            Some(ring) if ring.is_fresh(now) && ring.version >= version => Ok(ring),
            _ => self.load(tenant, now).await,
        }
    }

    fn recall(&self, org: OrgId) -> Option<Arc<Keyring>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&org)
            .cloned()
    }

    async fn load(&self, tenant: &Tenant, now: Timestamp) -> Result<Arc<Keyring>, Fault> {
        let (organization, keys) = tenant
            .run_pipelined("load_signing_keys", |tx| {
                Box::pin(async move {
                    let organization = db::organizations::find(tx);
                    let keys = db::signing_keys::in_force(tx);
                    futures_util::future::try_join(organization, keys).await
                })
            })
            .await?;
        let organization =
            organization.ok_or_else(|| Fault::internal("an organization's row", "is missing"))?;
        let ring = Arc::new(self.assemble(tenant.org(), &organization, &keys, now)?);
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // A slower reader must not put back what a faster one has already replaced.
        if remembered
            .peek(&tenant.org())
            .is_none_or(|there| there.version <= ring.version)
        {
            remembered.put(tenant.org(), Arc::clone(&ring));
        }
        Ok(ring)
    }

    fn assemble(
        &self,
        org: OrgId,
        organization: &Organization,
        keys: &[SigningKey],
        now: Timestamp,
    ) -> Result<Keyring, Fault> {
        let tag = organization.tag;
        let signer = self.open_signer(org, tag, keys)?;
        let jwks = keys
            .iter()
            .map(|key| {
                let kid = Kid {
                    tag,
                    number: key.number,
                };
                Ok(Jwk::of(&VerifyingKey::new(kid.to_string(), key.public)?))
            })
            .collect::<Result<_, licet_shared::jws::KeyError>>()
            .map_err(|error| Fault::internal("an organization's public key", error))?;
        let claims = KeysClaims {
            iss: self.issuer.clone(),
            sub: org,
            tag,
            ver: organization.keys_version,
            ep: organization.epoch,
            keys: jwks,
        };
        let document = self.sign_keys(&claims, now)?;
        let text = document.text();
        let text = std::str::from_utf8(&text)
            .map_err(|error| Fault::internal("our own key set", error))?;
        let public = OrgKeys::verify(text.into(), &self.issuer, tag, self.platform.keys(), now)
            .map_err(|error| Fault::internal("our own key set", error))?;
        Ok(Keyring {
            version: organization.keys_version,
            signer,
            public,
            claims,
            document,
        })
    }

    /// The signed key set for edges, given how far the feed had come when it was found to be the
    /// current one.
    pub(crate) fn document(
        &self,
        ring: &Keyring,
        epoch: u64,
        now: Timestamp,
    ) -> Result<Arc<SignedDocument>, Fault> {
        if now.since(ring.document.issued_at()) < RESIGN_AFTER_S {
            return Ok(Arc::clone(&ring.document));
        }
        let claims = KeysClaims {
            ep: epoch,
            ..ring.claims.clone()
        };
        self.sign_keys(&claims, now)
    }

    fn sign_keys(&self, claims: &KeysClaims, now: Timestamp) -> Result<Arc<SignedDocument>, Fault> {
        let times = Times::starting(now, DOCUMENT_LIFE_S);
        let text = sign(claims, times, self.platform.signer())
            .map_err(|error| Fault::internal("the platform key", error))?;
        Ok(Arc::new(SignedDocument::new(text, claims.ver, now)))
    }

    /// The key that signs.
    fn open_signer(
        &self,
        org: OrgId,
        tag: OrgTag,
        keys: &[SigningKey],
    ) -> Result<SharedSigner, Fault> {
        let key = keys
            .iter()
            .find(|key| key.state == KeyState::Active)
            .ok_or_else(|| Fault::internal("an organization's signing key", "is missing"))?;
        let kid = Kid {
            tag,
            number: key.number,
        };
        self.vault.signer(org, kid, key)
    }
}
