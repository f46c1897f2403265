//! What licenses use of their metered features.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Answer, Body, BodyError, check_text};
use crate::{
    decision::Code,
    documents::{Quota, QuotaState},
};

/// Most uses that one request may record.
pub const MAX_USES: usize = 100;
/// Most characters of a use's id.
const MAX_USE_ID_CHARS: usize = 128;

/// Body of `POST /api/v1/licenses/consume`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConsumeRequest {
    /// What was used, or is about to be: all of it is recorded, or nothing.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 100))]
    pub uses: Vec<Use>,
}

/// One use of a metered feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// The feature's name.
    pub feature: String,
    /// How much.
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)
    )]
    pub amount: u64,
    /// Names this use among the license's: within a day it counts once, in whichever requests it
    /// is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Body of the origin's `usage`, which the edge makes from the bearer token and the client's body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRequest {
    /// The license token.
    pub token: String,
    /// As in [`ConsumeRequest`].
    pub uses: Vec<Use>,
}

/// Answer to consume, also when it is a no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConsumeAnswer {
    /// Whether all of it was recorded; nothing was otherwise.
    pub valid: bool,
    /// Why, in one word.
    pub code: Code,
    /// Why, in a sentence.
    pub detail: String,
    /// The feature that a no is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// How each of the features that were named stands now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quotas: BTreeMap<String, QuotaState>,
    /// Ids of uses that were recorded by an earlier request, and so not again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeated: Vec<String>,
    /// Names the request in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl ConsumeAnswer {
    /// An answer that is its code alone.
    #[must_use]
    pub fn plain(code: Code) -> Self {
        Self {
            valid: code == Code::Valid,
            code,
            detail: code.detail().into(),
            feature: None,
            quotas: BTreeMap::new(),
            repeated: Vec::new(),
            request_id: None,
        }
    }
}

impl Answer for ConsumeAnswer {
    fn code(&self) -> Code {
        self.code
    }

    fn set_request_id(&mut self, id: String) {
        self.request_id = Some(id);
    }
}

impl Body for UsageRequest {
    fn check(&self) -> Result<(), BodyError> {
        if !(1..=MAX_USES).contains(&self.uses.len()) {
            let what = format!("must be 1 to {MAX_USES}");
            return Err(BodyError::field("uses", &what));
        }
        for (position, one) in self.uses.iter().enumerate() {
            let field = |name: &str| format!("uses[{position}].{name}");
            check_text(&field("feature"), &one.feature)?;
            if !(1..=Quota::MAX).contains(&one.amount) {
                let what = format!("must be 1 to {}", Quota::MAX);
                return Err(BodyError::field(&field("amount"), &what));
            }
            let sound = |id: &String| {
                (1..=MAX_USE_ID_CHARS).contains(&id.len())
                    && id.bytes().all(|b| b.is_ascii_graphic())
            };
            if !one.id.as_ref().is_none_or(sound) {
                let what = format!("must have 1 to {MAX_USE_ID_CHARS} visible ASCII characters");
                return Err(BodyError::field(&field("id"), &what));
            }
        }
        Ok(())
    }
}
