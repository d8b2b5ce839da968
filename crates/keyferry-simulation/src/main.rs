//! `cargo xtask simulate`: plays many seeds and names those that break a promise.

use std::process::ExitCode;

use clap::Parser;
use keyferry_simulation::simulate;

/// Plays seeded histories and checks the promises in each.
#[derive(Debug, Parser)]
struct Cli {
    /// How many seeds to play.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (mut events, mut records, mut agents, mut writers, mut broken) = (0, 0, 0, 0, 0_u64);
    for seed in cli.from..cli.from + cli.seeds {
        match simulate(seed) {
            Ok(summary) => {
                events += summary.events;
                records += summary.records;
                agents += summary.agents;
                writers += summary.writers;
            }
            Err(violation) => {
                broken += 1;
                println!("seed {seed}: {violation}");
            }
        }
    }
    println!(
        "{} seeds: {events} events, {records} records, {agents} agents and {writers} Keycloaks begun, {broken} promises broken",
        cli.seeds
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
