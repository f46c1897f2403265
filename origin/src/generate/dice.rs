//! Numbers that look random and are not: SplitMix64 (Steele, Lea and Flood, 2014). Each thing has
//! dice of its own, so that any of them can be made without those before it.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What dice are thrown for.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum For {
    Org = 1,
    Product,
    FeatureSet,
    Policy,
    License,
    LicenseKey,
    Activation,
    User,
    ApiKey,
    Project,
    Invitation,
    Event,
    SigningKey,
}

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Those of the thing with this number in an organization.
    pub(super) fn new(root: u64, thing: For, org: u32, number: u32) -> Self {
        let place = (u64::from(org) << 32) | u64::from(number);
        let mut state = root ^ mix(place.wrapping_add(mix((thing as u64).wrapping_mul(STEP))));
        state = mix(state);
        Self(state)
    }

    /// What several numbers together stand for.
    pub(super) fn root(numbers: &[u64]) -> u64 {
        numbers.iter().fold(STEP, |root, number| {
            mix(root.wrapping_add(STEP) ^ mix(*number))
        })
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// One of 0 to `end`, which it is not. 0 where there is none.
    #[allow(clippy::cast_possible_truncation, reason = "less than `end`")]
    pub(super) fn below(&mut self, end: u32) -> u32 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u32
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let next = self.next().to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
        bytes
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_splitmix64() {
        // From the reference implementation, with seed 1234567.
        let mut dice = Dice(1_234_567);
        assert_eq!(dice.next(), 6_457_827_717_110_365_317);
        assert_eq!(dice.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn dice_of_different_things_differ() {
        let first = |thing, org, number| Dice::new(7, thing, org, number).next();
        let mut all = vec![first(For::License, 0, 0)];
        all.extend([
            first(For::LicenseKey, 0, 0),
            first(For::License, 1, 0),
            first(For::License, 0, 1),
            Dice::new(8, For::License, 0, 0).next(),
        ]);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 5);
        let mut dice = Dice::new(7, For::License, 0, 0);
        assert!((0..1000).all(|_| dice.below(3) < 3) && dice.below(0) == 0);
    }
}
