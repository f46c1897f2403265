//! What a license may be said to be at a time, given when its changes were asked for and when they
//! were acknowledged.

use licet_shared::time::Timestamp;
use serde_json::Value;

/// Signed times are whole seconds.
const SECOND_MS: u64 = 1_000;

/// How an activation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    InForce,
    Suspended,
    Revoked,
    GivenBack,
}

impl Standing {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::InForce => "VALID",
            Self::Suspended => "SUSPENDED",
            Self::Revoked => "REVOKED",
            Self::GivenBack => "DEACTIVATED",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    asked_ms: u64,
    acknowledged_ms: Option<u64>,
    standing: Standing,
}

/// How an activation stood over time.
#[derive(Clone, Debug)]
pub(super) struct History(Vec<Turn>);

impl History {
    /// In force, from a time on at which it was acknowledged.
    pub(super) fn new(asked_ms: u64) -> Self {
        Self(vec![Turn {
            asked_ms,
            acknowledged_ms: Some(asked_ms),
            standing: Standing::InForce,
        }])
    }

    pub(super) fn ask(&mut self, standing: Standing, at_ms: u64) {
        self.0.push(Turn {
            asked_ms: at_ms,
            acknowledged_ms: None,
            standing,
        });
    }

    pub(super) fn acknowledge(&mut self, at_ms: u64) {
        if let Some(last) = self.0.last_mut() {
            last.acknowledged_ms.get_or_insert(at_ms);
        }
    }

    /// The last that was asked for.
    pub(super) fn now(&self) -> Standing {
        self.0
            .last()
            .map_or(Standing::InForce, |turn| turn.standing)
    }

    /// Whether it may have stood so at some moment of this span.
    fn may_have_been(&self, code: &str, from_ms: u64, to_ms: u64) -> bool {
        let ends = self.0.iter().skip(1).map(|next| next.acknowledged_ms);
        let ends = ends.chain([None]);
        self.0.iter().zip(ends).any(|(turn, end_ms)| {
            turn.standing.code() == code
                && turn.asked_ms <= to_ms
                && end_ms.unwrap_or(u64::MAX) >= from_ms
        })
    }

    /// Whether a verdict is right: it says how it was at the time that it names or since, and
    /// unless it says that it is degraded, that time is at most `bound_ms` before it was asked for.
    pub(super) fn judge(&self, verdict: &Value, asked: &Asked) -> Result<(), String> {
        let code = verdict["code"].as_str().unwrap_or_default();
        let freshness = &verdict["freshness"];
        if code == "STALE" {
            let may_be = asked.insists || !freshness["degraded"].is_null();
            return if may_be {
                Ok(())
            } else {
                Err("stale, though nobody insisted".into())
            };
        }
        let as_of: Option<Timestamp> = freshness["as_of"]
            .as_str()
            .and_then(|text| text.parse().ok());
        let Some(as_of) = as_of else {
            return Err("as of no time".into());
        };
        let as_of_ms = u64::try_from(as_of.unix()).unwrap_or_default() * SECOND_MS;
        if !self.may_have_been(code, as_of_ms.saturating_sub(SECOND_MS), asked.until_ms) {
            return Err(format!("it was not so since {as_of}: {:?}", self.0));
        }
        let oldest_ms = asked.at_ms.saturating_sub(asked.bound_ms);
        if freshness["degraded"].is_null() && as_of_ms < oldest_ms {
            return Err(format!("as of {as_of}, which is not said to be old"));
        }
        Ok(())
    }
}

/// When and how a verdict was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at_ms: u64,
    pub(super) until_ms: u64,
    /// With `max_staleness_s: 0`.
    pub(super) insists: bool,
    /// How old an answer may be that does not say that it is.
    pub(super) bound_ms: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn asked(at_ms: u64) -> Asked {
        Asked {
            at_ms,
            until_ms: at_ms + 10,
            insists: false,
            bound_ms: 10_000,
        }
    }

    fn verdict(code: &str, as_of_ms: u64, degraded: Option<&str>) -> Value {
        let as_of = Timestamp::from_unix((as_of_ms / 1000).cast_signed());
        json!({"code": code, "freshness": {"as_of": as_of.to_string(), "degraded": degraded}})
    }

    fn revoked_at(ms: u64) -> History {
        let mut history = History::new(NOW_MS);
        history.ask(Standing::Revoked, ms);
        history.acknowledge(ms + 100);
        history
    }

    #[test]
    fn the_soaks_model_takes_what_was_so_at_the_time_named() {
        let history = revoked_at(NOW_MS + 20_000);
        let at = asked(NOW_MS + 25_000);
        assert!(
            history
                .judge(&verdict("REVOKED", NOW_MS + 24_000, None), &at)
                .is_ok()
        );
        // As of before it was revoked, and within the bound.
        assert!(
            history
                .judge(&verdict("VALID", NOW_MS + 19_000, None), &at)
                .is_ok()
        );
        // As of long before, which is said.
        let late = asked(NOW_MS + 90_000);
        let degraded = verdict("VALID", NOW_MS + 19_000, Some("origin_unreachable"));
        assert!(history.judge(&degraded, &late).is_ok());
    }

    #[test]
    fn the_soaks_model_refuses_what_was_not_so_and_what_is_old_without_saying_so() {
        let history = revoked_at(NOW_MS + 20_000);
        let late = asked(NOW_MS + 90_000);
        // Revoked is for good.
        assert!(
            history
                .judge(&verdict("VALID", NOW_MS + 88_000, None), &late)
                .is_err()
        );
        let degraded = verdict("VALID", NOW_MS + 30_000, Some("origin_unreachable"));
        assert!(history.judge(&degraded, &late).is_err());
        assert!(
            history
                .judge(&verdict("VALID", NOW_MS + 19_000, None), &late)
                .is_err()
        );
        // Nobody has revoked it yet.
        let early = asked(NOW_MS + 5_000);
        assert!(
            history
                .judge(&verdict("REVOKED", NOW_MS + 5_000, None), &early)
                .is_err()
        );
        assert!(history.judge(&json!({"code": "VALID"}), &early).is_err());
        assert!(
            history
                .judge(&verdict("STALE", NOW_MS, None), &early)
                .is_err()
        );
    }
}
