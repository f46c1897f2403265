//! How devices are told apart.

use licet_shared::api::{BodyError, MAX_COMPONENTS};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check;

/// Where a token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Fingerprint {
    /// On the device that it was made for; a device without a fingerprint is not activated.
    Required,
    /// On the device that it was made for, if that had a fingerprint; else on any.
    Optional,
    /// On any device.
    None,
}

/// How devices are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FingerprintTerm {
    /// Where a token counts. As the policy's `fingerprint_rule` says, if absent: BOUND is
    /// REQUIRED, FREE is NONE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<Fingerprint>,
    /// So many of a device's component fingerprints must be as they were when it was activated.
    /// All of them, if absent.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 8)]
    pub(crate) matching: Option<u8>,
}

impl FingerprintTerm {
    pub(super) fn check(self) -> Result<(), BodyError> {
        let sound = self
            .matching
            .is_none_or(|number| (1..=MAX_COMPONENTS).contains(&usize::from(number)));
        check(sound, "terms.fingerprint.match", "must be 1 to 8")
    }
}
