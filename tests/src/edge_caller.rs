//! Calls to the origin as an edge makes them: each signed with an `edge+jwt`.

use licet_shared::documents::EdgeClaims;
use licet_shared::id::EventId;
use licet_shared::jws::{LocalSigner, Signer, Times, sign};
use serde_json::Value;

use crate::http::Request;
use crate::wait::{now, unix_ms};

/// An edge's key and the origin it calls.
#[derive(Clone, Debug)]
pub struct EdgeCaller {
    signer: LocalSigner,
    origin: String,
}

/// One call, before it is signed. The body's hash, and thus the signature, is over these bytes.
#[derive(Clone, Debug)]
pub struct Call {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Body; empty for GET.
    pub body: Vec<u8>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

impl Call {
    /// GET of a path.
    pub fn get(target: &str) -> Self {
        Self {
            method: "GET".to_owned(),
            target: target.to_owned(),
            body: Vec::new(),
            idempotency_key: None,
        }
    }

    /// POST of a JSON body.
    pub fn post(target: &str, body: &Value) -> Self {
        Self {
            method: "POST".to_owned(),
            target: target.to_owned(),
            body: body.to_string().into_bytes(),
            idempotency_key: None,
        }
    }

    /// With an `Idempotency-Key`.
    pub fn idempotent(mut self, key: &str) -> Self {
        self.idempotency_key = Some(key.to_owned());
        self
    }
}

impl EdgeCaller {
    /// An edge with this secret, `kid:seed`.
    pub fn new(edge_key: &str, origin: impl Into<String>) -> Self {
        Self {
            signer: edge_key.parse().expect("kid:seed"),
            origin: origin.into(),
        }
    }

    /// The claims that fit a call.
    pub fn claims(&self, call: &Call) -> EdgeClaims {
        EdgeClaims {
            iss: self.signer.kid().to_owned(),
            aud: EdgeClaims::AUDIENCE.to_owned(),
            htm: call.method.clone(),
            htu: call.target.clone(),
            bh: EdgeClaims::body_hash(&call.body),
            idk: call.idempotency_key.clone(),
            jti: EventId::new(unix_ms(), xtask::net::random().unwrap()).to_string(),
        }
    }

    /// A token from claims, from now on for as long as such a token lives.
    pub fn token(&self, claims: &EdgeClaims) -> String {
        self.token_within(claims, Times::starting(now(), EdgeClaims::LIFE_S))
    }

    /// A token from claims with times of the test's choosing.
    pub fn token_within(&self, claims: &EdgeClaims, times: Times) -> String {
        sign(claims, times, &self.signer).unwrap()
    }

    /// The request of a call with a token that need not fit it.
    pub fn with_token(&self, call: &Call, token: &str) -> Request {
        self.unsigned(call).bearer(token)
    }

    /// The request of a call, without any token.
    pub fn unsigned(&self, call: &Call) -> Request {
        let url = format!("{}{}", self.origin, call.target);
        let mut request = Request::new(&call.method, &url);
        if call.method == "POST" {
            request = request
                .header("Content-Type", "application/json")
                .body(call.body.clone());
        }
        match &call.idempotency_key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    }

    /// The properly signed request of a call.
    pub fn signed(&self, call: &Call) -> Request {
        self.with_token(call, &self.token(&self.claims(call)))
    }

    /// The properly signed GET of a path.
    pub fn get(&self, target: &str) -> Request {
        self.signed(&Call::get(target))
    }

    /// The properly signed POST of a JSON body.
    pub fn post(&self, target: &str, body: &Value) -> Request {
        self.signed(&Call::post(target, body))
    }
}

/// A stranger's edge key, well formed and unknown to every origin.
pub fn stranger(kid: &str) -> String {
    LocalSigner::from_seed(kid, xtask::net::random().unwrap()).reveal()
}
