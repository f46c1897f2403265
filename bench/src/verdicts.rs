//! Verdicts on so many licenses that no edge remembers them all, asked for one after the other.

use std::{cell::Cell, rc::Rc};

use anyhow::{Context, Result, bail};

use crate::{connection::Connection, world::Org};

const CONNECTIONS: u32 = 16;
/// Times that a license is asked about before it is the next one's turn.
const EACH: u64 = 10;
/// Licenses of one organization that follow one another.
const IN_A_ROW: u32 = 100;

/// What to ask.
pub(crate) struct Load<'a> {
    pub(crate) address: &'a str,
    pub(crate) orgs: u32,
    pub(crate) licenses: u32,
    pub(crate) verdicts: u64,
}

/// Asks, and makes sure that each answer is a yes.
pub(crate) async fn ask(load: Load<'_>) -> Result<()> {
    let next = Rc::new(Cell::new(0));
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = Connection::open(load.address).await?;
        let (next, address) = (Rc::clone(&next), load.address.to_owned());
        let (orgs, licenses) = (load.orgs, load.licenses);
        let turns = load.verdicts.div_ceil(EACH);
        clients.push(tokio::task::spawn_local(async move {
            client(connection, &address, &next, turns, orgs, licenses).await
        }));
    }
    for client in clients {
        client.await.context("a client broke")??;
    }
    Ok(())
}

async fn client(
    mut connection: Connection,
    address: &str,
    next: &Cell<u64>,
    turns: u64,
    orgs: u32,
    licenses: u32,
) -> Result<()> {
    loop {
        let turn = next.get();
        if turn >= turns {
            return Ok(());
        }
        next.set(turn + 1);
        let license = u32::try_from(turn % u64::from(licenses))?;
        let body = Org::new(license / IN_A_ROW % orgs)
            .body(license, 0)?
            .to_string();
        let request = format!(
            "POST /api/v1/licenses/validate HTTP/1.1\r\nhost: {address}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        for _ in 0..EACH {
            let answer = connection.exchange(request.as_bytes()).await?;
            if answer.status != 200 || !answer.body.starts_with(br#"{"valid":true"#) {
                let text = String::from_utf8_lossy(answer.body);
                bail!("HTTP {}: {text}", answer.status);
            }
        }
    }
}
