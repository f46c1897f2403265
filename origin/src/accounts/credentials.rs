//! How often tokens and keys may be refused.
//!
//! Guessing one is hopeless; this is about what refusing costs. Refusals count against the address
//! they come from, and beyond its limit nothing that it makes up is looked for in the database any
//! more. Whoever is known here is not kept waiting by a neighbour behind the same address: a key
//! that was good before, and a token with our signature, are looked at all the same. A key that
//! this process has not seen yet waits while its address has none left.
//! In this process's memory: with several processes the limits hold for each.

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use licet_shared::problem::ProblemCode;
use lru::LruCache;

use super::limits::Network;
use crate::{
    buckets::{Buckets, Quota},
    rejection::Rejection,
};

const REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Refused tokens and keys from one address, if nothing else is configured. Of one token that was
/// ours and is good no longer as many: whoever holds on to it makes nobody wait but themselves.
pub const REFUSALS: Quota = Quota {
    capacity: 60,
    window_s: 60,
};
/// A token or key by its SHA-256.
pub(crate) type Fingerprint = [u8; 32];

/// Guards whatever is shown as `Authorization`, and refresh tokens.
#[derive(Debug)]
pub struct CredentialLimits {
    quota: Quota,
    refused: Buckets<Network>,
    outworn: Buckets<Fingerprint>,
    good: Mutex<LruCache<Fingerprint, ()>>,
}

impl CredentialLimits {
    /// With a limit for each address, and for each token that was ours.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            refused: Buckets::new(REMEMBERED),
            outworn: Buckets::new(REMEMBERED),
            good: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// Somebody who is about to show something.
    pub(crate) fn visitor(&self, address: IpAddr, now_ms: u64) -> Visitor<'_> {
        Visitor {
            limits: self,
            network: Network::from(address),
            now_ms,
        }
    }

    fn good(&self) -> MutexGuard<'_, LruCache<Fingerprint, ()>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody at an address, who shows something now.
#[derive(Clone, Copy)]
pub(crate) struct Visitor<'a> {
    limits: &'a CredentialLimits,
    network: Network,
    now_ms: u64,
}

impl<'a> Visitor<'a> {
    /// Counts something that can't be good, as was found out without the database.
    pub(crate) fn made_up(&self) -> Result<(), Rejection> {
        let limits = self.limits;
        let level = limits.refused.take(self.network, limits.quota, self.now_ms);
        if level.allowed {
            Ok(())
        } else {
            Err(too_many(level.next_s))
        }
    }

    /// Counts a look into the database before it is taken, unless what it is for was good before.
    pub(crate) fn look_up(&self, fingerprint: Fingerprint) -> Result<LookUp<'a>, Rejection> {
        let known = self.limits.good().get(&fingerprint).is_some();
        if !known {
            self.made_up()?;
        }
        Ok(LookUp {
            visitor: *self,
            fingerprint,
            known,
        })
    }

    /// Whether a token that is ours is worth a look: not if it was refused again and again.
    pub(crate) fn check_ours(&self, fingerprint: &Fingerprint) -> Result<(), Rejection> {
        let outworn = &self.limits.outworn;
        match outworn.wait(fingerprint, self.limits.quota, self.now_ms) {
            Some(seconds) => Err(too_many(seconds)),
            None => Ok(()),
        }
    }

    /// Counts that a token of ours is good no longer.
    pub(crate) fn outworn(&self, fingerprint: Fingerprint) {
        let outworn = &self.limits.outworn;
        outworn.take(fingerprint, self.limits.quota, self.now_ms);
    }
}

/// A look into the database, to be told what was found.
#[must_use]
pub(crate) struct LookUp<'a> {
    visitor: Visitor<'a>,
    fingerprint: Fingerprint,
    known: bool,
}

impl LookUp<'_> {
    /// It is good.
    pub(crate) fn found(self) {
        self.give_back();
        self.visitor.limits.good().put(self.fingerprint, ());
    }

    /// It is not, or not any more.
    pub(crate) fn refused(self) {
        if self.known {
            self.visitor.limits.good().pop(&self.fingerprint);
            // What it finds is for the next one to see.
            self.visitor.made_up().ok();
        }
    }

    /// The database could not say.
    pub(crate) fn give_back(&self) {
        let Visitor {
            limits, network, ..
        } = &self.visitor;
        if !self.known {
            limits.refused.give_back(network, limits.quota);
        }
    }
}

fn too_many(seconds: u32) -> Rejection {
    Rejection::new(
        ProblemCode::RateLimited,
        "Too many tokens or keys from your address were refused. Wait for as long as Retry-After says, and send a good one.",
    )
    .retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_250_208_000;
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn fingerprint(number: u32) -> Fingerprint {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    fn limits() -> CredentialLimits {
        CredentialLimits::new(REFUSALS)
    }

    #[test]
    fn what_is_made_up_is_looked_for_within_the_limit() {
        let limits = limits();
        let here = limits.visitor(HERE, NOW);
        let looked = (0..1000)
            .filter_map(|number| here.look_up(fingerprint(number)).ok())
            .map(LookUp::refused)
            .count();
        assert_eq!(looked, 60);
        assert!(here.made_up().is_err());
        // Nobody else is the slower for it, and one comes back each second.
        assert!(limits.visitor(THERE, NOW).made_up().is_ok());
        assert!(limits.visitor(HERE, NOW + 1000).made_up().is_ok());
        assert!(limits.visitor(HERE, NOW + 1000).made_up().is_err());
    }

    #[test]
    fn a_neighbour_with_a_key_that_was_good_waits_for_nobody() {
        let limits = limits();
        let here = limits.visitor(HERE, NOW);
        here.look_up(fingerprint(7)).unwrap().found();
        while here.made_up().is_ok() {}
        for _ in 0..1000 {
            here.look_up(fingerprint(7)).unwrap().found();
        }
        // Until it is good no longer.
        here.look_up(fingerprint(7)).unwrap().refused();
        assert!(here.look_up(fingerprint(7)).is_err());
    }

    #[test]
    fn good_keys_cost_nothing_and_neither_does_a_database_that_is_away() {
        let limits = limits();
        let here = limits.visitor(HERE, NOW);
        for number in 0..1000 {
            here.look_up(fingerprint(number)).unwrap().found();
            here.look_up(fingerprint(5000)).unwrap().give_back();
        }
    }

    #[test]
    fn an_outworn_token_makes_only_itself_wait() {
        let limits = limits();
        let here = limits.visitor(HERE, NOW);
        for _ in 0..60 {
            assert!(here.check_ours(&fingerprint(1)).is_ok());
            here.outworn(fingerprint(1));
        }
        assert!(here.check_ours(&fingerprint(1)).is_err());
        assert!(here.check_ours(&fingerprint(2)).is_ok());
        assert!(here.made_up().is_ok());
        let later = limits.visitor(HERE, NOW + 1000);
        assert!(later.check_ours(&fingerprint(1)).is_ok());
    }
}
