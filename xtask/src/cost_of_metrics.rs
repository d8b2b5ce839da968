//! What counting costs: the pipeline's rate with metrics and without, by two programs that run in turn.

use std::path::Path;

use clap::Args;

use crate::{Result, ferry_rate};

const CASE: &str = "default";

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
/// [`crate::Error::CommandFailed`] where one of the programs fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    let without = ferry_rate::build("without", &["--no-default-features"])?;
    let with = ferry_rate::build("with", &[])?;
    let rate = |program: &Path| ferry_rate::measure(program, CASE);
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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
