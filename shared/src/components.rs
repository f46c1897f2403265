//! Component fingerprints: several texts that together tell a device from others, some of which
//! may change.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};

use crate::{
    api::{BodyError, MAX_COMPONENTS, check_text},
    decision::{fingerprint_hash, is_fingerprint_hash},
};

/// Most bytes of a component's name: it stands in tokens.
const MAX_NAME_BYTES: usize = 24;

/// A device's component fingerprints by name, as text of the product's own making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Components(BTreeMap<String, String>);

impl Components {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hashes by name, as tokens carry them.
    #[must_use]
    pub fn hashes(&self) -> BTreeMap<String, String> {
        let hash = |(name, text): (&String, &String)| (name.clone(), fingerprint_hash(text));
        let mut hashes = BTreeMap::new();
        hashes.extend(self.0.iter().map(hash));
        hashes
    }

    /// How many are those whose hashes these are.
    #[must_use]
    pub fn matching(&self, hashes: &BTreeMap<String, String>) -> usize {
        let same = |(name, hash): &(&String, &String)| {
            let text = self.0.get(*name);
            text.is_some_and(|text| is_fingerprint_hash(hash, text))
        };
        hashes.iter().filter(same).count()
    }

    /// Checks names and lengths.
    ///
    /// # Errors
    /// [`BodyError`] that names the field.
    pub fn check(&self) -> Result<(), BodyError> {
        if self.is_empty() {
            return Err(BodyError::field("fingerprints", "must not be empty"));
        }
        let symbol = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
        for (name, text) in &self.0 {
            if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(symbol) {
                return Err(BodyError::field(
                    "fingerprints",
                    "must have names of 1 to 24 of a-z, 0-9, _, . and -",
                ));
            }
            check_text("fingerprints", text)?;
        }
        Ok(())
    }
}

impl FromIterator<(String, String)> for Components {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(components: I) -> Self {
        Self(components.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Components {
    /// Refuses a name that is there twice, and more than [`MAX_COMPONENTS`].
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;

        impl<'de> Visitor<'de> for Named {
            type Value = Components;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fingerprints")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Components, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((name, text)) = map.next_entry::<String, String>()? {
                    if all.len() == MAX_COMPONENTS {
                        return Err(de::Error::custom(format_args!(
                            "at most {MAX_COMPONENTS} fingerprints may be named"
                        )));
                    }
                    if all.insert(name, text).is_some() {
                        return Err(de::Error::custom("a fingerprint is there twice"));
                    }
                }
                Ok(Components(all))
            }
        }

        deserializer.deserialize_map(Named)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Components {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, Type};
        let name = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[a-z0-9_.-]{1,24}$"));
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(1024));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "Component fingerprints by name: texts that together tell this device from others, some of which may change.",
            ))
            .min_properties(Some(1))
            .max_properties(Some(MAX_COMPONENTS))
            .property_names(Some(name))
            .additional_properties(Some(text))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Components {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Components, String> {
        let components: Components =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        components.check().map_err(|error| error.to_string())?;
        Ok(components)
    }

    #[test]
    fn components_have_names_once_and_not_too_many() {
        assert_eq!(read(r#"{"mac":"1","disk.0":"2"}"#).unwrap().len(), 2);
        let nine: Vec<String> = (0..9).map(|n| format!("\"c{n}\":\"x\"")).collect();
        let nine = format!("{{{}}}", nine.join(","));
        let long = format!("{{\"{}\":\"x\"}}", "n".repeat(25));
        for (bad, why) in [
            ("{}", "must not be empty"),
            ("[]", "an object of fingerprints"),
            ("null", "an object of fingerprints"),
            (r#"{"a":1}"#, "invalid type"),
            (r#"{"a":"1","a":"1"}"#, "twice"),
            (r#"{"A":"1"}"#, "names of"),
            (r#"{"":"1"}"#, "names of"),
            (r#"{"a":""}"#, "must not be empty"),
            (&nine, "at most 8"),
            (&long, "names of"),
        ] {
            let refused = read(bad).unwrap_err();
            assert!(refused.contains(why), "{bad}: {refused}");
        }
    }

    #[test]
    fn those_that_are_the_same_by_name_and_text_match() {
        let activated = read(r#"{"mac":"1","disk":"2","board":"3"}"#)
            .unwrap()
            .hashes();
        for (given, count) in [
            (r#"{"mac":"1","disk":"2","board":"3"}"#, 3),
            (r#"{"mac":"1","disk":"2","board":"3","other":"4"}"#, 3),
            (r#"{"mac":"1","disk":"0"}"#, 1),
            (r#"{"mac":"2","disk":"1"}"#, 0),
            (r#"{"other":"1"}"#, 0),
        ] {
            assert_eq!(read(given).unwrap().matching(&activated), count, "{given}");
        }
    }
}
