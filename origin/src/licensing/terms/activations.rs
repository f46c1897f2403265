//! How many devices a license may be active on, and how it may go from one to another.

use licet_shared::api::BodyError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check;

/// On how many devices beyond its number of activations a license may be active, as a part of
/// that number, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) enum Overage {
    /// On none.
    #[serde(rename = "NONE")]
    None,
    /// On a quarter more.
    #[serde(rename = "X1_25")]
    Quarter,
    /// On half as many more.
    #[serde(rename = "X1_5")]
    Half,
    /// On twice as many.
    #[serde(rename = "X2")]
    Twice,
    /// On any number.
    #[serde(rename = "UNLIMITED")]
    Unlimited,
}

impl Overage {
    /// The most devices for a number of activations; none where there is no such number.
    pub(crate) const fn limit(self, max_activations: i64) -> Option<i64> {
        match self {
            Self::None => Some(max_activations),
            Self::Quarter => Some(max_activations + max_activations / 4),
            Self::Half => Some(max_activations + max_activations / 2),
            Self::Twice => Some(max_activations * 2),
            Self::Unlimited => None,
        }
    }
}

/// How often devices may give their activations back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deactivations {
    /// So often at the most.
    #[schema(maximum = 1_000_000)]
    pub(crate) max: u32,
    /// Within any so many seconds. At most ten years.
    #[schema(minimum = 60, maximum = 315_360_000)]
    pub(crate) period_s: u32,
}

impl Deactivations {
    pub(super) fn check(self) -> Result<(), BodyError> {
        let sound = self.max <= 1_000_000;
        check(sound, "terms.deactivations.max", "must be 0 to 1000000")?;
        let sound = (60..=315_360_000).contains(&self.period_s);
        check(
            sound,
            "terms.deactivations.period_s",
            "must be 60 to 315360000",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_device_is_none() {
        for (max, expected) in [
            (1, [1, 1, 1, 2]),
            (2, [2, 2, 3, 4]),
            (4, [4, 5, 6, 8]),
            (7, [7, 8, 10, 14]),
            (1_000_000, [1_000_000, 1_250_000, 1_500_000, 2_000_000]),
        ] {
            let limits = [
                Overage::None,
                Overage::Quarter,
                Overage::Half,
                Overage::Twice,
            ]
            .map(|overage| overage.limit(max).unwrap());
            assert_eq!(limits, expected, "{max}");
        }
        assert_eq!(Overage::Unlimited.limit(1), None);
    }
}
