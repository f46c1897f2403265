//! A loopback port whose connections are served on a thread each.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Takes connections until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    port: u16,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Starts one on a free port. `serve` gets each connection, and a flag that says that it is over.
    pub(crate) fn start(serve: impl Fn(TcpStream, &AtomicBool) + Send + Sync + 'static) -> Self {
        let port = xtask::net::free_port().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let ended = Arc::<AtomicBool>::default();
        let shared = Arc::clone(&ended);
        let serve = Arc::new(serve);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.load(Ordering::SeqCst) {
                    return;
                }
                let (serve, ended) = (Arc::clone(&serve), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &ended));
            }
        });
        Self {
            port,
            ended,
            thread: Some(thread),
        }
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes it up.
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
