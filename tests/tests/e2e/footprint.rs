//! How much memory the origin takes, and that it lets go of what a load made it take.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use licet_tests::load::while_running;
use licet_tests::{Stack, StackOptions, eventually};
use serde_json::json;

const MIB: u64 = 1 << 20;

/// A figure of `/proc/<pid>/status` in bytes, such as `VmRSS`; none where there is no `/proc`.
fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[test]
fn the_origin_is_small_when_idle_and_bounded_under_load() {
    let stack = Stack::start(&StackOptions {
        worker: false,
        ..StackOptions::default()
    });
    let pid = stack.origin.id().unwrap();
    let Some(idle) = memory(pid, "VmRSS") else {
        return;
    };
    assert!(idle < 40 * MIB, "idle: {} MiB", idle / MIB);

    let license = stack.license("footprint", 100_000);
    let caller = stack.caller();
    let list = format!("/edge/v1/orgs/{}/statuslists/0", license.org.tag);
    let done = AtomicUsize::new(0);
    let work = |thread: usize, round: usize| {
        let body = json!({
            "license_key": license.key, "product": license.product,
            "fingerprint": format!("{thread} {round}"), "metadata": {"text": "x".repeat(4000)},
        });
        let activated = caller.post("/edge/v1/activations", &body).send().status;
        let listed = caller.get(&list).send().status;
        // A busy origin says so: 503 is what keeps it small.
        for status in [activated, listed] {
            assert!([200, 503].contains(&status), "{status}");
        }
        if activated == 200 {
            done.fetch_add(1, Ordering::SeqCst);
        }
    };
    while_running(128, work, || {
        eventually("600 activations", Duration::from_secs(180), || {
            let done = done.load(Ordering::SeqCst);
            if done >= 600 {
                Ok(())
            } else {
                Err(format!("{done}"))
            }
        });
    });
    let peak = memory(pid, "VmHWM").unwrap();
    assert!(peak < 150 * MIB, "at most: {} MiB", peak / MIB);
}
