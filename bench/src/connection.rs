//! HTTP/1.1 as little as answers with a `content-length` need.

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Most bytes of an answer.
const MAX: usize = 4 << 20;

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// An answer, until the next request.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("can't connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 16 * 1024],
            filled: 0,
        })
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn exchange(&mut self, text: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(text).await?;
        self.filled = 0;
        let (status, start, end) = loop {
            self.read().await?;
            let seen = &self.buffer[..self.filled];
            if let Some(head) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                let (status, length) = read_head(&seen[..head])?;
                break (status, head + 4, head + 4 + length);
            }
        };
        while self.filled < end {
            self.read().await?;
        }
        Ok(Answer {
            status,
            body: &self.buffer[start..end],
        })
    }

    async fn read(&mut self) -> Result<()> {
        if self.filled == self.buffer.len() {
            if self.filled >= MAX {
                bail!("an answer of more than {MAX} bytes");
            }
            self.buffer.resize(self.filled * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        self.filled += read;
        Ok(())
    }
}

/// Status and length of the body.
fn read_head(head: &[u8]) -> Result<(u16, usize)> {
    let head = std::str::from_utf8(head).context("a head that is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .context("no status line")?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse().ok()).flatten()
    });
    match length {
        Some(length) => Ok((status, length)),
        None if status == 204 || status == 304 => Ok((status, 0)),
        None => bail!("an answer without content-length: {head}"),
    }
}
