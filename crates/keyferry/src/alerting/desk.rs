//! Everything that is decided about alerts and incidents, and the files that it survives a restart in.

use std::collections::BTreeSet;
use std::path::Path;

use keyferry_alert::incident::{Demand, Evidence, Incident};
use keyferry_alert::labels::Labels;
use keyferry_alert::manager::{Kept, Memory, Raised};
use keyferry_alert::metric::MetricSource;
use keyferry_alert::notice::Notice;
use keyferry_alert::outbox::Outbox;
use keyferry_alert::rule::Severity;
use keyferry_alert::store::StateFile;
use keyferry_alert::{AlertManager, Book, Error, IncidentResponseManager};

use crate::shipment::wall_ms;

/// What is remembered, and where.
const FILES: [&str; 3] = ["alerts.json", "incidents.json", "outbox.json"];

/// Raised when no channel can be reached.
const NOBODY: &str = "NobodyCanBeTold";
/// Raised when the file of rules is refused.
const REFUSED: &str = "AlertsFileRefused";

/// Everything that is decided.
#[derive(Debug)]
pub struct Desk {
    /// What fires.
    pub alerts: AlertManager,
    /// What is done about it.
    pub incidents: IncidentResponseManager,
    /// What is still to be told.
    pub outbox: Outbox,
    /// The channels that lead out of the agent.
    outside: BTreeSet<String>,
    /// What operators have asked for, and nobody has done yet.
    pub wanted: Vec<Demand>,
    files: [StateFile; 3],
    kept: Kept,
    complained: bool,
}

impl Desk {
    /// One that goes by `book`, with what the files in `directory` remember. `refused` is what is wrong with the file of rules, if something is.
    pub fn open(directory: &Path, book: Book, refused: Option<String>) -> Self {
        let files = FILES.map(|name| StateFile::new(directory, name));
        let [alerts, incidents, outbox] = &files;
        let rates = book.channels.iter().map(|channel| (channel.name.clone(), channel.rate)).collect();
        let outside = book.channels.iter().filter(|channel| channel.leads_outside());
        let outside = outside.map(|channel| channel.name.clone()).collect();
        let mut desk = Self {
            alerts: AlertManager::new(book.policy, remembered(alerts)),
            incidents: IncidentResponseManager::new(book.incidents, remembered(incidents)),
            outbox: Outbox::new(rates, remembered(outbox), wall_ms()),
            outside,
            wanted: Vec::new(),
            files,
            kept: Kept::default(),
            complained: false,
        };
        desk.raise(REFUSED, refused.as_deref(), "the file of rules is refused, and the default ones hold");
        desk
    }

    /// Holds the metrics against the rules. What is to be done.
    pub fn look(
        &mut self,
        samples: &dyn MetricSource,
        evidence: impl Fn() -> Vec<Evidence>,
        now_ms: u64,
    ) -> Vec<Demand> {
        for transition in self.alerts.check_thresholds(now_ms, samples) {
            self.incidents.take_in(&transition, now_ms, &evidence);
        }
        let alerts = &self.alerts;
        self.incidents.hear(|key| {
            alerts.alerts().find(|alert| alert.key == *key).and_then(|alert| alerts.quiet(alert, now_ms))
        });
        let mut demands = std::mem::take(&mut self.wanted);
        demands.extend(self.incidents.step(now_ms));
        demands
    }

    /// The incident that something is done about by the run of this number.
    pub fn incident_of_run(&self, run: u64) -> Option<&str> {
        let has_run = |incident: &&Incident| incident.runs.iter().any(|one| one.number == run);
        self.incidents.incidents().iter().find(has_run).map(|incident| incident.id.as_str())
    }

    /// The incidents that a notice tells of, separated by commas; `None` if it tells of none.
    pub fn incidents_of(&self, notice: &Notice) -> Option<String> {
        let told: BTreeSet<&str> = notice.alerts.iter().map(|alert| alert.fingerprint.as_str()).collect();
        let is_told = |incident: &&Incident| told.contains(incident.key.fingerprint().as_str());
        let ids = self.incidents.incidents().iter().filter(is_told).map(|incident| incident.id.as_str());
        let ids = ids.collect::<Vec<_>>().join(",");
        (!ids.is_empty()).then_some(ids)
    }

    /// Posts what is to be told, and keeps everything. Whether something was posted.
    pub fn tell(&mut self, now_ms: u64) -> bool {
        let silent = self.outbox.nobody_is_told(&self.outside, now_ms);
        self.raise(NOBODY, silent.as_deref(), "no channel can be reached");
        let notices = self.alerts.notices(now_ms);
        let some = !notices.is_empty();
        notices.into_iter().for_each(|notice| self.outbox.post(notice));
        self.keep(now_ms);
        some
    }

    /// Raises an alert that no rule has while there is a `reason`.
    fn raise(&mut self, name: &str, reason: Option<&str>, summary: &str) {
        let now_ms = wall_ms();
        match reason {
            Some(reason) => {
                let raised = Raised {
                    name: name.to_owned(),
                    severity: Severity::Error,
                    labels: Labels::default(),
                    summary: summary.to_owned(),
                    description: reason.to_owned(),
                };
                if self.alerts.send_alert(raised, now_ms).is_some() {
                    tracing::error!("{summary}: {reason}");
                }
            }
            None => {
                let key = keyferry_alert::alert::AlertKey::new(name, Labels::default());
                self.alerts.resolve_incident(&key, now_ms);
            }
        }
    }

    /// Writes down what is remembered, but for numbers that move at every look. What cannot be written is said once.
    fn keep(&mut self, now_ms: u64) {
        let memory = self.alerts.memory();
        let kept =
            if self.kept.is_due(&memory, now_ms) { self.write(memory, now_ms) } else { self.write_others() };
        self.say(kept);
    }

    /// Writes down all that is remembered.
    pub fn keep_all(&mut self, now_ms: u64) {
        let kept = self.write(self.alerts.memory(), now_ms);
        self.say(kept);
    }

    fn write(&mut self, alerts: Memory, now_ms: u64) -> Result<(), Error> {
        let [file, ..] = &mut self.files;
        file.write(&alerts)?;
        self.kept.written(alerts, now_ms);
        self.write_others()
    }

    fn write_others(&mut self) -> Result<(), Error> {
        let [_, incidents, outbox] = &mut self.files;
        incidents.write(&self.incidents.memory()).and_then(|()| outbox.write(&self.outbox.memory()))
    }

    fn say(&mut self, kept: Result<(), Error>) {
        match kept {
            Ok(()) => self.complained = false,
            Err(error) if !self.complained => {
                tracing::warn!("alerts and incidents would not survive a restart: {error}");
                self.complained = true;
            }
            Err(_) => {}
        }
    }
}

/// What a file remembers. One that cannot be read is told, and begins anew.
fn remembered<T: serde::de::DeserializeOwned + Default>(file: &StateFile) -> T {
    file.read().unwrap_or_else(|error: Error| {
        tracing::warn!("{error}; it begins anew");
        T::default()
    })
}
