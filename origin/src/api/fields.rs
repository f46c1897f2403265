//! Checks that bodies share, and how the description tells of them. Lengths are in characters, as
//! the tables count them.

use std::{fmt, marker::PhantomData};

use licet_shared::{api::BodyError, documents::Quota};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, SchemaType, Type},
    },
};

/// Longest name.
pub(super) const NAME_CHARS: usize = 200;
/// Longest description.
pub(super) const DESCRIPTION_CHARS: usize = 2000;
/// Longest name of a feature.
const FEATURE_NAME_CHARS: usize = 128;
/// How deep an object of the caller's own may go.
const DEPTH: usize = 8;

/// A name: something to see, on one line.
pub(super) fn check_name(field: &str, text: &str) -> Result<(), BodyError> {
    if text.trim().is_empty() {
        Err(BodyError::field(field, "must not be empty"))
    } else if text.chars().count() > NAME_CHARS {
        Err(BodyError::field(field, "must have at most 200 characters"))
    } else if text.chars().any(char::is_control) {
        Err(BodyError::field(field, "must have no control characters"))
    } else {
        Ok(())
    }
}

pub(super) fn check_description(field: &str, text: &str) -> Result<(), BodyError> {
    if text.chars().count() > DESCRIPTION_CHARS {
        Err(BodyError::field(field, "must have at most 2000 characters"))
    } else {
        Ok(())
    }
}

/// A code, as products bear it and tokens carry it.
pub(super) fn check_code(field: &str, text: &str) -> Result<(), BodyError> {
    let symbol = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let sound = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| symbol(b) || matches!(b, b'_' | b'.' | b'-'))
        && text.bytes().next().is_some_and(symbol);
    if sound {
        Ok(())
    } else {
        Err(BodyError::field(
            field,
            "must be 1 to 64 of a-z, 0-9, _, . and -, beginning with a letter or digit",
        ))
    }
}

/// An object of the caller's own, within its limits.
pub(super) fn check_object(
    field: &str,
    object: &Map<String, Value>,
    max_bytes: usize,
) -> Result<(), BodyError> {
    if object.values().any(|value| depth(value) >= DEPTH) {
        return Err(BodyError::field(field, "must be at most 8 levels deep"));
    }
    let bytes = serde_json::to_string(object).map_or(usize::MAX, |json| json.len());
    if bytes > max_bytes {
        return Err(BodyError::field(
            field,
            &format!("must have at most {max_bytes} bytes as JSON"),
        ));
    }
    Ok(())
}

/// Feature values by name, of a set or of one license.
pub(super) fn check_features(
    field: &str,
    features: &Map<String, Value>,
    max_bytes: usize,
) -> Result<(), BodyError> {
    let sound = |name: &String| {
        (1..=FEATURE_NAME_CHARS).contains(&name.chars().count())
            && !name.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    if !features.keys().all(sound) {
        return Err(BodyError::field(
            field,
            "must have names of 1 to 128 characters without spaces",
        ));
    }
    for (name, value) in features {
        Quota::check(value).map_err(|what| BodyError::field(&format!("{field}.{name}"), what))?;
    }
    check_object(field, features, max_bytes)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A field that null means something else for than absence: by `#[serde(default)]` it is `None`
/// where it is absent, and `Some(None)` where it is null.
pub(super) fn sent<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What [`check_name`] takes.
pub(super) struct Name;

impl PartialSchema for Name {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("Something to see, on one line."))
            .min_length(Some(1))
            .max_length(Some(NAME_CHARS))
            .pattern(Some(
                r"^[^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x1F\x7F-\x9F]*$",
            ))
            .into()
    }
}

impl ToSchema for Name {}

/// What an e-mail address must look like.
pub(super) struct Email;

impl PartialSchema for Email {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("An e-mail address."))
            .max_length(Some(254))
            .pattern(Some(
                r"^[^\s@\x00-\x1F\x7F-\x9F]+@[^\s@\x00-\x1F\x7F-\x9F]+$",
            ))
            .into()
    }
}

impl ToSchema for Email {}

/// What a feature set may consist of.
pub(super) struct Features;

impl PartialSchema for Features {
    fn schema() -> RefOr<Schema> {
        let name = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^[^\s\x00-\x1F\x7F-\x9F]{1,128}$"));
        let value = ObjectBuilder::new().schema_type(SchemaType::from_iter([
            Type::Boolean,
            Type::Number,
            Type::String,
            Type::Array,
            Type::Object,
        ]));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "Feature name to value. At most 32 KiB as JSON and 8 levels deep. A metered \
                 feature's value is an object of two fields: quota, a whole number, and period, one \
                 of day, month, year and once.",
            ))
            .max_properties(Some(1000))
            .property_names(Some(name))
            .additional_properties(Some(value))
            .into()
    }
}

impl ToSchema for Features {}

/// An object and nothing else: serde would take an array for one, its fields by position.
pub(super) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(Object(PhantomData))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_hold_to_the_character() {
        assert!(check_name("name", &"ü".repeat(200)).is_ok());
        for bad in ["", "  ", "a\nb", &"ü".repeat(201)] {
            assert!(check_name("name", bad).is_err(), "{bad:?}");
        }
        for good in ["a", "local_cli", "0", "a.b-c"] {
            assert!(check_code("code", good).is_ok(), "{good}");
        }
        for bad in ["", "A", "_a", "a b", "é", &"a".repeat(65)] {
            assert!(check_code("code", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_object_is_nothing_else() {
        #[derive(Deserialize)]
        struct Outer {
            #[serde(deserialize_with = "object")]
            inner: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            a: u8,
        }
        let read = |json: Value| serde_json::from_value::<Outer>(json);
        assert_eq!(read(json!({ "inner": { "a": 1 } })).unwrap().inner.a, 1);
        for bad in [json!([1]), json!("a"), json!(null)] {
            let refused = read(json!({ "inner": bad })).err().unwrap().to_string();
            assert!(refused.contains("expected an object"), "{refused}");
        }
    }

    #[test]
    fn objects_are_neither_too_deep_nor_too_large() {
        let object = |value: Value| Map::from_iter([("a".to_owned(), value)]);
        let mut deep = json!(1);
        for _ in 0..7 {
            deep = json!([deep]);
        }
        assert!(check_object("x", &object(deep.clone()), 100).is_ok());
        assert!(check_object("x", &object(json!([deep])), 100).is_err());
        assert!(check_object("x", &object(json!("y".repeat(100))), 100).is_err());
    }
}
