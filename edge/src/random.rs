//! Random bytes for ids, asked of the host in large pieces: each question crosses into JavaScript.
//!
//! Only inside handlers: the runtime refuses randomness at global scope.

use std::cell::RefCell;

const POOL_BYTES: usize = 1024;

struct Pool {
    bytes: [u8; POOL_BYTES],
    unused: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], unused: 0 }) };
}

/// `N` bytes (at most [`POOL_BYTES`]) that are given out once.
///
/// For names that must not repeat, not for keys: the pool stays in memory.
#[allow(clippy::disallowed_methods, reason = "the one place that may ask")]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    POOL.with_borrow_mut(|pool| {
        if pool.unused < N {
            // Without the host's randomness old bytes would be given out again; the request's
            // time still tells such ids apart, and nothing secret is made of them.
            if getrandom::fill(&mut pool.bytes).is_ok() {
                pool.unused = POOL_BYTES;
            } else {
                return [0; N];
            }
        }
        pool.unused -= N;
        let mut taken = [0; N];
        if let Some(source) = pool.bytes.get(pool.unused..pool.unused + N) {
            taken.copy_from_slice(source);
        }
        taken
    })
}
