//! What stands between an edge and its origin: passes calls on, or does to them what a test says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::fake_origin::{Received, Reply, read};
use crate::http::Request;
use crate::listener::Listener;

/// What becomes of one call.
#[derive(Clone, Debug)]
pub enum Deed {
    /// It gets this answer.
    Answer(Reply),
    /// It gets the answer without the last bytes, this many, and then the connection ends.
    BreakOff(Reply, usize),
    /// It gets the answer without the last bytes, and then nothing, for as long as it waits.
    StandStill(Reply, usize),
    /// The connection ends.
    HangUp,
}

/// The origin behind a relay.
#[derive(Clone, Debug)]
pub struct Upstream(String);

impl Upstream {
    /// Passes the call on, and hands back the origin's answer if there is one.
    pub fn ask(&self, call: &Received) -> Option<Reply> {
        const OURS: [&str; 5] = [
            "host",
            "connection",
            "content-length",
            "transfer-encoding",
            "keep-alive",
        ];
        let others = |headers: &[(String, String)]| -> Vec<(String, String)> {
            let kept = headers.iter().filter(|(name, _)| !OURS.contains(&&**name));
            kept.cloned().collect()
        };
        let mut request = Request::new(&call.method, &format!("{}{}", self.0, call.target));
        for (name, value) in others(&call.headers) {
            request = request.header(&name, value);
        }
        if call.method != "GET" {
            request = request.body(call.body.clone());
        }
        let answer = request.try_send().ok()?;
        Some(Reply {
            status: answer.status,
            headers: others(&answer.headers),
            body: answer.body,
        })
    }

    /// Passes the call on, and its answer back.
    pub fn pass(&self, call: &Received) -> Deed {
        self.ask(call).map_or(Deed::HangUp, Deed::Answer)
    }
}

type Rule = Arc<dyn Fn(&Received, &Upstream) -> Deed + Send + Sync>;

/// A running relay. Ends when dropped.
pub struct Relay {
    listener: Listener,
    rule: Arc<Mutex<Rule>>,
}

impl Relay {
    /// Starts one that passes everything on to `origin`.
    pub fn to(origin: &str) -> Self {
        let rule: Rule = Arc::new(|call, origin| origin.pass(call));
        let rule = Arc::new(Mutex::new(rule));
        let (current, upstream) = (Arc::clone(&rule), Upstream(origin.to_owned()));
        let listener = Listener::start(move |stream, ended| {
            let current = || Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
            serve(&stream, &current, &upstream, ended);
        });
        Self { listener, rule }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        self.listener.url()
    }

    /// Does this to each call from now on.
    pub fn have(&self, rule: impl Fn(&Received, &Upstream) -> Deed + Send + Sync + 'static) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(rule);
    }

    /// Passes everything on again.
    pub fn be_honest(&self) {
        self.have(|call, origin| origin.pass(call));
    }
}

fn serve(mut stream: &TcpStream, rule: &dyn Fn() -> Rule, origin: &Upstream, ended: &AtomicBool) {
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok();
    let Some(call) = read(stream) else {
        return;
    };
    // The rule of when the call came, not of when the connection was made.
    let rule = rule();
    match rule(&call, origin) {
        Deed::Answer(reply) => drop(stream.write_all(&reply.bytes())),
        Deed::BreakOff(reply, missing) => {
            let bytes = reply.bytes();
            let sent = bytes.len().saturating_sub(missing);
            stream.write_all(&bytes[..sent]).ok();
        }
        Deed::StandStill(reply, missing) => {
            let bytes = reply.bytes();
            let sent = bytes.len().saturating_sub(missing);
            stream.write_all(&bytes[..sent]).ok();
            let a_moment = Duration::from_millis(100);
            stream.set_read_timeout(Some(a_moment)).ok();
            while stream.read(&mut [0]).is_err() && !ended.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
        Deed::HangUp => {}
    }
}
