//! Where the private halves of organizations' keys are: sealed in the database, or in a hardware
//! security module.

use std::{fmt, sync::Arc};

use licet_shared::{
    id::OrgId,
    jws::{LocalSigner, Signer},
};
use zeroize::Zeroizing;

use super::{
    Kid, MasterKey, MasterKeys, Module, SealError, ed25519::NativeSigner, pkcs11::ModuleSigner,
    seal::Place,
};
use crate::{
    db::signing_keys::{Private, SealedSeed, SigningKey, Store},
    fault::Fault,
    random::{self, RowId},
};

pub(crate) type SharedSigner = Arc<dyn Signer + Send + Sync>;

/// Makes organizations' keys, and signers of them. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Vault {
    master: MasterKeys,
    module: Option<Arc<Module>>,
    /// Where new keys are made.
    new_keys: Store,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl<T: Into<MasterKeys>> From<T> for Vault {
    /// One that seals all keys.
    fn from(master: T) -> Self {
        Self {
            master: master.into(),
            module: None,
            new_keys: Store::Sealed,
        }
    }
}

/// A key that was just made.
pub(crate) struct Made {
    pub(crate) public: [u8; 32],
    pub(crate) private: Private,
}

impl Vault {
    /// With a module that keys are in. New ones, too, if `for_new_keys`; those that there are stay where
    /// they are.
    #[must_use]
    pub fn with_module(self, module: Arc<Module>, for_new_keys: bool) -> Self {
        Self {
            module: Some(module),
            new_keys: if for_new_keys {
                Store::Pkcs11
            } else {
                Store::Sealed
            },
            ..self
        }
    }

    fn module(&self) -> Result<&Arc<Module>, Fault> {
        let none = || Fault::internal(KEY, "is in a module, and LICET_PKCS11_MODULE is not set");
        self.module.as_ref().ok_or_else(none)
    }

    /// What seeds are sealed under and refresh tokens derived from.
    pub(crate) const fn master(&self) -> &MasterKeys {
        &self.master
    }

    /// Makes a key.
    pub(crate) fn make(&self, org: OrgId, kid: Kid) -> Result<Made, Fault> {
        if self.new_keys == Store::Pkcs11 {
            let key = self.module()?.generate(&kid.to_string());
            let key = key.map_err(|error| Fault::unavailable("making a key", error))?;
            return Ok(Made {
                public: key.public,
                private: Private::Module(key.id),
            });
        }
        let seed = Zeroizing::new(random::bytes::<32>()?);
        let (public, sealed) = seal_seed(self.master.sealing(), org, kid, &seed)?;
        Ok(Made {
            public,
            private: Private::Sealed(Some(sealed)),
        })
    }

    /// What signs by a key.
    pub(crate) fn signer(
        &self,
        org: OrgId,
        kid: Kid,
        key: &SigningKey,
    ) -> Result<SharedSigner, Fault> {
        match &key.private {
            Private::Sealed(Some(sealed)) => {
                let seed = self.open(org, kid, sealed)?;
                match NativeSigner::new(&kid.to_string(), &seed, &key.public) {
                    Some(signer) => Ok(Arc::new(signer)),
                    None => Err(Fault::internal(KEY, "its halves differ")),
                }
            }
            Private::Sealed(None) => Err(Fault::internal(KEY, "its private half is deleted")),
            Private::Module(id) => Ok(Arc::new(ModuleSigner {
                kid: kid.to_string(),
                module: Arc::clone(self.module()?),
                id: id.clone(),
            })),
        }
    }

    fn open(&self, org: OrgId, kid: Kid, sealed: &[u8]) -> Result<Zeroizing<[u8; 32]>, Fault> {
        let opened = self.master.open(sealed, place(org, &kid.to_string()));
        opened.map_err(|error| Fault::internal(KEY, error))
    }

    /// Seals a seed anew, under the master key that seals now.
    pub(crate) fn reseal(&self, org: OrgId, kid: Kid, key: &SealedSeed) -> Result<Vec<u8>, Fault> {
        let seed = self.open(org, kid, &key.sealed)?;
        let (public, sealed) = seal_seed(self.master.sealing(), org, kid, &seed)?;
        if public == key.public {
            Ok(sealed)
        } else {
            Err(Fault::internal(KEY, "its halves differ"))
        }
    }
}

const KEY: &str = "an organization's signing key";

fn place(org: OrgId, kid: &str) -> Place<'_> {
    Place {
        table: "signing_keys",
        column: "sealed_seed",
        org: org.uuid(),
        kid,
    }
}

/// The public half of a seed, and the seed sealed.
pub(crate) fn seal_seed(
    master: &MasterKey,
    org: OrgId,
    kid: Kid,
    seed: &[u8; 32],
) -> Result<([u8; 32], Vec<u8>), Fault> {
    let kid = kid.to_string();
    let public = LocalSigner::from_seed(kid.as_str(), *seed)
        .verifying_key()
        .bytes();
    let sealed = master
        .seal(seed, place(org, &kid), random::bytes()?)
        .map_err(|error: SealError| Fault::internal("sealing a key", error))?;
    Ok((public, sealed))
}
