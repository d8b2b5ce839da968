//! The configuration: what is said of it on the wire, and which question goes where.
//!
//! A change may take as long as new connections need. The request waits for it, by looking again and again and never in a thread of those who ship, and is answered with 202 when its
//! time is over; the change goes on, and `/config/changes/{ticket}` tells how it ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::agent::{Agent, Refusal};
use crate::audit;
use crate::problem::Problem;
use crate::role::{Caller, Routes};
use crate::router::{Body, InPath, InQuery};

/// How long a request waits for its change, below the limit of every request.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// What an agent can be asked about its configuration. No method may wait for delivery, or for a change.
pub trait Configuration {
    /// What runs, value by value.
    fn config(&self) -> Config;

    /// Leaves a change to be judged and made after those before it; what is returned stands for it.
    fn submit(&self, proposal: Proposal) -> u64;

    /// How it ended; `None` while it has not.
    fn outcome(&self, ticket: u64) -> Option<Result<ConfigChange, Refusal>>;

    /// Every version that is kept, the latest first.
    fn versions(&self) -> Vec<ConfigVersion>;

    /// In which values one version differs from another.
    ///
    /// # Errors
    /// There is no such version.
    fn difference(&self, from: u64, to: u64) -> Result<Vec<ConfigStep>, Refusal>;

    /// What all nodes are to have, and what each of them runs.
    ///
    /// # Errors
    /// Nothing is known of other nodes, or not yet.
    fn nodes(&self) -> Result<ConfigNodes, Refusal>;
}

/// A change that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who wants it.
    pub author: String,
    /// What.
    pub wish: Wish,
    /// The hash of the version that it was thought out for.
    pub expected: Option<String>,
    /// Whether only to say what would be done.
    pub dry_run: bool,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Values on top of everything else, by key; `None` takes one away.
    Set(BTreeMap<String, Option<String>>),
    /// The same on all nodes.
    SetEverywhere(BTreeMap<String, Option<String>>),
    /// What an earlier version said.
    Rollback(u64),
}

/// As the audit log has it: keys, no values.
impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Set(changes) => f.write_str(&keys(changes)),
            Self::SetEverywhere(changes) => write!(f, "{} of all nodes", keys(changes)),
            Self::Rollback(version) => write!(f, "rollback {version}"),
        }
    }
}

fn keys(changes: &BTreeMap<String, Option<String>>) -> String {
    changes.keys().cloned().collect::<Vec<_>>().join(", ")
}

/// The configuration that runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Config {
    /// The version that runs.
    pub version: ConfigVersion,
    /// Until when it is watched whether it makes things worse, milliseconds since the Unix epoch.
    pub probation_until: Option<u64>,
    /// The keys of the change that is being tried.
    pub trying: Option<Vec<String>>,
    /// Why another version runs than the file says, if it does so since the start.
    pub fallback: Option<String>,
    /// Why what the file says now is not in use, if it is not.
    pub file_refused: Option<String>,
    /// Every value.
    pub settings: Vec<ConfigSetting>,
}

/// A value of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigSetting {
    /// Its key.
    pub key: String,
    /// What a source gives, secrets redacted; none is the default.
    pub value: Option<String>,
    /// The default, in words.
    pub default: String,
    /// Where the value comes from.
    pub origin: String,
    /// What a change of it takes: `live`, `swap` or `restart`.
    pub class: String,
}

/// A version of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigVersion {
    /// Its number.
    pub version: u64,
    /// Stands for what it says.
    pub hash: String,
    /// Who wanted it.
    pub author: String,
    /// Why.
    pub cause: String,
    /// When it was committed, milliseconds since the Unix epoch.
    pub time: u64,
    /// The keys in which it differs from the version before.
    pub keys: Vec<String>,
}

/// What became of a change that was wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigChange {
    /// `committed`, `unchanged` (it says what runs already), `planned` (a dry run), `trying`, or `announced` (to all nodes, of which each decides by itself).
    pub outcome: String,
    /// The version that runs now.
    pub version: u64,
    /// Its hash.
    pub hash: String,
    /// Stands for the change, while it is being tried.
    pub ticket: Option<u64>,
    /// What the change is called, if it is for all nodes.
    pub change: Option<String>,
    /// What changes; of a change for all nodes, what it changes here.
    pub steps: Vec<ConfigStep>,
}

/// What all nodes are to have, and what each of them runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigNodes {
    /// The topic by which they are told, and tell.
    pub topic: String,
    /// Why it cannot be read now, if it cannot.
    pub trouble: Option<String>,
    /// The latest change that is for all nodes.
    pub change: Option<ConfigSharedChange>,
    /// What all nodes are to have on top of everything else; `null` is nothing.
    pub values: ConfigPatch,
    /// Whether all that have ever reported have it.
    pub agree: bool,
    /// Every node that has ever reported.
    pub nodes: Vec<ConfigNode>,
}

/// A change that is for all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigSharedChange {
    /// What it is called.
    pub change: String,
    /// Who wanted it.
    pub author: String,
    /// The node at which it was wanted.
    pub node: String,
    /// When, milliseconds since the Unix epoch.
    pub time: u64,
}

/// What a node has reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigNode {
    /// Its name.
    pub node: String,
    /// The release of its agent.
    pub agent: String,
    /// When it reported, milliseconds since the Unix epoch: after each change, and once an hour.
    pub time: u64,
    /// The version that runs there. Each node counts its own.
    pub version: u64,
    /// Its hash.
    pub hash: String,
    /// Whether it has what all are to have.
    pub agrees: bool,
    /// Whether it has decided on everything that is for all nodes.
    pub has_decided: bool,
    /// The last change for all nodes that it has decided on.
    pub change: Option<String>,
    /// What became of that there: `applied`, `refused` or `taken-back`.
    pub outcome: Option<String>,
    /// Why it does not run there, if it does not.
    pub reason: Option<String>,
    /// The keys of which it has not what all are to have.
    pub differs: Vec<String>,
}

/// A value that becomes another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigStep {
    /// Its key.
    pub key: String,
    /// What it takes: `live`, `swap` or `restart`.
    pub class: String,
    /// What a source gave, secrets redacted; none was the default.
    pub before: Option<String>,
    /// What a source gives, secrets redacted; none is the default.
    pub after: Option<String>,
}

/// Values on top of everything else, by their keys in the configuration file; `null` takes one away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct ConfigPatch(pub BTreeMap<String, Option<String>>);

/// Which version is to be had back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigRollback {
    /// Its number.
    pub version: u64,
}

/// Whether to change anything.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DryRun {
    /// Only tells what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// Which versions to compare.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Between {
    /// The number of the one.
    from: u64,
    /// The number of the other.
    to: u64,
}

type Shared = Arc<dyn Agent>;

pub(crate) fn routes() -> Routes {
    Routes::default()
        .view(routes!(config))
        .view(routes!(versions))
        .view(routes!(difference))
        .view(routes!(change))
        .view(routes!(nodes))
        .administer(routes!(patch_config))
        .administer(routes!(patch_nodes))
        .administer(routes!(rollback))
}

/// The configuration that runs, value by value. Secrets are redacted.
#[utoipa::path(
    get,
    path = "/config",
    tag = "configuration",
    responses(
        (status = 200, description = "As it is now; its hash is the ETag.", body = Config),
        (status = 409, description = "The agent has none yet.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn config(State(agent): State<Shared>) -> Result<Response, Problem> {
    let config = of(&*agent)?.config();
    let hash = config.version.hash.clone();
    Ok(tagged(&hash, StatusCode::OK, &config))
}

/// Declares a handler that wants a change of the configuration.
macro_rules! wish {
    ($(#[$doc:meta])* $handler:ident($pattern:pat => $wish:expr), $method:ident, $path:literal, $request:ty, $then:literal, $unless:literal) => {
        $(#[$doc])*
        #[utoipa::path(
            $method,
            path = $path,
            tag = "configuration",
            params(DryRun, ("If-Match" = Option<String>, Header, description = "The ETag of the version that this was thought out for.")),
            request_body = $request,
            responses(
                (status = 200, description = $then, body = ConfigChange),
                (status = 202, description = "It is still being tried.", body = ConfigChange),
                (status = 400, description = "The request is no JSON, or its query is not understood.", body = Problem, content_type = "application/problem+json"),
                (status = 408, description = "The request has not arrived in time.", body = Problem, content_type = "application/problem+json"),
                (status = 409, description = "Its trial has failed, and it was taken back.", body = Problem, content_type = "application/problem+json"),
                (status = 412, description = "Another version runs.", body = Problem, content_type = "application/problem+json"),
                (status = 413, description = "The request is too long.", body = Problem, content_type = "application/problem+json"),
                (status = 415, description = "The request does not say that it is application/json.", body = Problem, content_type = "application/problem+json"),
                (status = 422, description = $unless, body = Problem, content_type = "application/problem+json"),
            ),
        )]
        async fn $handler(
            State(agent): State<Shared>,
            caller: Caller,
            InQuery(DryRun { dry_run }): InQuery<DryRun>,
            headers: HeaderMap,
            Body($pattern): Body<$request>,
        ) -> Result<Response, Problem> {
            make(agent, caller, dry_run, &headers, $wish).await
        }
    };
}

wish! {
    /// Changes values on top of everything else: judged, tried and committed as a whole, or refused with the reason. What is set outlives a restart.
    patch_config(ConfigPatch(changes) => Wish::Set(changes)), patch, "/config", ConfigPatch,
    "It holds, or would (`dry_run`).",
    "It is not possible while the agent runs, or at all, or not of the right form."
}

wish! {
    /// Has back what an earlier version said. That is a version of its own.
    rollback(ConfigRollback { version } => Wish::Rollback(version)), post, "/config/rollback", ConfigRollback,
    "It holds, or would (`dry_run`).",
    "There is no such version, or not while the agent runs, or not of the right form."
}

wish! {
    /// Changes values on all nodes that follow the same topic (`config.topic`), this one among them. Judged by what runs here, and announced; each node then decides by itself, as on a change of its own.
    patch_nodes(ConfigPatch(changes) => Wish::SetEverywhere(changes)), patch, "/config/nodes", ConfigPatch,
    "It was announced to all nodes, or would be (`dry_run`).",
    "There is no topic for all nodes, or it is not possible here while the agent runs, or at all, or not of the right form."
}

/// What all nodes are to have, and what each of them runs.
#[utoipa::path(
    get,
    path = "/config/nodes",
    tag = "configuration",
    responses(
        (status = 200, description = "What each node has reported.", body = ConfigNodes),
        (status = 409, description = "There is no topic for all nodes, or it was not read to its end yet.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn nodes(State(agent): State<Shared>) -> Result<Json<ConfigNodes>, Problem> {
    Ok(Json(of(&*agent)?.nodes()?))
}

/// How a change ended that took longer than its request.
#[utoipa::path(
    get,
    path = "/config/changes/{ticket}",
    tag = "configuration",
    params(("ticket" = u64, Path, description = "What the answer to the change said.")),
    responses(
        (status = 200, description = "It holds.", body = ConfigChange),
        (status = 202, description = "It is still being tried.", body = ConfigChange),
        (status = 400, description = "The path is not understood.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Its trial has failed, and it was taken back.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Another version ran.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It was not possible.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn change(State(agent): State<Shared>, InPath(ticket): InPath<u64>) -> Result<Response, Problem> {
    let configuration = of(&*agent)?;
    answer(configuration, ticket, configuration.outcome(ticket).transpose()?)
}

/// Every version that is kept, the latest first.
#[utoipa::path(
    get,
    path = "/config/history",
    tag = "configuration",
    responses(
        (status = 200, description = "The versions.", body = Vec<ConfigVersion>),
        (status = 409, description = "The agent has none yet.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn versions(State(agent): State<Shared>) -> Result<Json<Vec<ConfigVersion>>, Problem> {
    Ok(Json(of(&*agent)?.versions()))
}

/// In which values one version differs from another. Secrets are redacted.
#[utoipa::path(
    get,
    path = "/config/diff",
    tag = "configuration",
    params(Between),
    responses(
        (status = 200, description = "The differences.", body = Vec<ConfigStep>),
        (status = 400, description = "The query is not understood.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The agent has none yet.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is no such version.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn difference(
    State(agent): State<Shared>,
    InQuery(Between { from, to }): InQuery<Between>,
) -> Result<Json<Vec<ConfigStep>>, Problem> {
    Ok(Json(of(&*agent)?.difference(from, to)?))
}

fn of(agent: &dyn Agent) -> Result<&dyn Configuration, Problem> {
    agent
        .configuration()
        .ok_or_else(|| Refusal::NotNow("this agent has no configuration yet".to_owned()).into())
}

async fn make(
    agent: Shared,
    Caller { who, .. }: Caller,
    dry_run: bool,
    headers: &HeaderMap,
    wish: Wish,
) -> Result<Response, Problem> {
    let (expected, wanted) = (expected(headers), wish.to_string());
    let proposal = Proposal { author: who.to_string(), wish, expected, dry_run };
    let ticket = of(&*agent)?.submit(proposal);
    let begun = Instant::now();
    let outcome = loop {
        let outcome = of(&*agent)?.outcome(ticket);
        if outcome.is_some() || begun.elapsed() >= PATIENCE {
            break outcome;
        }
        tokio::time::sleep(LOOK).await;
    };
    if !dry_run {
        let told =
            outcome.as_ref().map_or(Ok(()), |outcome| outcome.as_ref().map(drop).map_err(Clone::clone));
        let what =
            if outcome.is_some() { "the configuration" } else { "the configuration, which is still tried" };
        audit::note(&who, &wanted, what, &told);
    }
    answer(of(&*agent)?, ticket, outcome.transpose()?)
}

fn answer(
    configuration: &dyn Configuration,
    ticket: u64,
    change: Option<ConfigChange>,
) -> Result<Response, Problem> {
    if let Some(change) = change {
        return Ok(tagged(&change.hash.clone(), StatusCode::OK, &change));
    }
    let ConfigVersion { version, hash, .. } = configuration.config().version;
    let change = ConfigChange {
        outcome: "trying".to_owned(),
        version,
        hash,
        ticket: Some(ticket),
        ..ConfigChange::default()
    };
    Ok(tagged(&change.hash.clone(), StatusCode::ACCEPTED, &change))
}

fn tagged(hash: &str, status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    // A hash is made of letters and digits.
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{hash}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The hash that a request names, if it names one. `*` is whichever there is (RFC 9110, 13.1.1).
fn expected(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(header::IF_MATCH)?.to_str().unwrap_or("unreadable").trim();
    (tag != "*").then(|| tag.trim_matches('"').to_owned())
}
