//! The revocation feed: what has changed at the origin, of all organizations, in one small document.
//!
//! An edge that keeps up with it need not ask for anything that it does not name. It is fetched every
//! few seconds while there are requests, after an answer and never before one; where it fails,
//! documents are asked for one by one, as their own times demand.
//!
//! Of the isolates of a data centre one asks at a time, and the others read in its cache what it was told
//! ([`shared`]).

mod shared;

use std::{collections::HashMap, rc::Rc};

use licet_shared::{
    documents::{Change, Feed, FeedClaims},
    jws::Kind,
    time::Timestamp,
};

use self::shared::Shared;
use super::{Name, claim::claim};
use crate::{
    bindings, clock,
    isolate::{Isolate, Scope},
    log::{self, Level},
    metrics::Looked,
    origin::{self, Call},
    random,
};

/// Longest pause between two looks at the feed.
pub(crate) const INTERVAL_MS: u64 = 5_000;
/// How much shorter it may be, at random: who looks first asks, and the others find what that brought.
const EARLIER_MS: u64 = 512;
/// Pause while another isolate asks.
const WHILE_ANOTHER_ASKS_MS: u64 = 250;
/// Seconds since it was signed for which what another isolate was told spares a call.
const SPARES_S: i64 = 7;
/// Seconds since it was signed after which an isolate catches up in the cache before it asks for documents.
const BEHIND_S: i64 = 10;
/// After which time without news, while requests come, the feed is said to stand still: as long as it is
/// evidence of anything.
const STALLED_MS: u64 = 30_000;
/// How often that is said.
const SAY_AGAIN_MS: u64 = 60_000;
/// Pause between requests after which it is no wonder that nothing has come.
const ASLEEP_MS: u64 = 2 * WITHOUT_MS;
/// Pause between two looks in the cache for that.
const CATCH_UP_MS: u64 = 1_000;
/// What other requests wait for such a look, and the pause between two of theirs.
const PATIENCE_MS: u32 = 100;
const PAUSE_MS: u32 = 4;
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
    /// When the cache was last looked into before a request was answered, and whether that goes on.
    caught_up_ms: u64,
    catching_up: bool,
    /// Whether the cache has ever had what an isolate was told.
    is_shared: bool,
    /// When something of a later time was told last, or requests began to come again.
    advanced_ms: u64,
    /// When there was last somebody to follow it.
    followed_ms: u64,
    /// When it was last said to stand still.
    complained_ms: u64,
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

    /// Likewise, where the cache has nothing: all that there is, when it has had something before, so that
    /// others find a whole there again.
    const fn known_unshared(&self) -> (u64, u64) {
        if self.is_shared { (0, 0) } else { self.known() }
    }

    /// As of when it is known what has changed.
    pub(crate) const fn as_of(&self) -> Option<Timestamp> {
        self.as_of
    }

    /// How long to leave the feed alone after an answer that could not be used.
    fn refuse(&mut self) -> u64 {
        if std::mem::replace(&mut self.refused, true) {
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

    /// Takes the cache for one that works.
    #[cfg(test)]
    pub(crate) fn be_shared(&mut self) {
        self.is_shared = true;
    }

    /// Has the next request look.
    #[cfg(test)]
    pub(crate) fn make_due(&mut self) {
        self.next_ms = 0;
    }

    /// Whether to say now that it stands still: while requests come, nothing of a later time has been told.
    fn is_stalled(&mut self, now_ms: u64) -> bool {
        if now_ms >= self.followed_ms + ASLEEP_MS {
            self.advanced_ms = now_ms;
        }
        self.followed_ms = now_ms;
        let stalled = now_ms >= self.advanced_ms + STALLED_MS;
        let say = stalled && now_ms >= self.complained_ms + SAY_AGAIN_MS;
        if say {
            self.complained_ms = now_ms;
        }
        say
    }

    fn catch_up(&mut self, since: Timestamp) -> CatchUp {
        let now_ms = clock::now_ms();
        if self.as_of >= Some(since) {
            CatchUp::Done
        } else if now_ms >= self.caught_up_ms + CATCH_UP_MS {
            self.caught_up_ms = now_ms;
            self.catching_up = true;
            CatchUp::Begin
        } else if self.catching_up {
            CatchUp::UnderWay
        } else {
            CatchUp::InVain
        }
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
        self.refused = false;
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
        if self.as_of < Some(feed.as_of()) {
            self.advanced_ms = self.followed_ms.max(clock::now_ms());
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
    watch(scope, now_ms);
    if !is_due(isolate, now_ms) {
        return;
    }
    isolate.documents.borrow_mut().told.looking_ms = Some(now_ms);
    let later = Rc::clone(scope);
    scope.after_response(async move {
        let next_ms = look(&later).await;
        let told = &mut later.isolate.documents.borrow_mut().told;
        told.looking_ms = None;
        told.next_ms = next_ms;
    });
}

/// Says so where the feed stands still, and tells what was counted, now and then.
fn watch(scope: &Scope, now_ms: u64) {
    let isolate = &scope.isolate;
    let told = &mut isolate.documents.borrow_mut().told;
    if told.is_stalled(now_ms) {
        isolate.metrics.stalled();
        let origin = match isolate.origin.failed_at() {
            Some(_) => "the origin is out of reach",
            None => "the origin answers",
        };
        let since_s = (now_ms - told.advanced_ms) / 1_000;
        let detail = format!("no news for {since_s} s; {origin}");
        log::alert(
            "feed_stalled",
            "the revocation feed does not advance, so each document is asked for by itself",
            &detail,
        );
    }
    if let Some(line) = isolate.metrics.line(now_ms) {
        log::note(&line);
    }
}

/// When to look again after what was asked for at `asked_ms`: from then, so that the interval is what it
/// says, whoever has asked.
fn next_after(asked_ms: u64) -> u64 {
    asked_ms + INTERVAL_MS - u64::from(u16::from_be_bytes(random::bytes())) % EARLIER_MS
}

/// Whether it is known what has changed as of `since`. If not, what other isolates of the data centre were
/// told is taken in first: one that begins, or wakes up, then need not ask for what has not changed.
pub(super) async fn catch_up(scope: &Scope, since: Timestamp) -> bool {
    let mut waited_ms = 0;
    loop {
        match scope.isolate.documents.borrow_mut().told.catch_up(since) {
            CatchUp::Done => return true,
            CatchUp::Begin => break,
            CatchUp::UnderWay if waited_ms < PATIENCE_MS => {}
            CatchUp::UnderWay | CatchUp::InVain => return false,
        }
        bindings::sleep(PAUSE_MS).await;
        waited_ms += PAUSE_MS;
    }
    let shared = Shared::read(scope).await;
    scope.read_clock();
    if let Some(shared) = &shared {
        shared.take_in(scope);
    }
    let told = &mut scope.isolate.documents.borrow_mut().told;
    told.catching_up = false;
    told.as_of >= Some(since)
}

/// What is to be done to be up to date.
enum CatchUp {
    /// Nothing.
    Done,
    /// The cache is to be read, by the caller.
    Begin,
    /// Another request reads it.
    UnderWay,
    /// It was read a moment ago.
    InVain,
}

/// See [`catch_up`]: for documents.
pub(super) async fn catch_up_if_behind(scope: &Scope) -> bool {
    !is_current(scope) && catch_up(scope, scope.now().plus(-BEHIND_S)).await
}

/// Whether this isolate knows what has changed until a moment ago.
pub(super) fn is_current(scope: &Scope) -> bool {
    let as_of = scope.isolate.documents.borrow().told.as_of;
    as_of >= Some(scope.now().plus(-BEHIND_S))
}

/// Looks at what another isolate was told, or else asks the origin; tells when to look again.
async fn look(scope: &Rc<Scope>) -> u64 {
    let shared = Shared::read(scope).await;
    scope.read_clock();
    if let Some(shared) = &shared {
        shared.take_in(scope);
        if shared.spares_a_call(scope) {
            scope.isolate.metrics.looked(Looked::Cache);
            return next_after(shared.asked_ms());
        }
    }
    if !claim(scope, CLAIM).await {
        scope.isolate.metrics.looked(Looked::LeftToAnother);
        return clock::now_ms() + WHILE_ANOTHER_ASKS_MS;
    }
    let asked_ms = clock::now_ms();
    let (looked, next_ms) = match ask(scope, shared, asked_ms).await {
        Ok(()) => (Looked::Origin, next_after(asked_ms)),
        Err(pause_ms) => (Looked::Failed, asked_ms + pause_ms),
    };
    scope.isolate.metrics.looked(looked);
    next_ms
}

/// What is claimed by whoever asks for the feed. Not released: nobody need ask before the claim's end.
const CLAIM: &str = "/feed";

/// Asks the origin; the error is the pause after it.
async fn ask(scope: &Rc<Scope>, shared: Option<Shared>, asked_ms: u64) -> Result<(), u64> {
    let (generation, epoch) = match &shared {
        Some(shared) => shared.next(scope),
        None => scope.isolate.documents.borrow().told.known_unshared(),
    };
    let before = scope.isolate.documents.borrow().told.as_of;
    let path = format!("/edge/v1/revocations/{generation}/{epoch}");
    let call = Call {
        method: "GET",
        path: &path,
        max_answer_bytes: FeedClaims::MAX_BYTES,
        ..Call::default()
    };
    let Ok(reply) = origin::call(scope, call).await else {
        return Err(INTERVAL_MS);
    };
    scope.read_clock();
    let platform = &scope.isolate.config.platform;
    let text = std::str::from_utf8(&reply.body).unwrap_or_default();
    let taken = match reply.status {
        200 => Feed::verify(text.into(), &platform.issuer, &platform.keys, scope.now())
            .map_err(|error| error.to_string())
            .and_then(|feed| {
                let told = &mut scope.isolate.documents.borrow_mut().told;
                // Where another isolate has been told meanwhile, and this one has read that, it may
                // well be the older one.
                if told.as_of == before || told.as_of <= Some(feed.as_of()) {
                    told.take(&feed).map_err(str::to_owned)?;
                    told.asked_ms = asked_ms;
                }
                Ok(feed)
            }),
        status => Err(format!("status {status}")),
    };
    match taken {
        Ok(feed) => {
            let asked_for = (generation, epoch);
            Shared::pass_on(scope, shared, asked_for, &feed, text, asked_ms).await;
            Ok(())
        }
        Err(why) => {
            scope.log(Level::Error, "the revocation feed can't be used", &why);
            Err(scope.isolate.documents.borrow_mut().told.refuse())
        }
    }
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
        Feed::verify((&text).into(), ISSUER, &keys, now).unwrap()
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
    fn a_feed_that_stands_still_is_said_to_once_a_minute_while_requests_come() {
        let begin_ms = clock::now_ms();
        let mut told = Told::default();
        // Seconds since the first request at which it is said, of one request each second.
        let said = |told: &mut Told, from: u64, to: u64| -> Vec<u64> {
            let stalled = |second: &u64| told.is_stalled(begin_ms + second * 1_000);
            (from..to).filter(stalled).collect()
        };
        assert_eq!(said(&mut told, 0, 200), [30, 90, 150]);
        // News, from now on.
        told.take(&feed(1, 0, 50, 1000, &[])).unwrap();
        assert_eq!(said(&mut told, 200, 229), [0; 0]);
        // The same again is none.
        told.take(&feed(1, 50, 50, 1000, &[])).unwrap();
        assert_eq!(said(&mut told, 229, 240), [229]);
        // Nobody was there to ask.
        assert_eq!(said(&mut told, 400, 429), [0; 0]);
        assert_eq!(said(&mut told, 429, 440), [430]);
    }

    #[wasm_bindgen_test]
    fn one_that_can_t_be_used_is_asked_for_again_soon_and_two_are_left_alone() {
        let mut told = Told::default();
        assert_eq!(told.refuse(), INTERVAL_MS);
        assert_eq!([told.refuse(), told.refuse()], [WITHOUT_MS; 2]);
        told.take(&feed(1, 0, 50, 1000, &[])).unwrap();
        assert_eq!(told.refuse(), INTERVAL_MS);
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
