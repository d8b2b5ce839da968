//! How an operator reaches a running agent: HTTP/1.1 on a Unix socket, JSON under `/api/v1`, metrics at `/metrics`.
//!
//! The invariant: **nobody who asks holds up delivery.** The server is one thread of its own. It reads what the agent last wrote down of itself, and
//! what it is told to change it posts and leaves to the threads that ship; no request waits for one of them. A socket that
//! cannot be made costs the API and no event.
//!
//! Where it is told to, it listens on TCP as well, for a browser, under conditions of its own.
//!
//! - [`access`]: who is let in there.
//! - [`role`]: what who is let in may do, route by route.
//! - [`origins`]: under which names it is asked for.
//! - [`limits`]: how often somebody may ask.
//! - [`oidc`]: logging in at Keycloak.
//! - `tls`: its certificate.
//! - [`agent`]: what the server must be told and may ask, a trait.
//! - [`alerting`]: alerts and incidents.
//! - [`configuration`]: what is configured, and how it changes.
//! - `page`: the web page.
//! - [`stream`]: what the agent does, second by second, for who listens.
//! - [`model`]: what is said on the wire.
//! - [`problem`]: what is said when something is wrong (RFC 9457).
//! - [`router`]: which question goes where. It needs no socket, so that it can be tested without one and served on any.
//! - [`audit`]: who changed what.
//! - [`socket`]: `agent.sock`, from its making to its end.
//! - [`server`]: the thread.
//! - [`client`]: the other end, for the command line.

pub mod access;
pub mod agent;
pub mod alerting;
pub mod audit;
pub mod client;
pub mod configuration;
pub mod limits;
pub mod model;
pub mod oidc;
pub mod origins;
mod page;
pub mod problem;
pub mod role;
pub mod router;
pub mod server;
pub mod socket;
pub mod stream;
mod tls;

pub use agent::{Agent, Change, Exposition, Refusal};
pub use alerting::Alerting;
pub use client::{Client, ClientError};
pub use configuration::Configuration;
pub use role::{Caller, Role};
pub use server::Server;
pub use tls::TlsFiles;
