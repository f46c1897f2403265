//! Organizations in bulk, to measure and test with: everything that vendors and their customers
//! would have made, derived from a number. The same number makes the same rows, but for the nonces
//! that seal the signing keys and the salt of the password.
//!
//! Nothing made here is secret: whoever knows the number knows every key.

mod dice;
mod load;
mod org;
mod rows;
pub(crate) mod tables;

use serde::Serialize;

pub(crate) use load::Loader;
pub(crate) use org::Org;

/// What the owners of all generated organizations log in with.
pub(crate) const PASSWORD: &str = "generated, for tests only";

/// How much of everything. Any two that differ have no organization in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) orgs: u32,
    pub(crate) licenses: u32,
    pub(crate) activations: u32,
}

/// What one organization gets of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// From 0, the biggest, on.
    pub(crate) number: u32,
    pub(crate) licenses: u32,
    pub(crate) activations: u32,
}

impl Plan {
    /// The shares, by Zipf's law: the second organization has half of what the first has, the
    /// third a third. Of a million licenses in 10,000 organizations, the first has 102,000 and the
    /// last ten.
    pub(crate) fn shares(&self) -> Vec<Share> {
        let all: f64 = (1..=self.orgs).map(|n| 1.0 / f64::from(n)).sum();
        let (mut weight, mut before) = (0.0, (0, 0));
        // Nothing to activate where there is no license.
        let activations = |licenses: u32| {
            let part = u64::from(self.activations) * u64::from(licenses);
            u32::try_from(part / u64::from(self.licenses.max(1))).unwrap_or(u32::MAX)
        };
        (0..self.orgs)
            .map(|number| {
                weight += 1.0 / f64::from(number + 1);
                // Rounded together, so that all add up.
                let part = if number + 1 == self.orgs {
                    1.0
                } else {
                    weight / all
                };
                let licenses = up_to(self.licenses, part);
                let until = (licenses, activations(licenses));
                let share = Share {
                    number,
                    licenses: until.0 - before.0,
                    activations: until.1 - before.1,
                };
                before = until;
                share
            })
            .collect()
    }

    /// The organization of a share.
    pub(crate) fn org(&self, share: Share) -> Org {
        Org::new(self, share)
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between nothing and all of them"
)]
fn up_to(all: u32, part: f64) -> u32 {
    (f64::from(all) * part).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_uneven() {
        for (orgs, licenses, activations) in [(1, 5, 3), (7, 3, 0), (10_000, 1_000_000, 1_200_000)]
        {
            let plan = Plan {
                seed: 1,
                orgs,
                licenses,
                activations,
            };
            let shares = plan.shares();
            let sum = |part: fn(&Share) -> u32| shares.iter().map(part).sum::<u32>();
            assert_eq!(shares.len() as u32, orgs);
            assert_eq!(sum(|share| share.licenses), licenses);
            assert_eq!(sum(|share| share.activations), activations);
        }
        let plan = Plan {
            seed: 1,
            orgs: 10_000,
            licenses: 1_000_000,
            activations: 0,
        };
        let shares = plan.shares();
        assert!(shares[0].licenses > 100_000 && shares[9_999].licenses == 10);
    }
}
