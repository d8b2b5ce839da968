//! From journal or file to Kafka as fast as it goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::kafka::Gauge;
use keyferry_tests::process::{self, Server};
use keyferry_tests::{Error, Result, log, usage};
use rustix::process::Pid;

use super::contestant::{Contestant, Launch, Task};
use super::report::{Bound, Quantity, Report, Row, Target};
use super::{Workbench, input::Input};
use crate::tuner::{Stand, topic_name};

/// Between two questions for how much is stored: near the beginning and the end of a run, where the moment counts, and in its middle.
const CLOSE_LOOK: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(100);
/// Of all events, how many belong to the end.
const END: f64 = 0.1;
/// How much of a contestant's last words is repeated, in characters.
const LINE: usize = 200;
/// For how long nothing may arrive.
const SILENCE: Duration = Duration::from_secs(60);

/// A contestant that can be had.
struct Entrant {
    contestant: Contestant,
    program: PathBuf,
    row: Row,
    /// Why it is out.
    failure: Option<String>,
}

/// Lets all contestants run in turn.
///
/// # Errors
/// Where Keyferry itself does not deliver.
pub fn measure(bench: &mut Workbench<'_>) -> Result<Report> {
    let plan = bench.plan.clone();
    let (mut entrants, mut missing) = (Vec::new(), Vec::new());
    for contestant in &plan.contestants {
        match contestant.fetch(&bench.cache) {
            Ok(program) => {
                let row = Row::of(contestant.title());
                entrants.push(Entrant { contestant: *contestant, program, row, failure: None });
            }
            Err(error) if contestant.is_own() => return Err(error),
            Err(error) => missing.push((contestant.title().to_owned(), first_line(&error))),
        }
    }
    bench.input()?;
    let Workbench { stand, input: Some(input), .. } = bench else {
        return Err(Error::Missing("there is no input".to_owned()));
    };
    // The broker has compiled nothing yet and knows no producer: the first run shows that more than anything else.
    if let Some(first) = entrants.first() {
        run(stand, input, first, "warm-up")?;
    }
    for turn in 0..plan.turns {
        let count = entrants.len().max(1);
        for place in 0..entrants.len() {
            let entrant = &mut entrants[(place + turn) % count];
            if entrant.failure.is_some() {
                continue;
            }
            match run(stand, input, entrant, &turn.to_string()) {
                Ok(figures) => entrant.row.add(&figures),
                Err(error) if entrant.contestant.is_own() => return Err(error),
                Err(error) => {
                    eprintln!("{}: {error}", entrant.contestant.title());
                    entrant.failure = Some(first_line(&error));
                }
            }
        }
    }
    let failed = entrants
        .iter()
        .filter_map(|entrant| Some((entrant.contestant.title().to_owned(), entrant.failure.clone()?)));
    missing.extend(failed);
    Ok(Report {
        turns: plan.turns,
        how: format!("{} events", plan.events),
        targets: targets(&entrants),
        rows: entrants
            .into_iter()
            .filter(|entrant| entrant.failure.is_none())
            .map(|entrant| entrant.row)
            .collect(),
        missing,
    })
}

/// Of the issue "fast and small".
fn targets(entrants: &[Entrant]) -> Vec<Target> {
    let row = |contestant: Contestant| {
        let of = |entrant: &&Entrant| entrant.contestant == contestant && entrant.failure.is_none();
        entrants.iter().find(of).map(|entrant| &entrant.row)
    };
    let (none, default) = (row(Contestant::KeyferryNone), row(Contestant::Keyferry));
    let (c, rsyslog) = (row(Contestant::RdkafkaPerformance), row(Contestant::Rsyslog));
    let benthos = row(Contestant::Benthos);
    let (rate, cpu) = (Quantity::Rate, Quantity::CpuPerMillion);
    vec![
        Target::ratio(
            none,
            c,
            rate,
            Bound::AtLeast(1.0),
            "events/s without headers, against `rdkafka_performance`",
        ),
        Target::ratio(
            default,
            c,
            rate,
            Bound::AtLeast(0.8),
            "events/s with default headers, against `rdkafka_performance`",
        ),
        Target::ratio(
            default,
            rsyslog,
            rate,
            Bound::AtLeast(1.8),
            "events/s with default headers, against rsyslog",
        ),
        Target::ratio(
            default,
            benthos,
            rate,
            Bound::AtLeast(5.0),
            "events/s with default headers, against benthos",
        ),
        Target::ratio(
            none,
            c,
            cpu,
            Bound::AtMost(1.2),
            "CPU per event without headers, against `rdkafka_performance`",
        ),
        Target::ratio(
            default,
            rsyslog,
            cpu,
            Bound::AtMost(0.5),
            "CPU per event with default headers, against rsyslog",
        ),
        Target::of(default, Quantity::PeakMemory, Bound::AtMost(40.0), "memory at full speed, MiB"),
    ]
}

/// One run of one contestant: what it brought, how fast, and what it took for it.
fn run(stand: &mut Stand<'_>, input: &Input, entrant: &Entrant, turn: &str) -> Result<Vec<(Quantity, f64)>> {
    let name = format!("rates-{}-{turn}", entrant.contestant.name());
    let room = stand.room(&name)?;
    let topic = topic_name(&name);
    stand.kafka.create_topic(&topic, stand.partitions)?;
    let broker = stand.kafka.pid()?;
    let gauge = stand.kafka.gauge(&topic)?;
    let servers = stand.kafka.bootstrap_servers();
    let task = Task { servers: &servers, topic: &topic, input, room: &room };
    let Launch { mut command, stdin } = entrant.contestant.launch(&entrant.program, &task)?;
    let output = room.join("output.log");
    let before = usage::processor_time(broker)?;
    let begin = Instant::now();
    let server =
        Server::start_fed(entrant.contestant.title(), &mut command, &output, fed(stdin.as_deref())?)?;
    let run = watch(&gauge, server.pid(), input.journal.events(), begin)
        .map_err(|error| explained(error, &output))?;
    let broker_cpu = usage::processor_time(broker)? - before;
    server.kill()?;
    let stored = gauge.stored()?;
    let events = input.journal.events() as f64;
    let millions = events / 1e6;
    let figures = vec![
        (Quantity::Rate, run.rate),
        (Quantity::CpuPerMillion, run.cpu / millions),
        (Quantity::BrokerCpuPerMillion, broker_cpu / millions),
        (Quantity::Whole, run.whole.as_secs_f64()),
        (Quantity::PeakMemory, mebibytes(run.memory)),
    ];
    let copies = stored as f64 - events;
    println!(
        "{name}: {:.0} events/s, CPU {:.2} s, broker {broker_cpu:.2} s, {:.1} s in all, {:.1} MiB{}",
        run.rate,
        run.cpu,
        run.whole.as_secs_f64(),
        mebibytes(run.memory),
        if copies > 0.0 { format!(", {copies} copies") } else { String::new() }
    );
    stand.kafka.delete_topic(&topic)?;
    fs::remove_dir_all(&room).map_err(Error::io("remove", &room))?;
    Ok(figures)
}

/// Bytes as MiB.
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn fed(stdin: Option<&Path>) -> Result<Stdio> {
    match stdin {
        None => Ok(Stdio::null()),
        Some(path) => Ok(fs::File::open(path).map_err(Error::io("open", path))?.into()),
    }
}

/// What was seen of a run.
pub struct Seen {
    /// Events a second from the first record to the last.
    pub rate: f64,
    /// Seconds of processor time until the last record.
    pub cpu: f64,
    /// The most resident memory, in bytes.
    pub memory: u64,
    /// From the start to the first record.
    pub first: Duration,
    /// From the start to the last record.
    pub whole: Duration,
}

/// Watches a process bring so many events, which has been started at `begin`.
///
/// # Errors
/// Where it ends or falls silent before the last one.
pub fn watch(gauge: &Gauge, process: Pid, events: u64, begin: Instant) -> Result<Seen> {
    let all = events.cast_signed();
    let mut first: Option<(i64, Instant)> = None;
    let (mut memory, mut last, mut changed) = (0, 0, begin);
    loop {
        let has_ended = !process::is_alive(process);
        // The broker may be on its way back.
        let stored = gauge.stored().unwrap_or(last);
        let now = Instant::now();
        memory = memory.max(usage::peak_memory(process).unwrap_or_default());
        if stored > last {
            (last, changed) = (stored, now);
            first.get_or_insert((stored, now));
        }
        if let Some((at_first, since)) = first.filter(|_| stored >= all) {
            // So few that all were there at the first look.
            let (counted, from) = if at_first < all { (all - at_first, since) } else { (all, begin) };
            return Ok(Seen {
                rate: counted as f64 / now.duration_since(from).as_secs_f64(),
                cpu: usage::processor_time(process)?,
                memory,
                first: since.duration_since(begin),
                whole: now.duration_since(begin),
            });
        }
        if has_ended && stored < all {
            return Err(Error::Missing(format!("has ended after {stored} of {events} events")));
        }
        if now.duration_since(changed) > SILENCE {
            let what = format!("the storing of {events} events, beyond {stored},");
            return Err(Error::TooLate { what, limit: SILENCE, hint: String::new() });
        }
        let is_inside = first.is_some() && (stored as f64) < (1.0 - END) * events as f64;
        thread::sleep(if is_inside { LOOK } else { CLOSE_LOOK });
    }
}

/// An error with the last line of what the contestant said.
fn explained(error: Error, output: &Path) -> Error {
    let said = log::read(output);
    let last: String = said.lines().last().unwrap_or_default().chars().take(LINE).collect();
    Error::Missing(format!("{error}; it said: {last}"))
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
