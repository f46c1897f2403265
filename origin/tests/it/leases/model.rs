//! Random requests from sixteen clients at once, beside a simple model of what they may lead to.
//!
//! In each round every client does one thing, all at the same time; then the model is asked whether
//! there is an order of these in which all answers are right, and whether what the database now
//! holds is what must have come of it. 500 operations, and 10,000 with `LICET_TEST_FULL`.
//! `LICET_TEST_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use licet_shared::{
    api::LeaseAnswer,
    decision::Code,
    id::{ActivationId, LeaseId},
};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::{
    licenses::Shop,
    support::{
        Seeded,
        edge::activation,
        sql::{connect, uuid},
    },
};

const CLIENTS: usize = 16;
const DEVICES: usize = 6;
const MAX_ACTIVATIONS: usize = 4;
const USERS: usize = 5;
const NEVER: &str = "2090-01-01T00:00:00Z";

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len())])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Active,
    Suspended,
    Revoked,
    Ended,
}

impl Status {
    fn refusal(self) -> Option<Code> {
        match self {
            Self::Active => None,
            Self::Suspended => Some(Code::Suspended),
            Self::Revoked => Some(Code::Revoked),
            Self::Ended => Some(Code::LicenseExpired),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    License,
    User,
    Machine,
}

#[derive(Clone, Debug)]
struct Act {
    id: ActivationId,
    token: String,
    device: usize,
}

#[derive(Clone, Debug)]
struct Held {
    act: ActivationId,
    holder: usize,
    device: usize,
    text: String,
}

/// A license as the model has it.
#[derive(Debug)]
struct License {
    seeded: Seeded,
    per: Per,
    max: usize,
    status: Status,
    live: Vec<Act>,
    dead: Vec<Act>,
    held: BTreeMap<LeaseId, Held>,
    /// Leases that are over, which must stay so.
    over: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Suspend,
    Reinstate,
    Revoke,
    End,
    Renew,
}

impl Change {
    fn after(self) -> Status {
        match self {
            Self::Suspend => Status::Suspended,
            Self::Reinstate | Self::Renew => Status::Active,
            Self::Revoke => Status::Revoked,
            Self::End => Status::Ended,
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Activate(usize),
    Acquire(Act, usize),
    Heartbeat(LeaseId, String),
    HeartbeatOfOld(String),
    Release(LeaseId, String),
    /// Its holder dies, and its time and margin pass.
    Die(LeaseId),
    TakeBack(LeaseId),
    Deactivate(Act),
    Change(Change),
}

#[derive(Debug)]
enum Outcome {
    Activation(Code, Option<Act>),
    Lease(Box<LeaseAnswer>),
    Done(Code),
}

impl License {
    fn seat(&self, id: LeaseId, lease: &Held) -> String {
        match self.per {
            Per::License => id.to_string(),
            Per::User => format!("user {}", lease.holder),
            Per::Machine => format!("device {}", lease.device),
        }
    }

    fn seats<'a>(&self, leases: impl Iterator<Item = (&'a LeaseId, &'a Held)>) -> BTreeSet<String> {
        leases.map(|(id, lease)| self.seat(*id, lease)).collect()
    }

    /// Something that a client may do now.
    fn choose(&self, dice: &mut Dice, may_change: bool) -> Op {
        let held: Vec<_> = self.held.iter().collect();
        let lease = |dice: &mut Dice| dice.pick(&held).map(|(id, it)| (**id, it.text.clone()));
        for _ in 0..100 {
            let op = match dice.below(32) {
                0..3 => Some(Op::Activate(dice.below(DEVICES))),
                3..14 => {
                    let user = dice.below(USERS);
                    dice.pick(&self.live)
                        .cloned()
                        .map(|act| Op::Acquire(act, user))
                }
                14 => {
                    let user = dice.below(USERS);
                    dice.pick(&self.dead)
                        .cloned()
                        .map(|act| Op::Acquire(act, user))
                }
                15..20 => lease(dice).map(|(id, text)| Op::Heartbeat(id, text)),
                20 => dice.pick(&self.over).cloned().map(Op::HeartbeatOfOld),
                21..24 => lease(dice).map(|(id, text)| Op::Release(id, text)),
                24..27 => lease(dice).map(|(id, _)| Op::Die(id)),
                27 => lease(dice).map(|(id, _)| Op::TakeBack(id)),
                28 => dice.pick(&self.live).cloned().map(Op::Deactivate),
                _ if !may_change => None,
                _ => match (self.status, dice.below(8)) {
                    (Status::Active, 0) | (Status::Suspended, 0) => {
                        Some(Op::Change(Change::Revoke))
                    }
                    (Status::Active, 1..4) => Some(Op::Change(Change::Suspend)),
                    (Status::Active, 4..6) => Some(Op::Change(Change::End)),
                    (Status::Active, _) | (Status::Revoked, _) => None,
                    (Status::Suspended, _) => Some(Op::Change(Change::Reinstate)),
                    (Status::Ended, _) => Some(Op::Change(Change::Renew)),
                },
            };
            if let Some(op) = op {
                return op;
            }
        }
        Op::Activate(dice.below(DEVICES))
    }
}

struct World {
    shop: Shop,
    /// For what only time would do. It must not block: others may have to go on first.
    time: Client,
    licenses: Vec<License>,
    dice: Dice,
}

impl World {
    async fn new(seed: u64) -> Self {
        let shop = Shop::open().await;
        shop.bed
            .database
            .admin("UPDATE licet.organizations SET plan = 'ENTERPRISE', max_licenses = 1000000");
        let time = connect(&shop.bed.database.admin_url()).await;
        let mut world = Self {
            shop,
            time,
            licenses: Vec::new(),
            dice: Dice(seed),
        };
        for per in [Per::License, Per::User, Per::Machine] {
            let license = world.issue(per).await;
            world.licenses.push(license);
        }
        world
    }

    async fn issue(&mut self, per: Per) -> License {
        let max = 1 + self.dice.below(5);
        let seats = json!({ "max": max, "per": format!("{per:?}").to_uppercase() });
        let more = [
            ("max_activations", json!(MAX_ACTIVATIONS)),
            ("terms", json!({ "seats": seats })),
        ];
        let made = self.shop.issue(&more).await;
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        License {
            seeded: Seeded {
                license: text("id").parse().unwrap(),
                key: text("key"),
                ..self.shop.seeded.clone()
            },
            per,
            max,
            status: Status::Active,
            live: Vec::new(),
            dead: Vec::new(),
            held: BTreeMap::new(),
            over: Vec::new(),
        }
    }

    async fn round(&mut self, number: usize) {
        for at in 0..self.licenses.len() {
            if self.licenses[at].status == Status::Revoked {
                self.licenses[at] = self.issue(self.licenses[at].per).await;
            }
        }
        let mut ops: Vec<(usize, Op)> = Vec::new();
        for _ in 0..CLIENTS {
            let at = self.dice.below(self.licenses.len());
            let changes = |(other, op): &(usize, Op)| *other == at && matches!(op, Op::Change(_));
            let may_change = !ops.iter().any(changes);
            let op = self.licenses[at].choose(&mut self.dice, may_change);
            ops.push((at, op));
        }
        let world = &*self;
        let outcomes = join_all(ops.iter().map(|(at, op)| world.act(*at, op))).await;
        let done: Vec<_> = ops.into_iter().zip(outcomes).collect();
        for at in 0..self.licenses.len() {
            let of_license: Vec<_> = done
                .iter()
                .filter(|((other, _), _)| *other == at)
                .map(|((_, op), outcome)| (op, outcome))
                .collect();
            let told = format!("round {number}, license {at}: {of_license:#?}");
            self.licenses[at].judge(&of_license, &told);
            self.compare(at, &told);
            self.ask(at, &told).await;
        }
    }

    async fn act(&self, at: usize, op: &Op) -> Outcome {
        let bed = &self.shop.bed;
        let license = &self.licenses[at];
        match op {
            Op::Activate(device) => {
                let call = activation(&license.seeded.key, &format!("device {device}"));
                let answer = bed.call(call).await.answer();
                let act = answer.license_token.map(|token| Act {
                    id: answer.activation_id.unwrap(),
                    token,
                    device: *device,
                });
                Outcome::Activation(answer.code, act)
            }
            Op::Acquire(act, user) => {
                let answer = bed.acquire(&act.token, &format!("user {user}")).await;
                Outcome::Lease(Box::new(answer))
            }
            Op::Heartbeat(_, text) | Op::HeartbeatOfOld(text) => {
                Outcome::Lease(Box::new(bed.heartbeat(text).await))
            }
            Op::Release(_, text) => Outcome::Done(bed.release(text).await.code),
            Op::Die(id) => {
                let sql = format!(
                    "UPDATE licet.leases SET expires_at = expires_at - interval '10 days'
                     WHERE id = '{}'",
                    uuid(*id)
                );
                self.time.batch_execute(&sql).await.unwrap();
                Outcome::Done(Code::Valid)
            }
            Op::TakeBack(id) => {
                let path = format!("/api/v1/leases/{id}/release");
                self.shop.act(&path).await.json(200);
                Outcome::Done(Code::Valid)
            }
            Op::Deactivate(act) => Outcome::Done(bed.deactivate(&act.token).await.code),
            Op::Change(change) => {
                self.change(license, *change).await;
                Outcome::Done(Code::Valid)
            }
        }
    }

    async fn change(&self, license: &License, change: Change) {
        let path = format!("/api/v1/licenses/{}", license.seeded.license);
        let action = match change {
            Change::Suspend => "suspend",
            Change::Reinstate => "reinstate",
            Change::Revoke => "revoke",
            Change::End => {
                let id = uuid(license.seeded.license);
                let sql = format!(
                    "UPDATE licet.licenses SET expires_at = now() - interval '1 minute'
                     WHERE id = '{id}'"
                );
                return self.time.batch_execute(&sql).await.unwrap();
            }
            Change::Renew => {
                let body = json!({ "expires_at": NEVER });
                let path = format!("{path}/renew");
                let bed = &self.shop.bed;
                bed.post(&self.shop.owner, &path, &body).await.json(200);
                return;
            }
        };
        self.shop.act(&format!("{path}/{action}")).await.json(200);
    }

    /// What the database holds is what the model does.
    fn compare(&self, at: usize, told: &str) {
        let license = &self.licenses[at];
        let id = uuid(license.seeded.license);
        let ids = |sql: &str| -> BTreeSet<String> {
            let rows = self.shop.bed.database.admin(sql);
            rows.iter().map(|row| row[0].clone().unwrap()).collect()
        };
        let held = ids(&format!(
            "SELECT id FROM licet.leases WHERE license_id = '{id}' AND ended_at IS NULL
                 AND expires_at >= now() - interval '5 seconds'"
        ));
        let model: BTreeSet<String> = license.held.keys().map(|id| uuid(*id)).collect();
        assert_eq!(held, model, "seats held; {told}");
        let live = ids(&format!(
            "SELECT id FROM licet.activations WHERE license_id = '{id}' AND deactivated_at IS NULL"
        ));
        let model: BTreeSet<String> = license.live.iter().map(|act| uuid(act.id)).collect();
        assert_eq!(live, model, "activations; {told}");
    }

    /// Verdicts on one of the leases, and on its absence.
    async fn ask(&mut self, at: usize, told: &str) {
        let license = &self.licenses[at];
        let held: Vec<_> = license.held.values().collect();
        let Some(lease) = self.dice.pick(&held) else {
            return;
        };
        let act = license.live.iter().find(|act| act.id == lease.act).unwrap();
        let bed = &self.shop.bed;
        let refreshed = bed.refresh(&act.token).await;
        let expected = license.status.refusal();
        assert_eq!(refreshed.code, expected.unwrap_or(Code::Valid), "{told}");
        let token = match license.status {
            Status::Active => refreshed.license_token.unwrap(),
            Status::Suspended | Status::Revoked => act.token.clone(),
            // Its token may be from before the end was moved.
            Status::Ended => return,
        };
        let verdict = bed
            .verdict(&license.seeded, &token, Some(&lease.text))
            .await;
        // Of a token from before an end that has been moved since, its own end may come next.
        assert_eq!(verdict, expected.unwrap_or(Code::Valid), "{told}");
        let without = bed.verdict(&license.seeded, &token, None).await;
        assert_eq!(without, expected.unwrap_or(Code::LeaseRequired), "{told}");
    }
}

impl License {
    /// Whether there is an order in which all these answers are right; and what then is.
    fn judge(&mut self, done: &[(&Op, &Outcome)], told: &str) {
        let change = done.iter().find_map(|(op, _)| match op {
            Op::Change(change) => Some(*change),
            _ => None,
        });
        let after = change.map_or(self.status, Change::after);
        let by_status: Vec<Code> = [self.status, after]
            .into_iter()
            .filter_map(Status::refusal)
            .collect();
        let calm = by_status.is_empty() && change.is_none();
        let given_back: BTreeSet<ActivationId> = done
            .iter()
            .filter_map(|(op, _)| match op {
                Op::Deactivate(act) => Some(act.id),
                _ => None,
            })
            .collect();
        let ended: BTreeSet<LeaseId> = done
            .iter()
            .filter_map(|(op, _)| match op {
                Op::Release(id, _) | Op::Die(id) | Op::TakeBack(id) => Some(*id),
                _ => None,
            })
            .collect();

        // What came in.
        let mut acts = self.live.clone();
        let mut all = self.held.clone();
        for (op, outcome) in done {
            match (op, outcome) {
                (Op::Activate(_), Outcome::Activation(_, Some(act)))
                    if !acts.iter().any(|other| other.id == act.id) =>
                {
                    acts.push(act.clone());
                }
                (Op::Acquire(act, holder), Outcome::Lease(answer)) if answer.valid => {
                    let seats = answer.seats.unwrap();
                    assert!(seats.taken <= seats.max, "oversold: {told}");
                    let held = Held {
                        act: act.id,
                        holder: *holder,
                        device: act.device,
                        text: answer.lease_token.clone().unwrap(),
                    };
                    all.insert(answer.lease.unwrap().id, held);
                }
                (Op::Heartbeat(id, _), Outcome::Lease(answer)) if answer.valid => {
                    all.get_mut(id).unwrap().text = answer.lease_token.clone().unwrap();
                }
                _ => {}
            }
        }

        // What was said.
        let stays =
            |id: &LeaseId, lease: &Held| !ended.contains(id) && !given_back.contains(&lease.act);
        let seats_ever = self.seats(all.iter());
        let seats_throughout = self.seats(self.held.iter().filter(|(id, it)| stays(id, it)));
        for (op, outcome) in done {
            let (code, allowed): (Code, Vec<Code>) = match (op, outcome) {
                (Op::Activate(device), Outcome::Activation(code, _)) => {
                    let mut allowed = vec![Code::ActivationLimit];
                    let devices: BTreeSet<usize> = acts.iter().map(|act| act.device).collect();
                    let has_one = self
                        .live
                        .iter()
                        .any(|act| act.device == *device && !given_back.contains(&act.id));
                    if calm && (has_one || devices.len() < MAX_ACTIVATIONS) {
                        allowed.clear();
                    }
                    (*code, allowed)
                }
                (Op::Acquire(act, holder), Outcome::Lease(answer)) => {
                    let was_live = self.live.iter().any(|live| live.id == act.id);
                    let mut allowed = Vec::new();
                    if !was_live {
                        assert!(!answer.valid, "{told}");
                    }
                    if !was_live || given_back.contains(&act.id) {
                        allowed.push(Code::Deactivated);
                    }
                    let own = match self.per {
                        Per::License => None,
                        Per::User => Some(format!("user {holder}")),
                        Per::Machine => Some(format!("device {}", act.device)),
                    };
                    let has_seat = own.is_some_and(|own| seats_throughout.contains(&own));
                    if was_live && !has_seat && seats_ever.len() >= self.max {
                        allowed.push(Code::SeatLimit);
                    }
                    (answer.code, allowed)
                }
                (Op::Heartbeat(id, _), Outcome::Lease(answer)) => {
                    let mut allowed = Vec::new();
                    if ended.contains(id) {
                        allowed.extend([Code::LeaseExpired, Code::LeaseNotFound]);
                    }
                    if given_back.contains(&self.held[id].act) {
                        allowed.push(Code::Deactivated);
                    }
                    (answer.code, allowed)
                }
                (Op::HeartbeatOfOld(_), Outcome::Lease(answer)) => {
                    assert!(!answer.valid, "a lease came back: {told}");
                    let over = vec![Code::LeaseExpired, Code::LeaseNotFound, Code::Deactivated];
                    (answer.code, over)
                }
                (_, Outcome::Done(code)) => (*code, Vec::new()),
                other => panic!("{other:?}"),
            };
            let allowed_by_status =
                !matches!(op, Op::Release(..) | Op::Deactivate(_)) && by_status.contains(&code);
            assert!(
                code == Code::Valid || allowed.contains(&code) || allowed_by_status,
                "{op:?} got {code}, allowed are {allowed:?} and {by_status:?}; {told}"
            );
        }

        // What then is.
        for (id, lease) in &all {
            if !stays(id, lease) {
                self.over.push(lease.text.clone());
            }
        }
        all.retain(|id, lease| stays(id, lease));
        self.held = all;
        assert!(
            self.seats(self.held.iter()).len() <= self.max,
            "oversold: {told}"
        );
        let (dead, live) = acts
            .into_iter()
            .partition(|act| given_back.contains(&act.id));
        self.live = live;
        self.dead.extend::<Vec<Act>>(dead);
        assert!(self.live.len() <= MAX_ACTIVATIONS, "{told}");
        self.status = after;
        let keep = self.over.len().saturating_sub(20);
        self.over.drain(..keep);
        let keep = self.dead.len().saturating_sub(5);
        self.dead.drain(..keep);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_sixteen_clients_do_the_model_agrees() {
    let full = std::env::var_os("LICET_TEST_FULL").is_some();
    let operations: usize = if full { 10_000 } else { 500 };
    let seed = std::env::var("LICET_TEST_SEED").ok();
    let seed = seed.map_or_else(licet_origin::clock::unix_ms, |text| text.parse().unwrap());
    println!("LICET_TEST_SEED={seed}");
    let mut world = World::new(seed).await;
    for number in 0..operations.div_ceil(CLIENTS) {
        world.round(number).await;
    }
    let verified = &world.shop.bed.database;
    let verified: Value = verified
        .command(&["audit", "verify", "--org", "alpha"])
        .json();
    assert_eq!(verified["whole"], true);
}
