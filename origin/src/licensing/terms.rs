//! The terms on which licenses are used: those of a policy, and those that a license has in their
//! place. What is absent is as the documentation says; a new kind of term stands in a file of its
//! own here, with its line in [`Terms`] and each of its functions.

mod activations;
mod fingerprint;
mod seats;
mod time;

pub(crate) use activations::{Deactivations, Overage};
pub(crate) use fingerprint::{Fingerprint, FingerprintTerm};
pub(crate) use seats::Seats;
pub(crate) use time::{DurationStart, RenewalStart};

use std::{fmt, marker::PhantomData};

use licet_shared::{
    api::BodyError,
    documents::{AtExpiry, Tier},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use utoipa::ToSchema;

/// Terms of use. What is absent is the policy's, where these are a license's own, and else the
/// default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    /// What the license's end means. RESTRICT, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expiry: Option<AtExpiry>,
    /// What the policy's duration counts from. ISSUE, if absent; FIRST_ACTIVATION for the tier TRIAL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration_from: Option<DurationStart>,
    /// What a renewal's duration counts from where it does not say itself. The present end, if
    /// absent, or now if that has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) renewal_from: Option<RenewalStart>,
    /// On how many devices beyond `max_activations` it may be active. NONE, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) overage: Option<Overage>,
    /// From so many seconds after a token was made on, its device does well to refresh it. Half of
    /// the token's life, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 34_560_000)]
    pub(crate) refresh_after_s: Option<u32>,
    /// A device must refresh within so many seconds, however long its token lives. No need, if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 34_560_000)]
    pub(crate) heartbeat_s: Option<u32>,
    /// How often devices may give their activations back. As often as they like, if absent.
    #[serde(
        default,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) deactivations: Option<Deactivations>,
    /// Whether it may go to another device or policy. It may, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transferable: Option<bool>,
    /// How devices are told apart. By the policy's `fingerprint_rule`, if absent.
    #[serde(
        default,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) fingerprint: Option<FingerprintTerm>,
    /// Floating seats. None, if absent: who has an activation needs no seat.
    #[serde(
        default,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) seats: Option<Seats>,
    /// For how many seconds a license file may hold that a customer makes for a machine without a
    /// network. Only the vendor makes any, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 34_560_000)]
    pub(crate) offline_max_s: Option<u32>,
}

impl Terms {
    /// A license's own terms, over those of its policy.
    pub(crate) fn over(&self, policy: &Self) -> Self {
        Self {
            expiry: self.expiry.or(policy.expiry),
            duration_from: self.duration_from.or(policy.duration_from),
            renewal_from: self.renewal_from.or(policy.renewal_from),
            overage: self.overage.or(policy.overage),
            refresh_after_s: self.refresh_after_s.or(policy.refresh_after_s),
            heartbeat_s: self.heartbeat_s.or(policy.heartbeat_s),
            deactivations: self.deactivations.or(policy.deactivations),
            transferable: self.transferable.or(policy.transferable),
            fingerprint: self.fingerprint.or(policy.fingerprint),
            seats: self.seats.or(policy.seats),
            offline_max_s: self.offline_max_s.or(policy.offline_max_s),
        }
    }

    /// What the license's end means to those who use it.
    pub(crate) fn at_expiry(&self) -> AtExpiry {
        self.expiry.unwrap_or_default()
    }

    /// Whether use goes on, of some version at least, when the license's end has come.
    pub(crate) fn goes_on(&self) -> bool {
        !self.at_expiry().is_restrict()
    }

    /// What a license's duration counts from.
    pub(crate) fn duration_start(&self, tier: Tier) -> DurationStart {
        self.duration_from.unwrap_or(match tier {
            Tier::Trial => DurationStart::FirstActivation,
            Tier::Free | Tier::Pro | Tier::Enterprise => DurationStart::Issue,
        })
    }

    /// Where a token counts. `bound` is what the policy's own rule says.
    pub(crate) fn fingerprint_rule(&self, bound: bool) -> Fingerprint {
        let of_policy = if bound {
            Fingerprint::Required
        } else {
            Fingerprint::None
        };
        self.fingerprint
            .and_then(|term| term.rule)
            .unwrap_or(of_policy)
    }

    /// How many of a device's components must be as they were; none for all of them.
    pub(crate) fn matching_components(&self) -> Option<u8> {
        self.fingerprint.and_then(|term| term.matching)
    }

    /// The most devices for a number of activations; none where any number may be.
    pub(crate) fn device_limit(&self, max_activations: i64) -> Option<i64> {
        self.overage.unwrap_or(Overage::None).limit(max_activations)
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// [`BodyError`] that names the field.
    pub(crate) fn check(&self) -> Result<(), BodyError> {
        time::check("terms.refresh_after_s", self.refresh_after_s)?;
        time::check("terms.heartbeat_s", self.heartbeat_s)?;
        time::check("terms.offline_max_s", self.offline_max_s)?;
        self.deactivations.map_or(Ok(()), Deactivations::check)?;
        self.fingerprint.map_or(Ok(()), FingerprintTerm::check)?;
        self.seats.map_or(Ok(()), Seats::check)
    }
}

fn check(sound: bool, field: &str, what: &str) -> Result<(), BodyError> {
    if sound {
        Ok(())
    } else {
        Err(BodyError::field(field, what))
    }
}

/// An object or null and nothing else: serde would take an array for a struct, its fields by
/// position.
pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, it: D) -> Result<Self::Value, D::Error> {
            it.deserialize_map(self)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_option(Object(PhantomData))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(json: Value) -> Result<Terms, String> {
        let terms: Terms = serde_json::from_value(json).map_err(|error| error.to_string())?;
        terms.check().map_err(|error| error.to_string())?;
        Ok(terms)
    }

    /// Something of everything.
    fn all() -> Value {
        json!({
            "expiry": "MAINTAIN", "duration_from": "FIRST_ACTIVATION", "renewal_from": "NOW",
            "overage": "X1_25", "refresh_after_s": 60, "heartbeat_s": 3600,
            "deactivations": { "max": 2, "period_s": 86_400 }, "transferable": false,
            "fingerprint": { "rule": "REQUIRED", "match": 2 },
            "seats": { "max": 5, "per": "USER", "lease_s": 300, "borrow_max_s": 86_400 }, "offline_max_s": 86_400,
        })
    }

    #[test]
    fn terms_are_written_as_they_are_read() {
        let terms = read(all()).unwrap();
        assert_eq!(serde_json::to_value(&terms).unwrap(), all());
        for (field, _) in all().as_object().unwrap() {
            let mut without = all();
            without[field] = Value::Null;
            let terms = read(without).unwrap();
            let written = serde_json::to_value(&terms).unwrap();
            assert_eq!(written.get(field), None);
        }
        assert_eq!(read(json!({})).unwrap(), Terms::default());
    }

    #[test]
    fn a_licenses_own_terms_stand_in_place_of_its_policys_one_by_one() {
        let policy = read(all()).unwrap();
        assert_eq!(Terms::default().over(&policy), policy);
        assert_eq!(policy.over(&Terms::default()), policy);
        let own = json!({
            "expiry": "ALLOW", "duration_from": "ISSUE", "renewal_from": "END", "overage": "NONE",
            "refresh_after_s": 61, "heartbeat_s": 61, "deactivations": { "max": 0, "period_s": 60 },
            "transferable": true, "fingerprint": { "rule": "NONE" },
            "seats": { "max": 6, "per": "LICENSE", "lease_s": 600, "borrow_max_s": 0 }, "offline_max_s": 60,
        });
        assert_eq!(
            read(own.clone()).unwrap().over(&policy),
            read(own.clone()).unwrap()
        );
        for (field, value) in own.as_object().unwrap() {
            let mut expected = all();
            expected[field] = value.clone();
            let one = read(json!({ field: value })).unwrap();
            assert_eq!(one.over(&policy), read(expected).unwrap(), "{field}");
        }
    }

    #[test]
    fn what_is_out_of_range_or_unknown_is_refused_by_name() {
        for (bad, named) in [
            (json!({ "expiry": "restrict" }), "unknown variant"),
            (json!({ "refresh_after_s": 59 }), "terms.refresh_after_s"),
            (json!({ "heartbeat_s": 34_560_001 }), "terms.heartbeat_s"),
            (json!({ "heartbeat_s": -1 }), "invalid value"),
            (json!({ "offline_max_s": 59 }), "terms.offline_max_s"),
            (json!({ "deactivations": { "max": 1 } }), "period_s"),
            (json!({ "deactivations": [1, 60] }), "an object"),
            (
                json!({ "deactivations": { "max": 1_000_001, "period_s": 60 } }),
                "terms.deactivations.max",
            ),
            (
                json!({ "deactivations": { "max": 1, "period_s": 59 } }),
                "terms.deactivations.period_s",
            ),
            (json!({ "fingerprint": ["NONE", 1] }), "an object"),
            (
                json!({ "fingerprint": { "match": 0 } }),
                "terms.fingerprint.match",
            ),
            (
                json!({ "fingerprint": { "match": 9 } }),
                "terms.fingerprint.match",
            ),
            (json!({ "seats": {} }), "max"),
            (json!({ "seats": { "max": 0 } }), "terms.seats.max"),
            (json!({ "seats": { "max": 100_001 } }), "terms.seats.max"),
            (
                json!({ "seats": { "max": 1, "lease_s": 59 } }),
                "terms.seats.lease_s",
            ),
            (
                json!({ "seats": { "max": 1, "lease_s": 3_601 } }),
                "terms.seats.lease_s",
            ),
            (
                json!({ "seats": { "max": 1, "borrow_max_s": 31_536_001 } }),
                "terms.seats.borrow_max_s",
            ),
            (
                json!({ "seats": { "max": 1, "per": "SEAT" } }),
                "unknown variant",
            ),
            (json!({ "seats": [1] }), "an object"),
            (json!({ "colour": 1 }), "unknown field"),
        ] {
            let refused = read(bad.clone()).unwrap_err();
            assert!(refused.contains(named), "{bad}: {refused}");
        }
    }
}
