//! The wire between an origin and its Postgres, to be cut at the worst moment.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::listener::Listener;

/// How Postgres says that a transaction is committed: `CommandComplete` with its tag.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

#[derive(Debug, Default)]
struct State {
    armed: AtomicBool,
    cuts: AtomicUsize,
    slow_ms: AtomicU64,
}

/// A running cable. Ends when dropped.
#[derive(Debug)]
pub struct Cable {
    listener: Listener,
    state: Arc<State>,
}

impl Cable {
    /// Starts one to the server at this loopback port.
    pub fn to(server: u16) -> Self {
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let listener = Listener::start(move |client, _| {
            if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) {
                connect(&client, &server, &shared);
            }
        });
        Self { listener, state }
    }

    /// The port that stands for the server's.
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// Cuts the next connection on which a transaction is committed, before anybody learns of it.
    pub fn cut_at_commit(&self) {
        self.state.armed.store(true, Ordering::SeqCst);
    }

    /// How many it has cut.
    pub fn cuts(&self) -> usize {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// Holds back each of the server's answers for so long.
    pub fn slow_down(&self, ms: u64) {
        self.state.slow_ms.store(ms, Ordering::SeqCst);
    }
}

fn connect(client: &TcpStream, server: &TcpStream, state: &State) {
    for end in [client, server] {
        end.set_nodelay(true).ok();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| copy(client, server, |_| true));
        copy(server, client, |bytes| {
            let slow_ms = state.slow_ms.load(Ordering::SeqCst);
            if slow_ms > 0 {
                std::thread::sleep(Duration::from_millis(slow_ms));
            }
            let committed = bytes.windows(COMMITTED.len()).any(|part| part == COMMITTED);
            let cut = committed && state.armed.swap(false, Ordering::SeqCst);
            if cut {
                state.cuts.fetch_add(1, Ordering::SeqCst);
            }
            !cut
        });
    });
}

/// Until either side ends, or `goes_on` says no; then neither is of use any more.
fn copy(mut from: &TcpStream, mut to: &TcpStream, goes_on: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 65_536];
    loop {
        let length = from.read(&mut buffer).unwrap_or(0);
        let bytes = &buffer[..length];
        if length == 0 || !goes_on(bytes) || to.write_all(bytes).is_err() {
            break;
        }
    }
    for end in [from, to] {
        end.shutdown(Shutdown::Both).ok();
    }
}
