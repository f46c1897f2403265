//! What tests of several resources ask.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Bed, account::Caller};

impl Bed {
    /// One field of all rows of a list, page by page.
    pub async fn pages(&self, caller: &Caller, path: &str, query: &str, field: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(caller, &format!("{path}?{query}{cursor}")).await;
            let page = page.json(200);
            let data = page["data"].as_array().unwrap();
            seen.extend(data.iter().map(|row| row[field].clone()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return seen,
            }
        }
    }

    /// Guests may read what is at `one` and below and the list, and change nothing; members may
    /// change it. `caller` is the organization's only person.
    pub async fn roles(&self, caller: &Caller, one: &str, below: &[&str], list: &str) {
        let become_one = |role: &str| {
            self.database
                .admin(&format!("UPDATE licet.users SET role = '{role}'"));
        };
        become_one("GUEST");
        self.get(caller, list).await.json(200);
        self.get(caller, one).await.json(200);
        for path in below {
            self.get(caller, &format!("{one}{path}")).await.json(200);
        }
        let empty = json!({});
        for (method, path, body) in [
            (Method::POST, list.to_owned(), Some(&empty)),
            (Method::PATCH, one.to_owned(), Some(&empty)),
            (Method::DELETE, one.to_owned(), None),
            (Method::POST, format!("{one}/restore"), None),
        ] {
            let reply = self.ask_with(caller, method, &path, body, &[]).await;
            assert_eq!(reply.refused(403), "FORBIDDEN", "{path}");
        }
        become_one("MEMBER");
        self.patch(caller, one, &empty).await.json(200);
        self.delete(caller, one).await.empty(204);
        let restore = format!("{one}/restore");
        self.ask_with(caller, Method::POST, &restore, None, &[])
            .await
            .json(200);
    }
}
