//! What is to be read of an incident afterwards, in Markdown.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use super::Incident;

/// The report.
pub fn markdown(incident: &Incident) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, incident);
    out
}

fn write(out: &mut String, incident: &Incident) -> std::fmt::Result {
    let Incident { id, title, severity, state, since_ms, opened_ms, .. } = incident;
    writeln!(out, "# {id}: {}\n", one_line(title))?;
    writeln!(out, "| | |\n|---|---|")?;
    writeln!(out, "| alert | `{}` |", incident.key.rule)?;
    writeln!(out, "| labels | `{}` |", incident.labels)?;
    writeln!(out, "| severity | {severity} |")?;
    writeln!(out, "| state | {} |", state.as_str())?;
    writeln!(out, "| began | {} |", time(*since_ms))?;
    writeln!(out, "| opened | {} |", time(*opened_ms))?;
    if let Some(resolved) = incident.resolved_ms {
        writeln!(out, "| resolved | {} |", time(resolved))?;
    }
    writeln!(out, "| opened again | {} |", incident.reopened)?;
    for (name, from, to) in [
        ("time to detect", Some(*since_ms), Some(*opened_ms)),
        ("time to acknowledge", Some(*opened_ms), incident.acknowledged_ms),
        ("time to recover", Some(*opened_ms), incident.resolved_ms),
    ] {
        if let (Some(from), Some(to)) = (from, to) {
            writeln!(
                out,
                "| {name} | {} |",
                humantime::format_duration(Duration::from_millis(to.saturating_sub(from)))
            )?;
        }
    }
    if let Some(runbook) = &incident.runbook {
        writeln!(out, "| what to do | {runbook} |")?;
    }
    writeln!(out, "\n## What happened\n")?;
    for entry in &incident.timeline {
        writeln!(out, "- {} **{}**: {}", time(entry.at_ms), entry.who, one_line(&entry.what))?;
    }
    if !incident.runs.is_empty() {
        writeln!(out, "\n## What was done\n\n| when | what | why | how it went |\n|---|---|---|---|")?;
        for run in &incident.runs {
            let why = run
                .step
                .as_ref()
                .map_or("by hand".to_owned(), |(playbook, _)| format!("playbook {playbook}"));
            writeln!(out, "| {} | `{}` | {why} | {} |", time(run.at_ms), run.action, run.state.as_str())?;
        }
    }
    if !incident.evidence.is_empty() {
        writeln!(out, "\n## Evidence, when it was opened\n")?;
        for piece in &incident.evidence {
            // A fence longer than any in the text.
            writeln!(out, "### {}\n\n`````\n{}\n`````\n", piece.name, piece.content.trim_end())?;
        }
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn time(ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}
