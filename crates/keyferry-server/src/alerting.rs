//! Alerts and incidents: what is said of them on the wire, and which question goes where.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::agent::{Agent, Refusal};
use crate::audit::{self, Peer};
use crate::problem::Problem;
use crate::role::{Caller, Routes};
use crate::router::{Body, InPath};

/// What an agent can be asked about alerts and incidents. No method may wait for delivery, or for a notice.
pub trait Alerting {
    /// What fires or may soon, and how the channels do.
    fn alerts(&self) -> Alerts;

    /// Those that hold, and those that are over for less than a day.
    fn silences(&self) -> Vec<Silence>;

    /// Keeps notices back; `by` is who wants it.
    fn silence(&self, silence: &NewSilence, by: &str) -> Silence;

    /// Ends a silence.
    ///
    /// # Errors
    /// There is none of this id, or it is over.
    fn end_silence(&self, id: &str) -> Result<(), Refusal>;

    /// All incidents that are kept, the latest first.
    fn incidents(&self) -> Incidents;

    /// The incident that people call `id`.
    fn incident(&self, id: &str) -> Option<Incident>;

    /// What is to be read of it afterwards, in Markdown.
    fn report(&self, id: &str) -> Option<String>;

    /// Acknowledges it, declares it over, or does something about it; `by` is who wants it.
    ///
    /// # Errors
    /// There is no such incident, it does not stand so that this is possible, or the action is not allowed.
    fn respond(&self, id: &str, response: &Response, by: &str) -> Result<(), Refusal>;
}

/// What somebody does about an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Takes care of it.
    Acknowledge,
    /// Declares it over.
    Resolve,
    /// Wants an action taken.
    Remediate(String),
}

impl std::fmt::Display for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Acknowledge => f.write_str("acknowledge"),
            Self::Resolve => f.write_str("resolve"),
            Self::Remediate(action) => write!(f, "remediate {action}"),
        }
    }
}

/// What fires or may soon, and how the channels do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alerts {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// The channels by which something was told.
    pub channels: Vec<Channel>,
    /// Notices that are still on their way.
    pub waiting_notices: u64,
    /// How often each rule has fired.
    pub fired: BTreeMap<String, u64>,
    /// How often each severity has.
    pub fired_by_severity: BTreeMap<String, u64>,
    /// Alerts that were over.
    pub ended: u64,
    /// How often one came and went.
    pub flapped: u64,
    /// Notices, by cause.
    pub notices: BTreeMap<String, u64>,
}

/// An alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// The rule's name.
    pub name: String,
    /// Stands for the alert, for ever.
    pub fingerprint: String,
    /// `info`, `warning`, `error`, `critical` or `emergency`.
    pub severity: String,
    /// `pending`, `firing` or `ended`.
    pub state: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it means.
    pub summary: String,
    /// The same at length.
    pub description: String,
    /// Where it is written what to do.
    pub runbook: Option<String>,
    /// The number that was too much or too little last.
    pub value: f64,
    /// Since when its rule holds.
    pub since: u64,
    /// When it ended.
    pub ended: Option<u64>,
    /// Who takes care of it.
    pub acknowledged_by: Option<String>,
    /// Whether it comes and goes.
    pub flapping: bool,
    /// What keeps notices of it back.
    pub quiet: Option<String>,
}

/// How a channel does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Notices that have arrived.
    pub told: u64,
    /// Attempts that have failed.
    pub failed: u64,
    /// Notices that were given up.
    pub given_up: u64,
    /// When one has arrived last.
    pub last_told: Option<u64>,
    /// Since when none arrives.
    pub failing_since: Option<u64>,
    /// What happened last.
    pub error: Option<String>,
}

/// A silence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// Of which alerts, by labels.
    #[serde(rename = "match")]
    pub matchers: BTreeMap<String, String>,
    /// From when.
    pub starts: u64,
    /// Until when.
    pub ends: u64,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub comment: String,
}

/// What is to be silenced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewSilence {
    /// Of which alerts, by labels: a value, alternatives (`a|b`) or a beginning (`a*`).
    #[serde(rename = "match")]
    pub matchers: BTreeMap<String, String>,
    /// For how long.
    pub duration_ms: u64,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

/// All incidents that are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Incidents {
    /// The latest first.
    pub incidents: Vec<Incident>,
    /// How many there are in each state.
    pub by_state: BTreeMap<String, u64>,
    /// The mean time from the beginning to the opening.
    pub time_to_detect_ms: Option<u64>,
    /// From the opening to the acknowledgement.
    pub time_to_acknowledge_ms: Option<u64>,
    /// From the opening to the end.
    pub time_to_recover_ms: Option<u64>,
    /// What was done, by how it went.
    pub actions: BTreeMap<String, u64>,
}

/// An incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// What people call it.
    pub id: String,
    /// The name of its alert.
    pub alert: String,
    /// What has gone wrong.
    pub title: String,
    /// How bad it is.
    pub severity: String,
    /// `open`, `acknowledged`, `mitigating`, `resolved` or `closed`.
    pub state: String,
    /// The labels of its alert.
    pub labels: BTreeMap<String, String>,
    /// When it was opened, the last time.
    pub opened: u64,
    /// When somebody took care of it.
    pub acknowledged: Option<u64>,
    /// When its alert ended.
    pub resolved: Option<u64>,
    /// How often it was opened again.
    pub reopened: u32,
    /// What happened.
    pub timeline: Vec<Happening>,
    /// What was done.
    pub actions: Vec<Action>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Happening {
    /// When.
    pub time: u64,
    /// Who did it.
    pub who: String,
    /// What.
    pub what: String,
}

/// Something that was done about an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Action {
    /// When.
    pub time: u64,
    /// What.
    pub action: String,
    /// The playbook that it is from; `null` if somebody asked for it.
    pub playbook: Option<String>,
    /// How it went: `ordered`, `applied`, `helped`, `did_not_help`, `put_back`, `failed` or `dry`.
    pub state: String,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Remedy {
    /// `reconnect`, `reset_breaker`, `tuner_profile=throughput`, …; `incidents.allow` has those that may be done.
    pub action: String,
}

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// In Markdown.
    pub markdown: String,
}

type Shared = Arc<dyn Agent>;

/// The routes, below `/api/v1`.
pub(crate) fn routes() -> Routes {
    Routes::default()
        .view(routes!(alerts))
        .view(routes!(silences))
        .view(routes!(incidents))
        .view(routes!(incident))
        .view(routes!(report))
        .operate(routes!(silence))
        .operate(routes!(end_silence))
        .operate(routes!(acknowledge))
        .operate(routes!(resolve))
        .operate(routes!(remediate))
}

fn of(agent: &Shared) -> Result<&dyn Alerting, Problem> {
    agent.alerting().ok_or_else(|| Problem::not_found("this agent watches nothing yet"))
}

/// What fires or may soon, and how the channels do.
#[utoipa::path(
    get, path = "/alerts", tag = "state",
    responses(
        (status = 200, description = "As it is now.", body = Alerts),
        (status = 404, description = "The agent has not begun to watch.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn alerts(State(agent): State<Shared>) -> Result<Json<Alerts>, Problem> {
    Ok(Json(of(&agent)?.alerts()))
}

/// The silences that hold, and those that are over for less than a day.
#[utoipa::path(
    get, path = "/silences", tag = "state",
    responses(
        (status = 200, description = "All of them.", body = Vec<Silence>),
        (status = 404, description = "The agent has not begun to watch.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn silences(State(agent): State<Shared>) -> Result<Json<Vec<Silence>>, Problem> {
    Ok(Json(of(&agent)?.silences()))
}

/// Keeps notices back for a while.
#[utoipa::path(
    post, path = "/silences", tag = "change",
    request_body = NewSilence,
    responses(
        (status = 200, description = "The silence.", body = Silence),
        (status = 404, description = "The agent has not begun to watch.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The request is not of the right form.", body = Problem, content_type = "application/problem+json"),
        (status = 400, description = "The request is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The request is too long.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The request does not say that it is application/json.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn silence(
    State(agent): State<Shared>,
    Caller { who, .. }: Caller,
    Body(request): Body<NewSilence>,
) -> Result<Json<Silence>, Problem> {
    let alerting = of(&agent)?;
    if request.matchers.is_empty() || request.duration_ms == 0 {
        let missing =
            "a silence needs `match`, with one label at least, and `duration_ms` above 0".to_owned();
        return Err(Refusal::Invalid(missing).into());
    }
    let silence = alerting.silence(&request, &who.to_string());
    audit::note(&who, &format!("silence {}", silence.id), "alerts", &Ok(()));
    Ok(Json(silence))
}

/// Ends a silence.
#[utoipa::path(
    delete, path = "/silences/{id}", tag = "change",
    params(("id" = String, Path, description = "The silence's id.")),
    responses(
        (status = 200, description = "Those that are left.", body = Vec<Silence>),
        (status = 404, description = "There is none of this id, or it is over.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is over.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn end_silence(
    State(agent): State<Shared>,
    Caller { who, .. }: Caller,
    InPath(id): InPath<String>,
) -> Result<Json<Vec<Silence>>, Problem> {
    let alerting = of(&agent)?;
    let result = alerting.end_silence(&id);
    audit::note(&who, &format!("end of silence {id}"), "alerts", &result);
    result?;
    Ok(Json(alerting.silences()))
}

/// All incidents that are kept.
#[utoipa::path(
    get, path = "/incidents", tag = "state",
    responses(
        (status = 200, description = "The latest first.", body = Incidents),
        (status = 404, description = "The agent has not begun to watch.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn incidents(State(agent): State<Shared>) -> Result<Json<Incidents>, Problem> {
    Ok(Json(of(&agent)?.incidents()))
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("there is no incident {id:?}; /api/v1/incidents has all that are kept"))
}

/// An incident.
#[utoipa::path(
    get, path = "/incidents/{id}", tag = "state",
    params(("id" = String, Path, description = "What people call it, such as `inc-1`.")),
    responses(
        (status = 200, description = "As it stands.", body = Incident),
        (status = 404, description = "There is no such incident.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn incident(
    State(agent): State<Shared>,
    InPath(id): InPath<String>,
) -> Result<Json<Incident>, Problem> {
    of(&agent)?.incident(&id).map(Json).ok_or_else(|| unknown(&id))
}

/// What is to be read of an incident afterwards.
#[utoipa::path(
    get, path = "/incidents/{id}/report", tag = "state",
    params(("id" = String, Path, description = "What people call it.")),
    responses(
        (status = 200, description = "In Markdown.", body = Report),
        (status = 404, description = "There is no such incident.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn report(State(agent): State<Shared>, InPath(id): InPath<String>) -> Result<Json<Report>, Problem> {
    of(&agent)?.report(&id).map(|markdown| Json(Report { markdown })).ok_or_else(|| unknown(&id))
}

/// Declares a handler by which somebody responds to an incident: with what response, and which problems it can have besides those that every such request has.
macro_rules! response {
    (
        $(#[$doc:meta])*
        $handler:ident($($request:ident: $body:ty)?), $path:literal, $response:expr, $($status:literal: $why:literal),+
    ) => {
        $(#[$doc])*
        #[utoipa::path(
            post,
            path = $path,
            tag = "change",
            params(("id" = String, Path, description = "What people call it.")),
            $(request_body = $body,)?
            responses(
                (status = 200, description = "As it stands now.", body = Incident),
                (status = 404, description = "There is no such incident.", body = Problem, content_type = "application/problem+json"),
                $((status = $status, description = $why, body = Problem, content_type = "application/problem+json"),)+
            ),
        )]
        async fn $handler(
            State(agent): State<Shared>,
            Caller { who, .. }: Caller,
            InPath(id): InPath<String>,
            $(Body($request): Body<$body>,)?
        ) -> Result<Json<Incident>, Problem> {
            respond(&agent, &who, &id, &$response)
        }
    };
}

response! {
    /// Takes care of an incident: nobody else is called.
    acknowledge(), "/incidents/{id}/acknowledge", Response::Acknowledge,
    409: "It is over."
}

response! {
    /// Declares an incident over. Nobody is told of its alert again before its rule has not held once.
    resolve(), "/incidents/{id}/resolve", Response::Resolve,
    409: "It is over."
}

response! {
    /// Does something about an incident, and looks half a minute later whether it has helped.
    remediate(request: Remedy), "/incidents/{id}/remediate", Response::Remediate(request.action),
    409: "It is over, or too much is being done already.",
    422: "There is no such action, or it is not allowed.",
    400: "The request is no JSON.",
    413: "The request is too long.",
    415: "The request does not say that it is application/json."
}

fn respond(agent: &Shared, who: &Peer, id: &str, response: &Response) -> Result<Json<Incident>, Problem> {
    let alerting = of(agent)?;
    if alerting.incident(id).is_none() {
        return Err(unknown(id));
    }
    let result = alerting.respond(id, response, &who.to_string());
    audit::note(who, &response.to_string(), id, &result);
    result?;
    alerting.incident(id).map(Json).ok_or_else(|| unknown(id))
}
