//! The platform's keys: the one that signs, and those that edges pin.

use std::{fmt, sync::Arc};

use licet_shared::{
    documents::PlatformKeys,
    jws::{LocalSigner, Signer, VerifyingKey},
};

use super::{Module, ed25519::NativeSigner, pkcs11::ModuleSigner, vault::SharedSigner};
use crate::config::ConfigError;

/// What begins the name of a key that is in a module.
pub(crate) const IN_MODULE: &str = "pkcs11:";

const SIGNS: &str = "LICET_PLATFORM_KEY";
const PINNED: &str = "LICET_PLATFORM_KEYS";

/// The platform's keys. `Debug` shows no secret.
#[derive(Clone)]
pub struct Platform {
    signer: SharedSigner,
    /// Those whose signature counts: the signing one, and while they rotate another.
    keys: Vec<VerifyingKey>,
    pinned: PlatformKeys,
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Platform({})", self.signer.kid())
    }
}

impl Platform {
    /// The key in this process's memory.
    ///
    /// # Errors
    /// [`ConfigError`] when the key is none that verifies.
    pub fn local(signer: &LocalSigner) -> Result<Self, ConfigError> {
        let key = signer.verifying_key();
        let native = NativeSigner::of(signer)
            .ok_or_else(|| ConfigError::new(SIGNS, "is no Ed25519 seed"))?;
        Self::new(Arc::new(native), key)
    }

    /// The key with this label in a module; the label is its `kid`.
    ///
    /// # Errors
    /// [`ConfigError`] when the module has no such key.
    pub fn in_module(module: &Arc<Module>, label: &str) -> Result<Self, ConfigError> {
        let wrong = |why: String| ConfigError::new(SIGNS, why);
        let found = module
            .find(label)
            .map_err(|error| wrong(error.to_string()))?;
        let key = VerifyingKey::new(label, found.public);
        let key = key.map_err(|error| wrong(format!("names a key in the module: {error}")))?;
        let signer = ModuleSigner {
            kid: label.into(),
            module: Arc::clone(module),
            id: found.id,
        };
        Self::new(Arc::new(signer), key)
    }

    fn new(signer: SharedSigner, key: VerifyingKey) -> Result<Self, ConfigError> {
        let pinned = key.to_string().parse();
        let pinned =
            pinned.map_err(|_| ConfigError::new(SIGNS, "has a kid that key lists can't hold"))?;
        Ok(Self {
            signer,
            keys: vec![key],
            pinned,
        })
    }

    /// With the keys that edges pin, one or two, as their `PLATFORM_KEYS` has them: tokens of people
    /// count by either.
    ///
    /// # Errors
    /// [`ConfigError`] when they can't be read, or the signing one is not among them: what it signed
    /// would be refused.
    pub fn pinned(self, text: Option<&str>) -> Result<Self, ConfigError> {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            return Ok(self);
        };
        let wrong = |why: String| ConfigError::new(PINNED, why);
        let pinned: PlatformKeys = text
            .parse()
            .map_err(|error| wrong(format!("can't be read, as one key or two: {error}")))?;
        let keys: Vec<VerifyingKey> = text
            .split(',')
            .map(|key| key.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(format!("can't be read: {error}")))?;
        if keys.iter().any(|key| self.keys.contains(key)) {
            Ok(Self {
                keys,
                pinned,
                ..self
            })
        } else {
            let kid = self.signer.kid();
            Err(wrong(format!(
                "lacks the key that signs, {kid}: edges would refuse all that it signs. Add it there and at the edges first"
            )))
        }
    }

    pub(crate) fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// The key named `kid`, if its signature counts.
    pub(crate) fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.iter().find(|key| key.kid() == kid)
    }

    pub(crate) const fn keys(&self) -> &PlatformKeys {
        &self.pinned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_signs_is_among_those_that_edges_pin() {
        let [one, two, three] = [1, 2, 3]
            .map(|number| LocalSigner::from_seed(format!("platform.{number}"), [number; 32]));
        let text = |signers: &[&LocalSigner]| {
            let keys = signers.iter().map(|it| it.verifying_key().to_string());
            keys.collect::<Vec<_>>().join(", ")
        };
        let pinned = |keys: &str| Platform::local(&two).unwrap().pinned(Some(keys));
        for none in [None, Some(""), Some(" ")] {
            let alone = Platform::local(&two).unwrap().pinned(none).unwrap();
            assert!(alone.find("platform.2").is_some() && alone.find("platform.1").is_none());
        }
        for keys in [[&one, &two], [&two, &one]] {
            let both = pinned(&text(&keys)).unwrap();
            assert!(both.find("platform.2").is_some() && both.find("platform.1").is_some());
            assert_eq!(both.signer().kid(), "platform.2");
        }
        let refused = |keys: &str| pinned(keys).unwrap_err().to_string();
        assert!(refused(&text(&[&one])).contains("lacks the key that signs, platform.2"));
        // The same name, another key.
        let other = LocalSigner::from_seed("platform.2", [9; 32]);
        assert!(refused(&text(&[&other])).contains("lacks the key"));
        assert!(refused(&text(&[&one, &two, &three])).contains("can't be read"));
        assert!(refused("nonsense").contains("can't be read"));
    }
}
