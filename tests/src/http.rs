//! A blocking HTTP/1.1 client of one request per connection.
//!
//! Of our own because the tests must send what a proper client refuses to: broken headers, a
//! body with GET, a body that the server stops reading.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long a whole answer may take. Generous: it is for hangs, not for speed.
const LIMIT: Duration = Duration::from_secs(60);

/// A request in the making. Nothing is added to what is asked for but `Host`,
/// `Connection: close` and the length of a body.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    /// `127.0.0.1:8787`
    authority: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request for a `http://…` URL.
    #[track_caller]
    pub fn new(method: &str, url: &str) -> Self {
        let rest = url.strip_prefix("http://").expect("an http URL");
        let (authority, target) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        Self {
            method: method.to_owned(),
            authority: authority.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// GET.
    #[track_caller]
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// POST.
    #[track_caller]
    pub fn post(url: &str) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header line, whatever is in it.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds `Authorization: Bearer …`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// A JSON body with its content type.
    pub fn json(self, value: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(value.to_string())
    }

    /// A body as it is, without a content type.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends it; the error says why there is no answer.
    pub fn try_send(&self) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(&self.authority)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        // A server may answer and close before it has read everything: look for the answer anyway.
        let sent = stream
            .write_all(&self.head())
            .and_then(|()| stream.write_all(self.body.as_deref().unwrap_or_default()));
        let mut bytes = Vec::new();
        let received = stream.read_to_end(&mut bytes);
        match Answer::parse(&bytes, self) {
            Some(answer) => Ok(answer),
            None => {
                sent?;
                received?;
                Err(io::Error::other(format!(
                    "no answer: {} bytes",
                    bytes.len()
                )))
            }
        }
    }

    /// Sends it; without an answer the test fails.
    #[track_caller]
    pub fn send(&self) -> Answer {
        self.try_send()
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.target))
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.method, self.target, self.authority
        );
        if let Some(body) = &self.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// Sends bytes that need not be HTTP and hands back whatever comes until the other side closes.
pub fn send_bytes(url: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    send_bytes_within(url, bytes, Duration::from_secs(10))
}

/// Likewise, and waits for up to `limit`.
pub fn send_bytes_within(url: &str, bytes: &[u8], limit: Duration) -> io::Result<Vec<u8>> {
    let authority = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(bytes).ok();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

/// An answer, whatever its status.
#[derive(Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// Method and target, for messages.
    asked: String,
}

/// Words that only a leaked cause would bring into an answer.
const CAUSES: [&str; 10] = [
    "postgres",
    "panicked",
    "/work",
    ".rs:",
    "sqlstate",
    "relation \"",
    "tokio",
    "deadpool",
    "wasm-function",
    "stack backtrace",
];

impl Answer {
    fn parse(bytes: &[u8], request: &Request) -> Option<Self> {
        let end = find(bytes, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let rest = &bytes[end + 4..];
        if status == 100 {
            return Self::parse(rest, request);
        }
        let mut answer = Self {
            status,
            headers,
            body: Vec::new(),
            asked: format!("{} {}", request.method, request.target),
        };
        answer.body = answer.whole_body(rest, request.method == "HEAD")?;
        Some(answer)
    }

    /// The body when all of it is there.
    fn whole_body(&self, rest: &[u8], is_head: bool) -> Option<Vec<u8>> {
        if is_head || matches!(self.status, 204 | 304) {
            return Some(Vec::new());
        }
        if self.header("transfer-encoding") == Some("chunked") {
            return unchunk(rest);
        }
        match self.header("content-length") {
            Some(length) => Some(rest.get(..length.parse().ok()?)?.to_vec()),
            None => Some(rest.to_vec()),
        }
    }

    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name)?;
        Some(&found.1)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Fails the test unless the status is this.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Fails the test when the body tells anything of the inside.
    #[track_caller]
    pub fn expect_no_cause(&self) {
        let text = self.text().to_lowercase();
        for word in CAUSES {
            assert!(!text.contains(word), "{word:?} in {self:?}");
        }
    }

    /// The verdict (or answer to an activation) that this must be, with all that holds for every one.
    #[track_caller]
    pub fn verdict(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.media_type(), "application/json", "{self:?}");
        self.expect_no_cause();
        let verdict = self.json();
        let says_valid = verdict["code"] == "VALID";
        assert_eq!(verdict["valid"], Value::Bool(says_valid), "{self:?}");
        assert!(verdict["detail"].is_string(), "{self:?}");
        self.expect_request_id(&verdict);
        verdict
    }

    /// The problem (RFC 9457) that this must be, complete and without a cause.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "expected {code}: {self:?}");
        assert_eq!(self.media_type(), "application/problem+json", "{self:?}");
        self.expect_no_cause();
        let problem = self.json();
        assert_eq!(problem["code"], code, "{self:?}");
        assert_eq!(problem["status"], status, "{self:?}");
        let page = code.to_ascii_lowercase().replace('_', "-");
        assert_eq!(problem["type"], format!("/problems/{page}"), "{self:?}");
        for member in ["title", "detail"] {
            let text = problem[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "no {member}: {self:?}");
        }
        self.expect_request_id(&problem);
        problem
    }

    /// `problem`, also of a kind that says something of one field.
    #[track_caller]
    pub fn bad_request(&self, field: &str) -> Value {
        let problem = self.problem(400, "BAD_REQUEST");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(field), "does not name {field:?}: {self:?}");
        problem
    }

    #[track_caller]
    fn expect_request_id(&self, body: &Value) {
        let id = self.header("x-request-id").unwrap_or_default();
        assert!(!id.is_empty(), "no X-Request-Id: {self:?}");
        assert_eq!(body["request_id"], id, "{self:?}");
    }

    /// The content type without parameters.
    pub fn media_type(&self) -> &str {
        let full = self.header("content-type").unwrap_or_default();
        full.split(';').next().unwrap_or_default().trim()
    }
}

/// All of it, for a failed test's message.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} → {}", self.asked, self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "  {name}: {value}")?;
        }
        write!(f, "  {}", self.text())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = find(rest, b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: &[u8]) -> Option<Answer> {
        Answer::parse(bytes, &Request::get("http://h/x"))
    }

    #[test]
    fn reads_lengths_chunks_and_closed_connections() {
        let plain = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore").unwrap();
        assert_eq!((plain.status, plain.text().as_str()), (200, "ok"));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n";
        assert_eq!(answer(chunked).unwrap().text(), "ok!");
        let closed =
            answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 x\r\nA: b\r\n\r\nall").unwrap();
        assert_eq!(
            (closed.status, closed.header("a"), closed.text().as_str()),
            (404, Some("b"), "all")
        );
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok").is_none());
        assert!(
            answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").is_none()
        );
        assert!(answer(b"HTTP/1.1 200 OK\r\n").is_none());
    }
}
