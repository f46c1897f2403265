//! A stretch of wire that counts round trips: the server's answers are held back until the
//! client has nothing more to say, so whatever the client sends without having seen an answer
//! belongs to the same trip.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// For how long a client must say nothing to have fallen silent. Only too small a value could
/// make a test fail, never too large a one.
const SILENCE: Duration = Duration::from_millis(120);

pub struct Proxy {
    pub port: u16,
    trips: Arc<AtomicU32>,
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let trips = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&trips);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(relay(client, server, Arc::clone(&counter)));
            }
        });
        Self { port: own, trips }
    }

    /// The trips since this was last asked.
    pub fn take(&self) -> u32 {
        self.trips.swap(0, Ordering::SeqCst)
    }
}

async fn relay(mut client: TcpStream, mut server: TcpStream, trips: Arc<AtomicU32>) {
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        // The server may speak until the client does.
        let asked = loop {
            tokio::select! {
                biased;
                read = client.read(&mut from_client) => break read.unwrap_or(0),
                read = server.read(&mut from_server) => {
                    let length = read.unwrap_or(0);
                    if length == 0 || client.write_all(&from_server[..length]).await.is_err() {
                        return;
                    }
                }
            }
        };
        // Now the client alone, to the end of what it says.
        let mut length = asked;
        loop {
            if length == 0 || server.write_all(&from_client[..length]).await.is_err() {
                return;
            }
            match timeout(SILENCE, client.read(&mut from_client)).await {
                Ok(read) => length = read.unwrap_or(0),
                Err(_silent) => break,
            }
        }
        trips.fetch_add(1, Ordering::SeqCst);
    }
}
