//! The listener: connections within bounds, and an end in good order.

use std::{fmt, sync::Arc, time::Duration};

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};

use super::client::Peer;

/// Bounds that hold before a request is one.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most open connections; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Longest time for a request's head to come in, an idle connection's next one included.
    pub head_timeout: Duration,
    /// Longest time for running requests to end once the server is to stop.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            head_timeout: Duration::from_secs(65),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// The server stopped in disorder.
#[derive(Debug)]
pub enum ServeError {
    /// Requests were still running when the time to end them was over.
    StillRunning(Duration),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StillRunning(time) => {
                write!(
                    f,
                    "requests were still running after {} s and have been cut off",
                    time.as_secs()
                )
            }
        }
    }
}

impl std::error::Error for ServeError {}

/// Serves until `stop` is done; then takes nothing new, and waits for what runs.
///
/// # Errors
/// [`ServeError`] when that took too long.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let mut builder = http1::Builder::new();
    // Room for a head with the longest token that is read at all, twice over.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(16 * 1024)
        .half_close(false);
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            continue;
        };
        let app = TowerToHyperService::new(app.clone());
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            app.call(request)
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that breaks off is no news.
            drop(connection.await);
            drop(place);
        });
    }
    drop(listener);
    match tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await {
        Ok(()) => Ok(()),
        Err(_) => Err(ServeError::StillRunning(limits.drain_timeout)),
    }
}

type Accepted = (
    tokio::net::TcpStream,
    Peer,
    tokio::sync::OwnedSemaphorePermit,
);

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => {
            // Answers are small and whole: waiting to fill a packet only delays them.
            stream.set_nodelay(true).ok()?;
            Some((stream, Peer(address.ip()), place))
        }
        Err(error) => {
            // Such as too many open files: others must end first.
            tracing::warn!(%error, "can't accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
