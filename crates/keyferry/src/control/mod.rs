//! The operator's way to a running agent, from both ends.
//!
//! - `measured`: what of this agent is measured.
//! - `figures`: what of that somebody who looks sees first.
//! - `keycloak`: how users of the page are logged in.
//! - `live_agent`: what this agent shows of itself and takes from others, on its socket.
//! - `reach`: which agents serve a directory.
//! - `status`: `keyferry status`.
//! - `steering`: `keyferry breaker`, `keyferry tuner` and `keyferry pool`.
//! - `print`: what they print for people.

mod figures;
mod keycloak;
mod live_agent;
mod measured;
pub mod print;
pub mod reach;
mod status;
mod steering;

use std::path::Path;
use std::sync::Arc;

use keyferry_config::{Api, ApiOidc, Secret, Sources};
use keyferry_monitor::MetricsCollector;
use keyferry_server::access::{Listening, SecretSource, Token};
use keyferry_server::oidc::{self, RoleNames};
use keyferry_server::{Role, Server, TlsFiles};

use crate::control::keycloak::Keycloak;
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
        let listening = listening(&plan.api, &credentials::sources());
        let page = listening.map(|listening| Server::start_page(listening, Arc::clone(&self.agent) as _));
        let metrics =
            plan.metrics.listen.map(|address| Server::start_metrics(address, Arc::clone(&self.agent) as _));
        [page, metrics]
    }
}

/// Where the page is served, and for whom; `None` if nowhere.
fn listening(api: &Api, sources: &Sources) -> Option<Listening> {
    let roles = [Role::Viewer, Role::Operator, Role::Admin];
    let of_roles = roles.into_iter().zip([&api.tokens.viewer, &api.tokens.operator, &api.tokens.admin]);
    let token = |(role, token): (Role, &keyferry_config::ApiToken)| Token {
        name: token.name.clone(),
        role,
        value: secret(&token.value, sources),
    };
    Some(Listening {
        address: api.listen?,
        tls: api.tls.clone().map(|tls| TlsFiles { certificate: tls.certificate, key: tls.key }),
        // Whoever wrote one that is none was told so when the configuration was read.
        origins: api.origins.iter().filter_map(|origin| origin.parse().ok()).collect(),
        tokens: of_roles
            .flat_map(|(role, tokens)| tokens.iter().map(move |token| (role, token)))
            .map(token)
            .collect(),
        oidc: api.oidc.as_ref().map(|oidc| login(oidc, sources)),
        requests_per_second: api.requests_per_second,
    })
}

fn login(oidc: &ApiOidc, sources: &Sources) -> oidc::Settings {
    let ApiOidc { issuer, client_id, client_secret, viewer_role, operator_role, admin_role, session } =
        oidc.clone();
    oidc::Settings {
        issuer,
        client_id,
        client_secret: client_secret.as_ref().map(|value| secret(value, sources)),
        roles: RoleNames { viewer: viewer_role, operator: operator_role, admin: admin_role },
        session,
        http: Arc::new(Keycloak::default()),
    }
}

/// Looks a secret up anew each time, so that a changed one holds at once.
fn secret(value: &Secret, sources: &Sources) -> SecretSource {
    let (value, sources) = (value.clone(), sources.clone());
    Box::new(move || sources.reveal(value.expose()).map(|secret| secret.expose().to_owned()))
}

/// How a shipment stands, as the API tells it.
pub fn shipment_as_told(shipment: &crate::live::Shipment) -> keyferry_server::model::Shipment {
    live_agent::shipment(shipment)
}
