//! Feature values of one license, over those of its set.

use std::{collections::BTreeMap, fmt};

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Most features that one license may have values of its own for.
pub const MAX_OVERRIDES: usize = 64;
/// Most bytes that they may take as JSON: they travel in every token of the license.
pub const MAX_OVERRIDES_BYTES: usize = 2048;

/// What a value in memory takes at most, for each byte of its JSON: an array of digits.
const BYTES_PER_JSON_BYTE: usize = 16;
/// What a name and its place in the map take besides.
const ENTRY_BYTES: usize = 96;

/// A license's own feature values: each stands in place of its set's value, and null takes the
/// feature away.
///
/// What comes of set and overrides together is said here alone, by [`FeatureOverrides::resolve`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FeatureOverrides(BTreeMap<String, Value>);

impl FeatureOverrides {
    /// Whether the set's values stand as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name to value.
    #[must_use]
    pub const fn values(&self) -> &BTreeMap<String, Value> {
        &self.0
    }

    /// What a feature comes to: the license's own value, or else that of its set. None where
    /// neither has it, and where the license takes it away.
    #[must_use]
    pub fn resolve<'a>(&'a self, name: &str, in_set: Option<&'a Value>) -> Option<&'a Value> {
        match self.0.get(name) {
            Some(Value::Null) => None,
            Some(own) => Some(own),
            None => in_set,
        }
    }

    /// Every feature of a set as it is with these.
    #[must_use]
    pub fn over<'a>(
        &'a self,
        set: impl IntoIterator<Item = (&'a String, &'a Value)>,
    ) -> BTreeMap<&'a str, &'a Value> {
        let mut all = BTreeMap::new();
        let set = set.into_iter();
        all.extend(set.map(|(name, value)| (name.as_str(), value)));
        for name in self.0.keys() {
            match self.resolve(name, all.get(name.as_str()).copied()) {
                Some(value) => all.insert(name, value),
                None => all.remove(name.as_str()),
            };
        }
        all
    }

    /// Tells these from others in a few symbols; none where there are none.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        const BYTES: usize = 12;
        if self.is_empty() {
            return None;
        }
        let digest = Sha256::digest(self.json().as_bytes());
        digest.get(..BYTES).map(Base64UrlUnpadded::encode_string)
    }

    /// Bytes that these take in a token's claims, before base64url; 0 where there are none.
    #[must_use]
    pub fn claim_bytes(&self) -> usize {
        if self.is_empty() {
            0
        } else {
            r#""fo":,"#.len() + self.json().len()
        }
    }

    /// Bytes of memory that these take at most.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.0.len() * ENTRY_BYTES + self.claim_bytes() * BYTES_PER_JSON_BYTE
    }

    fn json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

impl FromIterator<(String, Value)> for FeatureOverrides {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for FeatureOverrides {
    /// Refuses a name that is there twice, and more than [`MAX_OVERRIDES`].
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OverridesVisitor)
    }
}

struct OverridesVisitor;

impl<'de> de::Visitor<'de> for OverridesVisitor {
    type Value = FeatureOverrides;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of feature values")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<FeatureOverrides, A::Error> {
        let mut values = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if values.len() == MAX_OVERRIDES {
                return Err(de::Error::custom(format_args!(
                    "at most {MAX_OVERRIDES} features may be overridden"
                )));
            }
            if values.insert(name, value).is_some() {
                return Err(de::Error::custom("a feature is there twice"));
            }
        }
        Ok(FeatureOverrides(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn overrides(json: &Value) -> FeatureOverrides {
        serde_json::from_value(json.clone()).unwrap()
    }

    #[test]
    fn own_values_stand_in_place_of_the_sets_and_null_takes_away() {
        let set = json!({ "pdf": true, "seats": 5, "theme": "dark", "odd": null });
        let set = set.as_object().unwrap();
        let own = overrides(&json!({ "seats": 25, "theme": null, "beta": [1], "gone": null }));
        let all = serde_json::to_value(own.over(set)).unwrap();
        assert_eq!(
            all,
            json!({ "beta": [1], "odd": null, "pdf": true, "seats": 25 })
        );
        for name in ["pdf", "seats", "theme", "odd", "beta", "gone", "none"] {
            assert_eq!(
                own.resolve(name, set.get(name)),
                all.get(name),
                "{name}: one by one as all together"
            );
        }
        let none = FeatureOverrides::default();
        assert_eq!(serde_json::to_value(none.over(set)).unwrap(), json!(set));
    }

    #[test]
    fn names_are_there_once_and_not_too_many() {
        let read = |text: &str| serde_json::from_str::<FeatureOverrides>(text);
        assert!(read(r#"{"a":1,"b":1}"#).is_ok());
        for bad in [r#"{"a":1,"a":1}"#, "null", "[]", "1", r#"{"a"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let many = |count: usize| -> Value { (0..count).map(|n| (n.to_string(), n)).collect() };
        assert!(read(&many(MAX_OVERRIDES).to_string()).is_ok());
        assert!(read(&many(MAX_OVERRIDES + 1).to_string()).is_err());
    }

    #[test]
    fn a_digest_tells_values_apart_not_the_order_they_came_in() {
        let read = |text: &str| serde_json::from_str::<FeatureOverrides>(text).unwrap();
        let digest = read(r#"{"a":1,"b":{"x":1,"y":2}}"#).digest();
        assert_eq!(digest, read(r#"{"b":{"y":2,"x":1},"a":1}"#).digest());
        for other in [
            r#"{"a":1}"#,
            r#"{"a":1,"b":null}"#,
            r#"{"a":"1","b":{"x":1,"y":2}}"#,
        ] {
            assert_ne!(digest, read(other).digest(), "{other}");
        }
        assert_eq!(FeatureOverrides::default().digest(), None);
    }

    #[test]
    fn bytes_are_those_that_the_claim_takes() {
        let claims = |fo: &FeatureOverrides| {
            let fo = if fo.is_empty() {
                json!({ "ver": 1 })
            } else {
                json!({ "fo": fo, "ver": 1 })
            };
            fo.to_string().len()
        };
        let none = FeatureOverrides::default();
        for json in [json!({}), json!({ "a": "é\n\"", "b": 1.5e300, "c": null })] {
            let own = overrides(&json);
            assert_eq!(claims(&own) - claims(&none), own.claim_bytes());
        }
    }
}
