//! The thread that serves the API.
//!
//! The invariant: **it never takes part in delivery.** It has a runtime of its own with one thread, no timer while nobody asks, at most
//! [`MAX_CONNECTIONS`] connections, and limits for what a connection may cost. When it cannot begin, the agent ships without it and says so.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::agent::Agent;
use crate::audit::Peer;
use crate::router::router;
use crate::socket::{Socket, SocketError};

/// Connections at a time; further ones wait.
const MAX_CONNECTIONS: usize = 32;
/// By when the head of a request must have arrived, counted from the connection or the request before.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long the end of the agent waits for answers that are on their way.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often it is tried to take over the socket of an agent that still runs, and to accept when there are no descriptors left.
const RETRY: Duration = Duration::from_secs(1);

/// The running server. Dropped, it ends, and `agent.sock` with it.
#[derive(Debug)]
pub struct Server {
    /// Dropped first: the word to end.
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `agent` on the socket of `directory` from now on. Whatever keeps it from that is logged, and no reason not to ship.
    pub fn start(directory: &Path, agent: Arc<dyn Agent>) -> Self {
        let (stop, stopped) = watch::channel(());
        let directory = directory.to_owned();
        let thread = std::thread::Builder::new()
            .name("keyferry-api".to_owned())
            .spawn(move || serve(&directory, agent, stopped))
            .inspect_err(|error| tracing::warn!("there is no API: cannot start its thread: {error}"))
            .ok();
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("the thread of the API has panicked");
        }
    }
}

/// The word to end: given when the other end of the channel is dropped.
type Stopped = watch::Receiver<()>;

fn serve(directory: &Path, agent: Arc<dyn Agent>, stopped: Stopped) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(ServeError::Runtime).and_then(|runtime| {
        runtime.block_on(async {
            let Some(socket) = make_socket(directory, stopped.clone()).await? else { return Ok(()) };
            accept(&socket, router(agent), stopped).await
        })
    });
    if let Err(error) = result {
        tracing::warn!("there is no API: {error}");
    }
}

/// Why there is no API.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("cannot make a runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("cannot listen on {path}: {source}", path = .path.display())]
    Listen { path: PathBuf, source: io::Error },
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

async fn accept(socket: &Socket, router: Router, mut stopped: Stopped) -> Result<(), ServeError> {
    let failed = |source| ServeError::Listen { path: socket.path().to_owned(), source };
    let listener = socket.listener().and_then(UnixListener::from_std).map_err(failed)?;
    tracing::debug!("the API is at {}", socket.path().display());
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let connection = tokio::select! {
            _ = stopped.changed() => break,
            connection = next_connection(&listener, &places) => connection,
        };
        match connection {
            Ok((stream, place)) => {
                let (router, stopped) = (router.clone(), stopped.clone());
                tokio::spawn(async move {
                    converse(stream, router, stopped).await;
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
    Ok(())
}

/// A connection, and its place among those that may be open.
async fn next_connection(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// Serves one connection until it ends or the word to end comes.
async fn converse(stream: UnixStream, router: Router, mut stopped: Stopped) {
    let peer = stream.peer_cred().ok().map(|cred| Peer { uid: cred.uid(), pid: cred.pid() });
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
        tracing::debug!("a connection to the API has ended: {error}");
    }
}
