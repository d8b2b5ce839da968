//! Pushes metrics to a collector of OpenTelemetry, by OTLP over HTTP.
//!
//! The invariant: **a receiver that is away or refuses disturbs nobody.** Pushing has a thread of its own; what fails is counted, told once until it works again, and not kept: all figures are
//! cumulative, so that the next push has them.

use std::time::Duration;

use keyferry_config::{Otlp, Sources};
use keyferry_monitor::MetricsCollector;
use keyferry_monitor::metrics::otlp::{self, CONTENT_TYPE, Resource};

use crate::credentials;
use crate::http;
use crate::shipment::{Plan, wall_ms};
use crate::stop::Broadcast;

/// How long a push may take.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// What of an answer is looked at, in bytes.
const ANSWER_LIMIT: u64 = 4 << 10;
/// What of an answer that is no success is told, in characters.
const TOLD: usize = 200;

/// Pushes as the plan says, until `over` is given.
pub fn run(plan: &Plan, metrics: &MetricsCollector, over: &Broadcast) {
    let Otlp { endpoint: Some(endpoint), interval, .. } = &plan.metrics.otlp else { return };
    let pusher = Pusher {
        endpoint,
        otlp: &plan.metrics.otlp,
        http: http::client(TIME_LIMIT),
        sources: credentials::sources(),
        resource: resource(plan),
    };
    let mut is_failing = false;
    loop {
        let outcome = pusher.push(metrics);
        metrics.pushed(outcome.is_ok());
        match &outcome {
            Err(reason) if !is_failing => tracing::warn!(
                "cannot push metrics to {endpoint}: {reason}; it is tried again every {} s, and told when it works",
                interval.as_secs()
            ),
            Ok(()) if is_failing => tracing::info!("metrics are pushed to {endpoint} again"),
            _ => {}
        }
        is_failing = outcome.is_err();
        if over.wait(*interval) {
            return;
        }
    }
}

struct Pusher<'a> {
    endpoint: &'a str,
    otlp: &'a Otlp,
    http: ureq::Agent,
    sources: Sources,
    resource: Resource,
}

impl Pusher<'_> {
    /// Pushes once; an error says what was wrong, without what was sent.
    fn push(&self, metrics: &MetricsCollector) -> Result<(), String> {
        let mut request = self.http.post(self.endpoint).header("content-type", CONTENT_TYPE);
        let headers =
            self.otlp.headers.as_ref().map(|headers| self.sources.reveal(headers.expose())).transpose()?;
        for header in headers.iter().flat_map(Otlp::headers) {
            let (name, value) = header.ok_or("`metrics.otlp.headers` is not a list of `name=value`")?;
            request = request.header(name, value);
        }
        let body = otlp::encoded(&metrics.collect(), &self.resource, wall_ms());
        let mut response = request.send(&body[..]).map_err(|error| error.to_string())?;
        let status = response.status();
        let answer = response.body_mut().with_config().limit(ANSWER_LIMIT).read_to_vec().unwrap_or_default();
        if !status.is_success() {
            let answer: String = String::from_utf8_lossy(&answer).trim().chars().take(TOLD).collect();
            return Err(format!("status {status} {answer}"));
        }
        otlp::rejected(&answer).map_or(Ok(()), Err)
    }
}

/// Of several agents that push to one place, which this one is: the node, or the machine.
fn resource(plan: &Plan) -> Resource {
    let machine = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let instance = plan.node.clone().unwrap_or_else(machine);
    Resource { instance, version: env!("CARGO_PKG_VERSION").to_owned() }
}
