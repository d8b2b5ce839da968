//! What a caller may do, and what a route takes.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, OpenApi, Ref};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::agent::Agent;
use crate::audit::Peer;
use crate::problem::Problem;

/// What somebody may do; each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Acts: breaker, tuner, connections, incidents, silences.
    Operator,
    /// Changes the configuration and the log.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// As it is configured.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who asks, and what he may do. Whatever serves a request puts it into its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub who: Peer,
    /// What he may do.
    pub role: Role,
}

impl Caller {
    /// That he may do what takes `role`.
    fn may(&self, role: Role) -> Result<(), Problem> {
        match &self.who {
            _ if self.role >= role => Ok(()),
            Peer::Anybody => Err(Problem::forbidden(
                "without `api.token`, `api.tokens` or `api.oidc` this listener changes nothing; set one and restart the agent, or use the Unix socket",
            )),
            who => Err(Problem::forbidden(format!(
                "this takes the role {role}, and {who} has the role {}",
                self.role
            ))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(Problem::unauthorized)
    }
}

/// That whoever asks may do what takes `role`.
pub(crate) fn permit(caller: Option<&Caller>, role: Role) -> Result<(), Problem> {
    caller.ok_or_else(Problem::unauthorized)?.may(role)
}

async fn demand(State(role): State<Role>, request: Request, next: Next) -> Response {
    match permit(request.extensions().get(), role) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

type Shared = Arc<dyn Agent>;

/// Routes, each with the role that it takes.
///
/// The invariant: **there is no way to add a route without saying what it takes**, and what it takes is checked before it is run and told in the OpenAPI document, as `x-role`.
#[derive(Default)]
pub(crate) struct Routes(OpenApiRouter<Shared>);

impl Routes {
    /// None, of a document that begins with `skeleton`.
    pub(crate) fn of(skeleton: OpenApi) -> Self {
        Self(OpenApiRouter::with_openapi(skeleton))
    }

    /// Takes nothing: anybody may ask.
    pub(crate) fn open(self, routes: UtoipaMethodRouter<Shared>) -> Self {
        self.add(routes, None)
    }

    /// Reads.
    pub(crate) fn view(self, routes: UtoipaMethodRouter<Shared>) -> Self {
        self.add(routes, Some(Role::Viewer))
    }

    /// Acts.
    pub(crate) fn operate(self, routes: UtoipaMethodRouter<Shared>) -> Self {
        self.add(routes, Some(Role::Operator))
    }

    /// Changes what the agent is told.
    pub(crate) fn administer(self, routes: UtoipaMethodRouter<Shared>) -> Self {
        self.add(routes, Some(Role::Admin))
    }

    /// With those of `other`.
    pub(crate) fn merge(self, other: Self) -> Self {
        Self(self.0.merge(other.0))
    }

    /// With those of `other` below `path`.
    pub(crate) fn nest(self, path: &str, other: Self) -> Self {
        Self(self.0.nest(path, other.0))
    }

    pub(crate) fn into_inner(self) -> OpenApiRouter<Shared> {
        self.0
    }

    fn add(self, (schemas, mut paths, mut methods): UtoipaMethodRouter<Shared>, role: Option<Role>) -> Self {
        for operation in paths.paths.values_mut().flat_map(operations) {
            document(operation, role);
        }
        if let Some(role) = role {
            methods = methods.layer::<_, Infallible>(from_fn_with_state(role, demand));
        }
        Self(self.0.routes((schemas, paths, methods)))
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = path;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

/// The name of the bearer token in the OpenAPI document.
pub(crate) const SCHEME: &str = "token";

/// What any request can be answered, besides what its handler says.
const OF_ANY: [(&str, &str); 6] = [
    ("400", "The path or query is not understood."),
    ("408", "The request has not arrived in time."),
    ("401", "Over TCP: a token is missing, or is none that is known."),
    ("421", "Over TCP: the request is for another host."),
    ("429", "Over TCP: too many requests; the header Retry-After says when to ask again."),
    ("503", "Over TCP: a token cannot be read, or Keycloak not be reached."),
];
/// The same, where it changes something.
const OF_CHANGES: [(&str, &str); 2] = [
    ("403", "Over TCP: who asks may not do this, or it comes from another origin."),
    ("415", "Over TCP: the request does not say that it is application/json."),
];

fn document(operation: &mut Operation, role: Option<Role>) {
    let is_change = role.is_some_and(|role| role > Role::Viewer);
    let of_changes = OF_CHANGES.iter().filter(|_| is_change);
    for (status, description) in OF_ANY.iter().chain(of_changes) {
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| {
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            ResponseBuilder::new()
                .description(*description)
                .content(Problem::MEDIA_TYPE, content)
                .build()
                .into()
        });
    }
    if let Some(role) = role {
        operation.security = Some(vec![SecurityRequirement::new(SCHEME, [""; 0])]);
        operation.extensions.get_or_insert_default().merge(Extensions::from_iter([("x-role", role.word())]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_those_before_it_may_and_nothing_else() {
        for (index, role) in Role::ALL.into_iter().enumerate() {
            let caller = Caller { who: Peer::Token("ops".into()), role };
            let may: Vec<Role> = Role::ALL.into_iter().filter(|taken| caller.may(*taken).is_ok()).collect();
            assert_eq!(may, Role::ALL[..=index]);
        }
    }
}
