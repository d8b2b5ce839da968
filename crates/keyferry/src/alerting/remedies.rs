//! What can be done about an incident, by the handles that an operator has as well; and what is known of its moment.
//!
//! The invariant: **nothing here can lose an event.** Connections are replaced in order, a breaker keeps events in the journal, a profile only changes pace, and what retention lets go or what
//! is moved to the archive was delivered to every destination. What this agent cannot do is known beforehand ([`inability`]).

use std::collections::BTreeSet;
use std::path::PathBuf;

use keyferry_alert::incident::{Action, Evidence, Remedies};
use keyferry_alert::labels::Labels;
use keyferry_alert::metric::Sample;
use keyferry_config::{Destination, Readiness};
use keyferry_kafka::tuner::Profile;
use keyferry_pipeline::ArchiveDirectory;
use keyferry_pipeline::breaker::Forced;
use rustix::process::{Signal, getpid, kill_process};

use crate::live::{Handles, Live, Shipment};
use crate::shipment::Plan;

/// What new connections are told to be for.
const CAUSE: &str = "incident response";

/// Why nothing can be moved, and what would have to be otherwise.
const NO_ARCHIVE: &str = "there is no archive; set `journal.archive_directory` in the configuration to a directory on another file system";

/// Why an agent that ships by `plan` can never do `action`, and what would have to be otherwise; `None` if it can.
pub fn inability(action: &str, plan: &Plan, supervised: bool) -> Option<String> {
    // Of a destination that waits for a secret it is not known yet.
    let may_have =
        |one: &Readiness| one.complete().is_none_or(|one| one.fallback_bootstrap_servers.is_some());
    let has_fallback = || plan.destinations.iter().any(may_have);
    let unable = |is_so: bool, why: &str| is_so.then(|| why.to_owned());
    let keeps_nothing = plan.journal.keep.is_zero();
    match action {
        "fail_over" | "fail_back" => unable(
            !has_fallback(),
            "no destination has `fallback_bootstrap_servers`; set them in the configuration",
        ),
        "move_segments" | "keep_segments" if plan.journal.archive_directory.is_none() => {
            Some(NO_ARCHIVE.to_owned())
        }
        "tighten_retention" | "restore_retention" | "move_segments" | "keep_segments" => unable(
            keeps_nothing,
            "nothing that is delivered is kept; set `journal.keep` in the configuration, or leave this out",
        ),
        "restart_agent" => unable(
            !supervised,
            "nobody who is known to start this agent again has started it; let Keycloak's provider run it, or leave this out",
        ),
        _ => None,
    }
}

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
            destination && is_of_slot(shipment, labels)
        };
        let shipments = self.live.shipments();
        let meant = shipments.iter().filter(|shipment| is_meant(shipment));
        let handles: Vec<Handles> =
            meant.filter_map(Shipment::running).map(|running| running.handles.clone()).collect();
        if handles.is_empty() { Err(nothing_there(labels)) } else { Ok(handles) }
    }

    /// The handles of every destination of what is shipped where `labels` say: a segment is all destinations'.
    fn handles_of_journal(&self, labels: &Labels) -> Result<Vec<Handles>, String> {
        let slot = labels.get("slot").map(|slot| Labels::default().with("slot", slot));
        self.handles(&slot.unwrap_or_default())
    }

    /// Lets what is delivered be moved to the archive, or no longer, in the slots that `labels` say.
    fn archive(&self, labels: &Labels, moves: bool) -> Result<(), String> {
        let shipments = self.live.shipments();
        let meant = shipments.into_iter().filter(|shipment| is_of_slot(shipment, labels));
        let slots: BTreeSet<PathBuf> = meant.map(|shipment| shipment.key.slot).collect();
        if slots.is_empty() {
            return Err(nothing_there(labels));
        }
        if moves {
            let directory = self.live.journal().and_then(|journal| journal.archive_directory);
            let directory = directory.ok_or(NO_ARCHIVE)?;
            // What is wrong with it is better said now than by a check that finds that nothing has helped.
            for slot in &slots {
                ArchiveDirectory::open(&directory, slot).map_err(|error| error.to_string())?;
            }
        }
        for slot in slots {
            self.live.move_segments(&slot, moves);
        }
        Ok(())
    }

    /// The destinations that `labels` name, as they are configured now.
    fn configured(&self, labels: &Labels) -> Result<Vec<Destination>, String> {
        let sources = self.live.sources().ok_or("the configuration has not been read yet")?;
        let loaded = keyferry_config::load(&sources).map_err(|errors| errors.to_string())?;
        let is_meant = |name: &str| labels.get("destination").is_none_or(|destination| destination == name);
        let complete = loaded.config.destinations.iter().filter_map(Readiness::complete);
        let meant = complete.filter(|destination| is_meant(destination.name.as_str()));
        let meant: Vec<Destination> = meant.cloned().collect();
        if meant.is_empty() {
            Err(format!("no destination is configured there: {labels}"))
        } else {
            Ok(meant)
        }
    }

    /// Reads certificates, keys and passwords again, and replaces the connections by ones with them.
    fn reload(&self, labels: &Labels) -> Result<(), String> {
        for destination in self.configured(labels)? {
            self.live.renew(&destination, CAUSE);
        }
        Ok(())
    }

    /// Reaches destinations by their fallback servers, or by the first ones again.
    fn fail(&self, labels: &Labels, over: bool) -> Result<(), String> {
        let mut meant = self.configured(labels)?;
        meant.retain(|destination| destination.fallback_bootstrap_servers.is_some());
        if meant.is_empty() {
            return Err(format!("there are no `fallback_bootstrap_servers` there: {labels}"));
        }
        let news = meant.iter().filter(|destination| self.live.reach_by_fallback(destination, over, CAUSE));
        if news.count() > 0 {
            return Ok(());
        }
        let servers = if over { "the fallback servers" } else { "the first servers" };
        Err(format!("{servers} are those that are connected to already"))
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
            Action::PauseReplay | Action::ResumeReplay => {
                let hold = *action == Action::PauseReplay;
                for handles in self.handles(labels)? {
                    handles.controls.hold_replays(hold);
                }
                Ok(hold.then_some(Action::ResumeReplay))
            }
            Action::TightenRetention | Action::RestoreRetention => {
                let nothing = *action == Action::TightenRetention;
                for handles in self.handles_of_journal(labels)? {
                    handles.controls.keep_nothing(nothing);
                }
                Ok(nothing.then_some(Action::RestoreRetention))
            }
            Action::MoveSegments | Action::KeepSegments => {
                let moves = *action == Action::MoveSegments;
                self.archive(labels, moves)?;
                Ok(moves.then_some(Action::KeepSegments))
            }
            Action::FailOver => self.fail(labels, true).map(|()| Some(Action::FailBack)),
            Action::FailBack => self.fail(labels, false).map(|()| None),
            // As whoever started it would stop it: it drains, and is started again.
            Action::RestartAgent if self.live.is_supervised() => {
                kill_process(getpid(), Signal::TERM).map(|()| None).map_err(|error| error.to_string())
            }
            Action::RestartAgent => Err("nobody would start it again".to_owned()),
        }
    }
}

/// Whether it is of the slot that `labels` name, if they name one.
fn is_of_slot(shipment: &Shipment, labels: &Labels) -> bool {
    labels.get("slot").is_none_or(|slot| slot == shipment.slot_name())
}

fn nothing_there(labels: &Labels) -> String {
    format!("nothing is being shipped there: {labels}")
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

#[cfg(test)]
mod tests {
    use keyferry_config::Sources;

    use super::*;

    fn plan(options: &[(&str, &str)]) -> Plan {
        let needed = [("bootstrap-servers", "kafka:9092"), ("topic-events", "events")];
        let sources = Sources::new().with_options(needed.iter().chain(options).copied());
        Plan::of(keyferry_config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).config)
    }

    #[test]
    fn an_agent_knows_what_it_cannot_do_and_what_would_have_to_be_otherwise() {
        let bare = plan(&[]);
        let able = plan(&[
            ("fallback-bootstrap-servers", "other:9092"),
            ("journal-keep", "1h"),
            ("journal-archive-directory", "/archive"),
        ]);
        for (action, remedy) in [
            ("fail_over", "fallback_bootstrap_servers"),
            ("fail_back", "fallback_bootstrap_servers"),
            ("tighten_retention", "journal.keep"),
            ("restore_retention", "journal.keep"),
            ("move_segments", "journal.archive_directory"),
            ("keep_segments", "journal.archive_directory"),
            ("restart_agent", "provider"),
        ] {
            let refusal =
                inability(action, &bare, false).unwrap_or_else(|| panic!("{action} is not refused"));
            assert!(refusal.contains(remedy), "{action}: {refusal}");
            assert_eq!(inability(action, &able, true), None);
        }
        assert_eq!(inability("reconnect", &bare, false), None);
        let keeps_nothing = plan(&[("journal-archive-directory", "/archive")]);
        let refusal = inability("move_segments", &keeps_nothing, true);
        assert!(refusal.is_some_and(|refusal| refusal.contains("journal.keep")));
        let waiting = plan(&[("sasl-password", "${file:/nowhere}")]);
        assert!(waiting.complete().next().is_none() && inability("fail_over", &waiting, false).is_none());
    }

    #[test]
    fn segments_are_moved_of_the_slots_that_are_meant_until_they_are_kept_again() {
        let journal = tempfile::tempdir().unwrap();
        // On another file system than that of temporary files.
        let archive = tempfile::tempdir_in("/dev/shm").unwrap();
        let [one, other] = ["slot-0", "slot-1"].map(|name| journal.path().join(name));
        for slot in [&one, &other] {
            std::fs::create_dir(slot).unwrap();
        }
        let live = Live::default();
        let _shipped = [&one, &other].map(|slot| live.enter(slot, "default", false));
        let moved = || [&one, &other].map(|slot| live.moves_segments(slot));
        let apply = |action, labels: &Labels| LiveRemedies::new(&live).apply(&action, labels);
        let refused = |labels: &Labels| apply(Action::MoveSegments, labels).unwrap_err();
        let of_one = Labels::default().with("slot", "slot-0").with("destination", "default");
        assert!(refused(&of_one).contains("journal.archive_directory"));
        let archive_at = |directory: PathBuf| {
            let journal =
                keyferry_config::Journal { archive_directory: Some(directory), ..Default::default() };
            live.adopt(std::iter::empty(), &journal);
        };
        archive_at(journal.path().to_owned());
        assert!(refused(&of_one).contains("would free nothing"));
        archive_at(archive.path().join("missing"));
        assert!(refused(&of_one).contains("missing"));
        archive_at(archive.path().to_owned());
        assert!(refused(&Labels::default().with("slot", "slot-9")).contains("slot-9"));
        assert_eq!(moved(), [false, false]);
        assert_eq!(apply(Action::MoveSegments, &of_one), Ok(Some(Action::KeepSegments)));
        assert_eq!(moved(), [true, false]);
        assert_eq!(
            apply(Action::MoveSegments, &Labels::default().with("destination", "default")),
            Ok(Some(Action::KeepSegments))
        );
        assert_eq!(moved(), [true, true], "a segment is every destination's");
        assert_eq!(apply(Action::KeepSegments, &of_one), Ok(None));
        assert_eq!(moved(), [false, true]);
    }

    #[test]
    fn what_nobody_would_start_again_is_not_ended() {
        let live = Live::default();
        let result = LiveRemedies::new(&live).apply(&Action::RestartAgent, &Labels::default());
        assert!(result.is_err_and(|reason| reason.contains("nobody")));
    }
}
