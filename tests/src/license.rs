//! Licenses, as an operator's commands make them.

use licet_shared::id::{LicenseId, OrgId, OrgTag};
use serde_json::Value;
use uuid::Uuid;

/// The organization that a license is of.
#[derive(Clone, Debug)]
pub struct Org {
    /// Its id.
    pub id: OrgId,
    /// Its name in commands.
    pub slug: String,
    /// Its name in keys and URLs.
    pub tag: OrgTag,
}

impl Org {
    /// The id as the database has it.
    pub fn uuid(&self) -> Uuid {
        Uuid::from_bytes(self.id.uuid_bytes())
    }
}

/// A license and what it takes to use it.
#[derive(Clone, Debug)]
pub struct License {
    /// Whose it is.
    pub org: Org,
    /// A product that it covers.
    pub product: String,
    /// The policy it was made by.
    pub policy: String,
    /// Its id.
    pub id: LicenseId,
    /// What the buyer types.
    pub key: String,
}

impl License {
    /// From what `licet-origin seed` prints.
    #[track_caller]
    pub fn from_seed(json: &Value) -> Self {
        Self {
            org: Org {
                id: parsed(json, "/org/id"),
                slug: text(json, "/org/slug"),
                tag: parsed(json, "/org/tag"),
            },
            product: text(json, "/product"),
            policy: text(json, "/policy"),
            id: parsed(json, "/license/id"),
            key: text(json, "/license/key"),
        }
    }

    /// From what `licet-origin license issue` prints, for the organization of `self`.
    #[track_caller]
    pub fn sibling(&self, json: &Value) -> Self {
        Self {
            id: parsed(json, "/id"),
            key: text(json, "/key"),
            ..self.clone()
        }
    }

    /// The id as the database has it.
    pub fn uuid(&self) -> Uuid {
        Uuid::from_bytes(self.id.uuid_bytes())
    }
}

#[track_caller]
fn text(json: &Value, pointer: &str) -> String {
    match json.pointer(pointer).and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => panic!("no {pointer} in {json}"),
    }
}

#[track_caller]
fn parsed<T: std::str::FromStr>(json: &Value, pointer: &str) -> T {
    let text = text(json, pointer);
    text.parse()
        .unwrap_or_else(|_| panic!("{pointer} is {text:?} in {json}"))
}
