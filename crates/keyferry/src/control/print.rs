//! What is printed for people.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use keyferry_server::model::{
    Breaker, BreakerMode, BreakerState, Connection, Delivery, Level, OfSlots, Pool, State, Status, Tuner,
};

use crate::control::status::WrittenDown;
use crate::terminal::{BAD, Column, FAINT, GOOD, ODD, TITLE, count, size, styled, table, time};

pub use crate::terminal::plain;

/// Nothing, in a table.
const NONE: &str = "-";

/// An agent and all that it ships.
pub fn status(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let about = &status.about;
    let verdict = match (&about.waiting, &status.reason) {
        (Some(waiting), _) => styled(BAD, format_args!("waiting: {}", plain(waiting))),
        (None, Some(_)) => styled(BAD, "not delivering"),
        (None, None) => styled(GOOD, "delivering"),
    };
    let title =
        format_args!("agent {} (process {}, since {})", plain(&about.agent), about.pid, time(about.started));
    writeln!(out, "{}: {verdict}", styled(TITLE, title))?;
    let rows: Vec<_> = status
        .destinations
        .iter()
        .flat_map(|destination| destination.slots.iter().map(|delivery| row(&destination.name, delivery)))
        .collect();
    if rows.is_empty() {
        return writeln!(out, "  nothing is shipped yet");
    }
    use Column::{Left, Right};
    let columns = [
        Left("DESTINATION"),
        Left("SLOT"),
        Left("STATE"),
        Left("BREAKER"),
        Right("BACKLOG"),
        Right("OLDEST"),
        Left("PRESSURE"),
        Right("PUBLISHED"),
        Left("LAST DELIVERY"),
    ];
    table(out, columns, &rows)?;
    for destination in &status.destinations {
        for delivery in &destination.slots {
            notes(&destination.name, delivery, out)?;
        }
    }
    Ok(())
}

fn row(destination: &str, delivery: &Delivery) -> [String; 9] {
    let Delivery { slot, state, counts, backlog, breaker, .. } = delivery;
    [
        plain(destination),
        plain(slot),
        state.to_string(),
        breaker_word(breaker),
        size(backlog.bytes),
        or_none(backlog.oldest_ms.map(duration)),
        backlog.level.to_string(),
        counts.published.to_string(),
        or_none(delivery.last_delivery.map(time)),
    ]
}

/// What a row has no room for, and an operator should know.
fn notes(destination: &str, delivery: &Delivery, out: &mut dyn Write) -> io::Result<()> {
    let Delivery { slot, adopted, state, counts, backlog, registry, .. } = delivery;
    let mut note = |style: Style, text: String| {
        let whose = styled(FAINT, format_args!("{} {}:", plain(destination), plain(slot)));
        writeln!(out, "  {whose} {}", styled(style, plain(&text)))
    };
    if *adopted {
        note(FAINT, "adopted: another process left the slot behind".to_owned())?;
    }
    for reason in reasons(delivery) {
        note(if *state >= State::Blocked { BAD } else { ODD }, reason)?;
    }
    if let Some((registry, since)) = registry.as_ref().and_then(|registry| Some((registry, registry.since?)))
    {
        let cause = registry.cause.as_deref().unwrap_or(NONE);
        let waiting = count(registry.waiting, "subject");
        note(BAD, format!("schema registry {cause} since {}: {waiting} without an id", time(since)))?;
    }
    if let Some(why) = &backlog.reason {
        let full = backlog
            .time_to_full_s
            .map(|seconds| format!("; the journal is full in {}", duration(seconds.saturating_mul(1_000))));
        let style = if backlog.level >= Level::High { BAD } else { ODD };
        note(style, format!("pressure {}: {why}{}", backlog.level, full.unwrap_or_default()))?;
    }
    let odd = [
        (counts.held, "event in doubt held", "events in doubt held"),
        (counts.dead_letters, "dead letter", "dead letters"),
        (counts.passed_over, "event of low priority passed over", "events of low priority passed over"),
        (counts.missing_events, "event was not journaled", "events were not journaled"),
        (counts.damaged_ranges, "damaged range of the journal", "damaged ranges of the journal"),
        (
            counts.dropped_old_user_events + counts.dropped_old_admin_events,
            "event given up at the journal's ceiling",
            "events given up at the journal's ceiling",
        ),
    ];
    let odd: Vec<_> = odd
        .iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| format!("{number} {}", if *number == 1 { one } else { many }))
        .collect();
    if odd.is_empty() { Ok(()) } else { note(ODD, odd.join(", ")) }
}

/// Why it does not deliver. Where the breaker quotes the whole reason, or the other way round, only the one that quotes is told.
pub fn reasons(delivery: &Delivery) -> Vec<String> {
    let Delivery { reason, breaker, .. } = delivery;
    let quotes = |text: &Option<String>, part: &str| text.as_ref().is_some_and(|text| text.contains(part));
    let own = reason.clone().filter(|own| !quotes(&breaker.reason, own));
    let of_breaker = breaker.reason.as_ref().filter(|why| !quotes(&own, why));
    let of_breaker = of_breaker.map(|why| format!("breaker {}: {why}", breaker_word(breaker)));
    own.into_iter().chain(of_breaker).collect()
}

/// State and, if that is not its own decision, whose it is.
pub fn breaker_word(breaker: &Breaker) -> String {
    match breaker.mode {
        BreakerMode::Auto => breaker.state.to_string(),
        forced => format!("{} (forced {forced})", breaker.state),
    }
}

/// That nobody ships.
pub fn no_agent(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}; what is known is what was written down last", styled(BAD, "no agent is running"))
}

/// What was written down of a slot that no agent serves.
pub fn written_down(report: &WrittenDown, out: &mut dyn Write) -> io::Result<()> {
    let status = &report.status;
    let text = |field: &str| plain(status[field].as_str().unwrap_or("unknown"));
    let number = |field: &str| status[field].as_u64().unwrap_or_default();
    let age = styled(ODD, format_args!("{} ago", duration(report.age_ms)));
    writeln!(
        out,
        "{}: {} ({age}, by process {}), backlog {}, {} published",
        styled(TITLE, plain(&report.slot)),
        text("state"),
        number("pid"),
        size(number("backlog_bytes")),
        count(number("published"), "event"),
    )?;
    match status["reason"].as_str() {
        Some(reason) => writeln!(out, "  {}", plain(reason)),
        None => Ok(()),
    }
}

/// Circuit breakers.
pub fn breakers(states: &[OfSlots<Breaker>], out: &mut dyn Write) -> io::Result<()> {
    let rows = rows(states, |destination, slot, breaker| {
        let Breaker { mode, state, since, opened_total, consecutive_failures, .. } = breaker;
        let since = if *since == 0 { NONE.to_owned() } else { time(*since) };
        let failures = consecutive_failures.to_string();
        [destination, slot, mode.to_string(), state.to_string(), since, opened_total.to_string(), failures]
    });
    use Column::{Left, Right};
    let columns = [
        Left("DESTINATION"),
        Left("SLOT"),
        Left("MODE"),
        Left("STATE"),
        Left("SINCE"),
        Right("OPENED"),
        Right("FAILURES IN A ROW"),
    ];
    table(out, columns, &rows)?;
    each(states, out, |breaker, whose, out| match &breaker.reason {
        Some(reason) if breaker.state != BreakerState::Closed => {
            let cause = breaker.cause.as_deref().map(|cause| format!("{cause}: ")).unwrap_or_default();
            writeln!(out, "  {whose} {}", styled(BAD, plain(&format!("{cause}{reason}"))))
        }
        _ => Ok(()),
    })
}

/// Tuners and their last decisions.
pub fn tuners(states: &[OfSlots<Tuner>], out: &mut dyn Write) -> io::Result<()> {
    if states.iter().all(|state| state.slots.is_empty()) {
        return writeln!(out, "no tuner is at work yet");
    }
    let rows = rows(states, |destination, slot, tuner| {
        let set = &tuner.tuning;
        [
            destination,
            slot,
            tuner.profile.to_string(),
            if tuner.frozen { "frozen".to_owned() } else { plain(&tuner.pace) },
            format!("{:.1}", tuner.records_per_s),
            size(set.batch_size),
            duration(set.linger_ms),
            plain(&set.compression),
            set.max_in_flight.to_string(),
            set.connections.to_string(),
        ]
    });
    use Column::{Left, Right};
    let columns = [
        Left("DESTINATION"),
        Left("SLOT"),
        Left("PROFILE"),
        Left("PACE"),
        Right("RECORDS/S"),
        Right("BATCH"),
        Right("LINGER"),
        Left("COMPRESSION"),
        Right("IN FLIGHT"),
        Right("CONNECTIONS"),
    ];
    table(out, columns, &rows)?;
    each(states, out, |tuner, whose, out| {
        if !tuner.configured.is_empty() {
            let names = tuner.configured.join(", ");
            writeln!(out, "  {whose} never moved, because configured: {}", plain(&names))?;
        }
        let overrides = tuner.overrides.given();
        if !overrides.is_empty() {
            writeln!(out, "  {whose} set by hand: {}", plain(&overrides.join(", ")))?;
        }
        for decision in &tuner.decisions {
            writeln!(out, "  {whose} {} {}", time(decision.time), plain(&decision.text))?;
        }
        Ok(())
    })
}

/// Connections, one a row.
pub fn pools(states: &[OfSlots<Pool>], out: &mut dyn Write) -> io::Result<()> {
    let mut rows = Vec::new();
    for state in states {
        for of_slot in &state.slots {
            rows.extend(
                of_slot.of.connections.iter().map(|one| connection(&state.destination, &of_slot.slot, one)),
            );
        }
    }
    if rows.is_empty() {
        return writeln!(out, "there are no connections yet");
    }
    use Column::{Left, Right};
    let columns = [
        Left("DESTINATION"),
        Left("SLOT"),
        Right("ID"),
        Right("GENERATION"),
        Left("STATE"),
        Right("AGE"),
        Right("ROUND TRIP P50/P99"),
        Right("REQUESTS"),
        Right("QUEUED"),
        Right("DELIVERED"),
        Right("RECONNECTS"),
        Right("FILL"),
        Right("COMPRESSION"),
    ];
    table(out, columns, &rows)?;
    each(states, out, |pool, whose, out| {
        if let Some(swap) = &pool.swap {
            let age = duration(swap.since_ms);
            let what =
                format!("generation {} is {} since {age}: {}", swap.generation, swap.phase, swap.cause);
            writeln!(out, "  {whose} {}", styled(ODD, plain(&what)))?;
        }
        if let Some(failure) = pool.last_swap.as_ref().and_then(|swap| swap.failure.as_ref()) {
            let what =
                format!("the last replacement was given up, the connections before it went on: {failure}");
            writeln!(out, "  {whose} {}", styled(BAD, plain(&what)))?;
        }
        for one in &pool.connections {
            if let Some(error) = &one.last_error {
                writeln!(out, "  {whose} connection {}: {}", one.id, styled(BAD, plain(error)))?;
            }
        }
        Ok(())
    })
}

fn connection(destination: &str, slot: &str, one: &Connection) -> [String; 13] {
    let round_trip = one.round_trip_ms.map(|times| format!("{:.1}/{:.1} ms", times.p50, times.p99));
    [
        plain(destination),
        plain(slot),
        one.id.to_string(),
        one.generation.to_string(),
        plain(&one.state),
        duration(one.age_ms),
        or_none(round_trip),
        one.requests_in_flight.to_string(),
        format!("{} ({})", one.queue_records, size(one.queue_bytes)),
        one.delivered.to_string(),
        one.reconnects.to_string(),
        or_none(one.batch_fill.map(|fill| format!("{:.0} %", fill * 100.0))),
        or_none(one.compression_ratio.map(|ratio| format!("{ratio:.1}:1"))),
    ]
}

/// A row for each slot of each destination.
fn rows<T, const N: usize>(
    states: &[OfSlots<T>],
    row: impl Fn(String, String, &T) -> [String; N],
) -> Vec<[String; N]> {
    let of_state = |state: &OfSlots<T>| -> Vec<[String; N]> {
        let cells = |slot: &str, of: &T| row(plain(&state.destination), plain(slot), of);
        state.slots.iter().map(|of_slot| cells(&of_slot.slot, &of_slot.of)).collect()
    };
    states.iter().flat_map(of_state).collect()
}

/// What a row has no room for, of each slot of each destination.
fn each<T>(
    states: &[OfSlots<T>],
    out: &mut dyn Write,
    print: impl Fn(&T, &str, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    for state in states {
        for of_slot in &state.slots {
            let whose = format!("{} {}:", plain(&state.destination), plain(&of_slot.slot));
            print(&of_slot.of, &styled(FAINT, whose), out)?;
        }
    }
    Ok(())
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| NONE.to_owned())
}

/// A duration, as exactly as it matters: its two largest units.
pub fn duration(milliseconds: u64) -> String {
    let exact = humantime::format_duration(Duration::from_millis(milliseconds)).to_string();
    exact.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_as_exact_as_it_matters() {
        assert_eq!([0, 7, 10_001, 3_725_900].map(duration), ["0s", "7ms", "10s 1ms", "1h 2m"]);
    }

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(plain("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
