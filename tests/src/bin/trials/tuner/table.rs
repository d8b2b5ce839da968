//! What was measured, and what it says.

use std::fmt;
use std::time::Duration;

use super::variant::Variant;

/// `auto` may take this much more time than the profile `latency` at the 99th percentile.
const LATENCY_ALLOWANCE: f64 = 1.2;
/// `auto` must drain at least at this part of the rate of the profile `throughput`.
const THROUGHPUT_SHARE: f64 = 0.95;

/// All turns of one variant.
pub struct Measured {
    variant: Variant,
    pub latency: Vec<Latency>,
    pub drain: Vec<Drain>,
}

impl Measured {
    /// No turn yet.
    pub fn of(variant: &Variant) -> Self {
        Self { variant: variant.clone(), latency: Vec::new(), drain: Vec::new() }
    }

    fn latency(&self, of: impl Fn(&Latency) -> f64) -> Option<f64> {
        median(self.latency.iter().map(of).collect())
    }

    fn drain(&self, of: impl Fn(&Drain) -> f64) -> Option<f64> {
        median(self.drain.iter().map(of).collect())
    }
}

/// How long events were on their way, in milliseconds, and what share of a processor the agent took.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub highest: f64,
    pub cpu: f64,
    /// How many events were on their way when the last one was committed.
    pub behind: usize,
}

impl Latency {
    /// The percentiles of `ways`.
    pub fn of(mut ways: Vec<Duration>, cpu: f64, behind: usize) -> Self {
        ways.sort_unstable();
        let at = |share: f64| {
            let place = ((ways.len() as f64 * share).ceil() as usize).saturating_sub(1);
            ways.get(place).map_or(0.0, |way| way.as_secs_f64() * 1e3)
        };
        Self { p50: at(0.5), p99: at(0.99), highest: at(1.0), cpu, behind }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, highest, cpu, .. } = self;
        write!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms, highest {highest:.1} ms, CPU {:.1} %", cpu * 100.0)
    }
}

/// How fast a backlog went, and what the agent took for it.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    pub events_a_second: f64,
    pub cpu_seconds: f64,
}

impl fmt::Display for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} events a second, CPU {:.2} s", self.events_a_second, self.cpu_seconds)
    }
}

/// Prints the medians of all turns.
pub fn print(measured: &[Measured]) {
    println!("\n| settings | p50 | p99 | highest | CPU at this rate | drain, events/s | CPU of the drain |");
    println!("|---|---|---|---|---|---|---|");
    for row in measured {
        let number = |value: Option<f64>, digits: usize, unit: &str| {
            value.map_or_else(|| "—".to_owned(), |value| format!("{value:.digits$}{unit}"))
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.variant,
            number(row.latency(|latency| latency.p50), 1, " ms"),
            number(row.latency(|latency| latency.p99), 1, " ms"),
            number(row.latency(|latency| latency.highest), 0, " ms"),
            number(row.latency(|latency| latency.cpu * 100.0), 1, " %"),
            number(row.drain(|drain| drain.events_a_second), 0, ""),
            number(row.drain(|drain| drain.cpu_seconds), 2, " s"),
        );
    }
}

/// Whether `auto` is nearly as quick as `latency` and drains nearly as fast as `throughput`, as far as they were measured.
pub fn verdict(measured: &[Measured]) -> bool {
    let of = |profile: &str| measured.iter().find(|row| row.variant.is(profile));
    let ratio = |other: &str, of_row: &dyn Fn(&Measured) -> Option<f64>| {
        Some(of_row(of("auto")?)? / of_row(of(other)?)?)
    };
    let latency = ratio("latency", &|row| row.latency(|latency| latency.p99));
    let drain = ratio("throughput", &|row| row.drain(|drain| drain.events_a_second));
    if let Some(latency) = latency {
        println!("p99 of auto: {latency:.2} x that of latency; at most {LATENCY_ALLOWANCE} is asked for");
    }
    if let Some(drain) = drain {
        println!("drain of auto: {drain:.2} x that of throughput; at least {THROUGHPUT_SHARE} is asked for");
    }
    latency.is_none_or(|ratio| ratio <= LATENCY_ALLOWANCE)
        && drain.is_none_or(|ratio| ratio >= THROUGHPUT_SHARE)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_medians_are_values_that_occurred() {
        let latency = Latency::of((1..=100).map(Duration::from_millis).collect(), 0.0, 0);
        assert_eq!((latency.p50, latency.p99, latency.highest), (50.0, 99.0, 100.0));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn auto_is_judged_by_the_profiles_it_must_match() {
        let row = |profile: &str, p99: f64, events_a_second: f64| Measured {
            variant: Variant::Profile(profile.to_owned()),
            latency: vec![Latency { p50: 0.0, p99, highest: 0.0, cpu: 0.0, behind: 0 }],
            drain: vec![Drain { events_a_second, cpu_seconds: 0.0 }],
        };
        let verdict = |p99, rate| {
            verdict(&[row("auto", p99, rate), row("latency", 10.0, 50.0), row("throughput", 50.0, 100.0)])
        };
        assert!(verdict(12.0, 95.0));
        assert!(!verdict(12.1, 95.0));
        assert!(!verdict(12.0, 94.9));
    }
}
