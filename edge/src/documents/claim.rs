//! Which of a data centre's isolates asks the origin: a note in its cache, for a moment, in front of a call
//! that others may be about to make as well.
//!
//! Best effort, as the cache can't compare and write in one step: who has just read that nobody asks, and
//! writes after another has looked again, asks too. A note can keep nobody from asking for longer than
//! its life, so whoever writes there can delay, and no more.

use std::cell::RefCell;

use licet_shared::id::OrgTag;

use super::{
    Name,
    cache_api::{delete_note, read_note, write_note},
};
use crate::{clock, isolate::Scope, random};

/// How long a claim counts. No longer than the shortest pause after a failure: who has failed may try again then.
const LIFE_MS: u64 = 2_000;
/// How long the cache keeps the note of one.
const KEEP: &str = "max-age=5";

/// Whether this isolate is the one to ask for `what`. Where there is no cache, each is.
pub(super) async fn claim(scope: &Scope, what: &str) -> bool {
    if is_claimed(scope, what).await {
        return false;
    }
    let (what, now_ms) = (key(what), clock::now_ms());
    let mine = format!("{now_ms} {}", u64::from_be_bytes(random::bytes()));
    write_note(scope, &what, &mine, KEEP).await;
    // Of those who have found none, the one whose note stays.
    let there = read_note(scope, &what).await;
    scope.read_clock();
    there.is_none_or(|note| note == mine || !is_held(&note, clock::now_ms()))
}

/// Whether somebody is asking for it.
pub(super) async fn is_claimed(scope: &Scope, what: &str) -> bool {
    let there = read_note(scope, &key(what)).await;
    there.is_some_and(|note| is_held(&note, clock::now_ms()))
}

/// Lets others ask before the claim ends by itself.
pub(super) async fn release(scope: &Scope, what: &str) {
    delete_note(scope, &key(what)).await;
}

fn key(what: &str) -> String {
    format!("asking{what}")
}

fn is_held(note: &str, now_ms: u64) -> bool {
    let since_ms = note.split(' ').next().and_then(|ms| ms.parse().ok());
    // Never from the future: a note can't count for longer than its life.
    since_ms.is_some_and(|since_ms: u64| since_ms <= now_ms && now_ms < since_ms + LIFE_MS)
}

/// Documents that a request has claimed, and since when.
#[derive(Debug, Default)]
pub(crate) struct Claims(RefCell<Vec<(Name, u64)>>);

impl Claims {
    /// Notes one.
    pub(super) fn add(&self, name: Name) {
        self.0.borrow_mut().push((name, clock::now_ms()));
    }

    /// Whether there is one of the organization's.
    pub(super) fn has_any_of(&self, org: OrgTag) -> bool {
        self.0.borrow().iter().any(|(name, _)| name.org == org)
    }

    /// Whether the claim still counts, so that others wait for what this request brings.
    pub(super) fn counts(&self, name: Name) -> bool {
        let now_ms = clock::now_ms();
        let claims = self.0.borrow();
        (claims.iter()).any(|(claimed, since_ms)| *claimed == name && now_ms < since_ms + LIFE_MS)
    }
}
