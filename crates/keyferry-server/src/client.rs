//! The other end, for the command line: one request on one connection, and the answer to it.
//!
//! - `listening`: an answer that does not end.

mod listening;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
pub use hyper::Method;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::problem::Problem;
use crate::socket::FILE_NAME;

pub use listening::Listening;

/// An agent that does not answer for so long does not answer.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// No answer is longer.
const BODY_LIMIT: usize = 16 << 20;

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no agent answers at {}", .0.display())]
    NoAgent(PathBuf),
    /// The socket cannot be used.
    #[error("cannot use {path}: {source}; run this as the user of the agent", path = .path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// What came is no answer.
    #[error("the agent at {path} does not answer as expected: {reason}", path = .path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The agent says that something is wrong.
    #[error("{0}")]
    Problem(Problem),
}

/// Talks to one agent. Every request has a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// To the agent with its socket in `directory`.
    pub fn of(directory: &Path) -> Self {
        Self { path: directory.join(FILE_NAME) }
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks for what is at `target`, a path with its query.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, target, Bytes::new(), None)
    }

    /// Merges `body` into what is there, or has it do with `body` what is to be done there (`method` is PATCH or POST), if that still has the tag `expected`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ask_expecting<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: &impl Serialize,
        expected: Option<&str>,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.no_answer(error))?;
        self.ask(method, target, body.into(), expected)
    }

    /// Puts `body` there.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn put<T: DeserializeOwned>(&self, target: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.no_answer(error))?;
        self.ask(Method::PUT, target, body.into(), None)
    }

    /// Has it do what is there to be done with `body`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn submit<T: DeserializeOwned>(&self, target: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.no_answer(error))?;
        self.ask(Method::POST, target, body.into(), None)
    }

    /// Takes away what is there.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.ask(Method::DELETE, target, Bytes::new(), None)
    }

    /// Has it do what is there to be done.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn post<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.ask(Method::POST, target, Bytes::new(), None)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
        expected: Option<&str>,
    ) -> Result<T, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(expected) = expected {
            request = request.header(header::IF_MATCH, format!("\"{expected}\""));
        }
        let request = request.body(Full::new(body)).map_err(|error| self.no_answer(error))?;
        let (status, body) = self.runtime()?.block_on(self.within_time(self.exchange(request)))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.no_answer(error));
        }
        Err(read_problem(self, status, &body))
    }

    fn runtime(&self) -> Result<Runtime, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|source| self.refused(source))
    }

    async fn within_time<T>(
        &self,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(TIME_LIMIT, answer).await.map_err(|_| self.no_answer("it takes too long"))?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), ClientError> {
        let response = self.send(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await;
        Ok((status, body.map_err(|error| self.no_answer(error))?.to_bytes()))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|source| self.refused(source))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.no_answer(error))?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|error| self.no_answer(error))
    }

    fn refused(&self, source: io::Error) -> ClientError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoAgent(path),
            _ => ClientError::Refused { path, source },
        }
    }

    fn no_answer(&self, reason: impl ToString) -> ClientError {
        ClientError::NoAnswer { path: self.path.clone(), reason: reason.to_string() }
    }
}

/// What an agent says is wrong.
fn read_problem(client: &Client, status: StatusCode, body: &[u8]) -> ClientError {
    serde_json::from_slice(body)
        .map_or_else(|_| client.no_answer(format!("status {status}")), ClientError::Problem)
}
