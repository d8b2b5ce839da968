//! `cargo xtask simulate`: plays many seeds and names those that break a promise.

use std::io::{self, IsTerminal as _, Write as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use clap::Parser;
use keyferry_simulation::{Summary, Violation, narrate, simulate};

/// Plays seeded histories and checks the promises in each.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask simulate")]
struct Cli {
    /// How many seeds to play.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds are played at the same time.
    #[arg(long, default_value_t = NonZeroUsize::MIN)]
    jobs: NonZeroUsize,
    /// End with the first seed that breaks a promise.
    #[arg(long)]
    stop_at_first: bool,
    /// Tell what happened in each seed, line by line.
    #[arg(long)]
    trace: bool,
}

/// How many seeds are played between two signs of life on a terminal.
const SIGN_OF_LIFE: u64 = 100;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = if cli.trace { tell(&cli) } else { play(&cli) };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells each seed's history; answers how many promises were broken.
fn tell(cli: &Cli) -> io::Result<u64> {
    let mut out = io::stdout().lock();
    let mut broken = 0;
    for seed in cli.from..cli.from + cli.seeds {
        let (text, result) = narrate(seed);
        out.write_all(text.as_bytes())?;
        match result {
            Ok(summary) => writeln!(out, "seed {seed} ends: {summary:?}")?,
            Err(violation) => {
                broken += 1;
                writeln!(out, "seed {seed} BREAKS A PROMISE: {violation}")?;
            }
        }
    }
    Ok(broken)
}

/// Plays the seeds; answers how many promises were broken.
fn play(cli: &Cli) -> io::Result<u64> {
    let begun = Instant::now();
    let next = AtomicU64::new(cli.from);
    let end = cli.from + cli.seeds;
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..cli.jobs.get() {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send((seed, simulate(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        gather(cli, results, begun)
    })
}

fn gather(
    cli: &Cli,
    results: mpsc::Receiver<(u64, Result<Summary, Violation>)>,
    begun: Instant,
) -> io::Result<u64> {
    let mut out = io::stdout().lock();
    let (mut sum, mut played, mut broken, mut first) = (Summary::default(), 0, 0, String::new());
    let terminal = io::stderr().is_terminal();
    for (seed, result) in results {
        played += 1;
        match result {
            Ok(summary) => sum.add(&summary),
            Err(violation) => {
                broken += 1;
                writeln!(out, "seed {seed}: {violation}")?;
                if first.is_empty() {
                    first = format!(", first seed {seed}: {violation}");
                }
                writeln!(out, "    replay: cargo xtask simulate --from {seed} --seeds 1 --trace")?;
                if cli.stop_at_first {
                    break;
                }
            }
        }
        if terminal && played % SIGN_OF_LIFE == 0 {
            eprint!("\r{played} of {} seeds, {broken} broken", cli.seeds);
        }
    }
    if terminal {
        eprint!("\r\x1b[K");
    }
    writeln!(
        out,
        "{played} seeds in {:.1} s: {} events, {} records, {} Keycloaks and {} agents begun, {} power cuts, {} flipped bits, \
         {} input/output errors that ended an agent, {} second agents kept away; {broken} seeds broke a promise{first}",
        begun.elapsed().as_secs_f64(),
        sum.events,
        sum.records,
        sum.writers,
        sum.agents,
        sum.power_cuts,
        sum.flips,
        sum.agent_errors,
        sum.kept_away
    )?;
    Ok(broken)
}
