//! The origin is there, more or less.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use licet_tests::device::code;
use licet_tests::fake_origin::{Received, Reply};
use licet_tests::load::while_running;
use licet_tests::relay::{Deed, Upstream};
use licet_tests::wait::SOON;
use licet_tests::{Activation, License, Stack, StackOptions, eventually, now};
use serde_json::{Value, json};

use super::{expect_come_back_later, insist};
use crate::outage::recovered;

const TTL_S: u32 = 2;

/// A stack with a relay, and an activation that its edge knows.
fn relayed(slug: &str, timeout_ms: u32) -> (Stack, License, Activation) {
    let stack = Stack::start(&StackOptions {
        status_ttl_s: TTL_S,
        relay: true,
        worker_vars: vec![("ORIGIN_TIMEOUT_MS".to_owned(), timeout_ms.to_string())],
        ..StackOptions::default()
    });
    let license = stack.license(slug, 100);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    (stack, license, activation)
}

/// Every verdict is a yes, and before long one that says that it is not as fresh as it should be.
#[track_caller]
fn yes_but_degraded(activation: &Activation) {
    eventually("degraded, but yes", SOON, || {
        let verdict = activation.validate();
        assert_eq!(verdict["code"], "VALID", "{verdict}");
        let degraded = verdict["freshness"]["degraded"].as_str();
        if matches!(degraded, Some("origin_unreachable" | "origin_unusable")) {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
}

/// An idempotency key has no spaces.
fn key_of(name: &str) -> String {
    name.replace(' ', "-")
}

fn is_write(call: &Received) -> bool {
    call.method == "POST"
}

type Rule = fn(&Received, &Upstream) -> Deed;

fn slow_to_ask(call: &Received, origin: &Upstream) -> Deed {
    std::thread::sleep(Duration::from_secs(5));
    origin.pass(call)
}

fn slow_to_answer(call: &Received, origin: &Upstream) -> Deed {
    let deed = origin.pass(call);
    std::thread::sleep(Duration::from_secs(5));
    deed
}

#[test]
fn five_seconds_for_each_call_degrade_what_is_known_and_double_nothing() {
    let (stack, license, activation) = relayed("slow", 3_000);
    let ways: [(&str, Rule); 2] = [("the call", slow_to_ask), ("the answer", slow_to_answer)];
    for (what, rule) in ways {
        stack.relay().have(rule);
        yes_but_degraded(&activation);
        assert_eq!(
            code(&activation.validate_with(&json!({"max_staleness_s": 0}))),
            "STALE"
        );
        let device = stack.device(&license, what);
        let request = device.request().header("Idempotency-Key", key_of(what));
        expect_come_back_later(&request.send());
        stack.relay().be_honest();
        let (answer, _) = insist(&request);
        let first = device.activation_in(&answer);
        assert_eq!(device.activated().id, first.id);
        recovered(&activation);
    }
    assert_eq!(stack.seats_taken(&license), 3);
}

#[test]
fn five_seconds_are_waited_for_where_the_settings_say_so() {
    let (stack, license, activation) = relayed("patient", 10_000);
    stack.relay().have(slow_to_ask);
    assert_eq!(code(&activation.refresh().send().verdict()), "VALID");
    stack.device(&license, "phone").activated();
    let fresh = activation.validate_with(&json!({"max_staleness_s": 0}));
    assert_eq!(fresh["code"], "VALID", "{fresh}");
    assert_eq!(stack.seats_taken(&license), 2);
}

#[test]
fn an_origin_that_is_there_every_other_second_loses_and_doubles_nothing() {
    let (stack, license, activation) = relayed("flapping", 1_000);
    let began = Instant::now();
    stack.relay().have(move |call, origin| {
        if began.elapsed().as_secs().is_multiple_of(2) {
            Deed::HangUp
        } else {
            origin.pass(call)
        }
    });
    let refusals = AtomicUsize::new(0);
    let (gathered, ()) = while_running(
        2,
        |thread, round| {
            let name = format!("{thread}-{round}");
            let device = stack.device(&license, &name);
            let request = device.request().header("Idempotency-Key", name);
            let (answer, refused) = insist(&request);
            refusals.fetch_add(refused, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(300));
            device.activation_in(&answer).id
        },
        || {
            while began.elapsed() < Duration::from_secs(12) {
                let verdict = activation.validate();
                assert_eq!(verdict["code"], "VALID", "{verdict}");
                std::thread::sleep(Duration::from_millis(20));
            }
        },
    );
    stack.relay().be_honest();
    assert!(refusals.load(Ordering::SeqCst) > 0, "it was never away");
    recovered(&activation);
    let mut ids: Vec<_> = gathered.into_iter().flatten().collect();
    let devices = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), devices, "two devices share an activation");
    let taken = usize::try_from(stack.seats_taken(&license)).unwrap();
    assert_eq!(taken, devices + 1);
}

/// What may come with status 200 in place of an answer to a write.
fn garbage() -> [Reply; 6] {
    [
        Reply::new(200, "text/html", "<h1>Welcome to the hotel's network</h1>"),
        Reply::new(200, "application/json", ""),
        Reply::new(200, "application/json", "{}"),
        Reply::new(
            200,
            "application/json",
            r#"{"valid": true, "code": "VALID""#,
        ),
        Reply::new(200, "application/json", "[".repeat(100_000)),
        Reply::new(200, "application/json", vec![0xff; 2_000_000]),
    ]
}

#[test]
fn garbage_in_answer_to_a_write_is_no_answer_and_the_true_one_is_had_by_asking_again() {
    let (stack, license, activation) = relayed("garbage", 3_000);
    for (number, reply) in garbage().into_iter().enumerate() {
        let name = format!("device-{number}");
        let device = stack.device(&license, &name);
        let request = device.request().header("Idempotency-Key", &*name);
        // The origin has done it; only nobody is told so.
        stack.relay().have(move |call, origin| {
            let deed = origin.pass(call);
            if is_write(call) {
                Deed::Answer(reply.clone())
            } else {
                deed
            }
        });
        let answer = request.send();
        answer.problem(502, "ORIGIN_ERROR");
        answer.expect_no_cause();
        assert_eq!(activation.code(), "VALID");
        stack.relay().be_honest();
        let first = device.activation_in(&request.send());
        assert_eq!(device.activated().id, first.id);
        let taken = stack.seats_taken(&license);
        assert_eq!(usize::try_from(taken).unwrap(), number + 2, "{name}");
    }
}

/// For each write of this many calls the relay does `mishap`, after the origin has answered.
fn spoil(stack: &Stack, calls: usize, mishap: impl Fn(Reply) -> Deed + Send + Sync + 'static) {
    let left = AtomicUsize::new(calls);
    stack.relay().have(move |call, origin| {
        let Some(reply) = origin.ask(call) else {
            return Deed::HangUp;
        };
        let one_less = |left: usize| left.checked_sub(1);
        let order = Ordering::SeqCst;
        if is_write(call) && left.fetch_update(order, order, one_less).is_ok() {
            mishap(reply)
        } else {
            Deed::Answer(reply)
        }
    });
}

type Mishap = fn(Reply) -> Deed;

/// Ways in which an answer can get lost on its way.
const LOSSES: [(&str, Mishap); 3] = [
    ("none of it comes", |_| Deed::HangUp),
    ("it breaks off", |reply| Deed::BreakOff(reply, 40)),
    ("it stands still", |reply| Deed::StandStill(reply, 40)),
];

#[test]
fn a_write_whose_answer_was_lost_is_answered_by_the_edges_second_try() {
    let (stack, license, _) = relayed("lost", 3_000);
    for (number, (what, mishap)) in LOSSES.into_iter().enumerate() {
        spoil(&stack, 1, mishap);
        let device = stack.device(&license, what);
        let answer = device.activate();
        let first = device.activation_in(&answer);
        assert_eq!(device.activated().id, first.id, "{what}");
        let taken = stack.seats_taken(&license);
        assert_eq!(usize::try_from(taken).unwrap(), number + 2, "{what}");
    }
}

#[test]
fn a_write_whose_answers_were_all_lost_is_answered_when_it_is_asked_again() {
    let (stack, license, activation) = relayed("all-lost", 1_000);
    for (number, (what, mishap)) in LOSSES.into_iter().enumerate() {
        spoil(&stack, 2, mishap);
        let device = stack.device(&license, what);
        let request = device.request().header("Idempotency-Key", key_of(what));
        expect_come_back_later(&request.send());
        assert_eq!(activation.code(), "VALID", "{what}");
        let first = device.activation_in(&request.send());
        assert_eq!(device.activated().id, first.id, "{what}");
        let taken = stack.seats_taken(&license);
        assert_eq!(usize::try_from(taken).unwrap(), number + 2, "{what}");
    }
}

#[test]
fn documents_that_break_off_or_stand_still_leave_what_is_held() {
    let (stack, _, activation) = relayed("broken", 1_000);
    for (what, mishap) in LOSSES {
        stack
            .relay()
            .have(move |call, origin| origin.ask(call).map_or(Deed::HangUp, mishap));
        yes_but_degraded(&activation);
        let fresh = activation.validate_with(&json!({"max_staleness_s": 0}));
        assert_eq!(fresh["code"], "STALE", "{what}: {fresh}");
        stack.relay().be_honest();
        recovered(&activation);
    }
}

#[test]
fn an_origin_killed_between_commit_and_answer_has_acted_once() {
    let (mut stack, license, activation) = relayed("killed", 3_000);
    let process = stack.origin.id().unwrap();
    let killed = Arc::new(Mutex::new(false));
    let done = Arc::clone(&killed);
    stack.relay().have(move |call, origin| {
        let deed = origin.pass(call);
        let mut killed = done.lock().unwrap();
        if is_write(call) && !*killed {
            assert!(matches!(&deed, Deed::Answer(reply) if reply.status == 200));
            licet_tests::signal::send(process, "-KILL");
            *killed = true;
        }
        if *killed { Deed::HangUp } else { deed }
    });
    let device = stack.device(&license, "phone");
    let request = device.request().header("Idempotency-Key", "killed");
    expect_come_back_later(&request.send());
    assert!(*killed.lock().unwrap());
    assert_eq!(stack.seats_taken(&license), 2, "it was committed");
    assert_eq!(activation.code(), "VALID");

    stack.origin.kill().unwrap();
    stack.origin.restart().unwrap();
    stack.relay().be_honest();
    let (answer, _) = insist(&request);
    let first = device.activation_in(&answer);
    assert_eq!(device.activated().id, first.id);
    assert_eq!(stack.seats_taken(&license), 2);
}

#[test]
fn an_origin_that_answers_as_it_did_before_a_revocation_does_not_undo_it() {
    let (stack, license, activation) = relayed("replayed", 1_000);
    let shelf = Arc::new(Mutex::new(
        std::collections::BTreeMap::<String, Reply>::new(),
    ));
    let filled = Arc::clone(&shelf);
    stack.relay().have(move |call, origin| {
        let deed = origin.pass(call);
        if let Deed::Answer(reply) = &deed {
            let mut shelf = filled.lock().unwrap();
            shelf.insert(call.target.clone(), reply.clone());
        }
        deed
    });
    eventually("its list is on the shelf", SOON, || {
        assert_eq!(activation.code(), "VALID");
        let shelf = shelf.lock().unwrap();
        if shelf.keys().any(|target| target.contains("statuslists")) {
            Ok(())
        } else {
            Err(format!("{:?}", shelf.keys()))
        }
    });
    stack.relay().be_honest();
    stack.license_command("revoke", &license);
    eventually("revoked", SOON, || match activation.code() {
        code if code == "REVOKED" => Ok(()),
        code => Err(code),
    });
    let old = shelf.lock().unwrap().clone();
    let replayed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&replayed);
    stack
        .relay()
        .have(move |call, origin| match old.get(&call.target) {
            Some(reply) => {
                count.fetch_add(1, Ordering::SeqCst);
                Deed::Answer(reply.clone())
            }
            None => origin.pass(call),
        });
    eventually("it is asked and answers as before", SOON, || {
        for more in [json!({}), json!({"max_staleness_s": 0})] {
            let verdict: Value = activation.validate_with(&more);
            assert_eq!(verdict["code"], "REVOKED", "{verdict}");
        }
        let replayed = replayed.load(Ordering::SeqCst);
        if replayed >= 2 {
            Ok(())
        } else {
            Err(format!("{replayed} at {:?}", now()))
        }
    });
}
