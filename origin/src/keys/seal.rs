//! Sealing with XChaCha20-Poly1305. What is sealed is bound to its place: moved to another row,
//! column or table it does not open. It begins with a name of the master key, so that what is still
//! under a former one is found by looking.

use std::{fmt, str::FromStr};

use base64ct::{Base64UrlUnpadded, Encoding};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Says how the rest is sealed: the key's name, nonce, ciphertext with tag.
const VERSION: u8 = 2;
/// Before there were several master keys: nonce, ciphertext with tag.
const NAMELESS_VERSION: u8 = 1;
const NAME_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;

/// The key that other keys are sealed under. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// The key made of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl FromStr for MasterKey {
    type Err = SealError;

    /// Reads base64url of 32 bytes.
    fn from_str(text: &str) -> Result<Self, SealError> {
        let mut bytes = [0; 32];
        match Base64UrlUnpadded::decode(text, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(bytes)),
            _ => Err(SealError),
        }
    }
}

/// It was sealed under another key or for another place, or it was altered. Which, nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealError;

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sealed key does not open: it is not under this LICET_MASTER_KEY, or not in its place")
    }
}

impl std::error::Error for SealError {}

/// Where a sealed value stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'a str,
    pub(crate) column: &'a str,
    pub(crate) org: Uuid,
    pub(crate) kid: &'a str,
}

impl Place<'_> {
    /// No part can hold the separator.
    fn associated_data(&self) -> Vec<u8> {
        format!(
            "licet\0{}\0{}\0{}\0{}",
            self.table, self.column, self.org, self.kid
        )
        .into_bytes()
    }
}

impl MasterKey {
    /// A key of its own for another use: HMAC-SHA-256 over what it is for and for whom.
    pub(crate) fn derive(&self, purpose: &'static str, input: &[u8]) -> [u8; 32] {
        use hmac::{Hmac, Mac as _};
        // HMAC takes keys of any length.
        let mut mac = match <Hmac<sha2::Sha256> as hmac::Mac>::new_from_slice(&self.0) {
            Ok(mac) => mac,
            Err(_) => return [0; 32],
        };
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(input);
        mac.finalize().into_bytes().into()
    }

    /// What tells this key from others, and nothing of it.
    fn name(&self) -> [u8; NAME_BYTES] {
        let digest = self.derive("licet master key name", &[]);
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&digest[..NAME_BYTES]);
        name
    }

    /// What all that is sealed under it begins with.
    fn head(&self) -> [u8; 1 + NAME_BYTES] {
        let mut head = [VERSION; 1 + NAME_BYTES];
        head[1..].copy_from_slice(&self.name());
        head
    }

    /// Seals a seed for one place. The nonce must be random.
    pub(crate) fn seal(
        &self,
        seed: &[u8; 32],
        place: Place<'_>,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Vec<u8>, SealError> {
        let payload = Payload {
            msg: seed,
            aad: &place.associated_data(),
        };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError)?;
        let mut bytes = self.head().to_vec();
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Ok(bytes)
    }

    /// Opens what [`MasterKey::seal`] sealed for the same place.
    pub(crate) fn open(
        &self,
        sealed: &[u8],
        place: Place<'_>,
    ) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let rest = match sealed.split_first() {
            Some((&VERSION, rest)) => rest.strip_prefix(&self.name()[..]).ok_or(SealError)?,
            Some((&NAMELESS_VERSION, rest)) => rest,
            _ => return Err(SealError),
        };
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_BYTES).ok_or(SealError)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| SealError)?;
        let payload = Payload {
            msg: ciphertext,
            aad: &place.associated_data(),
        };
        let seed = self
            .cipher()
            .decrypt(&XNonce::from(nonce), payload)
            .map(Zeroizing::new);
        let seed = seed.map_err(|_| SealError)?;
        let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| SealError)?;
        Ok(Zeroizing::new(*seed))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

/// The master key that seals, and others that only open: former ones, until all is sealed anew, and
/// the next one while some processes use it already. `Debug` shows nothing of them.
#[derive(Clone)]
pub struct MasterKeys {
    sealing: MasterKey,
    opening: Vec<MasterKey>,
}

impl MasterKeys {
    /// One that seals, and others that open.
    #[must_use]
    pub const fn new(sealing: MasterKey, opening: Vec<MasterKey>) -> Self {
        Self { sealing, opening }
    }

    /// The one that seals, then the others.
    pub(crate) fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.sealing).chain(&self.opening)
    }

    /// The one that seals.
    pub(crate) const fn sealing(&self) -> &MasterKey {
        &self.sealing
    }

    /// What all that is sealed under the sealing one begins with.
    pub(crate) fn head(&self) -> [u8; 1 + NAME_BYTES] {
        self.sealing.head()
    }

    /// Opens what any of them sealed for the same place.
    pub(crate) fn open(
        &self,
        sealed: &[u8],
        place: Place<'_>,
    ) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let mut opened = self.all().map(|key| key.open(sealed, place));
        opened.find(Result::is_ok).unwrap_or(Err(SealError))
    }
}

impl From<MasterKey> for MasterKeys {
    fn from(sealing: MasterKey) -> Self {
        Self::new(sealing, Vec::new())
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKeys(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place {
        table: "signing_keys",
        column: "sealed_seed",
        org: Uuid::from_u128(7),
        kid: "ABCDEFGH.1",
    };

    #[test]
    fn opens_in_its_own_place_alone() {
        let key = MasterKey::new([1; 32]);
        let sealed = key.seal(&[9; 32], PLACE, [3; 24]).unwrap();
        assert_eq!(*key.open(&sealed, PLACE).unwrap(), [9; 32]);
        for elsewhere in [
            Place {
                table: "other",
                ..PLACE
            },
            Place {
                column: "other",
                ..PLACE
            },
            Place {
                org: Uuid::from_u128(8),
                ..PLACE
            },
            Place {
                kid: "ABCDEFGH.2",
                ..PLACE
            },
        ] {
            assert_eq!(key.open(&sealed, elsewhere), Err(SealError));
        }
        assert_eq!(MasterKey::new([2; 32]).open(&sealed, PLACE), Err(SealError));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let key = MasterKey::new([1; 32]);
        let sealed = key.seal(&[9; 32], PLACE, [3; 24]).unwrap();
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert_eq!(key.open(&altered, PLACE), Err(SealError), "byte {position}");
            assert_eq!(key.open(&sealed[..position], PLACE), Err(SealError));
        }
    }

    /// As they were before there were several master keys.
    fn nameless(key: &MasterKey, seed: &[u8; 32]) -> Vec<u8> {
        let sealed = key.seal(seed, PLACE, [3; 24]).unwrap();
        [&[NAMELESS_VERSION][..], &sealed[1 + NAME_BYTES..]].concat()
    }

    #[test]
    fn what_any_of_several_keys_sealed_opens_and_is_told_apart() {
        let [old, new, other] = [1, 2, 3].map(|byte| MasterKey::new([byte; 32]));
        let keys = MasterKeys::new(new.clone(), vec![old.clone()]);
        for key in [&old, &new] {
            let sealed = key.seal(&[9; 32], PLACE, [3; 24]).unwrap();
            assert_eq!(*keys.open(&sealed, PLACE).unwrap(), [9; 32]);
            assert_eq!(sealed.starts_with(&keys.head()), *key == new);
            let nameless = nameless(key, &[9; 32]);
            assert_eq!(*keys.open(&nameless, PLACE).unwrap(), [9; 32]);
            assert!(!nameless.starts_with(&keys.head()));
        }
        let sealed = other.seal(&[9; 32], PLACE, [3; 24]).unwrap();
        assert_eq!(keys.open(&sealed, PLACE), Err(SealError));
        assert_eq!(
            keys.open(&nameless(&other, &[9; 32]), PLACE),
            Err(SealError)
        );
    }

    #[test]
    fn shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", MasterKey::new([1; 32])), "MasterKey(…)");
        let keys = MasterKeys::from(MasterKey::new([1; 32]));
        assert_eq!(format!("{keys:?}"), "MasterKeys(…)");
        assert!("AQ".parse::<MasterKey>().is_err());
    }
}
