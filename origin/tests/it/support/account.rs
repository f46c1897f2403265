//! Callers of the account API.

use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::{Value, json};

use super::{
    Bed,
    edge::{Reply, unique},
};

/// Long enough, and on no list.
pub const PASSWORD: &str = "correct horse battery";

/// Somebody with a bearer token.
#[derive(Clone, Debug)]
pub struct Caller {
    pub bearer: String,
}

/// A person who has just logged in.
#[derive(Clone, Debug)]
pub struct Person {
    pub caller: Caller,
    pub refresh: String,
    pub email: String,
    pub slug: String,
    pub org: String,
    pub id: String,
}

/// A request before it is sent.
pub fn request(method: Method, path: &str, body: Option<&Value>) -> axum::http::request::Builder {
    let builder = Request::builder().method(method).uri(path);
    match body {
        Some(_) => builder.header("content-type", "application/json"),
        None => builder,
    }
}

pub fn with_body(builder: axum::http::request::Builder, body: Option<&Value>) -> Request<Body> {
    builder
        .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
        .unwrap()
}

impl Reply {
    /// The body, of an answer of this status.
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// No body, and this status.
    pub fn empty(&self, status: u16) {
        assert_eq!((self.status.as_u16(), self.text().as_str()), (status, ""));
    }

    /// The code of a problem of this status.
    pub fn refused(&self, status: u16) -> &'static str {
        let problem = self.problem();
        assert_eq!(problem.status, status, "{}", self.text());
        problem.code.as_str()
    }
}

impl Bed {
    /// Sends without credentials.
    pub async fn open(&self, method: Method, path: &str, body: &Value) -> Reply {
        self.send(with_body(request(method, path, Some(body)), Some(body)))
            .await
    }

    /// Sends with these credentials and headers.
    pub async fn ask_with(
        &self,
        caller: &Caller,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut builder = request(method, path, body);
        builder = builder.header("authorization", format!("Bearer {}", caller.bearer));
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        self.send(with_body(builder, body)).await
    }

    pub async fn get(&self, caller: &Caller, path: &str) -> Reply {
        self.ask_with(caller, Method::GET, path, None, &[]).await
    }

    pub async fn post(&self, caller: &Caller, path: &str, body: &Value) -> Reply {
        self.ask_with(caller, Method::POST, path, Some(body), &[])
            .await
    }

    pub async fn patch(&self, caller: &Caller, path: &str, body: &Value) -> Reply {
        self.ask_with(caller, Method::PATCH, path, Some(body), &[])
            .await
    }

    pub async fn delete(&self, caller: &Caller, path: &str) -> Reply {
        self.ask_with(caller, Method::DELETE, path, None, &[]).await
    }

    /// Founds an organization; hands back its OWNER.
    pub async fn sign_up(&self, slug: &str) -> Person {
        let email = format!("owner-{}@{slug}.test", &unique()[..6].to_lowercase());
        let body = json!({
            "organization": { "name": slug, "slug": slug },
            "email": email, "password": PASSWORD, "name": "An Owner",
        });
        let reply = self
            .open(Method::POST, "/api/v1/auth/signup", &body)
            .await
            .json(201);
        Person::of(&reply, &email, slug)
    }

    /// A new API key.
    pub async fn key(&self, owner: &Person, scopes: &[&str]) -> Caller {
        let body = json!({ "name": "m", "scopes": scopes });
        let made = self.post(&owner.caller, "/api/v1/api-keys", &body).await;
        Caller {
            bearer: made.json(201)["secret"].as_str().unwrap().into(),
        }
    }

    pub async fn log_in(&self, email: &str, password: &str, slug: &str) -> Reply {
        let body = json!({ "email": email, "password": password, "organization": slug });
        self.open(Method::POST, "/api/v1/auth/login", &body).await
    }

    pub async fn renew(&self, refresh: &str) -> Reply {
        let body = json!({ "refresh_token": refresh });
        self.open(Method::POST, "/api/v1/auth/refresh", &body).await
    }
}

impl Person {
    pub fn of(session: &Value, email: &str, slug: &str) -> Self {
        let text = |name: &str| session[name].as_str().unwrap().to_owned();
        Self {
            caller: Caller {
                bearer: text("access_token"),
            },
            refresh: text("refresh_token"),
            email: email.into(),
            slug: slug.into(),
            org: text("organization_id"),
            id: text("user_id"),
        }
    }
}
