//! Waiting for something that another process does.

use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

const INTERVAL: Duration = Duration::from_millis(50);

/// Asks `probe` again and again until it answers.
///
/// # Errors
/// [`Error::TooLate`] when the limit has passed.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    try_until(what, limit, || Ok(probe()))
}

/// As [`until`], asking at another interval: for measuring.
///
/// # Errors
/// As there.
pub fn every<T>(
    interval: Duration,
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T> {
    ask(interval, what, limit, || Ok(probe()))
}

/// As [`until`], where the probe itself can fail for good.
///
/// # Errors
/// [`Error::TooLate`] when the limit has passed, and what `probe` returns.
pub fn try_until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    ask(INTERVAL, what, limit, probe)
}

fn ask<T>(
    interval: Duration,
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            return Err(Error::TooLate { what: what.to_owned(), limit, hint: String::new() });
        }
        thread::sleep(interval);
    }
}
