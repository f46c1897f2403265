//! The origin's answer to a write, as the edge passes it on.

use licet_shared::decision::Code;
use serde::Serialize;

use crate::http::Object;

const VALID: &str = "valid";
const CODE: &str = "code";

/// An answer with a code. Its members stay as they came: a newer origin may say more than this edge
/// knows of.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Answered {
    object: Object,
    /// Whether it was done.
    #[serde(skip)]
    pub(crate) valid: bool,
}

impl Answered {
    /// The answer in a body, if it is one.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let object: Object = serde_json::from_slice(body).ok()?;
        let valid = match object.member(VALID)? {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        object.text(CODE)?;
        Some(Self { object, valid })
    }

    /// An answer that is its code alone.
    pub(crate) fn plain(code: Code) -> Self {
        let valid = code == Code::Valid;
        let mut object = Object::default();
        object.set(VALID, &valid);
        object.set(CODE, &code);
        object.set("detail", &code.detail());
        Self { object, valid }
    }

    /// The answer to a request of this name.
    pub(crate) fn under(mut self, request_id: &str) -> Self {
        self.object.set("request_id", &request_id);
        self
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
        let answered = Answered::read(json.as_bytes())?;
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
