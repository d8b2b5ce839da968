//! One record, by a producer that lives for it: for what is told a few times a day.

use std::time::{Duration, Instant};

use keyferry_event::{Failure, Record, SendError, Sink as _, Token};

use crate::examine::{explained, wait};
use crate::settings::ProducerSettings;
use crate::sink::KafkaSink;

/// Sends `record` and waits until it is acknowledged, for at most `limit`.
///
/// # Errors
/// It is refused, or not acknowledged; then it may arrive nevertheless.
pub fn deliver(settings: &ProducerSettings, record: &Record<'_>, limit: Duration) -> Result<(), Failure> {
    // Nothing else will fill its batch.
    let mut sink = KafkaSink::new(settings.clone().with_property("linger.ms", "0"))?;
    sink.send(Token(0), record).map_err(|error| match error {
        SendError::Failed(failure) => failure,
        SendError::Full => Failure::transient("the client takes no record"),
    })?;
    let (begun, mut outcome) = (Instant::now(), None);
    while outcome.is_none() && begun.elapsed() < limit {
        wait(&sink);
        sink.poll(&mut |_, result| outcome = Some(result));
    }
    let silence = || Failure::transient(format!("nothing was acknowledged for {} s", limit.as_secs()));
    outcome.unwrap_or_else(|| Err(explained(&sink, silence())))
}
