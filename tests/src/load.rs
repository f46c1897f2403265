//! Many at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `each(0)` to `each(n - 1)` on a thread each, all let go at the same moment; the results in order.
#[track_caller]
pub fn race<T: Send>(n: usize, each: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(n);
    let one = &|i| {
        start.wait();
        each(i)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n).map(|i| scope.spawn(move || one(i))).collect();
        threads.into_iter().map(join).collect()
    })
}

/// Runs `each(i, round)` on `n` threads again and again while `meanwhile` runs; what each thread
/// has gathered, in order.
#[track_caller]
pub fn while_running<T: Send, R>(
    n: usize,
    each: impl Fn(usize, usize) -> T + Sync,
    meanwhile: impl FnOnce() -> R,
) -> (Vec<Vec<T>>, R) {
    let ended = AtomicBool::new(false);
    let one = &|i: usize| {
        let mut gathered = Vec::new();
        while !ended.load(Ordering::SeqCst) {
            gathered.push(each(i, gathered.len()));
        }
        gathered
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n).map(|i| scope.spawn(move || one(i))).collect();
        // Also when `meanwhile` fails, or nobody would ever end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        ended.store(true, Ordering::SeqCst);
        let gathered = threads.into_iter().map(join).collect();
        match result {
            Ok(result) => (gathered, result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
