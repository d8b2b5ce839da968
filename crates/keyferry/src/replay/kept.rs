//! What lies in a slot before the checkpoint, with the numbers that it had.

use std::thread::sleep;
use std::time::{Duration, Instant};

use keyferry_journal::{Epoch, Feed, FeedOptions, Item, Resume, SegmentName, Transaction};

use super::numbering::{Border, Numbering, Rules, place};
use crate::error::Error;
use crate::journal::slot::Slot;

/// For how long the journal is waited for where it seems to end before the checkpoint: a moment at most, beside a writer.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Calls `visit` for each published transaction of the slot before the checkpoint of `destination`, with the number of its first record, if that is
/// known.
///
/// # Errors
/// The journal cannot be read, the numbers do not fit, or what `visit` returns.
pub fn each_kept(
    slot: &Slot,
    destination: &str,
    rules: &Rules,
    mut visit: impl FnMut(&Transaction<'_>, Option<u64>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(end) = delivered(slot, destination)? else { return Ok(()) };
    let mut borders = slot.positions(destination)?;
    borders.push(end);
    borders.sort_by_key(|border| place(&border.resume));
    let whole = whole_epochs(slot)?;
    let mut numbering = Numbering::new(rules, &borders);
    let mut feed = Feed::open(slot.storage()?, None, FeedOptions::default())?;
    let begun = Instant::now();
    let mut heard = begun;
    loop {
        let now_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let is_there = feed.resume_point().is_some_and(|resume| place(&resume) >= place(&end.resume));
        if is_there {
            break;
        }
        let Some(item) = feed.next(now_ms)? else {
            if heard.elapsed() > PATIENCE {
                break;
            }
            sleep(PAUSE);
            continue;
        };
        heard = Instant::now();
        let numbers = numbering.numbers(&item)?;
        if let Item::Transaction(transaction) = item {
            if place(transaction.resume) > place(&end.resume) {
                break;
            }
            let first = numbering.enter(transaction.resume, &whole)?;
            if rules.publishes(transaction.outcome) {
                visit(&transaction, first)?;
            }
        } else if let Some(after) = feed.resume_point() {
            numbering.enter(&after, &whole)?;
        }
        numbering.pass(numbers);
    }
    numbering.end(&end.resume)
}

/// Up to where the destination has got.
fn delivered(slot: &Slot, destination: &str) -> Result<Option<Border>, Error> {
    let checkpoints = slot.checkpoints()?;
    let Some(found) = checkpoints.into_iter().find(|found| found.destination == destination) else {
        return Ok(None);
    };
    let checkpoint = found.checkpoint?;
    Ok(checkpoint.and_then(|checkpoint| {
        let resume: Resume = checkpoint.resume?;
        Some(Border { resume, next_sequence: checkpoint.next_sequence })
    }))
}

/// The epochs that are there from their first segment on.
fn whole_epochs(slot: &Slot) -> Result<Vec<Epoch>, Error> {
    let names = slot.segments()?.into_iter().map(|segment| segment.name);
    Ok(names.filter(|SegmentName { number, .. }| *number == 0).map(|name| name.epoch).collect())
}
