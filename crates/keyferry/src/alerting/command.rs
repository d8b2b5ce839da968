//! `keyferry alert` and `keyferry incident`: looks at what a running agent watches, and what is done about it; and tests of rules, for which none need run.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use keyferry_alert::trial;
use keyferry_server::alerting::{Alerts, Incident, Incidents, NewSilence, Remedy, Report, Silence};
use serde::Serialize;

use crate::cli::{
    AlertArguments, AlertCommand, IncidentArguments, IncidentCommand, OneIncident, SilenceArguments,
};
use crate::control::reach::{Agent, Directory};
use crate::error::{Error, Finding};
use crate::terminal;

/// Looks at alerts, silences them, or tests rules.
///
/// # Errors
/// See [`Error`].
pub fn alert(arguments: &AlertArguments) -> Result<Finding, Error> {
    match &arguments.command {
        AlertCommand::Test { file, json } => test(file, *json),
        AlertCommand::Ls { directory, json } => {
            let mut finding = Finding::Nothing;
            for agent in agents(directory)? {
                let alerts: Alerts = agent.get("alerts")?;
                if alerts.alerts.iter().any(|alert| alert.state == "firing") {
                    finding = Finding::Something;
                }
                print(&alerts, *json, |out| list_alerts(&alerts, out))?;
            }
            Ok(finding)
        }
        AlertCommand::Silences { directory, json } => {
            for agent in agents(directory)? {
                let silences: Vec<Silence> = agent.get("silences")?;
                print(&silences, *json, |out| list_silences(&silences, out))?;
            }
            Ok(Finding::Nothing)
        }
        AlertCommand::Silence(arguments) => silence(arguments),
        AlertCommand::Unsilence { directory, id, json } => {
            for agent in agents(directory)? {
                let left: Vec<Silence> = agent.delete(&format!("silences/{id}"))?;
                print(&left, *json, |out| list_silences(&left, out))?;
            }
            Ok(Finding::Nothing)
        }
    }
}

/// Looks at incidents, or responds to one.
///
/// # Errors
/// See [`Error`].
pub fn incident(arguments: &IncidentArguments) -> Result<Finding, Error> {
    match &arguments.command {
        IncidentCommand::Ls { directory, json } => {
            let mut finding = Finding::Nothing;
            for agent in agents(directory)? {
                let all: Incidents = agent.get("incidents")?;
                let going_on =
                    |incident: &Incident| !matches!(incident.state.as_str(), "resolved" | "closed");
                if all.incidents.iter().any(going_on) {
                    finding = Finding::Something;
                }
                print(&all, *json, |out| list_incidents(&all, out))?;
            }
            Ok(finding)
        }
        IncidentCommand::Show { incident } => {
            let found: Incident = one(incident)?.get(&format!("incidents/{}", incident.id))?;
            print(&found, incident.json, |out| show(&found, out))?;
            Ok(Finding::Nothing)
        }
        IncidentCommand::Report { incident } => {
            let report: Report = one(incident)?.get(&format!("incidents/{}/report", incident.id))?;
            print(&report, incident.json, |out| out.write_all(report.markdown.as_bytes()))?;
            Ok(Finding::Nothing)
        }
        IncidentCommand::Ack { incident } => respond(incident, "acknowledge", &()),
        IncidentCommand::Resolve { incident } => respond(incident, "resolve", &()),
        IncidentCommand::Remediate { incident, action } => {
            respond(incident, "remediate", &Remedy { action: action.clone() })
        }
    }
}

fn respond(incident: &OneIncident, how: &str, body: &impl Serialize) -> Result<Finding, Error> {
    let now: Incident = one(incident)?.submit(&format!("incidents/{}/{how}", incident.id), body)?;
    print(&now, incident.json, |out| show(&now, out))?;
    Ok(Finding::Nothing)
}

/// The agents of a directory, of which there must be one at least.
fn agents(directory: &Path) -> Result<Vec<Agent>, Error> {
    let agents = Directory::at(directory)?.agents()?;
    if agents.is_empty() { Err(Error::NoAgent(directory.to_owned())) } else { Ok(agents) }
}

/// The agent that knows the incident; of several that of a slot must be named.
fn one(incident: &OneIncident) -> Result<Agent, Error> {
    let mut agents = agents(&incident.directory)?;
    let knows = |agent: &Agent| agent.get::<Incident>(&format!("incidents/{}", incident.id)).is_ok();
    let place = agents.iter().position(knows).unwrap_or(0);
    Ok(agents.swap_remove(place))
}

fn silence(arguments: &SilenceArguments) -> Result<Finding, Error> {
    let wanted = NewSilence {
        matchers: arguments.matchers.iter().cloned().collect(),
        duration_ms: u64::try_from(arguments.duration.as_millis()).unwrap_or(u64::MAX),
        comment: arguments.comment.clone(),
    };
    for agent in agents(&arguments.directory)? {
        let silence: Silence = agent.submit("silences", &wanted)?;
        print(&silence, arguments.json, |out| list_silences(std::slice::from_ref(&silence), out))?;
    }
    Ok(Finding::Nothing)
}

/// What came of tests, as JSON.
#[derive(Serialize)]
struct Tested {
    tests: usize,
    expectations: usize,
    failures: Vec<String>,
}

fn test(file: &Path, json: bool) -> Result<Finding, Error> {
    let verdict = trial::run_file(file)?;
    let failures = verdict.failures.iter().map(ToString::to_string).collect();
    let tested = Tested { tests: verdict.tests, expectations: verdict.expectations, failures };
    print(&tested, json, |out| {
        let Tested { tests, expectations, failures } = &tested;
        for failure in failures {
            writeln!(out, "FAILED {failure}")?;
        }
        writeln!(out, "{tests} tests, {expectations} expectations, {} not met", failures.len())
    })?;
    Ok(if verdict.failures.is_empty() { Finding::Nothing } else { Finding::Something })
}

fn print<T: Serialize>(
    what: &T,
    json: bool,
    for_people: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let mut out = terminal::output();
    if json {
        serde_json::to_writer(&mut out, what).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for_people(&mut out)?;
    }
    out.flush()?;
    Ok(())
}

fn list_alerts(alerts: &Alerts, out: &mut dyn Write) -> io::Result<()> {
    if alerts.alerts.is_empty() {
        writeln!(out, "nothing fires")?;
    }
    for alert in &alerts.alerts {
        let quiet = alert.quiet.as_ref().map(|quiet| format!(" ({quiet})")).unwrap_or_default();
        let flaps = if alert.flapping { ", comes and goes" } else { "" };
        writeln!(
            out,
            "{:<9} {:<9} {:<24} since {}  {}{flaps}{quiet}",
            alert.state,
            alert.severity,
            alert.name,
            time(alert.since),
            alert.summary
        )?;
    }
    for channel in &alerts.channels {
        let error = channel.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        writeln!(
            out,
            "channel {}: {} told, {} failed, {} given up{error}",
            channel.name, channel.told, channel.failed, channel.given_up
        )?;
    }
    if alerts.waiting_notices > 0 {
        writeln!(out, "{} notices wait", alerts.waiting_notices)?;
    }
    Ok(())
}

fn list_silences(silences: &[Silence], out: &mut dyn Write) -> io::Result<()> {
    if silences.is_empty() {
        writeln!(out, "no silence")?;
    }
    for silence in silences {
        let labels: Vec<String> =
            silence.matchers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        writeln!(
            out,
            "{:<5} {} until {} by {}  {}",
            silence.id,
            labels.join(" "),
            time(silence.ends),
            silence.by,
            silence.comment
        )?;
    }
    Ok(())
}

fn list_incidents(all: &Incidents, out: &mut dyn Write) -> io::Result<()> {
    if all.incidents.is_empty() {
        writeln!(out, "no incident")?;
    }
    for incident in &all.incidents {
        writeln!(
            out,
            "{:<8} {:<12} {:<9} {}  {}",
            incident.id,
            incident.state,
            incident.severity,
            time(incident.opened),
            incident.title
        )?;
    }
    for (what, mean) in [
        ("time to detect", all.time_to_detect_ms),
        ("time to acknowledge", all.time_to_acknowledge_ms),
        ("time to recover", all.time_to_recover_ms),
    ] {
        if let Some(mean) = mean {
            writeln!(out, "mean {what}: {}", humantime::format_duration(Duration::from_millis(mean)))?;
        }
    }
    Ok(())
}

fn show(incident: &Incident, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{} is {}: {} ({}, {})",
        incident.id, incident.state, incident.title, incident.alert, incident.severity
    )?;
    for entry in &incident.timeline {
        writeln!(out, "  {}  {}: {}", time(entry.time), entry.who, entry.what)?;
    }
    Ok(())
}

fn time(ms: u64) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms))
}
