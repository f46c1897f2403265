//! The documents of a [`world`](crate::world), served as an origin serves them.

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::world::Org;

/// Serves until it is ended.
pub(crate) async fn serve(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            // A client that goes away is no matter of ours.
            let _ = answer_all(stream).await;
        });
    }
}

async fn answer_all(mut stream: TcpStream) -> Result<()> {
    let mut seen = Vec::new();
    loop {
        let mut piece = [0; 8 * 1024];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&piece[..read]);
        // Calls for documents have no body.
        while let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            let answer = answer(&String::from_utf8_lossy(&seen[..end]));
            seen.drain(..end + 4);
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

fn answer(head: &str) -> String {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let found = path
        .strip_prefix("/edge/v1/orgs/")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(tag, document)| Org::of_tag(tag)?.document(document).ok());
    let (status, text) = match found {
        Some(text) => ("200 OK", text),
        None => ("404 Not Found", String::new()),
    };
    let length = text.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/jwt\r\ncontent-length: {length}\r\n\r\n{text}"
    )
}
