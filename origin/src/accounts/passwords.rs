//! Passwords: Argon2id, computed by a few threads at a time, so that logins can't take all
//! memory and all cores.

mod common;
mod rules;

use std::{fmt, sync::Arc, time::Instant};

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64Unpadded, Encoding};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

pub(crate) use rules::check;

use crate::{fault::Fault, metrics::Metrics, random};

/// OWASP's least: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HEAD: &str = "$argon2id$v=19$m=19456,t=2,p=1$";
/// A hash of nothing that anybody can type: what is verified when there is no such person.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and verifies passwords, a bounded number at once.
#[derive(Clone)]
pub struct PasswordPool {
    working: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for PasswordPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordPool({} free)", self.working.available_permits())
    }
}

impl PasswordPool {
    /// With `threads` at work, each on 19 MiB, and `waiting` more in line.
    #[must_use]
    pub fn new(threads: usize, waiting: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            working: Arc::new(Semaphore::new(threads)),
            admitted: Arc::new(Semaphore::new(threads + waiting)),
            metrics,
        }
    }

    /// The hash to store, in PHC form, with a salt of its own.
    ///
    /// # Errors
    /// [`Fault`] that says 503 when the line is full.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, Fault> {
        let salt = random::bytes::<16>()?;
        let hash = self.compute(password, salt).await?;
        Ok(format!(
            "{HEAD}{}${}",
            Base64Unpadded::encode_string(&salt),
            Base64Unpadded::encode_string(&hash)
        ))
    }

    /// Whether the password is the one that was hashed. Without a hash it takes as long and is not.
    ///
    /// # Errors
    /// [`Fault`] that says 503 when the line is full, or that the stored hash can't be read.
    pub async fn verify(
        &self,
        password: Zeroizing<String>,
        stored: Option<&str>,
    ) -> Result<bool, Fault> {
        let (salt, expected) = read(stored.unwrap_or(NOBODY))
            .ok_or_else(|| Fault::internal("a password hash", "is not in the form we write"))?;
        let computed = self.compute(password, salt).await?;
        Ok(bool::from(computed.ct_eq(&expected)) && stored.is_some())
    }

    async fn compute(
        &self,
        password: Zeroizing<String>,
        salt: [u8; 16],
    ) -> Result<[u8; 32], Fault> {
        let started = Instant::now();
        let full = || Fault::busy("too many passwords at once");
        let _admitted = self.admitted.try_acquire().map_err(|_| full())?;
        let working = Arc::clone(&self.working)
            .acquire_owned()
            .await
            .map_err(|_| full())?;
        // The permit goes along: a caller who gave up must not free a thread that still computes.
        let computed = tokio::task::spawn_blocking(move || {
            let _working = working;
            argon2id(password.as_bytes(), &salt)
        })
        .await;
        self.metrics.password_hashed(started.elapsed());
        computed.map_err(|error| Fault::internal("hashing a password", error))?
    }
}

fn argon2id(password: &[u8], salt: &[u8; 16]) -> Result<[u8; 32], Fault> {
    let failed = |error: argon2::Error| Fault::internal("Argon2id", error.to_string());
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(failed)?;
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut hash)
        .map_err(failed)?;
    Ok(hash)
}

/// Salt and hash of a stored text.
fn read(stored: &str) -> Option<([u8; 16], [u8; 32])> {
    let (salt, hash) = stored.strip_prefix(HEAD)?.split_once('$')?;
    let salt = Base64Unpadded::decode_vec(salt).ok()?.try_into().ok()?;
    let hash = Base64Unpadded::decode_vec(hash).ok()?.try_into().ok()?;
    Some((salt, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.into())
    }

    #[tokio::test]
    async fn verifies_its_own_password_alone() {
        let pool = PasswordPool::new(2, 4, Arc::new(Metrics::new()));
        let stored = pool.hash(secret("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(
            pool.verify(secret("correct horse"), Some(&stored))
                .await
                .unwrap()
        );
        assert!(
            !pool
                .verify(secret("correct horsf"), Some(&stored))
                .await
                .unwrap()
        );
        assert!(!pool.verify(secret("correct horse"), None).await.unwrap());
        assert_ne!(pool.hash(secret("correct horse")).await.unwrap(), stored);
        assert!(pool.verify(secret("x"), Some("plain")).await.is_err());
    }

    #[tokio::test]
    async fn a_full_line_is_refused_at_once() {
        let pool = PasswordPool::new(0, 0, Arc::new(Metrics::new()));
        let refused = pool.hash(secret("correct horse")).await.unwrap_err();
        assert_eq!(refused.kind(), crate::fault::FaultKind::Unavailable);
    }
}
