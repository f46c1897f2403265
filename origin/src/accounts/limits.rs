//! How often a login may be tried.
//!
//! Nobody can lock another out: guesses count against the address they come from and against
//! the pair of address and account; an account that is guessed at from many addresses only
//! makes strangers slower, and leaves an address from which its owner has logged in before alone.
//! In this process's memory: with several processes the limits hold for each.

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::{
    buckets::{Buckets, Quota},
    rejection::Rejection,
};

use licet_shared::problem::ProblemCode;

const REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// From one address at one account.
const PAIR: Quota = Quota {
    capacity: 5,
    window_s: 300,
};
/// The same while the account is being guessed at from many addresses.
const STRANGER: Quota = Quota {
    capacity: 1,
    window_s: 600,
};
/// From one address, at accounts that it has never got into.
const ADDRESS: Quota = Quota {
    capacity: 30,
    window_s: 300,
};
/// At one account, from addresses that have never got into it.
const ACCOUNT: Quota = Quota {
    capacity: 100,
    window_s: 3600,
};
/// New organizations and accepted invitations from one address, if nothing else is configured.
pub const NEWCOMERS: Quota = Quota {
    capacity: 20,
    window_s: 3600,
};

/// An account by the hash of its e-mail: the address itself need not lie about in memory.
type Account = [u8; 32];

/// Guards logins.
#[derive(Debug)]
pub struct LoginLimits {
    pairs: Buckets<(Network, Account)>,
    strangers: Buckets<(Network, Account)>,
    addresses: Buckets<Network>,
    accounts: Buckets<Account>,
    newcomers: Buckets<Network>,
    newcomer_quota: Quota,
    known: Mutex<LruCache<(Network, Account), ()>>,
}

impl LoginLimits {
    /// With a limit for newcomers from one address.
    #[must_use]
    pub fn new(newcomer_quota: Quota) -> Self {
        Self {
            newcomer_quota,
            pairs: Buckets::new(REMEMBERED),
            strangers: Buckets::new(REMEMBERED),
            addresses: Buckets::new(REMEMBERED),
            accounts: Buckets::new(REMEMBERED),
            newcomers: Buckets::new(REMEMBERED),
            known: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }
}

/// What one subscriber holds: an IPv4 address, or 64 bits of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network([u8; 8]);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let mut bytes = [0; 8];
        match address.to_canonical() {
            IpAddr::V4(address) => bytes[4..].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes.copy_from_slice(&address.octets()[..8]),
        }
        Self(bytes)
    }
}

/// A login that may be tried, to be told how it went.
#[must_use]
pub(crate) struct Attempt<'a> {
    limits: &'a LoginLimits,
    pair: (Network, Account),
    known: bool,
}

impl LoginLimits {
    /// Counts an attempt before it is made.
    pub(crate) fn attempt(
        &self,
        address: IpAddr,
        email: &str,
        now_ms: u64,
    ) -> Result<Attempt<'_>, Rejection> {
        let network = Network::from(address);
        let pair = (network, Sha256::digest(email.as_bytes()).into());
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&pair)
            .is_some();
        let level = self.pairs.take(pair, PAIR, now_ms);
        if !level.allowed {
            return Err(refuse(level.next_s));
        }
        if !known {
            let level = self.addresses.take(network, ADDRESS, now_ms);
            if !level.allowed {
                return Err(refuse(level.next_s));
            }
            if !self.accounts.take(pair.1, ACCOUNT, now_ms).allowed {
                let level = self.strangers.take(pair, STRANGER, now_ms);
                if !level.allowed {
                    return Err(refuse(level.next_s));
                }
            }
        }
        Ok(Attempt {
            limits: self,
            pair,
            known,
        })
    }

    /// Counts a newcomer: somebody who signs up or accepts an invitation.
    pub(crate) fn newcomer(&self, address: IpAddr, now_ms: u64) -> Result<(), Rejection> {
        let level = self
            .newcomers
            .take(Network::from(address), self.newcomer_quota, now_ms);
        if level.allowed {
            Ok(())
        } else {
            Err(refuse(level.next_s))
        }
    }
}

impl Attempt<'_> {
    /// The password was right: nothing was guessed.
    pub(crate) fn succeeded(self) {
        let Self {
            limits,
            pair,
            known,
        } = self;
        limits.pairs.give_back(&pair, PAIR);
        if !known {
            limits.addresses.give_back(&pair.0, ADDRESS);
            limits.accounts.give_back(&pair.1, ACCOUNT);
        }
        limits
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(pair, ());
    }
}

fn refuse(seconds: u32) -> Rejection {
    Rejection::new(
        ProblemCode::RateLimited,
        "Too many attempts. Wait for as long as Retry-After says.",
    )
    .retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_250_208_000;
    const OWNER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn attacker(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000_u32 + number).to_be_bytes())
    }

    #[test]
    fn guessing_ends_soon_and_success_costs_nothing() {
        let limits = LoginLimits::new(NEWCOMERS);
        for _ in 0..5 {
            assert!(limits.attempt(attacker(1), "a@x.test", NOW).is_ok());
        }
        assert!(limits.attempt(attacker(1), "a@x.test", NOW).is_err());
        assert!(
            limits
                .attempt(attacker(1), "a@x.test", NOW + 60_000)
                .is_ok()
        );
        for _ in 0..100 {
            limits.attempt(OWNER, "a@x.test", NOW).unwrap().succeeded();
        }
    }

    #[test]
    fn one_address_can_not_try_account_after_account() {
        let limits = LoginLimits::new(NEWCOMERS);
        let tried = (0..100)
            .filter(|n| {
                limits
                    .attempt(attacker(1), &format!("{n}@x.test"), NOW)
                    .is_ok()
            })
            .count();
        assert_eq!(tried, 30);
        // And another address is not touched by it.
        assert!(limits.attempt(attacker(2), "1@x.test", NOW).is_ok());
    }

    #[test]
    fn an_owner_gets_in_while_the_account_is_guessed_at_from_everywhere() {
        let limits = LoginLimits::new(NEWCOMERS);
        limits.attempt(OWNER, "a@x.test", NOW).unwrap().succeeded();
        let tried = (0..1000)
            .flat_map(|n| (0..5).map(move |_| n))
            .filter(|n| limits.attempt(attacker(*n), "a@x.test", NOW).is_ok())
            .count();
        assert!(tried <= 100 + 1000, "{tried}");
        for _ in 0..5 {
            assert!(limits.attempt(OWNER, "a@x.test", NOW).is_ok(), "known");
        }
        // From a new place there is at least one attempt.
        let new_place = IpAddr::from([198, 51, 100, 7]);
        limits
            .attempt(new_place, "a@x.test", NOW)
            .unwrap()
            .succeeded();
        assert!(limits.attempt(new_place, "a@x.test", NOW).is_ok());
    }

    #[test]
    fn an_ipv6_subscriber_is_one() {
        let one: IpAddr = "2001:db8:1:2::1".parse().unwrap();
        let same: IpAddr = "2001:db8:1:2:ffff::9".parse().unwrap();
        let other: IpAddr = "2001:db8:1:3::1".parse().unwrap();
        assert_eq!(Network::from(one), Network::from(same));
        assert_ne!(Network::from(one), Network::from(other));
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(Network::from(mapped), Network::from(OWNER));
    }
}
