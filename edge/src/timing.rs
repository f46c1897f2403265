//! `Server-Timing` (W3C) of answers that have left the isolate's memory: where the time went.

use std::{cell::Cell, fmt::Write as _};

use licet_shared::decision::Source;

use crate::{clock, metrics::tier};

/// What one request has waited for so far. The runtime's clock moves only then.
#[derive(Debug)]
pub(crate) struct Timing {
    begin_ms: u64,
    origin_ms: Cell<u64>,
    calls: Cell<u32>,
    source: Cell<Option<Source>>,
}

impl Timing {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self {
            begin_ms: clock::now_ms(),
            origin_ms: Cell::new(0),
            calls: Cell::new(0),
            source: Cell::new(None),
        }
    }

    /// Notes a call to the origin. Of two at the same time each counts.
    pub(crate) fn called(&self, took_ms: u64) {
        self.calls.set(self.calls.get() + 1);
        self.origin_ms.set(self.origin_ms.get() + took_ms);
    }

    /// Notes the tier that the status came from.
    pub(crate) fn served_from(&self, source: Source) {
        self.source.set(Some(source));
    }

    /// The header's value.
    pub(crate) fn header(&self) -> String {
        let mut value = format!("edge;dur={}", clock::now_ms().saturating_sub(self.begin_ms));
        if let Some(source) = self.source.get() {
            let _ = write!(value, ", tier;desc={}", tier(source));
        }
        let calls = self.calls.get();
        if calls > 0 {
            let took_ms = self.origin_ms.get();
            let _ = write!(value, ", origin;dur={took_ms};desc=\"calls: {calls}\"");
        }
        value
    }
}
