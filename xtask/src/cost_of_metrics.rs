//! What counting costs: the pipeline's rate with metrics and without, by two programs that run in turn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::tool::{self, CARGO};
use crate::{Error, Result, progress, workspace};

const EXAMPLE: &str = "ferry_rate";

/// What `cargo xtask cost-of-metrics` understands.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How often each of the two runs.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
}

/// Measures and prints.
///
/// # Errors
/// [`Error::CommandFailed`] where one of the programs fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    let without = build("without", &["--no-default-features"])?;
    let with = build("with", &[])?;
    let mut rates = Vec::new();
    for round in 0..arguments.rounds {
        // What runs first in a round may find a warmer or colder machine.
        let pair = if round % 2 == 0 {
            let without = rate(&without)?;
            (without, rate(&with)?)
        } else {
            let with = rate(&with)?;
            (rate(&without)?, with)
        };
        rates.push(pair);
    }
    let (without, with) = (median(rates.iter().map(|pair| pair.0)), median(rates.iter().map(|pair| pair.1)));
    let cost = median(rates.iter().map(|(without, with)| 100.0 * (1.0 - with / without)));
    let at_200k = 100.0 * 200_000.0 * (1.0 / with - 1.0 / without);
    println!(
        "without metrics  {without:>12.0} events per second of processor (median of {} runs)",
        rates.len()
    );
    println!("with metrics     {with:>12.0} events per second of processor");
    println!("cost             {cost:>12.2} % of the rate (median of pairs)");
    println!("at 200,000/s     {at_200k:>12.2} % of a processor");
    Ok(())
}

/// Builds the program in one of two ways, and puts it where the other one will not replace it.
fn build(way: &str, features: &[&str]) -> Result<PathBuf> {
    let place = workspace::target().join("cost-of-metrics");
    progress::step(&format!("build the pipeline {way} metrics"), || {
        let mut cargo = CARGO.command();
        cargo.args(["build", "--quiet", "--release", "--package", "keyferry-pipeline", "--example", EXAMPLE]);
        cargo.args(["--target-dir".as_ref(), place.as_os_str()]).args(features);
        tool::run_silently(cargo.current_dir(workspace::root()))
    })?;
    let (built, kept) = (place.join("release/examples").join(EXAMPLE), place.join(way));
    fs::copy(&built, &kept).map_err(Error::io("copy", &built))?;
    Ok(kept)
}

fn rate(program: &Path) -> Result<f64> {
    let failed = |outcome: String| Error::CommandFailed {
        command: program.display().to_string(),
        outcome,
        output: String::new(),
    };
    let output = Command::new(program).output().map_err(Error::io("start", program))?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| failed(format!("{}, and no rate: {said:?}", output.status)))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
