//! Which question goes where.
//!
//! A handler reads the agent's snapshot or posts a change, and answers; it waits for nothing but the rest of its request. The same definition gives the routes and the
//! OpenAPI document, so that neither can have what the other lacks.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{
    DefaultBodyLimit, Extension, FromRequest, FromRequestParts, Path, Query, Request, State,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{self, Access, Visit};
use crate::agent::{Agent, Change, Exposition};
use crate::audit::{self, Peer};
use crate::model::{
    Backlog, Breaker, Destination, Health, LogLevel, OfSlot, OfSlots, Overrides, Pool, Session, SetBreaker,
    SetFrozen, SetProfile, SetSize, Shipment, SlotFilter, Status, Tuner,
};
use crate::oidc;
use crate::page;
use crate::problem::Problem;
use crate::role::{Caller, Role, Routes, SCHEME, permit};

/// The longest body that is read.
const BODY_LIMIT: usize = 16 << 10;
/// By when a request must have arrived and be answered.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What handlers share.
type Shared = Arc<dyn Agent>;

/// The OpenAPI document that `docs/openapi.json` holds, and that is served at `/api/v1/openapi.json`.
const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// The document but for its paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Keyferry agent",
        version = "1",
        description = "A running agent: what it does, and what can be changed of it without a restart. `x-role` is the role that an operation takes over TCP (`api.listen`); each role may what those before it may: viewer, operator, admin. At the Unix socket everybody who may open it is an admin.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "health", description = "For probes."),
        (name = "state", description = "What the agent does. Changes nothing."),
        (name = "configuration", description = "Versions, each tried before it holds. What is set outlives the agent."),
        (name = "change", description = "Takes effect within a second, until the agent ends."),
    ),
)]
struct Skeleton;

/// Everything that is served, on whatever it is served. A server adds the [`Caller`] to the extensions of a request.
pub fn router(agent: Arc<dyn Agent>) -> Router {
    Router::from(documented())
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(within_time))
        .with_state(agent)
}

/// The same with the web page, for those whom `access` admits.
pub fn page_router(agent: Arc<dyn Agent>, access: Access) -> Router {
    let mut served = router(agent).merge(page::routes());
    if let Some(login) = access.login() {
        served = served.merge(oidc::routes(login).layer(from_fn(within_time)));
    }
    served.layer(from_fn_with_state(Arc::new(access), access::guard))
}

/// What is not there is told only to those who may know what is.
async fn nowhere(caller: Option<Extension<Caller>>) -> Problem {
    let nothing = || Problem::not_found("there is nothing here; /api/v1/openapi.json tells what there is");
    permit(caller.as_deref(), Role::Viewer).err().unwrap_or_else(nothing)
}

async fn other_method(caller: Option<Extension<Caller>>) -> Problem {
    permit(caller.as_deref(), Role::Viewer).err().unwrap_or_else(Problem::method_not_allowed)
}

/// The metrics alone, for a listener that anybody may reach.
pub fn metrics_router(agent: Arc<dyn Agent>) -> Router {
    Router::new()
        .route("/metrics", axum::routing::get(metrics))
        .fallback(async || Problem::not_found("there is nothing here but /metrics"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(within_time))
        .with_state(agent)
}

/// The OpenAPI document of what [`router`] serves.
pub fn document() -> utoipa::openapi::OpenApi {
    documented().into_openapi()
}

/// What each takes is said here and nowhere else.
fn documented() -> OpenApiRouter<Shared> {
    let api = Routes::default()
        .open(routes!(session))
        .view(routes!(status))
        .view(routes!(destinations))
        .view(routes!(destination))
        .view(routes!(backlog))
        .view(routes!(breaker))
        .view(routes!(tuner))
        .view(routes!(pool))
        .view(routes!(openapi))
        .operate(routes!(set_breaker))
        .operate(routes!(set_frozen))
        .operate(routes!(set_profile))
        .operate(routes!(set_overrides))
        .operate(routes!(set_size))
        .operate(routes!(reconnect))
        .administer(routes!(set_log_level))
        .merge(crate::stream::routes())
        .merge(crate::alerting::routes())
        .merge(crate::configuration::routes());
    let mut skeleton = Skeleton::openapi();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A token of `api.token` or `api.tokens`, or an access token of Keycloak's if `api.oidc` is set.",
    ));
    let components = skeleton.components.get_or_insert_default();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(token.build()));
    Routes::of(skeleton)
        .open(routes!(healthz))
        .open(routes!(readyz))
        .view(routes!(metrics))
        .nest("/api/v1", api)
        .into_inner()
}

async fn within_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(TIME_LIMIT, next.run(request))
        .await
        .unwrap_or_else(|_| Problem::too_slow().into_response())
}

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "It is.", body = Health)))]
async fn healthz() -> Json<Health> {
    Json(Health { status: "alive".to_owned() })
}

/// Everything that is there to be delivered is being delivered.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "It is.", body = Health),
        (status = 503, description = "It is not; the detail says why.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn readyz(
    State(agent): State<Shared>,
    caller: Option<Extension<Caller>>,
) -> Result<Json<Health>, Problem> {
    match Status::of(agent.about(), agent.shipments()).reason {
        None => Ok(Json(Health { status: "ready".to_owned() })),
        // The reason may name brokers.
        Some(_) if caller.is_none() => {
            Err(Problem::not_ready("it is not; who asks with a token is told why"))
        }
        Some(reason) => Err(Problem::not_ready(reason)),
    }
}

/// Who asks, as far as that is known, and where he can log in.
#[utoipa::path(get, path = "/session", tag = "state", responses((status = 200, description = "As it is now.", body = Session)))]
async fn session(caller: Option<Extension<Caller>>, visit: Option<Extension<Visit>>) -> Json<Session> {
    let has_login = visit.as_ref().is_some_and(|visit| visit.has_login);
    let is_logged_in = visit.as_ref().is_some_and(|visit| visit.is_logged_in);
    Json(Session {
        who: caller.as_ref().map(|caller| caller.who.to_string()),
        role: caller.as_ref().map(|caller| caller.role),
        login: has_login.then(|| oidc::LOGIN.to_owned()),
        logout: is_logged_in.then(|| oidc::LOGOUT.to_owned()),
    })
}

/// Everything that is measured, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "state",
    responses((
        status = 200,
        description = "What the request prefers of OpenMetrics 1.0, Prometheus's protobuf format (which has native histograms) and its text format 0.0.4, else the latter. docs/metrics.md tells what there is.",
        content((String = "text/plain"), (String = "application/openmetrics-text"), (Vec<u8> = "application/vnd.google.protobuf")),
    )),
)]
async fn metrics(State(agent): State<Shared>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Exposition { content_type, body } = agent.metrics(accept);
    ([(header::CONTENT_TYPE, content_type)], body)
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "state",
    responses((status = 200, description = "An OpenAPI document.", content_type = "application/json")),
)]
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

/// The agent and all its destinations.
#[utoipa::path(get, path = "/status", tag = "state", responses((status = 200, description = "The status.", body = Status)))]
async fn status(State(agent): State<Shared>) -> Json<Status> {
    Json(Status::of(agent.about(), agent.shipments()))
}

/// The destinations.
#[utoipa::path(
    get,
    path = "/destinations",
    tag = "state",
    responses((status = 200, description = "All of them, by name.", body = Vec<Destination>)),
)]
async fn destinations(State(agent): State<Shared>) -> Json<Vec<Destination>> {
    Json(Destination::all_of(agent.shipments()))
}

/// Logs from now on what is at least as severe, until the agent ends.
#[utoipa::path(
    put,
    path = "/log",
    tag = "change",
    request_body = LogLevel,
    responses(
        (status = 200, description = "It does.", body = LogLevel),
        (status = 409, description = "The log cannot be changed.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is no such level.", body = Problem, content_type = "application/problem+json"),
        (status = 400, description = "The request is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The request is too long.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The request does not say that it is application/json.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn set_log_level(
    State(agent): State<Shared>,
    caller: Caller,
    Body(request): Body<LogLevel>,
) -> Result<Json<LogLevel>, Problem> {
    let result = agent.set_log_level(&request.level);
    audit::note(&caller.who, &format!("level {}", request.level), "the log", &result);
    result?;
    Ok(Json(request))
}

/// Declares a handler that answers one aspect of a destination.
macro_rules! aspect {
    ($(#[$doc:meta])* $handler:ident, $path:literal, $type:ty, $of:expr) => {
        $(#[$doc])*
        #[utoipa::path(
            get,
            path = $path,
            tag = "state",
            params(("name" = String, Path, description = "The destination's name.", example = "default"), SlotFilter),
            responses(
                (status = 200, description = "As it is now.", body = OfSlots<$type>),
                (status = 400, description = "The query is not understood.", body = Problem, content_type = "application/problem+json"),
                (status = 404, description = "There is no such destination or slot.", body = Problem, content_type = "application/problem+json"),
            ),
        )]
        async fn $handler(State(agent): State<Shared>, target: Target) -> Result<Json<OfSlots<$type>>, Problem> {
            target.aspect(&*agent, $of)
        }
    };
}

/// Declares a handler that changes something and answers with the new state.
macro_rules! change {
    ($(#[$doc:meta])* $handler:ident, $method:ident, $path:literal, $request:ty, $type:ty, $of:expr, $change:expr) => {
        $(#[$doc])*
        #[utoipa::path(
            $method,
            path = $path,
            tag = "change",
            params(("name" = String, Path, description = "The destination's name.", example = "default"), SlotFilter),
            request_body = $request,
            responses(
                (status = 200, description = "The new state.", body = OfSlots<$type>),
                (status = 400, description = "The request is no JSON, or its query is not understood.", body = Problem, content_type = "application/problem+json"),
                (status = 404, description = "There is no such destination or slot.", body = Problem, content_type = "application/problem+json"),
                (status = 408, description = "The request has not arrived in time.", body = Problem, content_type = "application/problem+json"),
                (status = 409, description = "The change is not possible now.", body = Problem, content_type = "application/problem+json"),
                (status = 413, description = "The request is too long.", body = Problem, content_type = "application/problem+json"),
                (status = 415, description = "The request does not say that it is application/json.", body = Problem, content_type = "application/problem+json"),
                (status = 422, description = "The change is not possible, or not of the right form.", body = Problem, content_type = "application/problem+json"),
            ),
        )]
        async fn $handler(
            State(agent): State<Shared>,
            target: Target,
            Body(request): Body<$request>,
        ) -> Result<Json<OfSlots<$type>>, Problem> {
            let change: fn($request) -> Change = $change;
            target.change(&*agent, &change(request))?;
            target.aspect(&*agent, $of)
        }
    };
}

/// A destination.
#[utoipa::path(
    get,
    path = "/destinations/{name}",
    tag = "state",
    params(("name" = String, Path, description = "The destination's name.", example = "default"), SlotFilter),
    responses(
        (status = 200, description = "As it is now.", body = Destination),
        (status = 400, description = "The query is not understood.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such destination or slot.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn destination(State(agent): State<Shared>, target: Target) -> Result<Json<Destination>, Problem> {
    let shipments = target.shipments(&*agent)?;
    Destination::all_of(shipments).pop().map(Json).ok_or_else(|| target.unknown(&[]))
}

aspect!(
    /// What waits for a destination.
    backlog, "/destinations/{name}/backlog", Backlog, |shipment| Some(shipment.delivery.backlog)
);
aspect!(
    /// The circuit breaker of a destination.
    breaker, "/destinations/{name}/breaker", Breaker, breaker_of
);
aspect!(
    /// The tuner of a destination. A slot for which none is at work is left out.
    tuner, "/destinations/{name}/tuner", Tuner, tuner_of
);
aspect!(
    /// The connections to a destination. A slot that has none yet is left out.
    pool, "/destinations/{name}/pool", Pool, pool_of
);
change!(
    /// Forces the circuit breaker open or closed, or leaves it to itself again.
    set_breaker, put, "/destinations/{name}/breaker", SetBreaker, Breaker, breaker_of,
    |request| Change::Breaker(request.mode)
);
change!(
    /// Freezes the tuner, or lets it go on.
    set_frozen, put, "/destinations/{name}/tuner/frozen", SetFrozen, Tuner, tuner_of,
    |request| Change::Freeze(request.frozen)
);
change!(
    /// Sets what the tuner strives for.
    set_profile, put, "/destinations/{name}/tuner/profile", SetProfile, Tuner, tuner_of,
    |request| Change::Profile(request.profile)
);
change!(
    /// Sets values of the tuning by hand, in place of all that were; `{}` gives everything back to configuration and tuner.
    set_overrides, put, "/destinations/{name}/tuner/overrides", Overrides, Tuner, tuner_of,
    |request| Change::Override(request)
);
change!(
    /// Sets the number of connections. The order of each key holds: new connections take over when the old ones have delivered everything.
    set_size, put, "/destinations/{name}/pool/size", SetSize, Pool, pool_of,
    |request| Change::Resize(request.connections)
);

/// Replaces the connections by new ones, which take over when the old ones have delivered everything.
#[utoipa::path(
    post,
    path = "/destinations/{name}/pool/reconnect",
    tag = "change",
    params(("name" = String, Path, description = "The destination's name.", example = "default"), SlotFilter),
    responses(
        (status = 200, description = "The new state.", body = OfSlots<Pool>),
        (status = 400, description = "The query is not understood.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such destination or slot.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The change is not possible now.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The change is not possible.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn reconnect(State(agent): State<Shared>, target: Target) -> Result<Json<OfSlots<Pool>>, Problem> {
    target.change(&*agent, &Change::Reconnect)?;
    target.aspect(&*agent, pool_of)
}

fn breaker_of(shipment: Shipment) -> Option<Breaker> {
    Some(shipment.delivery.breaker)
}

fn tuner_of(shipment: Shipment) -> Option<Tuner> {
    shipment.tuner
}

fn pool_of(shipment: Shipment) -> Option<Pool> {
    shipment.pool
}

/// What a request is about, and who asks.
struct Target {
    destination: String,
    slot: Option<String>,
    who: Peer,
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Caller { who, .. } = Caller::from_request_parts(parts, state).await?;
        let InPath(destination) = InPath::from_request_parts(parts, state).await?;
        let InQuery(SlotFilter { slot }) = InQuery::from_request_parts(parts, state).await?;
        Ok(Self { destination, slot, who })
    }
}

impl Target {
    /// What is shipped to the destination, of all slots or of the one.
    fn shipments(&self, agent: &dyn Agent) -> Result<Vec<Shipment>, Problem> {
        let mut shipments = agent.shipments();
        shipments.sort_by(|a, b| a.delivery.slot.cmp(&b.delivery.slot));
        let (meant, others): (Vec<_>, Vec<_>) =
            shipments.into_iter().partition(|shipment| self.means(shipment));
        if meant.is_empty() { Err(self.unknown(&others)) } else { Ok(meant) }
    }

    fn means(&self, shipment: &Shipment) -> bool {
        shipment.destination == self.destination
            && self.slot.as_ref().is_none_or(|slot| *slot == shipment.delivery.slot)
    }

    fn unknown(&self, known: &[Shipment]) -> Problem {
        let of_slot = self.slot.as_ref().map(|slot| format!(" of {slot}")).unwrap_or_default();
        let known: Vec<_> = known
            .iter()
            .map(|shipment| format!("{} of {}", shipment.destination, shipment.delivery.slot))
            .collect();
        let known = if known.is_empty() { "nothing yet".to_owned() } else { known.join(", ") };
        Problem::not_found(format!(
            "nothing is shipped to a destination {:?}{of_slot}; this agent ships {known}",
            self.destination
        ))
    }

    /// One aspect of it, slot by slot.
    fn aspect<T>(
        &self,
        agent: &dyn Agent,
        of: impl Fn(Shipment) -> Option<T>,
    ) -> Result<Json<OfSlots<T>>, Problem> {
        let of_slot = |shipment: Shipment| {
            let slot = shipment.delivery.slot.clone();
            of(shipment).map(|of| OfSlot { slot, of })
        };
        let slots = self.shipments(agent)?.into_iter().filter_map(of_slot).collect();
        Ok(Json(OfSlots { destination: self.destination.clone(), slots }))
    }

    /// Asks for a change of every slot that is meant, up to the first one that is refused.
    fn change(&self, agent: &dyn Agent, change: &Change) -> Result<(), Problem> {
        for shipment in self.shipments(agent)? {
            let (slot, destination) = (&shipment.delivery.slot, &shipment.destination);
            let result = agent.change(slot, destination, change);
            audit::log(&self.who, slot, destination, change, &result);
            result?;
        }
        Ok(())
    }
}

/// What stands in the path of a request.
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path))
            .map_err(|error| Problem::malformed(error.status(), error.body_text()))
    }
}

/// What stands in its query.
pub(crate) struct InQuery<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Self(query))
            .map_err(|error| Problem::malformed(error.status(), error.body_text()))
    }
}

/// The body of a request.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        body.map(|Json(body)| Self(body))
            .map_err(|error| Problem::malformed(error.status(), error.body_text()))
    }
}
