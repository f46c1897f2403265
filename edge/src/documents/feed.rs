//! The revocation feed: what has changed at the origin, of all organizations, in one small document.
//!
//! An edge that keeps up with it need not ask for anything that it does not name. It is fetched every
//! few seconds while there are requests, after an answer and never before one; where it fails,
//! documents are asked for one by one, as their own times demand.

use std::{collections::HashMap, rc::Rc};

use licet_shared::{
    documents::{Change, Feed, FeedClaims},
    jws::Kind,
    time::Timestamp,
};

use super::Name;
use crate::{
    clock,
    isolate::{Isolate, Scope},
    log::Level,
    origin::{self, Call},
};

/// Pause between two looks at the feed.
pub(crate) const INTERVAL_MS: u64 = 5_000;
/// Pause where the origin has no feed, or twice in a row none that can be used: the first may be
/// somebody's in between, and the next is not to come a minute late for it.
const WITHOUT_MS: u64 = 60_000;
/// A look that has not ended after this time was cancelled with its request.
const ABANDONED_MS: u64 = 30_000;
/// Changes that are kept in mind: about 3 MiB. Beyond, it begins anew, and documents that were made
/// before are asked for once more when they are used.
const MOST: usize = 32 * 1024;

/// What the feed has told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    generation: u64,
    /// All changes after this epoch are known.
    since: u64,
    /// How far that goes.
    epoch: u64,
    /// The time as of which that is so.
    as_of: Option<Timestamp>,
    /// Documents that have changed, with their newest versions.
    newest: HashMap<Name, u64>,
    /// When to look again.
    next_ms: u64,
    /// Since when somebody is looking.
    looking_ms: Option<u64>,
    /// When what is told was asked for.
    asked_ms: u64,
    /// The last answer could not be used.
    refused: bool,
}

/// What the feed says of one copy of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Nothing.
    None,
    /// As of this time there is no newer version.
    Unchanged(Timestamp),
    /// There is a newer version.
    Outdone,
}

impl Told {
    /// What it says of a copy of this version, which was read when the feed had come to `epoch`.
    pub(crate) fn of(&self, name: Name, version: u64, epoch: u64) -> Word {
        let Some(as_of) = self.as_of else {
            return Word::None;
        };
        match self.newest.get(&name) {
            Some(newest) if version < *newest => Word::Outdone,
            Some(_) => Word::Unchanged(as_of),
            // Read before the time that is known of: it may have changed in between.
            None if epoch < self.since || epoch == 0 => Word::None,
            None => Word::Unchanged(as_of),
        }
    }

    /// When the origin was asked for it last, so that it answered.
    pub(super) const fn asked_ms(&self) -> u64 {
        self.asked_ms
    }

    /// Whether it is time to look again, and nobody else does.
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        let looking = self
            .looking_ms
            .is_some_and(|since_ms| now_ms < since_ms + ABANDONED_MS);
        now_ms >= self.next_ms && !looking
    }

    /// Generation and epoch that are known, as they stand in the path of the next.
    pub(crate) const fn known(&self) -> (u64, u64) {
        (self.generation, self.epoch)
    }

    /// How long to leave the feed alone after an answer that could be used, or could not.
    fn pause_ms(&mut self, usable: bool) -> u64 {
        let refused_before = std::mem::replace(&mut self.refused, !usable);
        if refused_before && !usable {
            WITHOUT_MS
        } else {
            INTERVAL_MS
        }
    }

    /// Has nobody look.
    #[cfg(test)]
    pub(crate) fn rest(&mut self) {
        self.next_ms = u64::MAX;
    }

    /// Has the next request look.
    #[cfg(test)]
    pub(crate) fn make_due(&mut self) {
        self.next_ms = 0;
    }

    /// Takes in what comes next.
    ///
    /// # Errors
    /// Why it is refused: an older one than is known is somebody's replay.
    fn take(&mut self, feed: &Feed) -> Result<(), &'static str> {
        if self.as_of.is_some_and(|known| feed.as_of() < known) {
            return Err("is older than the one before");
        }
        let same = feed.generation() == self.generation;
        if same && feed.epoch() < self.epoch {
            return Err("goes back behind an epoch that was reached");
        }
        if !same || feed.since() > self.epoch {
            self.newest.clear();
            self.since = feed.since();
        }
        for change in feed.changed() {
            let newest = self.newest.entry(name(change)).or_default();
            *newest = change.version.max(*newest);
        }
        if self.newest.len() > MOST {
            self.newest = HashMap::new();
            self.since = feed.epoch();
        }
        self.generation = feed.generation();
        self.epoch = feed.epoch();
        self.as_of = Some(feed.as_of());
        Ok(())
    }
}

fn name(change: &Change) -> Name {
    match (change.status_list, change.feature_set) {
        (Some(number), _) => Name::status_list(change.org, number),
        (None, Some(set)) => Name::features(change.org, set),
        (None, None) => Name::keys(change.org),
    }
}

/// Whether [`follow`] would look now.
pub(crate) fn is_due(isolate: &Isolate, now_ms: u64) -> bool {
    let told = &isolate.documents.borrow().told;
    told.is_due(now_ms) && isolate.origin.paused_until(now_ms).is_none()
}

/// Looks at the feed after the answer, when it is time.
pub(crate) fn follow(scope: &Rc<Scope>) {
    let now_ms = clock::now_ms();
    let isolate = &scope.isolate;
    if !is_due(isolate, now_ms) {
        return;
    }
    isolate.documents.borrow_mut().told.looking_ms = Some(now_ms);
    let later = Rc::clone(scope);
    scope.after_response(async move {
        let pause_ms = look(&later).await;
        let told = &mut later.isolate.documents.borrow_mut().told;
        told.looking_ms = None;
        // From when it was asked for, so that the interval is what it says.
        told.next_ms = now_ms + pause_ms;
    });
}

/// Asks for the feed, and tells when to ask again.
async fn look(scope: &Rc<Scope>) -> u64 {
    let (generation, epoch) = scope.isolate.documents.borrow().told.known();
    let asked_ms = clock::now_ms();
    let path = format!("/edge/v1/revocations/{generation}/{epoch}");
    let call = Call {
        method: "GET",
        path: &path,
        max_answer_bytes: FeedClaims::MAX_BYTES,
        ..Call::default()
    };
    let Ok(reply) = origin::call(scope, call).await else {
        return INTERVAL_MS;
    };
    scope.read_clock();
    let platform = &scope.isolate.config.platform;
    let text = std::str::from_utf8(&reply.body).unwrap_or_default();
    let taken = match reply.status {
        200 => Feed::verify(text, &platform.issuer, &platform.keys, scope.now())
            .map_err(|error| error.to_string())
            .and_then(|feed| {
                let told = &mut scope.isolate.documents.borrow_mut().told;
                told.take(&feed).map_err(str::to_owned)?;
                told.asked_ms = asked_ms;
                Ok(())
            }),
        status => Err(format!("status {status}")),
    };
    if let Err(why) = &taken {
        scope.log(Level::Error, "the revocation feed can't be used", why);
    }
    let told = &mut scope.isolate.documents.borrow_mut().told;
    told.pause_ms(taken.is_ok())
}

#[cfg(test)]
mod tests {
    use licet_shared::{
        documents::PlatformKeys,
        jws::{LocalSigner, Times, sign},
    };
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const ISSUER: &str = "https://licet.example";

    fn feed(generation: u64, since: u64, epoch: u64, at: i64, changed: &[(u32, u64)]) -> Feed {
        let signer = LocalSigner::from_seed("platform.1", [9; 32]);
        let keys: PlatformKeys = signer.verifying_key().to_string().parse().unwrap();
        let changed = changed.iter().map(|(number, version)| Change {
            org: "ABCDEFGH".parse().unwrap(),
            status_list: Some(*number),
            feature_set: None,
            version: *version,
        });
        let claims = FeedClaims {
            iss: ISSUER.into(),
            r#gen: generation,
            since,
            ep: epoch,
            changed: changed.collect(),
        };
        let now = Timestamp::from_unix(at);
        let text = sign(&claims, Times::starting(now, 86_400), &signer).unwrap();
        Feed::verify(&text, ISSUER, &keys, now).unwrap()
    }

    fn list(number: u32) -> Name {
        Name::status_list("ABCDEFGH".parse().unwrap(), number)
    }

    const fn unchanged(at: i64) -> Word {
        Word::Unchanged(Timestamp::from_unix(at))
    }

    #[wasm_bindgen_test]
    fn what_is_not_named_has_not_changed() {
        let mut told = Told::default();
        assert_eq!(told.of(list(0), 1, 50), Word::None);
        told.take(&feed(1, 10, 50, 1000, &[(1, 7)])).unwrap();
        assert_eq!(told.of(list(0), 1, 50), unchanged(1000));
        assert_eq!(told.of(list(0), 1, 10), unchanged(1000));
        // Read before what is known of.
        assert_eq!(told.of(list(0), 1, 9), Word::None);
        assert_eq!(told.of(list(0), 1, 0), Word::None);
        // Named: the version alone says it.
        assert_eq!(told.of(list(1), 6, 50), Word::Outdone);
        assert_eq!(told.of(list(1), 7, 0), unchanged(1000));
        assert_eq!(told.of(list(1), 8, 0), unchanged(1000));

        told.take(&feed(1, 50, 60, 1005, &[(1, 9)])).unwrap();
        assert_eq!(told.of(list(1), 8, 50), Word::Outdone);
        assert_eq!(told.of(list(0), 1, 10), unchanged(1005));
    }

    #[wasm_bindgen_test]
    fn a_gap_or_another_generation_begins_anew() {
        let mut told = Told::default();
        told.take(&feed(1, 0, 50, 1000, &[(1, 7)])).unwrap();
        told.take(&feed(1, 55, 60, 1005, &[])).unwrap();
        assert_eq!(told.of(list(0), 1, 54), Word::None);
        assert_eq!(told.of(list(0), 1, 55), unchanged(1005));
        assert_eq!(told.of(list(1), 1, 54), Word::None, "no longer known of");
        told.take(&feed(2, 0, 20, 1010, &[])).unwrap();
        assert_eq!(told.of(list(0), 1, 1), unchanged(1010));
        assert_eq!((told.generation, told.epoch), (2, 20));
    }

    #[wasm_bindgen_test]
    fn replays_are_refused_and_change_nothing() {
        let mut told = Told::default();
        told.take(&feed(1, 0, 50, 1000, &[])).unwrap();
        assert!(told.take(&feed(1, 0, 49, 1001, &[(0, 9)])).is_err());
        assert!(told.take(&feed(1, 0, 60, 999, &[(0, 9)])).is_err());
        assert!(told.take(&feed(0, 0, 60, 999, &[(0, 9)])).is_err());
        assert_eq!(told.of(list(0), 1, 50), unchanged(1000));
        // The same again is as good as it was, and no fresher.
        told.take(&feed(1, 50, 50, 1000, &[])).unwrap();
        assert_eq!(told.of(list(0), 1, 50), unchanged(1000));
    }

    #[wasm_bindgen_test]
    fn too_many_changes_are_as_good_as_none_known() {
        let mut told = Told::default();
        let all: Vec<_> = (0..4096).map(|number| (number, 2)).collect();
        for round in 0..9 {
            let changed: Vec<_> = all
                .iter()
                .map(|(number, version)| (number + 4096 * round, *version))
                .collect();
            let at = u64::from(round);
            let one = feed(1, at * 10, at * 10 + 10, 1000 + i64::from(round), &changed);
            told.take(&one).unwrap();
        }
        assert!(told.newest.len() <= MOST);
        assert_eq!(told.of(list(0), 2, 5), Word::None);
        assert_eq!(told.of(list(0), 1, 90), unchanged(1008));
    }

    #[wasm_bindgen_test]
    fn one_that_can_t_be_used_is_asked_for_again_soon_and_two_are_left_alone() {
        let mut told = Told::default();
        let answers = [true, false, true, false, false, false, true, false];
        let pauses = answers.map(|usable| told.pause_ms(usable));
        let (soon, late) = (INTERVAL_MS, WITHOUT_MS);
        assert_eq!(pauses, [soon, soon, soon, soon, late, late, soon, soon]);
    }

    #[wasm_bindgen_test]
    fn one_looks_at_a_time_and_not_too_often() {
        let mut told = Told::default();
        assert!(told.is_due(1_000));
        told.looking_ms = Some(1_000);
        assert!(!told.is_due(1_001));
        assert!(told.is_due(1_000 + ABANDONED_MS));
        told.looking_ms = None;
        told.next_ms = 6_000;
        assert!(!told.is_due(5_999) && told.is_due(6_000));
    }
}
