//! What is drawn of an agent: lines that depend on nothing but what is known of it and on the width.
//!
//! From the top down by how soon somebody needs it: whether all is well, and if not why; how fast it goes; where it goes; what goes on there.

use std::time::Duration;

use anstyle::Style;
use keyferry_server::alerting::Incident;
use keyferry_server::model::{BreakerState, Delivery, Level, OfShipment, Pool, State, Status, Tuner};

use crate::control::print::{breaker_word, duration, plain, reasons};
use crate::terminal::{BAD, FAINT, GOOD, ODD, TITLE, size, time};
use crate::top::grid::{Column, Line, flow, table, wrapped};
use crate::top::seen::Seen;

/// Nothing, in a table.
const NONE: &str = "-";
/// So many of the tuner's last decisions are shown.
const DECISIONS: usize = 3;
/// So many incidents are shown.
const INCIDENTS: usize = 5;
const PLAIN: Style = Style::new();

/// What is known of the agent; `trouble` is why nothing newer is.
pub fn lines(seen: &Seen, trouble: Option<&str>, width: usize) -> Vec<Line> {
    let now = seen.snapshot.figures.time;
    let mut lines = head(&seen.snapshot.status, now, width);
    if let Some(trouble) = trouble {
        lines.extend(wrapped(BAD, &format!("no answer since then: {}", plain(trouble)), 0, width));
    }
    lines.extend(figures(seen, width));
    lines.extend(destinations(&seen.snapshot.status, width));
    lines.extend(connections(&seen.snapshot.pools, width));
    lines.extend(tuners(&seen.snapshot.tuners, width));
    lines.extend(incidents(&seen.incidents, now, width));
    lines
}

/// What is drawn before anything is known.
pub fn waiting(trouble: Option<&str>, width: usize) -> Vec<Line> {
    match trouble {
        Some(trouble) => wrapped(BAD, &plain(trouble), 0, width),
        None => vec![Line::of(FAINT, "the agent is asked").clipped(width)],
    }
}

/// Which agent, and whether all is well.
fn head(status: &Status, now: u64, width: usize) -> Vec<Line> {
    let about = &status.about;
    let age = duration(now.saturating_sub(about.started) / 1_000 * 1_000);
    let title = Line::of(TITLE, format!("keyferry {}", plain(&about.agent)))
        .and(FAINT, format!("  process {}, up {age}  {}", about.pid, clock(now)))
        .clipped(width);
    let verdict = match about.waiting.as_ref().or(status.reason.as_ref()) {
        Some(reason) => wrapped(BAD, &format!("not delivering: {}", plain(reason)), 0, width),
        None => vec![Line::of(GOOD, "delivering").clipped(width)],
    };
    std::iter::once(title).chain(verdict).collect()
}

/// The time of the day, UTC.
fn clock(ms: u64) -> String {
    let time = time(ms);
    format!("{}Z", time.get(11..19).unwrap_or_default())
}

fn figures(seen: &Seen, width: usize) -> Vec<Line> {
    let figures = &seen.snapshot.figures;
    let item = |name: &str, value: String, style| Line::of(FAINT, format!("{name} ")).and(style, value);
    let rate = |of: Option<f64>| of.map_or_else(|| NONE.to_owned(), |rate| format!("{rate:.1}/s"));
    let rates = seen.rates.as_ref();
    let mut items = vec![
        item("received", rate(rates.map(|rates| rates.received)), PLAIN),
        item("published", rate(rates.map(|rates| rates.published)), TITLE),
    ];
    match figures.latency_ms {
        Some(of) => {
            let value = format!("p50 {:.1}  p95 {:.1}  p99 {:.1} ms", of.p50, of.p95, of.p99);
            items.push(item("latency", value, TITLE));
        }
        None => items.push(item("latency", NONE.to_owned(), PLAIN)),
    }
    items.push(item("logins", rate(rates.map(|rates| rates.logins)), PLAIN));
    items.push(item("failed", rate(rates.map(|rates| rates.login_failures)), PLAIN));
    let firing = seen.snapshot.marks.firing;
    items.push(item("alerts", firing.to_string(), if firing > 0 { BAD } else { PLAIN }));
    if seen.snapshot.marks.trying || seen.snapshot.marks.probation {
        let what = if seen.snapshot.marks.trying { "a change is tried" } else { "a change is on probation" };
        items.push(item("configuration", what.to_owned(), ODD));
    }
    flow(items, width)
}

fn section(title: &str, lines: Vec<Line>, width: usize) -> Vec<Line> {
    if lines.is_empty() {
        return lines;
    }
    [Line::new(), Line::of(TITLE, title).clipped(width)].into_iter().chain(lines).collect()
}

fn destinations(status: &Status, width: usize) -> Vec<Line> {
    let deliveries = || {
        status.destinations.iter().flat_map(|destination| {
            destination.slots.iter().map(|delivery| (destination.name.as_str(), delivery))
        })
    };
    let columns = [
        Column::text("NAME", 0),
        Column::text("SLOT", 4),
        Column::text("STATE", 0),
        Column::text("BREAKER", 1),
        Column::number("BACKLOG", 0),
        Column::number("OLDEST", 2),
        Column::text("PRESSURE", 5),
        Column::number("FULL IN", 1),
        Column::number("PUBLISHED", 3),
    ];
    let rows: Vec<_> = deliveries().map(|(name, delivery)| delivery_row(name, delivery)).collect();
    if rows.is_empty() {
        return section(
            "DESTINATIONS",
            vec![Line::of(FAINT, "  nothing is shipped yet").clipped(width)],
            width,
        );
    }
    let mut lines = table(columns, rows, width);
    for (name, delivery) in deliveries() {
        let style = if delivery.state >= State::Blocked { BAD } else { ODD };
        let of_backlog =
            delivery.backlog.reason.iter().map(|why| format!("pressure {}: {why}", delivery.backlog.level));
        for reason in reasons(delivery).into_iter().chain(of_backlog) {
            let text = format!("{} {}: {}", plain(name), plain(&delivery.slot), plain(&reason));
            lines.extend(wrapped(style, &text, 2, width));
        }
    }
    section("DESTINATIONS", lines, width)
}

fn delivery_row(name: &str, delivery: &Delivery) -> [(Style, String); 9] {
    let Delivery { slot, state, counts, backlog, breaker, .. } = delivery;
    let of_state = match state {
        State::Idle | State::Delivering => GOOD,
        State::Stopped | State::Draining => ODD,
        State::Blocked | State::Waiting => BAD,
    };
    let of_breaker = if breaker.state == BreakerState::Closed { PLAIN } else { BAD };
    let of_level = match backlog.level {
        Level::Normal => PLAIN,
        Level::Elevated => ODD,
        Level::High | Level::Critical => BAD,
    };
    [
        (PLAIN, plain(name)),
        (PLAIN, plain(slot)),
        (of_state, state.to_string()),
        (of_breaker, breaker_word(breaker)),
        (of_level, size(backlog.bytes)),
        (PLAIN, or_none(backlog.oldest_ms.map(short))),
        (of_level, backlog.level.to_string()),
        (of_level, or_none(backlog.time_to_full_s.map(|seconds| short(seconds.saturating_mul(1_000))))),
        (PLAIN, counts.published.to_string()),
    ]
}

fn connections(pools: &[OfShipment<Pool>], width: usize) -> Vec<Line> {
    let columns = [
        Column::text("DESTINATION", 0),
        Column::text("SLOT", 5),
        Column::number("ID", 0),
        Column::text("STATE", 0),
        Column::number("ROUND TRIP P50/P99", 2),
        Column::number("REQUESTS", 3),
        Column::number("QUEUED", 1),
        Column::number("DELIVERED", 4),
        Column::number("RECONNECTS", 6),
    ];
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for OfShipment { destination, slot, of: pool } in pools {
        for one in &pool.connections {
            let round_trip = one.round_trip_ms.map(|times| format!("{:.1}/{:.1} ms", times.p50, times.p99));
            let style = if one.state == "active" { GOOD } else { ODD };
            rows.push([
                (PLAIN, plain(destination)),
                (PLAIN, plain(slot)),
                (PLAIN, one.id.to_string()),
                (style, plain(&one.state)),
                (PLAIN, or_none(round_trip)),
                (PLAIN, one.requests_in_flight.to_string()),
                (PLAIN, one.queue_records.to_string()),
                (PLAIN, one.delivered.to_string()),
                (PLAIN, one.reconnects.to_string()),
            ]);
            let error = one.last_error.iter().map(|error| format!("connection {}: {}", one.id, plain(error)));
            notes.extend(error.map(|text| (BAD, text)));
        }
        let swap = pool.swap.iter().map(|swap| {
            format!("generation {} is {}: {}", swap.generation, plain(&swap.phase), plain(&swap.cause))
        });
        notes.extend(swap.map(|text| (ODD, text)));
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let mut lines = table(columns, rows, width);
    lines.extend(notes.into_iter().flat_map(|(style, text)| wrapped(style, &text, 2, width)));
    section("CONNECTIONS", lines, width)
}

fn tuners(tuners: &[OfShipment<Tuner>], width: usize) -> Vec<Line> {
    let columns = [
        Column::text("DESTINATION", 0),
        Column::text("SLOT", 5),
        Column::text("PROFILE", 0),
        Column::text("PACE", 0),
        Column::number("LINGER", 1),
        Column::number("BATCH", 2),
        Column::text("COMPRESSION", 3),
        Column::number("IN FLIGHT", 4),
        Column::number("CONNECTIONS", 3),
    ];
    let rows: Vec<_> = tuners.iter().map(tuner_row).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let mut lines = table(columns, rows, width);
    for OfShipment { of: tuner, .. } in tuners {
        let last = tuner.decisions.iter().rev().take(DECISIONS);
        for decision in last {
            let text = format!("{} {}", clock(decision.time), plain(&decision.text));
            lines.extend(wrapped(FAINT, &text, 2, width));
        }
    }
    section("TUNER", lines, width)
}

fn tuner_row(tuner: &OfShipment<Tuner>) -> [(Style, String); 9] {
    let OfShipment { destination, slot, of } = tuner;
    let set = &of.tuning;
    let (style, pace) = if of.frozen { (ODD, "frozen".to_owned()) } else { (PLAIN, plain(&of.pace)) };
    [
        (PLAIN, plain(destination)),
        (PLAIN, plain(slot)),
        (PLAIN, of.profile.to_string()),
        (style, pace),
        (PLAIN, duration(set.linger_ms)),
        (PLAIN, size(set.batch_size)),
        (PLAIN, plain(&set.compression)),
        (PLAIN, set.max_in_flight.to_string()),
        (PLAIN, set.connections.to_string()),
    ]
}

fn incidents(incidents: &[Incident], now: u64, width: usize) -> Vec<Line> {
    let mut shown: Vec<&Incident> = incidents.iter().collect();
    // What goes on comes first; of each kind, the latest.
    shown.sort_by_key(|incident| (!is_going_on(incident), std::cmp::Reverse(incident.opened)));
    shown.truncate(INCIDENTS);
    let columns = [
        Column::text("ID", 0),
        Column::text("STATE", 0),
        Column::text("SEVERITY", 2),
        Column::number("SINCE", 1),
        Column::text("WHAT", 0),
    ];
    let row = |incident: &&Incident| {
        let style = if is_going_on(incident) { BAD } else { FAINT };
        [
            (style, plain(&incident.id)),
            (style, plain(&incident.state)),
            (style, plain(&incident.severity)),
            (PLAIN, short(now.saturating_sub(incident.opened))),
            (PLAIN, plain(&incident.title)),
        ]
    };
    let rows: Vec<_> = shown.iter().map(row).collect();
    if rows.is_empty() { Vec::new() } else { section("INCIDENTS", table(columns, rows, width), width) }
}

fn is_going_on(incident: &Incident) -> bool {
    !matches!(incident.state.as_str(), "resolved" | "closed")
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| NONE.to_owned())
}

/// A duration by its largest unit: what changes each second is not more exact than that.
fn short(ms: u64) -> String {
    let exact = humantime::format_duration(Duration::from_millis(ms)).to_string();
    exact.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use keyferry_server::model::{
        About, Backlog, Breaker, Connection, Counts, Decision, Destination, Figures, Latency, Marks,
        Quantiles, Snapshot, Tuning,
    };

    use super::*;
    use crate::top::seen::Rates;

    const NOW: u64 = 1_761_640_463_007;

    fn delivery(state: State) -> Delivery {
        Delivery {
            slot: "slot-0".to_owned(),
            adopted: false,
            state,
            reason: None,
            counts: Counts { published: 1_234_567, ..Counts::default() },
            last_delivery: Some(NOW),
            backlog: Backlog { bytes: 3 << 20, oldest_ms: Some(2_345), ..Backlog::default() },
            breaker: Breaker::default(),
            registry: None,
        }
    }

    fn seen(deliveries: Vec<(&str, Delivery)>) -> Seen {
        let destinations = deliveries.into_iter().map(|(name, delivery)| Destination {
            name: name.to_owned(),
            state: delivery.state,
            slots: vec![delivery],
        });
        let destinations: Vec<_> = destinations.collect();
        let blocked = destinations.iter().find(|destination| destination.state == State::Blocked);
        let reason = blocked.map(|destination| format!("destination {} is blocked", destination.name));
        let connection = Connection {
            id: 1,
            state: "active".to_owned(),
            round_trip_ms: Some(Quantiles { p50: 1.25, p99: 8.5 }),
            requests_in_flight: 2,
            queue_records: 17,
            delivered: 1_234_567,
            ..Connection::default()
        };
        let tuner = Tuner {
            pace: "busy".to_owned(),
            tuning: Tuning {
                batch_size: 65_536,
                linger_ms: 5,
                compression: "zstd".to_owned(),
                max_in_flight: 5,
                connections: 1,
            },
            decisions: vec![
                Decision { time: NOW - 60_000, text: "began".to_owned() },
                Decision {
                    time: NOW - 2_000,
                    text: "linger 1 ms → 5 ms: batches were 12 % full at 1,200 records a second".to_owned(),
                },
            ],
            ..Tuner::default()
        };
        let snapshot = Snapshot {
            status: Status {
                about: About {
                    agent: "0.1.0".to_owned(),
                    pid: 4711,
                    started: NOW - 3_725_900,
                    waiting: None,
                },
                ready: reason.is_none(),
                reason,
                destinations,
            },
            figures: Figures {
                time: NOW,
                latency_ms: Some(Latency { p50: 2.1, p95: 8.25, p99: 19.96 }),
                ..Figures::default()
            },
            marks: Marks::default(),
            pools: vec![OfShipment::new(
                "kafka",
                "slot-0",
                Pool { connections: vec![connection], ..Pool::default() },
            )],
            tuners: vec![OfShipment::new("kafka", "slot-0", tuner)],
        };
        let rates = Rates { received: 1_234.5, published: 1_230.0, logins: 12.0, login_failures: 0.5 };
        Seen { snapshot, rates: Some(rates), incidents: Vec::new() }
    }

    fn outage() -> Seen {
        let mut away = delivery(State::Blocked);
        away.reason = Some("no broker answers: connection refused by 192.0.2.7:9092\u{1b}[2J".to_owned());
        away.breaker.state = BreakerState::Open;
        away.backlog.level = Level::High;
        away.backlog.reason = Some("the oldest event has waited for 5 minutes".to_owned());
        away.backlog.time_to_full_s = Some(7_300);
        let mut seen = seen(vec![("kafka", delivery(State::Delivering)), ("siem", away)]);
        seen.snapshot.marks.firing = 2;
        let incident = |id: &str, state: &str, age: u64| Incident {
            id: id.to_owned(),
            state: state.to_owned(),
            severity: "critical".to_owned(),
            title: "Nothing is delivered to siem".to_owned(),
            opened: NOW - age,
            ..Incident::default()
        };
        seen.incidents = vec![incident("inc-1", "closed", 90_000_000), incident("inc-2", "open", 300_000)];
        seen
    }

    fn drawn(seen: &Seen, trouble: Option<&str>, width: usize) -> String {
        let lines = lines(seen, trouble, width);
        for line in &lines {
            assert!(line.width() <= width, "{} is wider than {width}", line.plain());
        }
        lines.iter().map(|line| line.plain().trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn all_is_well() {
        let seen = seen(vec![("kafka", delivery(State::Delivering))]);
        insta::assert_snapshot!("well-wide", drawn(&seen, None, 120));
        insta::assert_snapshot!("well-phone", drawn(&seen, None, 60));
    }

    #[test]
    fn something_is_wrong() {
        insta::assert_snapshot!("outage-wide", drawn(&outage(), None, 120));
        insta::assert_snapshot!("outage-phone", drawn(&outage(), Some("no agent answers at agent.sock"), 60));
    }

    #[test]
    fn however_narrow_it_is_nothing_is_wider() {
        for width in 0..160 {
            drawn(&outage(), Some("no agent answers"), width);
            assert!(waiting(Some("no agent answers"), width).iter().all(|line| line.width() <= width));
        }
    }
}
