//! The origin's answer to a write, as the edge passes it on.

use std::fmt;

use licet_shared::decision::Code;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::{RawValue, to_raw_value};

const VALID: &str = "valid";
const CODE: &str = "code";
const REQUEST_ID: &str = "request_id";

/// An answer with a code. Its members stay as they came, in their order: a newer origin may say
/// more than this edge knows of.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Whether it was done.
    pub(crate) valid: bool,
    members: Vec<(String, Box<RawValue>)>,
}

impl Answered {
    /// An answer that is its code alone.
    pub(crate) fn plain(code: Code) -> Self {
        let valid = code == Code::Valid;
        let members = [
            (VALID, to_raw_value(&valid)),
            (CODE, to_raw_value(&code)),
            ("detail", to_raw_value(code.detail())),
        ];
        // None of them fails: a flag and two texts.
        let members = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.ok()?)))
            .collect();
        Self { valid, members }
    }

    /// The answer to a request of this name.
    pub(crate) fn under(mut self, request_id: &str) -> Self {
        self.members.retain(|(name, _)| name != REQUEST_ID);
        if let Ok(value) = to_raw_value(request_id) {
            self.members.push((REQUEST_ID.to_owned(), value));
        }
        self
    }
}

impl Serialize for Answered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.members.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Answered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Answered;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an answer with `valid` and `code`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answered, A::Error> {
        let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a member twice"));
            }
            members.push((name, value));
        }
        let member = |name: &str| {
            let found = members.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.get())
        };
        let valid = match member(VALID) {
            Some("true") => true,
            Some("false") => false,
            _ => return Err(A::Error::custom("without `valid`")),
        };
        if !member(CODE).is_some_and(|code| code.starts_with('"')) {
            return Err(A::Error::custom("without `code`"));
        }
        Ok(Answered { valid, members })
    }
}

#[cfg(test)]
mod tests {
    use licet_shared::{
        api::{ActivationAnswer, ConsumeAnswer, LeaseAnswer},
        decision::Code,
    };
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::Answered;

    fn passed_on(json: &str) -> Option<String> {
        let answered: Answered = serde_json::from_str(json).ok()?;
        serde_json::to_string(&answered.under("req_1")).ok()
    }

    #[wasm_bindgen_test]
    fn what_the_origin_says_is_passed_on_under_the_request_s_own_name() {
        let theirs = r#"{"valid":true,"code":"VALID","z":{"b":1.10,"a":[]},"request_id":"theirs","new":null}"#;
        let ours = r#"{"valid":true,"code":"VALID","z":{"b":1.10,"a":[]},"new":null,"request_id":"req_1"}"#;
        assert_eq!(passed_on(theirs).as_deref(), Some(ours));
    }

    #[wasm_bindgen_test]
    fn what_is_no_answer_is_not_passed_on() {
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            "<html>",
            r#"{"valid":true}"#,
            r#"{"code":"VALID"}"#,
            r#"{"valid":1,"code":"VALID"}"#,
            r#"{"valid":true,"code":null}"#,
            r#"{"valid":true,"valid":false,"code":"VALID"}"#,
            r#"{"valid":true,"code":"VALID"} {}"#,
        ] {
            assert_eq!(passed_on(bad), None, "{bad}");
        }
    }

    #[wasm_bindgen_test]
    fn a_code_alone_looks_the_same_from_edge_and_origin() {
        for code in [Code::Malformed, Code::LeaseInvalid] {
            let ours = serde_json::to_string(&Answered::plain(code)).unwrap();
            for theirs in [
                serde_json::to_string(&ActivationAnswer::plain(code)),
                serde_json::to_string(&LeaseAnswer::plain(code)),
                serde_json::to_string(&ConsumeAnswer::plain(code)),
            ] {
                assert_eq!(ours, theirs.unwrap());
            }
        }
    }
}
