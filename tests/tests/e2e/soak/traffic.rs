//! Vendors and their customers: what they ask for, and what they were promised.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use licet_tests::device::code;
use licet_tests::dice::Dice;
use licet_tests::wait::unix_ms;
use licet_tests::{Activation, Answer, Device, License, Request, Stack};
use serde_json::{Value, json};

use super::model::{Asked, History, Standing};
use crate::overrides::Vendor;

/// `LICET_STATUS_TTL_S` of the origin.
pub(super) const TTL_S: u32 = 10;
/// How old an answer may be that does not say that it is: the list's `ttl`, counted in whole seconds by two.
const BOUND_MS: u64 = (TTL_S as u64 + 3) * 1_000;
/// The same for an answer that was checked with the origin.
const INSISTENT_BOUND_MS: u64 = 7_000;
/// A write that is not done by then is lost.
const PATIENCE: Duration = Duration::from_secs(180);
const LICENSES: usize = 4;
const DEVICES: usize = 6;

/// What was seen by all, and where.
pub(super) struct Sight {
    pub(super) edges: Vec<String>,
    pub(super) origin: String,
    pub(super) verdicts: AtomicU64,
    pub(super) degraded: AtomicU64,
    pub(super) writes: AtomicU64,
    troubles: Mutex<Vec<Trouble>>,
    wrong: Mutex<Vec<String>>,
}

/// An answer that only a mishap explains: none, a 5xx, a degraded verdict.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    pub(super) what: String,
}

impl Sight {
    pub(super) fn new(edges: Vec<String>, origin: String) -> Self {
        Self {
            edges,
            origin,
            verdicts: AtomicU64::new(0),
            degraded: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            troubles: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    /// How many questions and writes were answered.
    pub(super) fn asked(&self) -> u64 {
        self.verdicts.load(Ordering::Relaxed) + self.writes.load(Ordering::Relaxed)
    }

    fn trouble(&self, from_ms: u64, what: String) {
        self.troubles.lock().unwrap().push(Trouble {
            from_ms,
            to_ms: unix_ms(),
            what,
        });
    }

    fn wrong(&self, what: String) {
        super::say(&format!("WRONG: {what}"));
        self.wrong.lock().unwrap().push(what);
    }

    pub(super) fn troubles(&self) -> Vec<Trouble> {
        self.troubles.lock().unwrap().clone()
    }

    pub(super) fn mistakes(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    /// Sends a write until it is answered.
    fn insist(&self, what: &str, request: &Request) -> Value {
        let started = Instant::now();
        loop {
            let from_ms = unix_ms();
            match request.try_send() {
                Ok(answer) if answer.status == 200 || answer.status == 201 => {
                    self.writes.fetch_add(1, Ordering::Relaxed);
                    return answer.json();
                }
                Ok(answer) if answer.status >= 500 => {
                    self.trouble(from_ms, format!("{what}: {}", brief(&answer)));
                }
                Ok(answer) if answer.status == 409 && is_in_flight(&answer) => {}
                Ok(answer) => self.wrong(format!("{what}: {answer:?}")),
                Err(error) => self.trouble(from_ms, format!("{what}: {error}")),
            }
            assert!(started.elapsed() < PATIENCE, "{what}: nobody does it");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn is_in_flight(answer: &Answer) -> bool {
    answer.json()["code"] == "IDEMPOTENCY_IN_FLIGHT"
}

fn brief(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.text())
}

/// An installation.
struct Seat {
    activation: Activation,
    history: History,
    /// A floating seat that it has: its id and its token.
    lease: Option<(String, String)>,
}

/// A license that was sold.
pub(super) struct Sold {
    license: License,
    floating: bool,
    standing: Standing,
    seats: Vec<Seat>,
    /// What was acknowledged, to be read back in the end.
    pub(super) given_back: Vec<String>,
    pub(super) used: u64,
}

impl Sold {
    pub(super) fn uuid(&self) -> uuid::Uuid {
        self.license.uuid()
    }

    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    /// Activations that hold a seat.
    pub(super) fn installed(&self) -> Vec<String> {
        let live = self.seats.iter().filter(|seat| seat.is_there());
        live.map(|seat| seat.activation.id.clone()).collect()
    }

    /// Leases that were not given back.
    pub(super) fn leases(&self) -> Vec<String> {
        let leases = self.seats.iter().filter_map(|seat| seat.lease.as_ref());
        leases.map(|(id, _)| id.clone()).collect()
    }

    /// The license's change, for each installation.
    fn each(&mut self, change: impl Fn(&mut History)) {
        self.seats
            .iter_mut()
            .for_each(|seat| change(&mut seat.history));
    }
}

impl Seat {
    fn is_there(&self) -> bool {
        self.history.now() != Standing::GivenBack
    }
}

/// One vendor with its customers.
pub(super) struct Market {
    pub(super) slug: String,
    token: String,
    policies: [Value; 2],
    dice: Dice,
    demo: License,
    count: u64,
    pub(super) sold: Vec<Sold>,
}

impl Market {
    pub(super) fn open(stack: &Stack, sight: &Sight, number: usize, dice: Dice) -> Self {
        let slug = format!("soak-{number}");
        let vendor = Vendor::sign_up(stack, &slug);
        let product = vendor.make("products", &json!({"code": "local_cli", "name": "CLI"}));
        let features = json!({"exports": {"quota": 1_000_000, "period": "once"}});
        let set = vendor.make(
            "feature-sets",
            &json!({"name": "pro", "features": features}),
        );
        let policy = |name: &str, terms: Value| {
            let body = json!({
                "name": name, "tier": "PRO", "feature_set_id": set, "product_ids": [product],
                "max_activations": 100_000, "terms": terms,
            });
            vendor.make("policies", &body)
        };
        let floating = json!({"seats": {"max": 10_000, "lease_s": 3_600}});
        let policies = [policy("plain", json!({})), policy("floating", floating)];
        let token = vendor.token.clone();
        let demo = stack.license("soak-demo", 1);
        let mut this = Self {
            slug,
            token,
            policies,
            dice,
            demo,
            count: 0,
            sold: Vec::new(),
        };
        for _ in 0..LICENSES {
            this.sell(sight);
        }
        this
    }

    fn key(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.slug, self.count)
    }

    fn sell(&mut self, sight: &Sight) {
        let floating = self.sold.len() % 2 == 1;
        let body = json!({"policy_id": self.policies[usize::from(floating)]});
        let url = format!("{}/api/v1/licenses", sight.origin);
        let request = Request::post(&url).bearer(&self.token).json(&body);
        let request = request.header("Idempotency-Key", self.key());
        let made = sight.insist("sell", &request);
        let license = License {
            key: made["key"].as_str().unwrap().to_owned(),
            id: made["id"].as_str().unwrap().parse().unwrap(),
            product: "local_cli".to_owned(),
            ..self.demo.clone()
        };
        self.sold.push(Sold {
            license,
            floating,
            standing: Standing::InForce,
            seats: Vec::new(),
            given_back: Vec::new(),
            used: 0,
        });
        self.install(sight, self.sold.len() - 1);
    }

    /// One thing that somebody does.
    pub(super) fn step(&mut self, sight: &Sight) {
        let live: Vec<usize> = (0..self.sold.len())
            .filter(|at| self.sold[*at].standing != Standing::Revoked)
            .collect();
        let any = self.dice.below(self.sold.len());
        let at = *self.dice.pick(&live).unwrap();
        let in_force = self.sold[at].standing == Standing::InForce;
        match self.dice.below(200) {
            0..140 => self.validate(sight, any),
            140..150 if in_force => self.refresh(sight, at),
            150..162 if in_force => self.consume(sight, at),
            162..174 if in_force => self.lease(sight, at),
            174..182 if in_force => self.install(sight, at),
            182..187 if in_force => self.give_back(sight, at),
            187..195 if in_force => self.change(sight, at, Standing::Suspended),
            187..195 => self.change(sight, at, Standing::InForce),
            195 => {
                self.change(sight, at, Standing::Revoked);
                self.sell(sight);
            }
            _ => self.validate(sight, any),
        }
    }

    fn edge(&mut self, sight: &Sight) -> String {
        self.dice.pick(&sight.edges).unwrap().clone()
    }

    /// An installation that is there, of this license.
    fn seat(&mut self, at: usize) -> Option<usize> {
        let seats = self.sold[at].seats.iter().enumerate();
        let there: Vec<usize> = seats
            .filter(|(_, seat)| seat.is_there())
            .map(|(n, _)| n)
            .collect();
        self.dice.pick(&there).copied()
    }

    fn validate(&mut self, sight: &Sight, at: usize) {
        let edge = self.edge(sight);
        let insists = self.dice.below(10) == 0;
        let seats = self.sold[at].seats.len();
        if seats == 0 {
            return;
        }
        let seat = self.dice.below(seats);
        self.judge(sight, at, seat, &edge, insists);
    }

    /// Asks for a verdict and holds it against the model.
    fn judge(&self, sight: &Sight, at: usize, seat: usize, edge: &str, insists: bool) {
        let sold = &self.sold[at];
        let seat = &sold.seats[seat];
        let mut question = json!({});
        if insists {
            question["max_staleness_s"] = json!(0);
        }
        if let Some((_, lease)) = &seat.lease {
            question["lease"] = json!(lease);
        }
        let url = format!("{edge}/api/v1/licenses/validate");
        let request = Request::post(&url).json(&seat.activation.question(&question));
        let at_ms = unix_ms();
        let what = format!("validate at {edge}");
        let mut verdict = match request.try_send() {
            Ok(answer) if answer.status == 200 => answer.verdict(),
            Ok(answer) if answer.status >= 500 => {
                return sight.trouble(at_ms, format!("{what}: {}", brief(&answer)));
            }
            Ok(answer) => return sight.wrong(format!("{what}: {answer:?}")),
            Err(error) => return sight.trouble(at_ms, format!("{what}: {error}")),
        };
        let asked = Asked {
            at_ms,
            until_ms: unix_ms(),
            insists,
            bound_ms: if insists {
                INSISTENT_BOUND_MS
            } else {
                BOUND_MS
            },
        };
        sight.verdicts.fetch_add(1, Ordering::Relaxed);
        if !verdict["freshness"]["degraded"].is_null() {
            sight.degraded.fetch_add(1, Ordering::Relaxed);
            sight.trouble(at_ms, format!("{what}: {verdict}"));
        }
        // All that is missing is a seat.
        if sold.floating && seat.lease.is_none() && verdict["code"] == "LEASE_REQUIRED" {
            verdict["code"] = json!("VALID");
        }
        if let Err(why) = seat.history.judge(&verdict, &asked) {
            sight.wrong(format!("{what}, asked at {at_ms}: {why}: {verdict}"));
        }
    }

    /// Asks both edges of everything for verdicts of this moment.
    pub(super) fn judge_all(&self, sight: &Sight) {
        for (at, sold) in self.sold.iter().enumerate() {
            for seat in 0..sold.seats.len() {
                for edge in &sight.edges {
                    self.judge(sight, at, seat, edge, true);
                }
            }
        }
    }

    fn expect(sight: &Sight, what: &str, answer: &Value, allowed: &[&str]) {
        let code = code(answer);
        if !allowed.contains(&&*code) {
            sight.wrong(format!("{what}: {answer}"));
        }
    }

    fn install(&mut self, sight: &Sight, at: usize) {
        if self.sold[at].installed().len() >= DEVICES {
            return;
        }
        let (edge, key) = (self.edge(sight), self.key());
        let device = Device::new(edge, &self.sold[at].license, &key);
        let asked_ms = unix_ms();
        let request = device.request().header("Idempotency-Key", &*key);
        let answer = sight.insist("activate", &request);
        Self::expect(sight, "activate", &answer, &["VALID"]);
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        self.sold[at].seats.push(Seat {
            activation: Activation {
                token: text("license_token"),
                id: text("activation_id"),
                edge: String::new(),
                product: "local_cli".to_owned(),
                fingerprint: key,
            },
            history: History::new(asked_ms),
            lease: None,
        });
    }

    fn refresh(&mut self, sight: &Sight, at: usize) {
        let (edge, key) = (self.edge(sight), self.key());
        let Some(seat) = self.seat(at) else { return };
        let seat = &mut self.sold[at].seats[seat];
        let request = seat.activation.at(edge).refresh();
        let answer = sight.insist("refresh", &request.header("Idempotency-Key", key));
        Self::expect(sight, "refresh", &answer, &["VALID"]);
        if let Some(token) = answer["license_token"].as_str() {
            seat.activation = seat.activation.with_token(token);
        }
    }

    fn consume(&mut self, sight: &Sight, at: usize) {
        let (edge, key) = (self.edge(sight), self.key());
        let Some(seat) = self.seat(at) else { return };
        let amount = 1 + self.dice.below(5) as u64;
        let uses = json!({"uses": [{"feature": "exports", "amount": amount, "id": key}]});
        let token = &self.sold[at].seats[seat].activation.token;
        let url = format!("{edge}/api/v1/licenses/consume");
        let request = Request::post(&url).bearer(token).json(&uses);
        let answer = sight.insist("consume", &request.header("Idempotency-Key", key));
        Self::expect(sight, "consume", &answer, &["VALID"]);
        self.sold[at].used += amount;
    }

    /// Takes a floating seat, or keeps it, or gives it back.
    fn lease(&mut self, sight: &Sight, at: usize) {
        let (edge, key) = (self.edge(sight), self.key());
        if !self.sold[at].floating {
            return;
        }
        let Some(seat) = self.seat(at) else { return };
        let gives_back = self.dice.below(3) == 0;
        let seat = &mut self.sold[at].seats[seat];
        let post = |what: &str, bearer: &str| {
            let url = format!("{edge}/api/v1/licenses/{what}");
            let request = Request::post(&url).bearer(bearer);
            request.header("Idempotency-Key", &*key)
        };
        let (what, request) = match &seat.lease {
            None => {
                let body = json!({"holder": "somebody"});
                (
                    "acquire",
                    post("acquire", &seat.activation.token).json(&body),
                )
            }
            Some((_, lease)) if gives_back => ("release", post("release", lease)),
            Some((_, lease)) => ("heartbeat", post("heartbeat", lease)),
        };
        let answer = sight.insist(what, &request);
        if what == "release" {
            // The first answer may have been lost.
            Self::expect(sight, what, &answer, &["VALID", "LEASE_NOT_FOUND"]);
            seat.lease = None;
            return;
        }
        Self::expect(sight, what, &answer, &["VALID"]);
        if let (Some(id), Some(token)) = (
            answer["lease"]["id"].as_str(),
            answer["lease_token"].as_str(),
        ) {
            seat.lease = Some((id.to_owned(), token.to_owned()));
        }
    }

    fn give_back(&mut self, sight: &Sight, at: usize) {
        let (edge, key) = (self.edge(sight), self.key());
        let Some(number) = self.seat(at) else { return };
        let seat = &mut self.sold[at].seats[number];
        if seat.lease.is_some() {
            return;
        }
        seat.history.ask(Standing::GivenBack, unix_ms());
        let request = seat.activation.at(edge).deactivate();
        let answer = sight.insist("deactivate", &request.header("Idempotency-Key", key));
        // The first answer may have been lost.
        let done = ["VALID", "DEACTIVATED", "ACTIVATION_NOT_FOUND"];
        Self::expect(sight, "deactivate", &answer, &done);
        seat.history.acknowledge(unix_ms());
        let id = seat.activation.id.clone();
        self.sold[at].given_back.push(id);
    }

    fn change(&mut self, sight: &Sight, at: usize, to: Standing) {
        let verb = match to {
            Standing::InForce => "reinstate",
            Standing::Suspended => "suspend",
            _ => "revoke",
        };
        let sold = &mut self.sold[at];
        // What was given back is told as such only as long as nothing graver is.
        sold.seats.retain(Seat::is_there);
        let id = sold.license.id;
        let asked_ms = unix_ms();
        sold.each(|history| history.ask(to, asked_ms));
        sold.standing = to;
        let url = format!("{}/api/v1/licenses/{id}/{verb}", sight.origin);
        sight.insist(verb, &Request::post(&url).bearer(&self.token));
        let acknowledged_ms = unix_ms();
        self.sold[at].each(|history| history.acknowledge(acknowledged_ms));
    }
}
