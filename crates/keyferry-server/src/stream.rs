//! What the agent does, told once a second to those who listen: server-sent events.
//!
//! The invariants: **nobody who listens costs more than a reading a second, and nobody who does not costs anything.** A reading is made when the one before has been taken, so that a
//! slow listener has fewer of them and nothing is kept for it. **Nobody listens over TCP for longer than a quarter of an hour without being asked anew who he is**: browsers come back by themselves. Listeners are [`MAX_LISTENERS`], less than there may be connections, so that questions are answered whoever listens.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Bytes, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};
use utoipa_axum::routes;

use crate::access::Visit;
use crate::agent::Agent;
use crate::model::{Marks, OfShipment, Snapshot, Status};
use crate::problem::Problem;
use crate::role::Routes;

/// How many may listen at a time, over all listeners of the process.
pub const MAX_LISTENERS: usize = 8;
/// How often something is told.
const PERIOD: Duration = Duration::from_secs(1);
/// How many readings somebody gets over TCP before he must come again, with a token or a session that still holds.
const READINGS: u32 = 900;
/// After how many milliseconds a browser does.
const BACK_AFTER_MS: u32 = 250;

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_LISTENERS)));

type Shared = Arc<dyn Agent>;

/// The route, below `/api/v1`.
pub(crate) fn routes() -> Routes {
    Routes::default().view(routes!(stream))
}

/// What the agent does, once a second, as server-sent events: the data of each event `snapshot` is the JSON of a Snapshot.
#[utoipa::path(
    get,
    path = "/stream",
    tag = "state",
    responses(
        (status = 200, description = "It goes on until one of both ends it.", body = Snapshot, content_type = "text/event-stream"),
        (status = 503, description = "As many listen already as may.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn stream(State(agent): State<Shared>, visit: Option<Extension<Visit>>) -> Result<Response, Problem> {
    let place = Arc::clone(&PLACES).try_acquire_owned().map_err(|_| {
        Problem::unavailable(
            "busy",
            format!("{MAX_LISTENERS} listen already; close a page that nobody looks at"),
        )
    })?;
    let mut interval = tokio::time::interval(PERIOD);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let body = Body::new(Snapshots { agent, interval, left: Left::of(visit.is_some()), _place: place });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

/// How many readings are still told; `None` is without an end.
#[derive(Debug)]
struct Left(Option<u32>);

impl Left {
    fn of(is_over_tcp: bool) -> Self {
        Self(is_over_tcp.then_some(READINGS))
    }

    /// Takes one, if there is one left.
    fn take_one(&mut self) -> bool {
        match &mut self.0 {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// What is told to one listener.
struct Snapshots {
    agent: Shared,
    interval: Interval,
    left: Left,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for Snapshots {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.interval.poll_tick(context));
        if !self.left.take_one() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(event(&*self.agent).into()))))
    }
}

/// One event.
fn event(agent: &dyn Agent) -> Vec<u8> {
    let mut event = format!("retry: {BACK_AFTER_MS}\nevent: snapshot\ndata: ").into_bytes();
    // JSON of strings and numbers has no line end, and cannot fail to be written to memory.
    if serde_json::to_writer(&mut event, &snapshot(agent)).is_err() {
        event.extend_from_slice(b"null");
    }
    event.extend_from_slice(b"\n\n");
    event
}

fn snapshot(agent: &dyn Agent) -> Snapshot {
    let shipments = agent.shipments();
    let (mut pools, mut tuners) = (Vec::new(), Vec::new());
    for shipment in &shipments {
        let (destination, slot) = (&shipment.destination, &shipment.delivery.slot);
        pools.extend(shipment.pool.clone().map(|of| OfShipment::new(destination, slot, of)));
        tuners.extend(shipment.tuner.clone().map(|of| OfShipment::new(destination, slot, of)));
    }
    Snapshot {
        status: Status::of(agent.about(), shipments),
        figures: agent.figures(),
        marks: marks(agent),
        pools,
        tuners,
    }
}

/// What a listener reads again only when it has changed.
fn marks(agent: &dyn Agent) -> Marks {
    let config = agent.configuration().map(|configuration| configuration.config());
    let of_config = config.as_ref();
    let incidents = agent.alerting().map(|alerting| alerting.incidents().incidents).unwrap_or_default();
    let alerts = agent.alerting().map(|alerting| alerting.alerts().alerts).unwrap_or_default();
    let last =
        |incident: &crate::alerting::Incident| incident.timeline.last().map(|happening| happening.time);
    Marks {
        config: of_config.map(|config| config.version.hash.clone()),
        config_version: of_config.map(|config| config.version.version),
        trying: of_config.is_some_and(|config| config.trying.is_some()),
        probation: of_config.is_some_and(|config| config.probation_until.is_some()),
        file_in_use: of_config
            .is_none_or(|config| config.fallback.is_none() && config.file_refused.is_none()),
        incidents: incidents.len() as u64,
        happenings: incidents.iter().map(|incident| incident.timeline.len() as u64).sum(),
        last_happening: incidents.iter().filter_map(last).max(),
        firing: alerts.iter().filter(|alert| alert.state == "firing").count() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_over_tcp_must_come_again_and_who_may_open_the_socket_need_not() {
        let told = |is_over_tcp| {
            let mut left = Left::of(is_over_tcp);
            (0..READINGS * 2).take_while(|_| left.take_one()).count()
        };
        assert_eq!(told(true), READINGS as usize);
        assert_eq!(told(false), 2 * READINGS as usize);
    }
}
