//! As much of the Postgres protocol as it takes to say `CREATE DATABASE`:
//! start-up with a password and the simple query, on loopback.
//!
//! A driver would pull an async runtime into the first thing a newcomer compiles.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail};

/// One answered row: each column's text, or `None` for NULL.
pub type Row = Vec<Option<String>>;

/// A connection of the cluster's administrator.
pub(super) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects and waits until the server takes queries.
    pub(super) fn open(port: u16, database: &str, user: &str, password: &str) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        // Longer than it takes to copy a big database.
        stream.set_read_timeout(Some(Duration::from_secs(300)))?;
        let mut this = Self { stream };
        let mut start = 196_608_u32.to_be_bytes().to_vec();
        for word in ["user", user, "database", database] {
            start.extend_from_slice(word.as_bytes());
            start.push(0);
        }
        start.push(0);
        this.send(None, &start)?;
        this.authenticate(password)?;
        this.until_ready()?;
        Ok(this)
    }

    /// Runs one statement outside of any transaction.
    pub(super) fn query(&mut self, sql: &str) -> Result<Vec<Row>> {
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.send(Some(b'Q'), &body)?;
        self.until_ready()
    }

    fn authenticate(&mut self, password: &str) -> Result<()> {
        loop {
            let (kind, body) = self.receive()?;
            match (
                kind,
                body.first_chunk().map(|code| u32::from_be_bytes(*code)),
            ) {
                (b'R', Some(0)) => return Ok(()),
                (b'R', Some(3)) => {
                    let mut answer = password.as_bytes().to_vec();
                    answer.push(0);
                    self.send(Some(b'p'), &answer)?;
                }
                (b'R', _) => bail!("the server wants a kind of password this client can't give"),
                (b'E', _) => bail!("{}", error_text(&body)),
                _ => {}
            }
        }
    }

    /// Collects rows up to `ReadyForQuery`; the server's error, if any, is ours.
    fn until_ready(&mut self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut error = None;
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                b'D' => rows.push(row(&body)),
                b'E' => error = Some(error_text(&body)),
                b'Z' => break,
                _ => {}
            }
        }
        match error {
            Some(error) => bail!("{error}"),
            None => Ok(rows),
        }
    }

    fn send(&mut self, kind: Option<u8>, body: &[u8]) -> Result<()> {
        let mut message: Vec<u8> = kind.into_iter().collect();
        message.extend_from_slice(&u32::try_from(body.len() + 4)?.to_be_bytes());
        message.extend_from_slice(body);
        Ok(self.stream.write_all(&message)?)
    }

    fn receive(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let Some(length) = u32::from_be_bytes(length).checked_sub(4) else {
            bail!("not a Postgres server");
        };
        let mut body = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut body)?;
        Ok((kind, body))
    }
}

/// `DataRow`: a count, then for each column its length (or -1) and its text.
fn row(body: &[u8]) -> Row {
    let mut columns = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk() {
        let text = usize::try_from(i32::from_be_bytes(*length))
            .ok()
            .and_then(|n| after.get(..n));
        rest = after.get(text.map_or(0, <[u8]>::len)..).unwrap_or_default();
        columns.push(text.map(|text| String::from_utf8_lossy(text).into_owned()));
    }
    columns
}

/// `ErrorResponse`: fields of a letter and a text; M is the message.
fn error_text(body: &[u8]) -> String {
    body.split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"M"))
        .map_or_else(
            || "error".to_owned(),
            |text| String::from_utf8_lossy(text).into_owned(),
        )
}

#[cfg(test)]
mod tests {
    use super::{error_text, row};

    #[test]
    fn reads_nulls_and_texts() {
        let body = [0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, b'o', b'k'];
        assert_eq!(row(&body), vec![None, Some("ok".to_owned())]);
        assert_eq!(row(&[]), Vec::<Option<String>>::new());
    }

    #[test]
    fn shows_the_message_of_an_error() {
        assert_eq!(error_text(b"SERROR\0C42P04\0Mit exists\0\0"), "it exists");
    }
}
