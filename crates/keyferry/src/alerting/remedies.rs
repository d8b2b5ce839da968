//! What can be done about an incident, by the handles that an operator has as well; and what is known of its moment.
//!
//! The invariant: **nothing here can lose an event.** Connections are replaced in order, a breaker keeps events in the journal, a profile only changes pace.

use keyferry_alert::incident::{Action, Evidence, Remedies};
use keyferry_alert::labels::Labels;
use keyferry_alert::metric::Sample;
use keyferry_config::Readiness;
use keyferry_kafka::tuner::Profile;
use keyferry_pipeline::breaker::Forced;

use crate::live::{Handles, Live, Shipment};

/// What new connections are told to be for.
const CAUSE: &str = "incident response";

/// The remedies of this agent.
#[derive(Debug)]
pub struct LiveRemedies<'a> {
    live: &'a Live,
}

impl<'a> LiveRemedies<'a> {
    /// Those for what runs in `live`.
    pub fn new(live: &'a Live) -> Self {
        Self { live }
    }

    /// The handles of what is shipped where `labels` say.
    fn handles(&self, labels: &Labels) -> Result<Vec<Handles>, String> {
        let is_meant = |shipment: &Shipment| {
            let destination = labels.get("destination").is_none_or(|name| name == shipment.key.destination);
            let slot = labels.get("slot").is_none_or(|slot| slot == shipment.slot_name());
            destination && slot
        };
        let shipments = self.live.shipments();
        let meant = shipments.iter().filter(|shipment| is_meant(shipment));
        let handles: Vec<Handles> =
            meant.filter_map(Shipment::running).map(|running| running.handles.clone()).collect();
        if handles.is_empty() {
            Err(format!("nothing is being shipped there: {labels}"))
        } else {
            Ok(handles)
        }
    }

    /// Reads certificates, keys and passwords again, and replaces the connections by ones with them.
    fn reload(&self, labels: &Labels) -> Result<(), String> {
        let sources = self.live.sources().ok_or("the configuration has not been read yet")?;
        let loaded = keyferry_config::load(&sources).map_err(|errors| errors.to_string())?;
        let is_meant = |name: &str| labels.get("destination").is_none_or(|destination| destination == name);
        let complete = loaded.config.destinations.iter().filter_map(Readiness::complete);
        let meant: Vec<_> = complete.filter(|destination| is_meant(destination.name.as_str())).collect();
        if meant.is_empty() {
            return Err(format!("no destination is configured there: {labels}"));
        }
        for destination in meant {
            self.live.renew(destination, CAUSE);
        }
        Ok(())
    }
}

impl Remedies for LiveRemedies<'_> {
    fn apply(&mut self, action: &Action, labels: &Labels) -> Result<Option<Action>, String> {
        match action {
            Action::ReloadCredentials => self.reload(labels).map(|()| None),
            // A connection is a producer: to replace the one is to make the other anew.
            Action::Reconnect | Action::RecreateProducer => {
                for handles in self.handles(labels)? {
                    handles.pool.reconnect(CAUSE);
                }
                Ok(None)
            }
            Action::OpenBreaker | Action::CloseBreaker | Action::ResetBreaker => {
                let (forced, undo) = match action {
                    Action::OpenBreaker => (Some(Forced::Open), Some(Action::ResetBreaker)),
                    Action::CloseBreaker => (Some(Forced::Closed), Some(Action::ResetBreaker)),
                    _ => (None, None),
                };
                for handles in self.handles(labels)? {
                    handles.controls.force_breaker(forced);
                }
                Ok(undo)
            }
            Action::TunerProfile(name) => {
                let profile = profile(name)?;
                let handles = self.handles(labels)?;
                let before = handles[0].tuner.state().profile;
                for handles in &handles {
                    handles.tuner.choose(profile);
                }
                Ok((before != profile).then(|| Action::TunerProfile(before.to_string())))
            }
            Action::PauseReplay
            | Action::CompressSegments
            | Action::MoveSegments
            | Action::TightenRetention
            | Action::FailOver
            | Action::RestartAgent => Err("this agent cannot do it".to_owned()),
        }
    }
}

fn profile(name: &str) -> Result<Profile, String> {
    let all = [Profile::Auto, Profile::Latency, Profile::Balanced, Profile::Throughput, Profile::Reliability];
    let names = || all.map(|profile| profile.to_string()).join(", ");
    let known = all.into_iter().find(|profile| profile.to_string() == name);
    known.ok_or_else(|| format!("there is no profile `{name}`; there are {}", names()))
}

/// What is known of this moment: metrics, and how every shipment stands, with its breaker, its connections and what was tuned.
pub fn evidence(live: &Live, samples: &[Sample]) -> Vec<Evidence> {
    let metrics: Vec<String> =
        samples.iter().map(|sample| format!("{}{} {}", sample.metric, sample.labels, sample.value)).collect();
    let mut evidence = vec![
        Evidence::new("metrics", &metrics.join("\n")),
        Evidence::new("log", &crate::log::last_lines().join("\n")),
    ];
    for shipment in live.shipments() {
        let name = format!("{} to {}", shipment.slot_name(), shipment.key.destination);
        let told = crate::control::shipment_as_told(&shipment);
        let stands = serde_json::json!({ "delivery": told.delivery, "pool": told.pool, "tuner": told.tuner });
        // What cannot be written as JSON is no reason to have no incident.
        let text = serde_json::to_string_pretty(&stands).unwrap_or_else(|error| error.to_string());
        evidence.push(Evidence::new(&name, &text));
    }
    evidence
}
