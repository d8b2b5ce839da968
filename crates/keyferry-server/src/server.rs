//! The threads that serve: one the API on the Unix socket, and, where that is configured, one the page and one the metrics on TCP.
//!
//! The invariant: **they never take part in delivery.** Each has a runtime of its own with one thread, no timer while nobody asks, at most
//! [`MAX_CONNECTIONS`] connections, and limits for what a connection may cost. When one cannot begin, the agent ships without it and says so.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use openssl::ssl::SslContext;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::access::{Access, Client, Listening};
use crate::agent::Agent;
use crate::audit::Peer;
use crate::role::{Caller, Role};
use crate::router::{metrics_router, page_router, router};
use crate::socket::{Socket, SocketError};
use crate::tls::{self, Tls, TlsFiles};

/// Connections at a time; further ones wait.
const MAX_CONNECTIONS: usize = 32;
/// Those of one address; further ones are closed, so that nobody keeps all others out.
pub const MAX_CONNECTIONS_OF_ONE: usize = 24;
/// By when a client must have come to terms about TLS.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
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
            accept(listener, || router(agent), stopped).await;
            Ok(())
        })
    }

    /// Serves `agent` and the web page as `listening` says from now on, as soon as the address is free and the certificate can be used.
    pub fn start_page(listening: Listening, agent: Arc<dyn Agent>) -> Self {
        Self::spawn("web page", "keyferry-page", async move |stopped: Stopped| {
            let address = listening.address;
            let Some(listener) = bind(address, "page", "api.listen", stopped.clone()).await? else {
                return Ok(());
            };
            let tls = match &listening.tls {
                None => None,
                Some(files) => match open_tls(files, stopped.clone()).await {
                    Some(tls) => Some(tls),
                    None => return Ok(()),
                },
            };
            let scheme = if tls.is_some() { "https" } else { "http" };
            tracing::info!("the page is at {scheme}://{address}/");
            accept(Door { listener, tls }, || page_router(agent, Access::new(listening)), stopped).await;
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
            accept(Door { listener, tls: None }, || metrics_router(agent), stopped).await;
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
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
            let result = runtime.map_err(ServeError::Runtime).and_then(|runtime| {
                let result = runtime.block_on(serve(stopped));
                // A question to Keycloak that is under way is of no use to anybody any more.
                runtime.shutdown_background();
                result
            });
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

/// The certificate, as soon as it can be used; `None` if the word to end comes first.
async fn open_tls(files: &TlsFiles, mut stopped: Stopped) -> Option<Tls> {
    let mut told = None;
    loop {
        let reason = match Tls::open(files.clone()) {
            Ok(tls) => return Some(tls),
            Err(error) => error.to_string(),
        };
        if told.as_ref() != Some(&reason) {
            tracing::warn!("there is no page until its certificate can be used: {reason}");
            told = Some(reason);
        }
        if tokio::time::timeout(RETRY, stopped.changed()).await.is_ok() {
            return None;
        }
    }
}

/// A connection that has come in.
struct Arrival {
    transport: Transport,
    from: Remote,
}

/// What it is made of.
enum Transport {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(TcpStream, SslContext),
}

/// Who is at its other end, as far as the connection tells.
#[derive(Clone)]
enum Remote {
    /// Somebody whom the socket's permissions let in.
    Socket(Caller),
    /// Somebody at this address.
    Network(IpAddr),
}

impl Remote {
    fn add_to<B>(&self, request: &mut hyper::Request<B>) {
        match self {
            Self::Socket(caller) => drop(request.extensions_mut().insert(caller.clone())),
            Self::Network(address) => drop(request.extensions_mut().insert(Client(*address))),
        }
    }
}

/// What connections come from.
trait Listener {
    async fn next(&mut self) -> io::Result<Arrival>;
}

impl Listener for UnixListener {
    async fn next(&mut self) -> io::Result<Arrival> {
        let (stream, _) = self.accept().await?;
        let peer = stream.peer_cred().ok().map(|cred| Peer::Process { uid: cred.uid(), pid: cred.pid() });
        let who = peer.unwrap_or(Peer::Anybody);
        let from = Remote::Socket(Caller { who, role: Role::Admin });
        Ok(Arrival { transport: Transport::Unix(stream), from })
    }
}

/// A listener on TCP, and the certificate that it shows.
struct Door {
    listener: TcpListener,
    tls: Option<Tls>,
}

impl Listener for Door {
    async fn next(&mut self) -> io::Result<Arrival> {
        let (stream, address) = self.listener.accept().await?;
        let transport = match &mut self.tls {
            Some(tls) => Transport::Tls(stream, tls.current()),
            None => Transport::Tcp(stream),
        };
        Ok(Arrival { transport, from: Remote::Network(address.ip().to_canonical()) })
    }
}

/// How many connections each address has.
#[derive(Default)]
struct Crowd(HashMap<IpAddr, Arc<()>>);

impl Crowd {
    /// A place for one more from there; `None` if it has as many as it may.
    fn enter(&mut self, from: &Remote) -> Option<Option<Arc<()>>> {
        let Remote::Network(address) = from else { return Some(None) };
        // One is kept here.
        self.0.retain(|_, places| Arc::strong_count(places) > 1);
        let places = self.0.entry(*address).or_default();
        (Arc::strong_count(places) <= MAX_CONNECTIONS_OF_ONE).then(|| Some(Arc::clone(places)))
    }
}

async fn accept(mut listener: impl Listener, router: impl FnOnce() -> Router, mut stopped: Stopped) {
    // Made for the first who asks: it takes a megabyte, and most agents are never asked.
    let router = LazyCell::new(router);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut crowd = Crowd::default();
    loop {
        let connection = tokio::select! {
            _ = stopped.changed() => break,
            connection = next_connection(&mut listener, &places) => connection,
        };
        match connection {
            Ok((Arrival { transport, from }, place)) => {
                let Some(place_of_one) = crowd.enter(&from) else {
                    tracing::debug!(
                        "a connection is closed: its address has {MAX_CONNECTIONS_OF_ONE} already"
                    );
                    continue;
                };
                let (router, stopped) = (Router::clone(&router), stopped.clone());
                tokio::spawn(async move {
                    welcome(transport, from, router, stopped).await;
                    drop((place, place_of_one));
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

/// A connection, and its place among those that may be open.
async fn next_connection(
    listener: &mut impl Listener,
    places: &Arc<Semaphore>,
) -> io::Result<(Arrival, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.next().await?, place))
}

async fn welcome(transport: Transport, from: Remote, router: Router, stopped: Stopped) {
    match transport {
        Transport::Unix(stream) => converse(stream, from, router, stopped).await,
        Transport::Tcp(stream) => converse(stream, from, router, stopped).await,
        Transport::Tls(stream, context) => {
            match tokio::time::timeout(HANDSHAKE_LIMIT, tls::greet(stream, &context)).await {
                Ok(Ok(stream)) => converse(stream, from, router, stopped).await,
                Ok(Err(error)) => tracing::debug!("a client has not come to terms about TLS: {error}"),
                Err(_) => tracing::debug!("a client has not come to terms about TLS in {HANDSHAKE_LIMIT:?}"),
            }
        }
    }
}

/// Serves one connection until it ends or the word to end comes.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    from: Remote,
    router: Router,
    mut stopped: Stopped,
) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        from.add_to(&mut request);
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
