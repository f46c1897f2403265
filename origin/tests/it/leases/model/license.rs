//! The model: a license as it must be, and what may be answered about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use licet_shared::{
    api::{ActivationAnswer, LeaseAnswer},
    decision::Code,
    id::{ActivationId, LeaseId},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{BORROW_S, Change, Dice, LEASE_S, Op, Outcome, now};
use crate::support::Seeded;

/// What a seat is for.
#[derive(Clone, Copy, Debug)]
pub enum Per {
    License,
    User,
    Machine,
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::License => "LICENSE",
            Self::User => "USER",
            Self::Machine => "MACHINE",
        })
    }
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub per: Per,
    pub seats: usize,
    pub activations: usize,
}

impl Policy {
    pub fn any(dice: &mut Dice) -> Self {
        Self {
            per: [Per::License, Per::User, Per::Machine][dice.below(3)],
            seats: 1 + dice.below(5),
            activations: 1 + dice.below(5),
        }
    }

    pub fn with_one_more(self) -> Self {
        Self {
            seats: self.seats + 1,
            activations: self.activations + 1,
            ..self
        }
    }

    pub fn terms(self) -> Value {
        let per = self.per.to_string();
        json!({ "seats": {
            "max": self.seats, "per": per, "lease_s": LEASE_S, "borrow_max_s": BORROW_S,
        } })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    Suspended,
    Revoked,
}

/// What the vendor makes of a license.
#[derive(Clone, Copy, Debug)]
pub struct State {
    pub standing: Standing,
    pub end: Timestamp,
    pub policy: Policy,
}

impl State {
    pub fn has_ended(self, now: Timestamp) -> bool {
        now >= self.end
    }

    fn after(self, change: Change) -> Self {
        match change {
            Change::Suspend => self.with(Standing::Suspended),
            Change::Reinstate => self.with(Standing::Active),
            Change::Revoke => self.with(Standing::Revoked),
            Change::Expire(end) | Change::Renew(end) => Self { end, ..self },
            Change::Upgrade(policy) => Self { policy, ..self },
        }
    }

    fn with(self, standing: Standing) -> Self {
        Self { standing, ..self }
    }

    /// What the origin says, if no, to a device that has given its activation back or not.
    pub fn objection(self, given_back: bool, now: Timestamp) -> Option<Code> {
        self.withdrawn(given_back)
            .or_else(|| self.has_ended(now).then_some(Code::LicenseExpired))
    }

    fn withdrawn(self, given_back: bool) -> Option<Code> {
        match self.standing {
            Standing::Revoked => Some(Code::Revoked),
            Standing::Suspended => Some(Code::Suspended),
            Standing::Active => given_back.then_some(Code::Deactivated),
        }
    }

    /// What an edge says that knows of this state.
    pub fn verdict(
        self,
        given_back: bool,
        act: &Act,
        lease: Option<&Lease>,
        at: Timestamp,
    ) -> Code {
        let ended = |end: Timestamp, code| (at >= end).then_some(code);
        let of_lease = || match lease {
            None => Some(Code::LeaseRequired),
            Some(lease) if lease.act != act.id => Some(Code::LeaseInvalid),
            Some(lease) => ended(lease.end, Code::LeaseExpired),
        };
        self.withdrawn(given_back)
            .or_else(|| ended(self.end, Code::LicenseExpired))
            .or_else(|| ended(act.token.end, Code::TokenExpired))
            .or_else(of_lease)
            .unwrap_or(Code::Valid)
    }
}

/// A license token, and the ends that stand in it.
#[derive(Clone)]
pub struct Token {
    pub text: String,
    pub end: Timestamp,
    license_end: Timestamp,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}, license to {}", self.end, self.license_end)
    }
}

impl Token {
    fn of(answer: &ActivationAnswer) -> Option<Self> {
        Some(Self {
            text: answer.license_token.clone()?,
            end: answer.token?.expires_at,
            license_end: answer.license.as_ref()?.expires_at?,
        })
    }
}

#[derive(Clone, Debug)]
pub struct Act {
    pub id: ActivationId,
    pub device: usize,
    /// The newest.
    pub token: Token,
}

#[derive(Clone)]
pub struct Lease {
    pub act: ActivationId,
    holder: usize,
    device: usize,
    borrowed: bool,
    /// The newest, and its end.
    pub text: String,
    pub end: Timestamp,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            act,
            holder,
            end,
            borrowed,
            ..
        } = self;
        write!(f, "of {act}, user {holder}, to {end}, borrowed: {borrowed}")
    }
}

impl Lease {
    /// With what was answered, which is for no longer than it may be: a dead holder's seat comes
    /// back by then, and the margin.
    fn renewed(self, answer: &LeaseAnswer, told: &str) -> Self {
        let end = answer.lease.unwrap().expires_at;
        let longest = if self.borrowed { BORROW_S } else { LEASE_S };
        assert!(end.since(now()) <= longest, "{end}; {told}");
        assert!(end >= self.end, "{end}; {told}");
        let text = answer.lease_token.clone().unwrap();
        Self { text, end, ..self }
    }
}

/// A license as it must be.
#[derive(Debug)]
pub struct License {
    pub seeded: Seeded,
    pub state: State,
    pub live: Vec<Act>,
    /// Some of the activations that were given back.
    pub dead: Vec<Act>,
    pub held: BTreeMap<LeaseId, Lease>,
    /// Some of the leases that are over, which must stay so.
    pub over: Vec<Lease>,
}

/// What happened in a round, as far as it bears on other answers.
struct Round {
    /// When it began and ended.
    times: [Timestamp; 2],
    /// Before and after.
    states: [State; 2],
    given_back: BTreeSet<ActivationId>,
    died: BTreeSet<LeaseId>,
    released: BTreeSet<LeaseId>,
    /// All activations that were there at any time, and all leases.
    acts: Vec<Act>,
    leases: BTreeMap<LeaseId, Lease>,
    /// Seats that were taken at any time, and those that were all the time.
    seats_ever: BTreeSet<String>,
    seats_throughout: BTreeSet<String>,
}

impl Round {
    fn stays(&self, id: &LeaseId, lease: &Lease) -> bool {
        let ended = self.died.contains(id) || self.released.contains(id);
        !ended && !self.given_back.contains(&lease.act)
    }
}

impl License {
    pub fn new(seeded: Seeded, policy: Policy, end: Timestamp) -> Self {
        Self {
            seeded,
            state: State {
                standing: Standing::Active,
                end,
                policy,
            },
            live: Vec::new(),
            dead: Vec::new(),
            held: BTreeMap::new(),
            over: Vec::new(),
        }
    }

    /// The seat that a lease has, or would have.
    fn seat(&self, id: Option<LeaseId>, holder: usize, device: usize) -> Option<String> {
        match self.state.policy.per {
            Per::License => id.map(|id| id.to_string()),
            Per::User => Some(format!("user {holder}")),
            Per::Machine => Some(format!("device {device}")),
        }
    }

    fn seats<'a>(
        &self,
        leases: impl Iterator<Item = (&'a LeaseId, &'a Lease)>,
    ) -> BTreeSet<String> {
        leases
            .filter_map(|(id, lease)| self.seat(Some(*id), lease.holder, lease.device))
            .collect()
    }

    /// Whether there is an order in which all these answers are right; and what then is.
    pub fn judge(&mut self, done: &[(&Op, &Outcome)], began: Timestamp, told: &str) {
        let round = self.look_over(done, began, told);
        for (op, outcome) in done {
            let (code, allowed) = self.allowed(op, outcome, &round);
            assert!(
                allowed.contains(&code),
                "{op:?} got {code}, allowed are {allowed:?}; {told}"
            );
        }

        self.state = round.states[1];
        for (id, lease) in &round.leases {
            if round.stays(id, lease) {
                self.held.insert(*id, lease.clone());
            } else {
                self.held.remove(id);
                self.over.push(lease.clone());
            }
        }
        let seats = self.seats(self.held.iter());
        assert!(seats.len() <= self.state.policy.seats, "oversold: {told}");
        let (dead, live): (Vec<Act>, _) = round
            .acts
            .into_iter()
            .partition(|act| round.given_back.contains(&act.id));
        self.live = live;
        self.dead.extend(dead);
        assert!(
            self.live.len() <= self.state.policy.activations,
            "oversold: {told}"
        );
        self.over.drain(..self.over.len().saturating_sub(20));
        self.dead.drain(..self.dead.len().saturating_sub(5));
        let ends = round.states.map(|state| state.end);
        for (_, outcome) in done {
            if let Outcome::Activation(answer) = outcome {
                self.note_token(answer, &ends, told);
            }
        }
    }

    fn look_over(&self, done: &[(&Op, &Outcome)], began: Timestamp, told: &str) -> Round {
        let mut round = Round {
            times: [began, now()],
            states: [self.state; 2],
            given_back: BTreeSet::new(),
            died: BTreeSet::new(),
            released: BTreeSet::new(),
            acts: self.live.clone(),
            leases: self.held.clone(),
            seats_ever: BTreeSet::new(),
            seats_throughout: BTreeSet::new(),
        };
        for (op, outcome) in done {
            match (op, outcome) {
                (Op::Change(change), Outcome::Changed(true)) => {
                    round.states[1] = self.state.after(*change);
                }
                (Op::Deactivate(act), _) => _ = round.given_back.insert(act.id),
                (Op::Die(id), _) => _ = round.died.insert(*id),
                (Op::Release(id, _) | Op::TakeBack(id), _) => _ = round.released.insert(*id),
                (Op::Activate(device), Outcome::Activation(answer)) if answer.valid => {
                    let id = answer.activation_id.unwrap();
                    if !round.acts.iter().any(|act| act.id == id) {
                        let (device, token) = (*device, Token::of(answer).unwrap());
                        round.acts.push(Act { id, device, token });
                    }
                }
                (Op::Acquire(act, holder, borrowed), Outcome::Lease(answer)) if answer.valid => {
                    let seats = answer.seats.unwrap();
                    assert!(seats.taken <= seats.max, "oversold: {told}");
                    let new = Lease {
                        act: act.id,
                        holder: *holder,
                        device: act.device,
                        borrowed: *borrowed,
                        text: String::new(),
                        end: now(),
                    };
                    let id = answer.lease.unwrap().id;
                    round.leases.insert(id, new.renewed(answer, told));
                }
                (Op::Heartbeat(id, lease), Outcome::Lease(answer)) if answer.valid => {
                    let renewed = lease.clone().renewed(answer, told);
                    round.leases.insert(*id, renewed);
                }
                _ => {}
            }
        }
        round.seats_ever = self.seats(round.leases.iter());
        let throughout = self.held.iter().filter(|(id, it)| round.stays(id, it));
        round.seats_throughout = self.seats(throughout);
        round
    }

    /// What was answered, and what may have been.
    fn allowed(&self, op: &Op, outcome: &Outcome, round: &Round) -> (Code, Vec<Code>) {
        match (op, outcome) {
            (Op::Activate(device), Outcome::Activation(answer)) => {
                let full = self
                    .may_be_full(*device, round)
                    .then_some(Code::ActivationLimit);
                (answer.code, Self::unless_objected(round, &[false], full))
            }
            (Op::Refresh(act), Outcome::Activation(answer)) => {
                let gone = self.may_be_gone(act.id, round);
                (answer.code, Self::unless_objected(round, gone, None))
            }
            (Op::Acquire(act, holder, _), Outcome::Lease(answer)) => {
                let own = self.seat(None, *holder, act.device);
                let has_seat = own.is_some_and(|own| round.seats_throughout.contains(&own));
                let may_be_full = !has_seat && round.seats_ever.len() >= self.state.policy.seats;
                let full = may_be_full.then_some(Code::SeatLimit);
                let gone = self.may_be_gone(act.id, round);
                (answer.code, Self::unless_objected(round, gone, full))
            }
            (Op::Heartbeat(id, lease), Outcome::Lease(answer)) => {
                let died = round.died.contains(id).then_some(Code::LeaseExpired);
                let released = round.released.contains(id).then_some(Code::LeaseNotFound);
                let gone = self.may_be_gone(lease.act, round);
                let over = died.into_iter().chain(released);
                (answer.code, Self::unless_objected(round, gone, over))
            }
            (Op::HeartbeatOfOld(_), Outcome::Lease(answer)) => {
                let over = [Code::LeaseExpired, Code::LeaseNotFound];
                let mut allowed = Self::unless_objected(round, &[false, true], over);
                allowed.retain(|code| *code != Code::Valid);
                (answer.code, allowed)
            }
            (Op::Validate(act, lease), Outcome::Verdict(code, at)) => {
                let gone = self.may_be_gone(act.id, round).iter();
                let verdicts = gone.flat_map(|gone| {
                    let states = round.states.iter();
                    states.map(|state| state.verdict(*gone, act, lease.as_ref(), *at))
                });
                (*code, verdicts.collect())
            }
            (_, Outcome::Done(code)) => (*code, vec![Code::Valid]),
            (_, Outcome::Issued(_) | Outcome::Changed(_)) => (Code::Valid, vec![Code::Valid]),
            other => panic!("{other:?}"),
        }
    }

    /// Yes or one of these, if there may have been a moment at which nothing was to be said against
    /// it; and what else was, at others.
    fn unless_objected(
        round: &Round,
        given_back: &[bool],
        else_no: impl IntoIterator<Item = Code>,
    ) -> Vec<Code> {
        let mut objections = Vec::new();
        for state in round.states {
            for at in round.times {
                let all = given_back.iter().map(|gone| state.objection(*gone, at));
                objections.extend(all);
            }
        }
        let mut allowed: Vec<Code> = objections.iter().flatten().copied().collect();
        if objections.contains(&None) {
            allowed.push(Code::Valid);
            allowed.extend(else_no);
        }
        allowed
    }

    fn may_be_gone(&self, act: ActivationId, round: &Round) -> &'static [bool] {
        if self.dead.iter().any(|dead| dead.id == act) {
            &[true]
        } else if round.given_back.contains(&act) {
            &[false, true]
        } else {
            &[false]
        }
    }

    /// Whether a device may have found all activations taken, and none of them its own.
    fn may_be_full(&self, device: usize, round: &Round) -> bool {
        let is_own = |act: &Act| act.device == device && !round.given_back.contains(&act.id);
        let devices: BTreeSet<usize> = round.acts.iter().map(|act| act.device).collect();
        !self.live.iter().any(is_own) && devices.len() >= self.state.policy.activations
    }

    /// Keeps the token of an answer, which must have one of these ends.
    pub fn note_token(&mut self, answer: &ActivationAnswer, ends: &[Timestamp], told: &str) {
        let Some(token) = Token::of(answer) else {
            assert!(!answer.valid, "{told}");
            return;
        };
        assert!(ends.contains(&token.license_end), "{token:?}; {told}");
        let id = answer.activation_id.unwrap();
        let mut acts = self.live.iter_mut().chain(&mut self.dead);
        if let Some(act) = acts.find(|act| act.id == id) {
            act.token = token;
        }
    }
}
