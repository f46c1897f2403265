//! What one isolate was told by the feed, in the data centre's cache, for the others.
//!
//! The signed texts themselves: one that tells of all there is, and the newest of what has come since. They
//! are evidence by their own signed times, whoever put them there. What stands beside them, when the
//! origin was asked, only says when to ask again.

use licet_shared::documents::Feed;

use super::SPARES_S;
use crate::{
    clock,
    documents::cache_api::{KEEP, read_note, write_note},
    isolate::Scope,
    log::Level,
};

/// Where it is.
const NOTE: &str = "feed";
/// Bytes of what has come since the whole above which the whole is asked for anew: some 800 changes.
const MOST_SINCE_BYTES: usize = 64 * 1024;

/// See the module's documentation.
pub(super) struct Shared {
    asked_ms: u64,
    /// All that there is, as of some time.
    whole: String,
    /// What has changed since then, as of now; empty where nobody has asked since.
    since: String,
}

impl Shared {
    /// What is there.
    pub(super) async fn read(scope: &Scope) -> Option<Self> {
        let note = read_note(scope, NOTE).await?;
        let mut lines = note.split('\n').map(str::to_owned);
        let asked_ms: u64 = lines.next()?.parse().ok()?;
        scope.isolate.documents.borrow_mut().told.is_shared = true;
        Some(Self {
            asked_ms: asked_ms.min(clock::now_ms()),
            whole: lines.next()?,
            since: lines.next()?,
        })
    }

    /// When the origin was asked for it, as far as is known.
    pub(super) const fn asked_ms(&self) -> u64 {
        self.asked_ms
    }

    /// Has the isolate know what it tells, if that is news.
    pub(super) fn take_in(&self, scope: &Scope) {
        let since = verified(scope, &self.since);
        let follows = since.as_ref().is_some_and(|since| {
            let (generation, epoch) = scope.isolate.documents.borrow().told.known();
            since.generation() == generation && since.since() <= epoch
        });
        let whole = (!follows).then(|| verified(scope, &self.whole)).flatten();
        let told = &mut scope.isolate.documents.borrow_mut().told;
        for feed in whole.iter().chain(&since) {
            // What this isolate has been told later is no reason to complain.
            if told.take(feed).is_ok() {
                // This isolate's own time: the note's is nobody's word.
                told.asked_ms = clock::now_ms();
            }
        }
    }

    /// Whether it was asked for so lately that nobody need ask now.
    pub(super) fn spares_a_call(&self, scope: &Scope) -> bool {
        let as_of = scope.isolate.documents.borrow().told.as_of();
        clock::now_ms() < self.asked_ms + super::INTERVAL_MS - super::EARLIER_MS
            && as_of.is_some_and(|as_of| scope.now().since(as_of) <= SPARES_S)
    }

    /// Generation and epoch to ask for next.
    pub(super) fn next(&self, scope: &Scope) -> (u64, u64) {
        if self.since.len() > MOST_SINCE_BYTES {
            return (0, 0);
        }
        let begin = |feed: Feed| (feed.generation(), feed.since());
        verified(scope, &self.since)
            .map(begin)
            .or_else(|| {
                verified(scope, &self.whole).map(|whole| (whole.generation(), whole.epoch()))
            })
            .unwrap_or_default()
    }

    /// Puts what the origin has answered there.
    pub(super) async fn pass_on(
        scope: &Scope,
        shared: Option<Self>,
        (generation, epoch): (u64, u64),
        feed: &Feed,
        text: &str,
        asked_ms: u64,
    ) {
        let all = epoch == 0 || feed.generation() != generation || feed.since() > epoch;
        let (whole, since) = match &shared {
            _ if all => (text, ""),
            Some(shared) => (shared.whole.as_str(), text),
            // What follows on what this isolate alone has been told is of no use to others.
            None => return,
        };
        let note = format!("{asked_ms}\n{whole}\n{since}");
        write_note(scope, NOTE, &note, KEEP).await;
    }
}

fn verified(scope: &Scope, text: &str) -> Option<Feed> {
    if text.is_empty() {
        return None;
    }
    let platform = &scope.isolate.config.platform;
    Feed::verify(text.into(), &platform.issuer, &platform.keys, scope.now())
        .inspect_err(|error| {
            let detail = format!("cache, {NOTE}: {error}");
            scope.log(Level::Error, "a stored document does not verify", &detail);
        })
        .ok()
}
