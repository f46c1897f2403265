//! What a vendor's shipped product does: activate once, then ask the edge.

use serde_json::{Value, json};

use crate::http::{Answer, Request};
use crate::license::License;

/// One installation on one device, not activated yet.
#[derive(Clone, Debug)]
pub struct Device {
    edge: String,
    key: String,
    product: String,
    fingerprint: String,
}

impl Device {
    /// A device with a license's key, near an edge.
    pub fn new(edge: impl Into<String>, license: &License, fingerprint: &str) -> Self {
        Self {
            edge: edge.into(),
            key: license.key.clone(),
            product: license.product.clone(),
            fingerprint: fingerprint.to_owned(),
        }
    }

    /// The same device running another product.
    pub fn running(mut self, product: &str) -> Self {
        product.clone_into(&mut self.product);
        self
    }

    /// The same device with another license key typed in.
    pub fn typing(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    /// The body of its activation.
    pub fn body(&self) -> Value {
        json!({"license_key": self.key, "product": self.product, "fingerprint": self.fingerprint})
    }

    /// The request to activate.
    pub fn request(&self) -> Request {
        Request::post(&format!("{}/api/v1/licenses/activate", self.edge)).json(&self.body())
    }

    /// Asks to activate.
    #[track_caller]
    pub fn activate(&self) -> Answer {
        self.request().send()
    }

    /// Asks to activate and gives the answer's code.
    #[track_caller]
    pub fn activation_code(&self) -> String {
        code(&self.activate().verdict())
    }

    /// Activates; anything but a yes is the test's failure.
    #[track_caller]
    pub fn activated(&self) -> Activation {
        self.activation_in(&self.activate())
    }

    /// The activation that an answer to this device must hold.
    #[track_caller]
    pub fn activation_in(&self, answer: &Answer) -> Activation {
        let body = answer.verdict();
        assert_eq!(body["code"], "VALID", "{answer:?}");
        let field = |name: &str| match body[name].as_str() {
            Some(text) => text.to_owned(),
            None => panic!("no {name}: {answer:?}"),
        };
        Activation {
            token: field("license_token"),
            id: field("activation_id"),
            edge: self.edge.clone(),
            product: self.product.clone(),
            fingerprint: self.fingerprint.clone(),
        }
    }
}

/// An activated installation with its license token.
#[derive(Clone, Debug)]
pub struct Activation {
    /// The license token.
    pub token: String,
    /// The activation's id.
    pub id: String,
    /// Base URL of the edge it asks.
    pub edge: String,
    /// The product that runs.
    pub product: String,
    /// The device's fingerprint.
    pub fingerprint: String,
}

impl Activation {
    /// The body with which it asks for a verdict, changed by the members of `more`
    /// (null takes one away).
    #[track_caller]
    pub fn question(&self, more: &Value) -> Value {
        let mut body =
            json!({"token": self.token, "product": self.product, "fingerprint": self.fingerprint});
        for (name, value) in more.as_object().expect("an object") {
            match value {
                Value::Null => body.as_object_mut().unwrap().remove(name),
                value => body
                    .as_object_mut()
                    .unwrap()
                    .insert(name.clone(), value.clone()),
            };
        }
        body
    }

    /// Asks for a verdict, whatever the answer.
    #[track_caller]
    pub fn ask(&self, more: &Value) -> Answer {
        Request::post(&format!("{}/api/v1/licenses/validate", self.edge))
            .json(&self.question(more))
            .send()
    }

    /// The verdict.
    #[track_caller]
    pub fn validate(&self) -> Value {
        self.ask(&json!({})).verdict()
    }

    /// The verdict on a changed question.
    #[track_caller]
    pub fn validate_with(&self, more: &Value) -> Value {
        self.ask(more).verdict()
    }

    /// The verdict's code.
    #[track_caller]
    pub fn code(&self) -> String {
        code(&self.validate())
    }

    /// `GET features`.
    pub fn features(&self) -> Request {
        Request::get(&format!("{}/api/v1/licenses/features", self.edge)).bearer(&self.token)
    }

    /// `POST refresh`.
    pub fn refresh(&self) -> Request {
        self.bearer_post("refresh")
    }

    /// `POST deactivate`.
    pub fn deactivate(&self) -> Request {
        self.bearer_post("deactivate")
    }

    fn bearer_post(&self, what: &str) -> Request {
        Request::post(&format!("{}/api/v1/licenses/{what}", self.edge)).bearer(&self.token)
    }

    /// The same installation with another token.
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            ..self.clone()
        }
    }

    /// The same installation asking another edge.
    pub fn at(&self, edge: impl Into<String>) -> Self {
        Self {
            edge: edge.into(),
            ..self.clone()
        }
    }
}

/// The code of a verdict.
#[track_caller]
pub fn code(verdict: &Value) -> String {
    match verdict["code"].as_str() {
        Some(code) => code.to_owned(),
        None => panic!("no code in {verdict}"),
    }
}
