//! Feature sets.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Value, value::RawValue};

use super::{DocumentError, FeatureOverrides, FeaturesClaims, OrgKeys, Quota};
use crate::{
    id::FeatureSetId,
    jws::{SignedText, Times},
    time::Timestamp,
};

/// A verified feature set.
#[derive(Clone, Debug)]
pub struct FeatureSet {
    id: FeatureSetId,
    revision: u32,
    epoch: u64,
    values: BTreeMap<String, Value>,
    json: Box<RawValue>,
    /// Names of those whose values are quotas.
    metered: Vec<String>,
    times: Times,
}

impl FeatureSet {
    /// Verifies a `features+jwt` as the set `id` of the organization whose keys are given.
    ///
    /// # Errors
    /// [`DocumentError`] when any of it does not hold.
    pub fn verify(
        text: SignedText<'_>,
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
        let set = Self::new(id, claims.rev, claims.features, times)?;
        Ok(Self {
            epoch: claims.ep,
            ..set
        })
    }

    /// A set whose values somebody has vouched for already.
    pub(crate) fn new(
        id: FeatureSetId,
        revision: u32,
        values: BTreeMap<String, Value>,
        times: Times,
    ) -> Result<Self, DocumentError> {
        let json = serde_json::value::to_raw_value(&values).map_err(|_| DocumentError::Content)?;
        let metered = values.iter();
        let metered = metered
            .filter(|(_, value)| Quota::of(value).is_some())
            .map(|(name, _)| name.clone())
            .collect();
        Ok(Self {
            id,
            metered,
            revision,
            epoch: 0,
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

    /// How far the feed had come when it was read; 0 where that is not told.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
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

    /// The metered features, a license's own values considered.
    #[must_use]
    pub fn quotas<'a>(&'a self, own: &'a FeatureOverrides) -> BTreeMap<&'a str, Quota> {
        let names = self.metered.iter().chain(own.values().keys());
        let mut quotas = BTreeMap::new();
        quotas.extend(names.filter_map(|name| {
            let value = own.resolve(name, self.values.get(name))?;
            Some((name.as_str(), Quota::of(value)?))
        }));
        quotas
    }

    /// Whether there are any, without looking at each feature of the set.
    #[must_use]
    pub fn is_metered(&self, own: &FeatureOverrides) -> bool {
        let may_be = !self.metered.is_empty() || !own.is_empty();
        may_be && !self.quotas(own).is_empty()
    }

    /// Whether a feature is there to be used, a license's own values considered: present, and
    /// neither `false`, `null`, `0`, `""` nor a quota of 0. What is left of a quota is not asked.
    #[must_use]
    pub fn grants(&self, own: &FeatureOverrides, name: &str) -> bool {
        match own.resolve(name, self.values.get(name)) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(value @ Value::Object(_)) => Quota::of(value).is_none_or(|quota| quota.quota > 0),
            Some(Value::Bool(true) | Value::Array(_)) => true,
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
