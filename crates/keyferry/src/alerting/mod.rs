//! Alerts and incidents of this agent: the clock, the metrics, the files and the network around the state machines of `keyferry-alert`.
//!
//! The invariant: **alerting never costs an event.** It has threads of its own, which read copies and leave wishes behind; a file of rules that is refused, a state
//! that cannot be kept or a receiver that hangs is told, and delivery goes on.
//!
//! - `desk`: everything that is decided, behind one lock that is never held while something is sent.
//! - `remedies`: what can be done.
//! - `transport`: how a notice leaves.
//! - `command`: `keyferry alert` and `keyferry incident`.

pub mod command;
mod desk;
mod remedies;
mod served;
mod transport;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyferry_alert::Book;
use keyferry_alert::incident::{Demand, Remedies as _};
use keyferry_alert::metric::MetricSource as _;
use keyferry_alert::outbox::{Entry, Outcome};
use keyferry_alert::rule::Rule;
use keyferry_monitor::MetricsCollector;

use crate::live::Live;
use crate::shipment::{Plan, wall_ms};
use crate::stop::Broadcast;
use desk::Desk;
use remedies::LiveRemedies;
use transport::Transport;

/// How often the metrics are looked at: with the wait of a group, what happens is told well within ten seconds.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long the sender waits where nothing is to be sent: it is woken when something is.
const LONG: Duration = Duration::from_secs(3_600);

/// Alerts and incidents of this agent, for any thread. Nothing, until [`run`] has begun.
#[derive(Debug, Default)]
pub struct Alerting {
    desk: Mutex<Option<Desk>>,
    posted: Condvar,
}

impl Alerting {
    /// What `of` makes of the desk; `None` if there is none.
    fn with<T>(&self, of: impl FnOnce(&mut Desk) -> T) -> Option<T> {
        self.lock().as_mut().map(of)
    }

    /// The state machines are whole between calls, whatever happened to the thread that held them.
    fn lock(&self) -> MutexGuard<'_, Option<Desk>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next notice to send, as soon as one is due; `None` when `over` is given, after which somebody has to notify.
    fn take(&self, over: &Broadcast) -> Option<Entry> {
        let mut desk = self.lock();
        // Looked at under the lock, which whoever notifies has held before: so no call is missed.
        while !over.is_given() {
            let now_ms = wall_ms();
            let outbox = desk.as_mut().map(|desk| &mut desk.outbox);
            let due_ms = match outbox {
                None => None,
                Some(outbox) => match outbox.take(now_ms) {
                    Some(entry) => return Some(entry),
                    None => outbox.next_due_ms(now_ms),
                },
            };
            let pause = due_ms.map_or(LONG, |due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)));
            desk = self.posted.wait_timeout(desk, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }
}

/// What alerting is told.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Where its state is kept: the slot or the journal.
    pub directory: &'a Path,
    /// What is shipped, and the file of rules.
    pub plan: &'a Plan,
    /// Where the numbers come from.
    pub metrics: &'a MetricsCollector,
}

/// Watches, tells and responds, until `over` is given.
pub fn run(settings: &Settings<'_>, live: &Live, over: &Broadcast) {
    let (book, refused) = book(settings.plan, live.is_supervised());
    let Some(book) = book else { return };
    let transport = Transport::new(&book, settings.plan.complete().next().cloned());
    let named = named(&book);
    let desk = Desk::open(settings.directory, book, refused);
    *live.alerting.lock() = Some(desk);
    std::thread::scope(|scope| {
        scope.spawn(|| send(&live.alerting, &transport, over));
        while !over.wait(INTERVAL) {
            look(live, settings.metrics, &named);
        }
        live.alerting.with(|desk| desk.keep_all(wall_ms()));
        live.alerting.posted.notify_all();
    });
}

/// The rules and channels, and what is wrong with the file if it is refused: then the defaults hold, which is said.
fn book(plan: &Plan, supervised: bool) -> (Option<Book>, Option<String>) {
    let inability = |action: &str| remedies::inability(action, plan, supervised);
    let file = plan.alerts_file.as_deref();
    let read = file.map_or_else(Book::of_defaults, |file| Book::read(file, &inability));
    match read {
        Ok(book) => (Some(book), None),
        Err(error) => {
            tracing::error!("the default rules hold, and are told to the log only: {error}");
            (Book::of_defaults().ok(), Some(error.to_string()))
        }
    }
}

/// The metrics that a rule looks at.
fn named(book: &Book) -> BTreeSet<String> {
    book.policy.rules.iter().flat_map(Rule::metrics).map(str::to_owned).collect()
}

fn look(live: &Live, metrics: &MetricsCollector, named: &BTreeSet<String>) {
    let samples = metrics.samples(&|metric| named.contains(metric));
    let evidence = || remedies::evidence(live, &metrics.samples(&|_| true));
    let demands = live.alerting.with(|desk| desk.look(&samples, evidence, wall_ms())).unwrap_or_default();
    carry_out(live, demands);
    if live.alerting.with(|desk| desk.tell(wall_ms())).unwrap_or_default() {
        live.alerting.posted.notify_all();
    }
}

/// Does what is demanded, without holding up anybody who looks.
fn carry_out(live: &Live, demands: Vec<Demand>) {
    let mut remedies = LiveRemedies::new(live);
    for demand in demands {
        match demand {
            Demand::Do { run, action, labels } | Demand::PutBack { run, action, labels } => {
                let incident =
                    live.alerting.with(|desk| desk.incident_of_run(run).map(str::to_owned)).flatten();
                let _whatever_is_logged = concerning(incident.as_deref());
                let result = remedies.apply(&action, &labels);
                match &result {
                    Ok(_) => tracing::info!("incident response: {action} for {labels}"),
                    Err(reason) => {
                        tracing::warn!("incident response: {action} for {labels} is not done: {reason}")
                    }
                }
                live.alerting.with(|desk| desk.incidents.carried_out(run, result, wall_ms()));
            }
            Demand::Escalate(key) => {
                live.alerting.with(|desk| desk.alerts.escalate_alert(&key));
            }
        }
    }
}

/// Whatever this thread logs, at any level, concerns an incident, if there is one, until what is returned is dropped.
fn concerning(incident: Option<&str>) -> Option<tracing::span::EnteredSpan> {
    incident.map(|incident| tracing::error_span!("response", incident).entered())
}

/// Sends what is posted.
fn send(alerting: &Alerting, transport: &Transport, over: &Broadcast) {
    while let Some(Entry { id, notice, .. }) = alerting.take(over) {
        let incident = alerting.with(|desk| desk.incidents_of(&notice)).flatten();
        let _whatever_is_logged = concerning(incident.as_deref());
        let outcome = transport.send(&notice);
        match &outcome {
            Outcome::Told => tracing::debug!("told {}: {}", notice.channel, notice.title()),
            Outcome::Failed { reason, .. } => {
                tracing::warn!("cannot tell {} now: {reason}; it is tried again", notice.channel);
            }
            Outcome::Refused { reason } => {
                tracing::error!("{} refuses {}: {reason}", notice.channel, notice.title());
            }
        }
        alerting.with(|desk| desk.outbox.settle(id, outcome, wall_ms()));
    }
}
