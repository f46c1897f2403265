//! What times count from, and how long they may be.

use licet_shared::api::BodyError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a license's duration counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum DurationStart {
    /// Its issue.
    Issue,
    /// The first activation.
    FirstActivation,
    /// The first activation or refresh that reaches the origin. Verdicts are given at the edge,
    /// and the origin does not hear of them.
    FirstValidation,
}

/// What a renewal's duration counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum RenewalStart {
    /// The present end, also one that has passed.
    End,
    /// The time of the renewal.
    Now,
}

/// 400 days, the longest life of a token.
const LONGEST_S: u32 = 34_560_000;

pub(super) fn check(field: &str, seconds: Option<u32>) -> Result<(), BodyError> {
    let sound = seconds.is_none_or(|seconds| (60..=LONGEST_S).contains(&seconds));
    super::check(sound, field, "must be 60 to 34560000")
}
