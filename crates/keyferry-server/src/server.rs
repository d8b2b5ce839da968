//! The threads that serve: one the API on the Unix socket, and, where that is configured, one the page and one the metrics on TCP.
//!
//! The invariant: **they never take part in delivery.** Each has a runtime of its own with one thread, no timer while nobody asks, at most
//! [`MAX_CONNECTIONS`] connections, and limits for what a connection may cost. When one cannot begin, the agent ships without it and says so.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::access::{Access, TokenSource};
use crate::agent::Agent;
use crate::audit::Peer;
use crate::router::{metrics_router, page_router, router};
use crate::socket::{Socket, SocketError};

/// Connections at a time; further ones wait.
const MAX_CONNECTIONS: usize = 32;
/// By when the head of a request must have arrived, counted from the connection or the request before.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long the end of the agent waits for answers that are on their way.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often it is tried to take over the socket of an agent that still runs, and to accept when there are no descriptors left.
const RETRY: Duration = Duration::from_secs(1);

/// A running server. Dropped, it ends, and `agent.sock` with it.
#[derive(Debug)]
pub struct Server {
    /// Dropped first: the word to end.
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `agent` on the socket of `directory` from now on. Whatever keeps it from that is logged, and no reason not to ship.
    pub fn start(directory: &Path, agent: Arc<dyn Agent>) -> Self {
        let directory = directory.to_owned();
        Self::spawn("API", "keyferry-api", async move |stopped: Stopped| {
            let Some(socket) = make_socket(&directory, stopped.clone()).await? else { return Ok(()) };
            let failed = |source| ServeError::Listen { place: socket.path().display().to_string(), source };
            let listener = socket.listener().and_then(UnixListener::from_std).map_err(failed)?;
            tracing::debug!("the API is at {}", socket.path().display());
            accept(&listener, router(agent), stopped).await;
            Ok(())
        })
    }

    /// Serves `agent` and the web page at `address` from now on, as soon as that is free, to those who know the `token`; without one to everybody, and to read only.
    pub fn start_page(address: SocketAddr, token: Option<TokenSource>, agent: Arc<dyn Agent>) -> Self {
        Self::spawn("web page", "keyferry-page", async move |stopped: Stopped| {
            let Some(listener) = bind(address, "page", "api.listen", stopped.clone()).await? else {
                return Ok(());
            };
            tracing::info!("the page is at http://{address}/");
            accept(&listener, page_router(agent, Access::new(address, token)), stopped).await;
            Ok(())
        })
    }

    /// Serves the metrics of `agent`, and nothing else, at `address` from now on, as soon as that is free.
    pub fn start_metrics(address: SocketAddr, agent: Arc<dyn Agent>) -> Self {
        Self::spawn("metrics endpoint", "keyferry-metrics", async move |stopped: Stopped| {
            let Some(listener) = bind(address, "metrics", "metrics.listen", stopped.clone()).await? else {
                return Ok(());
            };
            tracing::info!("metrics are at http://{address}/metrics");
            accept(&listener, metrics_router(agent), stopped).await;
            Ok(())
        })
    }

    fn spawn<F, R>(what: &'static str, thread: &str, serve: F) -> Self
    where
        F: FnOnce(Stopped) -> R + Send + 'static,
        R: Future<Output = Result<(), ServeError>>,
    {
        let (stop, stopped) = watch::channel(());
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let result =
                runtime.map_err(ServeError::Runtime).and_then(|runtime| runtime.block_on(serve(stopped)));
            if let Err(error) = result {
                tracing::warn!("there is no {what}: {error}");
            }
        };
        let thread = std::thread::Builder::new()
            .name(thread.to_owned())
            .spawn(run)
            .inspect_err(|error| tracing::warn!("there is no {what}: cannot start its thread: {error}"))
            .ok();
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("a thread that serves HTTP has panicked");
        }
    }
}

/// The word to end: given when the other end of the channel is dropped.
type Stopped = watch::Receiver<()>;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("cannot make a runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("cannot listen on {place}: {source}")]
    Listen { place: String, source: io::Error },
}

/// The socket, as soon as an agent that has it has ended; `None` if the word to end comes first.
async fn make_socket(directory: &Path, mut stopped: Stopped) -> Result<Option<Socket>, SocketError> {
    let mut told = false;
    loop {
        match Socket::make(directory) {
            Err(error @ SocketError::Taken(_)) if !told => {
                tracing::info!("{error}; the API begins when it has ended");
                told = true;
            }
            Err(SocketError::Taken(_)) => {}
            made => return made.map(Some),
        }
        if tokio::time::timeout(RETRY, stopped.changed()).await.is_ok() {
            return Ok(None);
        }
    }
}

/// A listener at `address`, as soon as whoever has it has ended; `None` if the word to end comes first.
async fn bind(
    address: SocketAddr,
    what: &str,
    key: &str,
    mut stopped: Stopped,
) -> Result<Option<TcpListener>, ServeError> {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if !told {
                    tracing::warn!(
                        "{address} is in use; there is no {what} until it is free (if another agent has it for good, give this one another `{key}`)"
                    );
                }
                told = true;
            }
            bound => {
                let failed = |source| ServeError::Listen { place: address.to_string(), source };
                return bound.map(Some).map_err(failed);
            }
        }
        if tokio::time::timeout(RETRY, stopped.changed()).await.is_ok() {
            return Ok(None);
        }
    }
}

/// What connections come from.
trait Listener {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and who is at its other end, where that can be known.
    async fn next(&self) -> io::Result<(Self::Stream, Option<Peer>)>;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Option<Peer>)> {
        let (stream, _) = self.accept().await?;
        let peer = stream.peer_cred().ok().map(|cred| Peer::Process { uid: cred.uid(), pid: cred.pid() });
        Ok((stream, peer))
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Option<Peer>)> {
        self.accept().await.map(|(stream, _)| (stream, None))
    }
}

async fn accept(listener: &impl Listener, router: Router, mut stopped: Stopped) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let connection = tokio::select! {
            _ = stopped.changed() => break,
            connection = next_connection(listener, &places) => connection,
        };
        match connection {
            Ok((stream, peer, place)) => {
                let (router, stopped) = (router.clone(), stopped.clone());
                tokio::spawn(async move {
                    converse(stream, peer, router, stopped).await;
                    drop(place);
                });
            }
            Err(error) => {
                // There are no descriptors left, most likely: that passes.
                tracing::debug!("cannot accept a connection: {error}");
                if tokio::time::timeout(RETRY, stopped.changed()).await.is_ok() {
                    break;
                }
            }
        }
    }
    // What is being answered is answered.
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(FAREWELL, places.acquire_many(all)).await;
}

/// A connection, who is at its other end, and its place among those that may be open.
async fn next_connection<L: Listener>(
    listener: &L,
    places: &Arc<Semaphore>,
) -> io::Result<(L::Stream, Option<Peer>, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.next().await?;
    Ok((stream, peer, place))
}

/// Serves one connection until it ends or the word to end comes.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Option<Peer>,
    router: Router,
    mut stopped: Stopped,
) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        hyper::service::Service::call(&TowerToHyperService::new(router.clone()), request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("an HTTP connection has ended: {error}");
    }
}
