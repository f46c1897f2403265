//! Floating seats: how many may be in use at once, by whatever they are counted.

use licet_shared::api::BodyError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check;
use crate::db::leases::Usage;

/// Most seats that a license may have: they are counted under the license's lock.
const MOST: u32 = 100_000;
/// A year.
const LONGEST_BORROW_S: u32 = 31_536_000;
/// Most leases that may share one seat.
const MOST_IN_ONE: i64 = 100;

/// What a seat is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum SeatUnit {
    /// One lease: whoever acquires takes a seat.
    #[default]
    License,
    /// One user: all leases of the same holder share a seat, on whichever machine.
    User,
    /// One machine: all leases with the same fingerprint share a seat, whoever holds them.
    Machine,
}

/// Floating seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seats {
    /// How many there are.
    #[schema(minimum = 1, maximum = 100_000)]
    pub(crate) max: u32,
    /// What one is for. LICENSE, if absent.
    #[serde(default)]
    pub(crate) per: SeatUnit,
    /// For how many seconds a seat is leased without a heartbeat. 600, if absent.
    #[serde(default = "ten_minutes")]
    #[schema(minimum = 60, maximum = 3_600)]
    pub(crate) lease_s: u32,
    /// For how many seconds one may be borrowed for work offline. 0, if absent: not at all.
    #[serde(default)]
    #[schema(maximum = 31_536_000)]
    pub(crate) borrow_max_s: u32,
}

const fn ten_minutes() -> u32 {
    600
}

impl Seats {
    pub(super) fn check(self) -> Result<(), BodyError> {
        let sound = (1..=MOST).contains(&self.max);
        check(sound, "terms.seats.max", "must be 1 to 100000")?;
        let sound = (60..=3_600).contains(&self.lease_s);
        check(sound, "terms.seats.lease_s", "must be 60 to 3600")?;
        let sound = self.borrow_max_s <= LONGEST_BORROW_S;
        check(sound, "terms.seats.borrow_max_s", "must be 0 to 31536000")
    }

    /// How many seats these leases take.
    pub(crate) const fn taken(self, usage: Usage) -> i64 {
        match self.per {
            SeatUnit::License => usage.leases,
            SeatUnit::User => usage.users,
            SeatUnit::Machine => usage.machines,
        }
    }

    /// The same once the user and machine that were counted have another lease.
    pub(crate) const fn with_one_more(self, usage: Usage) -> Usage {
        Usage {
            leases: usage.leases + 1,
            users: usage.users + (usage.of_user == 0) as i64,
            machines: usage.machines + (usage.of_machine == 0) as i64,
            of_user: usage.of_user + 1,
            of_machine: usage.of_machine + 1,
        }
    }

    /// Whether there is room for another lease of the user and machine that were counted: in a
    /// seat of theirs, or in a free one.
    pub(crate) const fn has_room(self, usage: Usage) -> bool {
        let own = match self.per {
            SeatUnit::License => 0,
            SeatUnit::User => usage.of_user,
            SeatUnit::Machine => usage.of_machine,
        };
        if own == 0 {
            self.taken(usage) < self.max as i64
        } else {
            own < MOST_IN_ONE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_by_lease_by_user_and_by_machine() {
        let seats = |per| Seats {
            max: 3,
            per,
            lease_s: 600,
            borrow_max_s: 0,
        };
        // Two users on three machines with four leases; who asks has one of them.
        let usage = Usage {
            leases: 4,
            users: 2,
            machines: 3,
            of_user: 1,
            of_machine: 1,
        };
        let (lease, user, machine) = (
            seats(SeatUnit::License),
            seats(SeatUnit::User),
            seats(SeatUnit::Machine),
        );
        assert_eq!([lease, user, machine].map(|it| it.taken(usage)), [4, 2, 3]);
        assert_eq!(
            [lease, user, machine].map(|it| it.has_room(usage)),
            [false, true, true]
        );
        let stranger = Usage {
            of_user: 0,
            of_machine: 0,
            ..usage
        };
        assert_eq!(
            [lease, user, machine].map(|it| it.has_room(stranger)),
            [false, true, false]
        );
        for (before, taken) in [(usage, [5, 2, 3]), (stranger, [5, 3, 4])] {
            let after = lease.with_one_more(before);
            assert_eq!([lease, user, machine].map(|it| it.taken(after)), taken);
        }
        let crowded = Usage {
            of_user: 100,
            of_machine: 99,
            ..usage
        };
        assert_eq!(
            [user, machine].map(|it| it.has_room(crowded)),
            [false, true]
        );
    }
}
