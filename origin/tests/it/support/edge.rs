//! An edge: signs its calls as the Worker does, or almost.

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use http_body_util::BodyExt;
use licet_shared::{
    api::ActivationAnswer,
    documents::EdgeClaims,
    jws::{LocalSigner, Times, sign},
    problem::Problem,
    time::Timestamp,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::ServiceExt;

use super::{Bed, edge_key};

/// A call before it is signed.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub target: String,
    pub body: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
    pub claims: EdgeClaims,
    pub times: Times,
    pub signer: LocalSigner,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Call {
    pub fn get(target: &str) -> Self {
        Self::new(Method::GET, target, Vec::new())
    }

    pub fn post(target: &str, body: &Value) -> Self {
        let call = Self::new(Method::POST, target, serde_json::to_vec(body).unwrap());
        call.header("content-type", "application/json")
    }

    pub fn new(method: Method, target: &str, body: Vec<u8>) -> Self {
        let signer = edge_key();
        let claims = EdgeClaims {
            iss: "edge.1".into(),
            aud: EdgeClaims::AUDIENCE.into(),
            htm: method.to_string(),
            htu: target.into(),
            bh: Base64UrlUnpadded::encode_string(&Sha256::digest(&body)),
            idk: None,
            jti: unique(),
        };
        let times = Times::starting(now(), EdgeClaims::LIFE_S);
        Self {
            method,
            target: target.into(),
            body,
            headers: Vec::new(),
            claims,
            times,
            signer,
        }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn once(mut self, key: &str) -> Self {
        self.claims.idk = Some(key.into());
        self.header("idempotency-key", key)
    }

    pub fn token(&self) -> String {
        sign(&self.claims, self.times, &self.signer).unwrap()
    }

    pub fn request(self) -> Request<Body> {
        let bearer = format!("Bearer {}", self.token());
        let mut request = Request::builder().method(self.method).uri(self.target);
        request = request.header("authorization", bearer);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body)).unwrap()
    }
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn answer(&self) -> ActivationAnswer {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem, whose every part is as it must be.
    pub fn problem(&self) -> Problem {
        let problem: Problem = serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{} {}", self.status, self.text()));
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(problem.status, self.status.as_u16());
        assert_eq!(problem.status, problem.code.status());
        assert_eq!(self.headers["x-request-id"], problem.request_id.as_str());
        assert!(!problem.request_id.is_empty());
        problem
    }

    pub fn code(&self) -> &'static str {
        self.problem().code.as_str()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Bed {
    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub async fn call(&self, call: Call) -> Reply {
        self.send(call.request()).await
    }

    pub async fn activate(&self, key: &str, fingerprint: &str) -> ActivationAnswer {
        self.call(activation(key, fingerprint)).await.answer()
    }

    pub async fn refresh(&self, token: &str) -> ActivationAnswer {
        self.call(Call::post(REFRESH, &json!({ "token": token })))
            .await
            .answer()
    }

    pub async fn deactivate(&self, token: &str) -> ActivationAnswer {
        self.call(Call::post(DEACTIVATE, &json!({ "token": token })))
            .await
            .answer()
    }
}

pub const ACTIVATE: &str = "/edge/v1/activations";
pub const REFRESH: &str = "/edge/v1/activations/refresh";
pub const DEACTIVATE: &str = "/edge/v1/activations/deactivate";

pub fn activation(key: &str, fingerprint: &str) -> Call {
    let body = json!({ "license_key": key, "product": "local_cli", "fingerprint": fingerprint });
    Call::post(ACTIVATE, &body)
}

pub fn now() -> Timestamp {
    licet_origin::clock::now()
}

pub fn unique() -> String {
    let bytes: [u8; 16] = licet_origin::random::bytes().unwrap();
    Base64UrlUnpadded::encode_string(&bytes)
}
