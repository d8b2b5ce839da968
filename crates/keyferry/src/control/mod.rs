//! The operator's way to a running agent, from both ends.
//!
//! - `measured`: what of this agent is measured.
//! - `figures`: what of that somebody who looks sees first.
//! - `live_agent`: what this agent shows of itself and takes from others, on its socket.
//! - `reach`: which agents serve a directory.
//! - `status`: `keyferry status`.
//! - `steering`: `keyferry breaker`, `keyferry tuner` and `keyferry pool`.
//! - `print`: what they print for people.

mod figures;
mod live_agent;
mod measured;
mod print;
pub mod reach;
mod status;
mod steering;

use std::path::Path;
use std::sync::Arc;

use keyferry_config::Api;
use keyferry_monitor::MetricsCollector;
use keyferry_server::Server;
use keyferry_server::access::TokenSource;

use crate::control::live_agent::LiveAgent;
use crate::credentials;
use crate::live::Live;
use crate::shipment::Plan;

pub use status::run as status;
pub use steering::{breaker, log, pool, tuner};

/// This agent, for those who ask.
#[derive(Debug, Clone)]
pub struct Control {
    agent: Arc<LiveAgent>,
}

impl Control {
    /// Of the agent that ships what is in `live` and can be reached in `directory`, started by the process `keycloak` if it was.
    pub fn of(directory: &Path, live: &Arc<Live>, keycloak: Option<i32>) -> Self {
        Self { agent: Arc::new(LiveAgent::new(Arc::clone(live), directory, keycloak)) }
    }

    /// What is measured.
    pub fn metrics(&self) -> &MetricsCollector {
        self.agent.metrics()
    }

    /// Answers at the socket of `directory`, until what is returned is dropped.
    pub fn serve(&self, directory: &Path) -> Server {
        Server::start(directory, Arc::clone(&self.agent) as _)
    }

    /// Serves the page and metrics where the plan says so, until what is returned is dropped.
    pub fn serve_over_tcp(&self, plan: &Plan) -> [Option<Server>; 2] {
        let page = plan
            .api
            .listen
            .map(|address| Server::start_page(address, token(&plan.api), Arc::clone(&self.agent) as _));
        let metrics =
            plan.metrics.listen.map(|address| Server::start_metrics(address, Arc::clone(&self.agent) as _));
        [page, metrics]
    }
}

/// Looks the token up anew each time, so that a changed one holds at once.
fn token(api: &Api) -> Option<TokenSource> {
    let (token, sources) = (api.token.clone()?, credentials::sources());
    Some(Box::new(move || sources.reveal(token.expose()).map(|token| token.expose().to_owned())))
}

/// How a shipment stands, as the API tells it.
pub fn shipment_as_told(shipment: &crate::live::Shipment) -> keyferry_server::model::Shipment {
    live_agent::shipment(shipment)
}
