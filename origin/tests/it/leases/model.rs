//! Random requests from sixteen clients at once, beside a simple model of what they may lead to.
//!
//! In each round every client does one thing, all at the same time. Then the [model](license) is
//! asked whether there is an order of these in which all answers are right, whether what the
//! database now holds is what must have come of it, and whether edges say what the model does, now
//! and at times to come. Meanwhile somebody else looks at the database, and may at no moment see
//! more seats or activations taken than there are.
//!
//! 500 operations, and 10,000 with `LICET_TEST_FULL`. `LICET_TEST_SEED` repeats a run, but for the
//! order within rounds.

mod license;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use licet_origin::{db::SystemDatabase, jobs::Jobs, metrics::Metrics};
use licet_shared::{
    api::{ActivationAnswer, LeaseAnswer},
    decision::{Code, OriginState},
    id::LeaseId,
    time::Timestamp,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::{
    licenses::Shop,
    support::{
        Seeded,
        edge::{activation, now},
        sql::{connect, uuid},
    },
};
use license::{Act, Lease, License, Policy, Standing};

const CLIENTS: usize = 16;
const DEVICES: usize = 6;
const USERS: usize = 5;
const DAY: i64 = 86_400;
const LEASE_S: i64 = 600;
const BORROW_S: i64 = 3 * DAY;

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

/// What a license's vendor does to it. One thing a round: of two at once, the API refuses one.
#[derive(Clone, Copy, Debug)]
enum Change {
    Suspend,
    Reinstate,
    Revoke,
    /// This is its end now, which soon comes.
    Expire(Timestamp),
    /// To this end.
    Renew(Timestamp),
    /// One more of each, in place.
    Upgrade(Policy),
}

/// What a client does.
#[derive(Clone, Debug)]
enum Op {
    /// A new license, in place of one.
    Issue(Policy),
    Change(Change),
    /// The background work, which notes that licenses have expired.
    Jobs,
    Activate(usize),
    Refresh(Act),
    Deactivate(Act),
    /// For a user, and whether it is borrowed.
    Acquire(Act, usize, bool),
    Heartbeat(LeaseId, Lease),
    HeartbeatOfOld(Lease),
    Release(LeaseId, Lease),
    /// Its holder is dead, and its time and its margin have just passed.
    Die(LeaseId),
    TakeBack(LeaseId),
    /// At an edge.
    Validate(Act, Option<Lease>),
}

impl Op {
    fn name(&self) -> String {
        let whole = match self {
            Self::Change(change) => format!("{change:?}"),
            op => format!("{op:?}"),
        };
        whole.split('(').next().unwrap().to_owned()
    }
}

#[derive(Debug)]
enum Outcome {
    Issued(Box<License>),
    Activation(Box<ActivationAnswer>),
    Lease(Box<LeaseAnswer>),
    Verdict(Code, Timestamp),
    Changed(bool),
    Done(Code),
}

impl Outcome {
    fn code(&self) -> Code {
        match self {
            Self::Activation(answer) => answer.code,
            Self::Lease(answer) => answer.code,
            Self::Verdict(code, _) | Self::Done(code) => *code,
            Self::Issued(_) | Self::Changed(_) => Code::Valid,
        }
    }
}

impl License {
    /// Something that a client may do now.
    fn choose(&self, dice: &mut Dice, may_change: bool) -> Op {
        let held: Vec<(LeaseId, Lease)> =
            self.held.iter().map(|(id, it)| (*id, it.clone())).collect();
        let some = |(id, lease): &(LeaseId, Lease)| (*id, lease.clone());
        // Mostly licenses are in force, and those that are not soon are again.
        let in_force = self.state.objection(false, now()).is_none();
        let may_change = may_change && (!in_force || dice.below(4) == 0);
        loop {
            let op = match dice.below(40) {
                0..4 => Some(Op::Activate(dice.below(DEVICES))),
                4..15 => {
                    let (user, borrowed) = (dice.below(USERS), dice.below(8) == 0);
                    let act = dice.pick(&self.live).cloned();
                    act.map(|act| Op::Acquire(act, user, borrowed))
                }
                15 => {
                    let act = dice.pick(&self.dead).cloned();
                    act.map(|act| Op::Acquire(act, 0, false))
                }
                16..20 => dice
                    .pick(&held)
                    .map(some)
                    .map(|(id, it)| Op::Heartbeat(id, it)),
                20 => dice.pick(&self.over).cloned().map(Op::HeartbeatOfOld),
                21..24 => dice
                    .pick(&held)
                    .map(some)
                    .map(|(id, it)| Op::Release(id, it)),
                24..27 => dice.pick(&held).map(|(id, _)| Op::Die(*id)),
                27 => dice.pick(&held).map(|(id, _)| Op::TakeBack(*id)),
                28 => dice.pick(&self.live).cloned().map(Op::Deactivate),
                29 => dice.pick(&self.live).cloned().map(Op::Refresh),
                30..34 => self.show(dice).map(|(act, it)| Op::Validate(act, it)),
                34 => Some(Op::Jobs),
                _ if may_change => self.choose_change(dice),
                _ => None,
            };
            if let Some(op) = op {
                return op;
            }
        }
    }

    fn choose_change(&self, dice: &mut Dice) -> Option<Op> {
        let (now, state) = (now(), self.state);
        let change = match (state.standing, dice.below(12)) {
            (Standing::Revoked, _) => return Some(Op::Issue(Policy::any(dice))),
            (_, 0) => Change::Revoke,
            // One whose end has come can't be suspended.
            (Standing::Active, 1..6) if state.end > now.plus(DAY) => Change::Suspend,
            (Standing::Suspended, 1..6) => Change::Reinstate,
            (_, 6..8) if state.end > now.plus(DAY) => Change::Expire(now.plus(2)),
            (_, 8..10) => Change::Renew(state.end.max(now).plus(2 * DAY)),
            (_, 10..) => Change::Upgrade(state.policy.with_one_more()),
            _ => return None,
        };
        Some(Op::Change(change))
    }

    /// A token, and a lease or none to show beside it: mostly one of the same activation's.
    fn show(&self, dice: &mut Dice) -> Option<(Act, Option<Lease>)> {
        let acts: Vec<&Act> = self.live.iter().chain(&self.dead).collect();
        let act: Act = (*dice.pick(&acts)?).clone();
        let any = dice.below(8) == 0;
        let all = self.held.values().chain(&self.over);
        let leases: Vec<&Lease> = all.filter(|lease| any || lease.act == act.id).collect();
        let none = dice.below(4) == 0;
        let lease = dice.pick(&leases).filter(|_| !none);
        Some((act, lease.map(|lease| (*lease).clone())))
    }
}

struct World {
    shop: Shop,
    /// For what only time would do. It must not block: others may have to go on first.
    time: Client,
    jobs: Jobs,
    licenses: Vec<License>,
    dice: Dice,
    /// How often each was done, and what came of it.
    tally: BTreeMap<String, u32>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let shop = Shop::open().await;
        let database = &shop.bed.database;
        database
            .admin("UPDATE licet.organizations SET plan = 'ENTERPRISE', max_licenses = 1000000");
        let metrics = Arc::new(Metrics::new());
        let system = SystemDatabase::new(
            &database.system_url().parse().unwrap(),
            Arc::clone(&metrics),
        );
        let mut world = Self {
            time: connect(&database.admin_url()).await,
            jobs: Jobs::new(system.unwrap(), metrics),
            shop,
            licenses: Vec::new(),
            dice: Dice(seed),
            tally: BTreeMap::new(),
        };
        for _ in 0..3 {
            let policy = Policy::any(&mut world.dice);
            let license = world.issue(policy).await;
            world.licenses.push(license);
        }
        world
    }

    async fn issue(&self, policy: Policy) -> License {
        let end = now().plus(30 * DAY);
        let more = [
            ("max_activations", json!(policy.activations)),
            ("expires_at", json!(end)),
            ("terms", policy.terms()),
        ];
        let made = self.shop.issue(&more).await;
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let seeded = Seeded {
            license: text("id").parse().unwrap(),
            key: text("key"),
            ..self.shop.seeded.clone()
        };
        License::new(seeded, policy, end)
    }

    async fn round(&mut self, number: usize) {
        let mut ops: Vec<(usize, Op)> = Vec::new();
        for _ in 0..CLIENTS {
            let at = self.dice.below(self.licenses.len());
            let changes = |(other, op): &(usize, Op)| {
                *other == at && matches!(op, Op::Change(_) | Op::Issue(_))
            };
            let may_change = !ops.iter().any(changes);
            let op = self.licenses[at].choose(&mut self.dice, may_change);
            ops.push((at, op));
        }
        let (world, began) = (&*self, now());
        let outcomes = join_all(ops.iter().map(|(at, op)| world.act(*at, op))).await;
        let done: Vec<_> = ops.into_iter().zip(outcomes).collect();
        for at in 0..self.licenses.len() {
            let of_license: Vec<_> = done
                .iter()
                .filter(|((other, _), _)| *other == at)
                .map(|((_, op), outcome)| (op, outcome))
                .collect();
            let told = format!("round {number}, license {at}: {of_license:#?}");
            self.licenses[at].judge(&of_license, began, &told);
            self.compare(at, &told);
            self.ask(at, &told).await;
        }
        for ((at, op), outcome) in done {
            let counted = format!("{} {}", op.name(), outcome.code());
            *self.tally.entry(counted).or_default() += 1;
            if let Outcome::Issued(license) = outcome {
                self.licenses[at] = *license;
            }
        }
    }

    async fn act(&self, at: usize, op: &Op) -> Outcome {
        let bed = &self.shop.bed;
        let seeded = &self.licenses[at].seeded;
        match op {
            Op::Issue(policy) => Outcome::Issued(Box::new(self.issue(*policy).await)),
            Op::Change(change) => Outcome::Changed(self.change(seeded, *change).await),
            Op::Jobs => {
                self.jobs.run().await.unwrap();
                Outcome::Done(Code::Valid)
            }
            Op::Activate(device) => {
                let call = activation(&seeded.key, &format!("device {device}"));
                Outcome::Activation(Box::new(bed.call(call).await.answer()))
            }
            Op::Refresh(act) => Outcome::Activation(Box::new(bed.refresh(&act.token.text).await)),
            Op::Deactivate(act) => Outcome::Done(bed.deactivate(&act.token.text).await.code),
            Op::Acquire(act, user, borrowed) => {
                let more = match borrowed {
                    true => json!({ "borrow_s": BORROW_S }),
                    false => json!({}),
                };
                let holder = format!("user {user}");
                let answer = bed.acquire_with(&act.token.text, &holder, &more).await;
                Outcome::Lease(Box::new(answer))
            }
            Op::Heartbeat(_, lease) | Op::HeartbeatOfOld(lease) => {
                Outcome::Lease(Box::new(bed.heartbeat(&lease.text).await))
            }
            Op::Release(_, lease) => Outcome::Done(bed.release(&lease.text).await.code),
            Op::Die(id) => {
                let sql = format!(
                    "UPDATE licet.leases SET expires_at =
                         clock_timestamp() - interval '5 seconds' - interval '1 millisecond'
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
            Op::Validate(act, lease) => {
                let documents = bed.documents(seeded, &act.token.text).await;
                let at = now();
                let lease = lease.as_ref().map(|lease| lease.text.as_str());
                Outcome::Verdict(documents.decide(lease, OriginState::Answering, at), at)
            }
        }
    }

    /// Whether it was done: who is too slow may not move an end to the past.
    async fn change(&self, seeded: &Seeded, change: Change) -> bool {
        let (bed, owner) = (&self.shop.bed, &self.shop.owner);
        let path = format!("/api/v1/licenses/{}", seeded.license);
        let reply = match change {
            Change::Suspend => self.shop.act(&format!("{path}/suspend")).await,
            Change::Reinstate => self.shop.act(&format!("{path}/reinstate")).await,
            Change::Revoke => self.shop.act(&format!("{path}/revoke")).await,
            Change::Renew(end) => {
                let body = json!({ "expires_at": end });
                bed.post(owner, &format!("{path}/renew"), &body).await
            }
            Change::Upgrade(policy) => {
                let body =
                    json!({ "max_activations": policy.activations, "terms": policy.terms() });
                bed.patch(owner, &path, &body).await
            }
            Change::Expire(end) => {
                let reply = bed.patch(owner, &path, &json!({ "expires_at": end })).await;
                if reply.status.as_u16() == 400 && now() >= end {
                    return false;
                }
                reply
            }
        };
        reply.json(200);
        true
    }

    /// What the database holds is what the model does. A seat whose lease and margin have passed is
    /// not held, and the model gives it to the next who asks.
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

    /// The verdicts on a token, with a lease or without, now and later, from what edges know now; and
    /// what the origin says to the same device.
    async fn ask(&mut self, at: usize, told: &str) {
        let Some((act, lease)) = self.licenses[at].show(&mut self.dice) else {
            return;
        };
        let license = &mut self.licenses[at];
        let bed = &self.shop.bed;
        let is_dead = license.dead.iter().any(|dead| dead.id == act.id);
        let documents = bed.documents(&license.seeded, &act.token.text).await;
        let text = lease.as_ref().map(|lease| lease.text.as_str());
        let told = format!("{act:?} {lease:?}; {told}");
        let expected = |at| license.state.verdict(is_dead, &act, lease.as_ref(), at);

        // While the origin answers an edge asks it, and finds this.
        let at = now();
        let said = documents.decide(text, OriginState::Answering, at);
        assert_eq!(said, expected(at), "{told}");
        // Who holds it back for longer than it is fresh has no use of that.
        let at = documents.stale_from();
        let said = documents.decide(text, OriginState::Answering, at);
        let stale = match expected(at) {
            Code::Valid => Code::Stale,
            refused => refused,
        };
        assert_eq!(said, stale, "{told}");
        // And while it does not, all ends come as they were signed.
        let lease_end = lease.as_ref().map(|lease| lease.end);
        let ends = [lease_end, Some(act.token.end), Some(license.state.end)];
        for end in ends.into_iter().flatten() {
            for at in [end.plus(-1), end] {
                let said = documents.decide(text, OriginState::Unusable, at);
                let outlived = expected(at) == Code::Valid && at >= documents.end();
                let right = if outlived { Code::Stale } else { expected(at) };
                assert_eq!(said, right, "at {at}; {told}");
            }
        }

        let began = now();
        let refreshed = bed.refresh(&act.token.text).await;
        let expected = [began, now()].map(|at| license.state.objection(is_dead, at));
        let said = Some(refreshed.code).filter(|code| *code != Code::Valid);
        assert!(expected.contains(&said), "{said:?}; {told}");
        license.note_token(&refreshed, &[license.state.end], &told);
    }
}

/// Looks at the database again and again, until told to stop; tells how often. At no moment may a
/// license have more seats or activations taken than it has.
async fn watch(client: Client, is_over: Arc<AtomicBool>) -> u32 {
    let mut looks = 0;
    while !is_over.load(Ordering::Relaxed) {
        let sold_twice = client
            .query(
                "SELECT l.id, l.max_activations, l.terms::text, a.taken, s.leases, s.users, s.machines
                 FROM licet.licenses l,
                     LATERAL (SELECT count(*) AS taken FROM licet.activations
                         WHERE license_id = l.id AND deactivated_at IS NULL) a,
                     LATERAL (SELECT count(*) AS leases, count(DISTINCT holder) AS users,
                             count(DISTINCT machine_hash) AS machines
                         FROM licet.leases WHERE license_id = l.id AND ended_at IS NULL
                             AND expires_at >= now() - interval '5 seconds') s
                 WHERE a.taken > l.max_activations
                     OR CASE l.terms -> 'seats' ->> 'per'
                         WHEN 'LICENSE' THEN s.leases WHEN 'USER' THEN s.users ELSE s.machines
                     END > (l.terms -> 'seats' ->> 'max')::int",
                &[],
            )
            .await
            .unwrap();
        assert!(sold_twice.is_empty(), "oversold: {sold_twice:?}");
        looks += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    looks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_sixteen_clients_do_the_model_agrees() {
    let full = std::env::var_os("LICET_TEST_FULL").is_some();
    let operations: usize = if full { 10_000 } else { 500 };
    let seed = std::env::var("LICET_TEST_SEED").ok();
    let seed = seed.map_or_else(licet_origin::clock::unix_ms, |text| text.parse().unwrap());
    println!(
        "again: LICET_TEST_SEED={seed} cargo test -p licet-origin --test it leases::model\
         {}",
        if full {
            " (with LICET_TEST_FULL=1)"
        } else {
            ""
        }
    );
    let mut world = World::new(seed).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let watcher = connect(&world.shop.bed.database.admin_url()).await;
    // Stopped before the database is, whatever comes.
    let mut watching = JoinSet::new();
    watching.spawn(watch(watcher, Arc::clone(&is_over)));
    for number in 0..operations.div_ceil(CLIENTS) {
        world.round(number).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let looks = watching.join_next().await.unwrap().unwrap();
    println!("looked at {looks} times, {:#?}", world.tally);
    assert!(looks > 0);
    let verified = &world.shop.bed.database;
    let verified: Value = verified
        .command(&["audit", "verify", "--org", "alpha"])
        .json();
    assert_eq!(verified["whole"], true);
}
