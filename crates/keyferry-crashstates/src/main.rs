//! `keyferry-crashstates`: examines the recordings of a directory.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{fs, io, thread};

use clap::Parser;
use keyferry_crashstates::{Plant, Summary, Trace, TraceError, examine};

/// Read what every crash could have left of a recorded writer's files, and hold it against what its clients were told.
#[derive(Debug, Parser)]
#[command(name = "keyferry-crashstates")]
struct Arguments {
    /// A directory of recordings, or one of them.
    traces: PathBuf,
    /// Falsify the recordings first, as this fault would have; then a broken promise is to be found.
    #[arg(long, value_enum)]
    plant: Option<Plant>,
    /// How many recordings are examined at a time.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Why nothing could be said.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot list {}: {source}; record workloads with `cargo xtask crash-states`", path.display())]
    List { path: PathBuf, source: io::Error },
    #[error("there is no recording in {}; record workloads with `cargo xtask crash-states`", path.display())]
    Nothing { path: PathBuf },
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("{}, seed {seed}: {broken}", path.display())]
    Broken { path: PathBuf, seed: u64, broken: String },
    #[error("the fault {0:?} was planted into {1} recordings and found in none")]
    NotFound(Plant, usize),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let start = Instant::now();
    match traces(&arguments.traces).and_then(|traces| run(&traces, &arguments)) {
        Ok(said) => {
            println!("{said}, {:.1} s", start.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(traces: &[PathBuf], arguments: &Arguments) -> Result<String, Error> {
    if let Some(plant) = arguments.plant {
        return planted(traces, plant);
    }
    let share = traces.len().div_ceil(arguments.threads.max(1));
    let results = thread::scope(|scope| {
        let shares = traces.chunks(share).map(|share| scope.spawn(|| examine_all(share)));
        let shares: Vec<_> = shares.collect();
        let results = shares
            .into_iter()
            .map(|share| share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.collect::<Result<Vec<Summary>, Error>>()
    })?;
    let mut sum = Summary::default();
    results.iter().for_each(|summary| sum.add(summary));
    let Summary { killed, power_cuts, promised } = sum;
    let workloads = traces.len();
    Ok(format!(
        "{workloads} workloads: {killed} states after a kill and {power_cuts} after a power cut, {promised} promises kept"
    ))
}

fn examine_all(traces: &[PathBuf]) -> Result<Summary, Error> {
    let mut sum = Summary::default();
    for path in traces {
        let trace = Trace::read(path)?;
        let summary = examine(&trace).map_err(|broken| Error::Broken {
            path: path.clone(),
            seed: trace.seed,
            broken: broken.to_string(),
        })?;
        sum.add(&summary);
    }
    Ok(sum)
}

/// Counts in how many of the recordings in which the fault can show it is found.
fn planted(traces: &[PathBuf], plant: Plant) -> Result<String, Error> {
    let mut planted = 0;
    let mut found = 0;
    let mut example = None;
    for path in traces {
        let trace = Trace::read(path)?;
        if !plant.shows_in(&trace) {
            continue;
        }
        planted += 1;
        if let Err(violation) = examine(&plant.falsify(&trace)) {
            found += 1;
            example.get_or_insert(violation.broken.to_string());
        }
    }
    match example {
        Some(example) => {
            Ok(format!("{plant:?} found in {found} of {planted} recordings, such as: {example}"))
        }
        None => Err(Error::NotFound(plant, planted)),
    }
}

fn traces(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::List { path: path.to_owned(), source };
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(failed)?;
    let mut traces =
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    traces.retain(|trace| trace.extension().is_some_and(|extension| extension == "jsonl"));
    traces.sort_unstable();
    if traces.is_empty() {
        return Err(Error::Nothing { path: path.to_owned() });
    }
    Ok(traces)
}
