//! What goes wrong meanwhile.

use std::time::{Duration, Instant};

use licet_tests::Stack;
use licet_tests::dice::Dice;
use licet_tests::fake_origin::Reply;
use licet_tests::persisted::{Tier, wipe};
use licet_tests::relay::{Deed, Relay};
use licet_tests::signal::Stopped;
use licet_tests::wait::unix_ms;
use xtask::wrangler::Worker;

/// How long after a mishap its consequences may still be felt: an edge leaves an origin alone for up
/// to 5 s after a failure, and a call that hangs is given up after twice 3 s.
const RECOVERY_MS: u64 = 12_000;
/// Keys that an organization may have.
const ROTATIONS: usize = 6;

/// A mishap's name, and the time in which it explains what else could not be.
pub(super) struct Window {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

impl Window {
    pub(super) fn explains(&self, from_ms: u64, to_ms: u64) -> bool {
        from_ms <= self.to_ms + RECOVERY_MS && to_ms >= self.from_ms
    }
}

/// Everything that can be made to fail.
pub(super) struct Stage {
    pub(super) stack: Stack,
    /// Another edge, with a relay and stores of its own. It is never restarted, so that its memory
    /// tells something.
    pub(super) second: Worker,
    pub(super) second_relay: Relay,
    pub(super) slugs: Vec<String>,
    pub(super) rotations: usize,
}

const MISHAPS: usize = 14;

impl Stage {
    /// Lets something happen, for some seconds; what it was, and when.
    pub(super) fn mishap(&mut self, dice: &mut Dice) -> (String, Window) {
        let pause = Duration::from_millis(1_000 + 500 * dice.below(10) as u64);
        let from_ms = unix_ms();
        let which = dice.below(MISHAPS);
        let what = self.let_happen(which, pause, dice);
        let window = Window {
            from_ms,
            to_ms: unix_ms(),
        };
        (format!("{what}, {} ms", window.to_ms - from_ms), window)
    }

    fn let_happen(&mut self, which: usize, pause: Duration, dice: &mut Dice) -> &'static str {
        let wait = || std::thread::sleep(pause);
        match which {
            0 => {
                self.stack.origin.kill().unwrap();
                wait();
                self.stack.origin.restart().unwrap();
                "the origin was killed"
            }
            1 => {
                self.stack.origin.stop().unwrap();
                wait();
                self.stack.origin.restart().unwrap();
                "the origin was stopped"
            }
            2 => {
                let _stopped = Stopped::process(self.stack.origin.id().unwrap());
                wait();
                "the origin hung"
            }
            3 => {
                self.stack.cluster().restart().unwrap();
                "Postgres was restarted"
            }
            4 => {
                self.stack.cluster().kill().unwrap();
                self.stack.cluster().restart().unwrap();
                "Postgres was killed"
            }
            5 => {
                let began = Instant::now();
                while began.elapsed() < pause {
                    self.stack.superuser().rows(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'licet_app'",
                    );
                    std::thread::sleep(Duration::from_millis(100));
                }
                "Postgres cut connections"
            }
            6 => self.restart_the_first_edge(&[]),
            7 => self.restart_the_first_edge(&[Tier::Kv]),
            8 => self.restart_the_first_edge(&[Tier::Kv, Tier::Cache]),
            9 if self.rotations < ROTATIONS => {
                self.rotations += 1;
                self.rotate_keys();
                "keys were rotated"
            }
            9 | 10 => self.network(dice, pause, "calls took 5 s", |call, origin| {
                std::thread::sleep(Duration::from_secs(5));
                origin.pass(call)
            }),
            11 => self.network(dice, pause, "answers got lost", |call, origin| {
                origin.pass(call);
                Deed::HangUp
            }),
            12 => self.network(dice, pause, "garbage came with 200", |_, _| {
                Deed::Answer(Reply::new(200, "text/html", "<h1>It works!</h1>"))
            }),
            _ => {
                let began = Instant::now();
                while began.elapsed() < pause {
                    self.stack.cable().cut_at_commit();
                    std::thread::sleep(Duration::from_millis(300));
                }
                "connections broke at COMMIT"
            }
        }
    }

    /// A new, cold isolate, perhaps one that has lost what it had stored.
    fn restart_the_first_edge(&mut self, lost: &[Tier]) -> &'static str {
        let persisted = self.stack.persisted();
        let worker = self.stack.worker();
        worker.stop().unwrap();
        for tier in lost {
            wipe(&persisted, *tier);
        }
        worker.restart().unwrap();
        match lost.len() {
            0 => "an edge was restarted",
            1 => "an edge was restarted without its KV",
            _ => "an edge was restarted without all that it had stored",
        }
    }

    fn rotate_keys(&self) {
        let keys = |slug: &str, args: &[&str]| {
            self.stack
                .operate(&[&["keys"], args, &["--org", slug]].concat())
        };
        let made: Vec<String> = self
            .slugs
            .iter()
            .map(|slug| keys(slug, &["create"])["id"].as_str().unwrap().to_owned())
            .collect();
        // Published ahead, if not for as long as it should be.
        std::thread::sleep(Duration::from_secs(7));
        self.stack
            .superuser()
            .rows("UPDATE licet.signing_keys SET created_at = created_at - interval '2 minutes'");
        for (slug, kid) in self.slugs.iter().zip(&made) {
            keys(slug, &["activate", kid]);
        }
    }

    fn network(
        &self,
        dice: &mut Dice,
        pause: Duration,
        what: &'static str,
        rule: fn(&licet_tests::fake_origin::Received, &licet_tests::relay::Upstream) -> Deed,
    ) -> &'static str {
        let which = dice.below(3);
        let relays = [self.stack.relay(), &self.second_relay];
        let hit = relays
            .iter()
            .enumerate()
            .filter(|(n, _)| which == 2 || *n == which);
        for (_, relay) in hit {
            relay.have(rule);
        }
        std::thread::sleep(pause);
        for relay in relays {
            relay.be_honest();
        }
        what
    }
}
