//! Forged tokens that pour in beside good ones: checks of tokens not seen before then let those go
//! first that were, whose answers cost a fraction.
//!
//! Without it, each sender who waits for its answers would get as many as the next, and the forgers most of
//! the processor. No check is left out: against senders who don't wait it only has known tokens go first. A new
//! customer loses the milliseconds.

use std::cell::Cell;

use licet_shared::time::Timestamp;

/// Refused signatures in a window that make a flood, where they are more than those that held.
const REFUSED: u32 = 32;
/// Of the clock's seconds; the next window begins with the next refusal.
const WINDOW_S: i64 = 2;
/// How long a check waits in one, in milliseconds.
pub(crate) const WAIT_MS: u32 = 4;

/// What tells whether there is one.
#[derive(Debug)]
pub(crate) struct Flood {
    /// When the window began, how many signatures were refused in it, and how many held.
    began_at: Cell<Timestamp>,
    refused: Cell<u32>,
    held: Cell<u32>,
    /// When a token was last known.
    recalled_at: Cell<Timestamp>,
}

impl Default for Flood {
    fn default() -> Self {
        let never = Timestamp::from_unix(0);
        Self {
            began_at: Cell::new(never),
            refused: Cell::new(0),
            held: Cell::new(0),
            recalled_at: Cell::new(never),
        }
    }
}

impl Flood {
    /// Notes that a token was one seen before.
    pub(crate) fn recalled(&self, now: Timestamp) {
        self.recalled_at.set(now);
    }

    /// Notes what a check came to.
    pub(crate) fn checked(&self, holds: bool, now: Timestamp) {
        if !is_lately(self.began_at.get(), now) {
            self.began_at.set(now);
            self.refused.set(0);
            self.held.set(0);
        }
        let count = if holds { &self.held } else { &self.refused };
        count.set(count.get().saturating_add(1));
    }

    /// Whether a check has to wait.
    pub(crate) fn is_on(&self, now: Timestamp) -> bool {
        let refused = self.refused.get();
        refused >= REFUSED
            && refused > self.held.get()
            && is_lately(self.began_at.get(), now)
            && is_lately(self.recalled_at.get(), now)
    }
}

fn is_lately(then: Timestamp, now: Timestamp) -> bool {
    now.since(then) < WINDOW_S
}

#[cfg(test)]
mod tests {
    use licet_shared::time::Timestamp;
    use serde_json::{Value, json};

    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{Flood, REFUSED};
    use crate::{
        endpoints::validate,
        http::Answer,
        testing::{DEVICE, Org, World, forged, post},
    };

    #[wasm_bindgen_test]
    fn it_takes_many_refusals_at_a_time_beside_known_tokens() {
        let flood = Flood::default();
        let at = |second: i64| Timestamp::from_unix(1_800_000_000 + second);
        let refuse = |times, second| (0..times).for_each(|_| flood.checked(false, at(second)));
        refuse(REFUSED - 1, 0);
        flood.recalled(at(0));
        assert!(!flood.is_on(at(0)));
        refuse(1, 1);
        assert!(flood.is_on(at(1)));
        assert!(!flood.is_on(at(2)), "over");
        refuse(REFUSED, 3);
        assert!(!flood.is_on(at(3)), "nobody else is there");
        flood.recalled(at(3));
        assert!(flood.is_on(at(4)));
        for second in 10..100 {
            refuse(REFUSED / 4, second);
            flood.recalled(at(second));
            assert!(!flood.is_on(at(second)), "a trickle");
        }
        flood.recalled(at(200));
        (0..2 * REFUSED).for_each(|_| flood.checked(true, at(200)));
        refuse(2 * REFUSED, 200);
        assert!(!flood.is_on(at(200)), "as many are good");
        refuse(1, 200);
        assert!(flood.is_on(at(200)));
    }

    #[wasm_bindgen_test]
    async fn in_a_flood_all_get_the_answers_they_would_get() {
        let org = Org::default();
        let world = World::new(&org);
        let isolate = &world.scope().isolate;
        let ask = async |token: &str| -> Value {
            let body = json!({"token": token, "product": "local_cli", "fingerprint": DEVICE});
            let json = ("content-type", "application/json");
            let request = post("/x", &[json], &body.to_string());
            let answer: Answer = validate::handle(&world.scope(), &request).await.unwrap();
            serde_json::from_slice(&answer.body).unwrap()
        };
        let known = org.token(3_600);
        assert_eq!(ask(&known).await["code"], "VALID");
        let forged = forged(&known);
        assert_eq!(isolate.flood.refused.get(), 0);
        assert_eq!(ask(&forged).await["code"], "SIGNATURE_INVALID");
        assert_eq!(isolate.flood.refused.get(), 1, "it is counted");
        let flood = || {
            let now = world.scope().now();
            (0..REFUSED).for_each(|_| isolate.flood.checked(false, now));
            isolate.flood.recalled(now);
        };
        let unseen = org.token(3_599);
        let body = json!({"token": unseen, "product": "local_cli", "fingerprint": DEVICE});
        isolate.documents.borrow_mut().told.rest();
        flood();
        let short = validate::at_once(isolate, body.to_string().as_bytes(), 1);
        assert!(short.is_none(), "it has to wait");
        for (token, code) in [
            (&unseen, "VALID"),
            (&forged, "SIGNATURE_INVALID"),
            (&known, "VALID"),
        ] {
            flood();
            assert_eq!(ask(token).await["code"], code);
        }
    }
}
