//! Feature sets.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Value, value::RawValue};

use super::{DocumentError, FeatureOverrides, FeaturesClaims, OrgKeys};
use crate::{id::FeatureSetId, jws::Times, time::Timestamp};

/// A verified feature set.
#[derive(Clone, Debug)]
pub struct FeatureSet {
    id: FeatureSetId,
    revision: u32,
    values: BTreeMap<String, Value>,
    json: Box<RawValue>,
    times: Times,
}

impl FeatureSet {
    /// Verifies a `features+jwt` as the set `id` of the organization whose keys are given.
    ///
    /// # Errors
    /// [`DocumentError`] when any of it does not hold.
    pub fn verify(
        text: &str,
        id: FeatureSetId,
        keys: &OrgKeys,
        now: Timestamp,
    ) -> Result<Self, DocumentError> {
        let document = keys.verify_document::<FeaturesClaims>(text, now)?;
        let times = document.times();
        let claims = document.into_claims();
        if claims.org != keys.org() || claims.iss != keys.issuer() || claims.sub != id {
            return Err(DocumentError::Subject);
        }
        Self::new(id, claims.rev, claims.features, times)
    }

    /// A set whose values somebody has vouched for already.
    pub(crate) fn new(
        id: FeatureSetId,
        revision: u32,
        values: BTreeMap<String, Value>,
        times: Times,
    ) -> Result<Self, DocumentError> {
        let json = serde_json::value::to_raw_value(&values).map_err(|_| DocumentError::Content)?;
        Ok(Self {
            id,
            revision,
            values,
            json,
            times,
        })
    }

    /// Which set.
    #[must_use]
    pub const fn id(&self) -> FeatureSetId {
        self.id
    }

    /// Its revision.
    #[must_use]
    pub const fn revision(&self) -> u32 {
        self.revision
    }

    /// All values with a license's own in their place, as one JSON object. Without any it is the
    /// one that was written once for all licenses.
    #[must_use]
    pub fn json(&self, own: &FeatureOverrides) -> Option<Cow<'_, RawValue>> {
        if own.is_empty() {
            return Some(Cow::Borrowed(&self.json));
        }
        // Nothing rather than the set's alone, from which features may have been taken away.
        let json = serde_json::value::to_raw_value(&own.over(&self.values)).ok()?;
        Some(Cow::Owned(json))
    }

    /// When the document was made, and until when it holds.
    #[must_use]
    pub const fn times(&self) -> Times {
        self.times
    }

    /// Whether a feature is there to be used, a license's own values considered: present, and
    /// neither `false`, `null`, `0` nor `""`.
    #[must_use]
    pub fn grants(&self, own: &FeatureOverrides, name: &str) -> bool {
        match own.resolve(name, self.values.get(name)) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => true,
        }
    }
}

#[cfg(test)]
mod extremes {
    /// Postgres writes a `jsonb` number out in full. Read with less than full accuracy it would
    /// be beyond what a number can be.
    #[test]
    fn the_greatest_number_is_read_back_written_out() {
        let written = format!("{:.0}", f64::MAX);
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read.as_f64(), Some(f64::MAX));
    }
}
