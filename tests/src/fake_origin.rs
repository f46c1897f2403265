//! An origin that answers whatever a test puts on its shelf, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use licet_shared::problem::{MEDIA_TYPE, Problem, ProblemCode};

use crate::listener::Listener;

/// What to answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers beside the length.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer with a content type.
    pub fn new(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), media_type.to_owned())],
            body: body.into(),
        }
    }

    /// A problem as the origin itself would say it.
    pub fn problem(code: ProblemCode) -> Self {
        let problem = Problem::new(code, "Said by a test.", "req_fake");
        let body = serde_json::to_vec(&problem).unwrap();
        Self::new(problem.status, MEDIA_TYPE, body)
    }

    /// As it goes over the wire, on a connection that ends with it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} x\r\nContent-Length: {}\r\nConnection: close\r\n",
            self.status,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }

    /// With a further header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Received {
    /// All values of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// How it behaves.
#[derive(Clone, Debug, Default)]
enum Mood {
    /// Answers from the shelf, else 404.
    #[default]
    Shelf,
    /// Answers everything with this.
    Always(Reply),
    /// Takes requests and never answers.
    Silent,
}

#[derive(Debug, Default)]
struct State {
    shelf: Mutex<BTreeMap<String, Reply>>,
    mood: Mutex<Mood>,
    received: Mutex<Vec<Received>>,
}

/// A running fake. Ends when dropped.
#[derive(Debug)]
pub struct FakeOrigin {
    listener: Listener,
    state: Arc<State>,
}

impl FakeOrigin {
    /// Starts one with an empty shelf.
    pub fn start() -> Self {
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let listener = Listener::start(move |stream, ended| serve(&stream, &shared, ended));
        Self { listener, state }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        self.listener.url()
    }

    /// Answers `target` with this from now on; one that ends in `*`, all that begin so and have no
    /// answer of their own.
    pub fn put(&self, target: &str, reply: Reply) {
        lock(&self.state.shelf).insert(target.to_owned(), reply);
    }

    /// Answers from the shelf again.
    pub fn be_normal(&self) {
        *lock(&self.state.mood) = Mood::Shelf;
    }

    /// Answers every request with this.
    pub fn always(&self, reply: Reply) {
        *lock(&self.state.mood) = Mood::Always(reply);
    }

    /// Takes requests and never answers them.
    pub fn be_silent(&self) {
        *lock(&self.state.mood) = Mood::Silent;
    }

    /// What has arrived since the last time this was asked.
    pub fn take_received(&self) -> Vec<Received> {
        std::mem::take(&mut lock(&self.state.received))
    }
}

impl State {
    fn on_the_shelf(&self, target: &str) -> Option<Reply> {
        let shelf = lock(&self.shelf);
        let begins = |(pattern, reply): (&String, &Reply)| {
            let stem = pattern.strip_suffix('*')?;
            target.starts_with(stem).then(|| reply.clone())
        };
        let own = shelf.get(target).cloned();
        own.or_else(|| shelf.iter().find_map(begins))
    }
}

fn serve(mut stream: &TcpStream, state: &State, ended: &AtomicBool) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok();
    let Some(received) = read(stream) else {
        return;
    };
    let target = received.target.clone();
    lock(&state.received).push(received);
    let mood = lock(&state.mood).clone();
    let reply = match mood {
        Mood::Always(reply) => reply,
        Mood::Shelf => state.on_the_shelf(&target).unwrap_or_else(|| {
            Reply::new(404, "application/problem+json", r#"{"code":"NOT_FOUND"}"#)
        }),
        Mood::Silent => {
            // Until the caller gives up or we end.
            stream
                .set_read_timeout(Some(Duration::from_millis(100)))
                .ok();
            let mut waits = || stream.read(&mut [0]).is_err();
            while waits() && !ended.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            return;
        }
    };
    let bytes = reply.bytes();
    stream.write_all(&bytes).ok();
}

/// Reads one request.
pub(crate) fn read(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let mut words = lines.first()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<_> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(Some(0), |(_, value)| value.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        method,
        target,
        headers,
        body,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
