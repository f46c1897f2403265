//! JSON objects that are passed on.

use std::fmt;

use licet_shared::api::{Body, BodyError};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::{RawValue, to_raw_value};

/// Most members: none of ours has a third as many. Each name is compared with those before it.
const MOST_MEMBERS: usize = 64;

/// An object whose members stay as they came, in their order: whoever they are for reads them. No
/// two have the same name.
#[derive(Debug, Default)]
pub(crate) struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// A member's value, as JSON.
    pub(crate) fn member(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.get())
    }

    /// A member's value, if it is a text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_slice(self.member(name)?.as_bytes()).ok()
    }

    /// Sets a member, which is the last one then.
    pub(crate) fn set(&mut self, name: &str, value: &impl Serialize) {
        self.0.retain(|(known, _)| known != name);
        // Flags and texts always have a JSON form.
        if let Ok(value) = to_raw_value(value) {
            self.0.push((name.to_owned(), value));
        }
    }
}

impl Body for Object {
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object::default();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if object.member(&name).is_some() {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            if object.0.len() == MOST_MEMBERS {
                return Err(A::Error::custom("more than 64 fields"));
            }
            object.0.push((name, value));
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::Object;

    #[wasm_bindgen_test]
    fn members_stay_as_they_are_but_for_those_that_are_set() {
        let json = r#"{"z":{"b":1.10,"a":[ ]},"id":1,"new":null,"text":"é"}"#;
        let mut object: Object = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), json);
        assert_eq!(object.text("text").as_deref(), Some("é"));
        assert_eq!((object.text("id"), object.text("none")), (None, None));
        object.set("id", &"req_1");
        let set = r#"{"z":{"b":1.10,"a":[ ]},"new":null,"text":"é","id":"req_1"}"#;
        assert_eq!(serde_json::to_string(&object).unwrap(), set);
        for bad in [
            "",
            "null",
            "[]",
            "1",
            r#"{"a":1,"a":1}"#,
            "{} {}",
            "{\"a\"}",
        ] {
            assert!(serde_json::from_str::<Object>(bad).is_err(), "{bad}");
        }
        let many = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            serde_json::from_str::<Object>(&format!("{{{}}}", members.join(",")))
        };
        assert!(many(64).is_ok() && many(65).is_err());
    }
}
