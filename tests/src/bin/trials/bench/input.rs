//! What everybody brings to Kafka: the same events in a journal and as plain lines.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use keyferry_tests::{Error, Result};
use xtask::progress;

use crate::load::{Load, Written};

/// How many lines the sample has.
const SAMPLE: u64 = 100_000;

/// The events of one run.
#[derive(Debug)]
pub struct Input {
    /// For Keyferry.
    pub journal: Written,
    /// For its peers.
    pub lines: PathBuf,
    /// The first lines only, for a peer that holds all of its input in memory.
    pub sample: PathBuf,
}

impl Input {
    /// Writes so many events below `directory`.
    ///
    /// # Errors
    /// Where the disk does not take them.
    pub fn write(directory: &Path, events: u64) -> Result<Self> {
        let directory = directory.join("input");
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        let (lines, sample) = (directory.join("events.jsonl"), directory.join("sample.jsonl"));
        let journal = progress::step(&format!("write {events} events"), || {
            let mut load = Load::begin(&directory.join("journal"))?;
            let (mut all, mut first) = (create(&lines)?, create(&sample)?);
            for number in 0..events {
                let line = load.write()?;
                writeln!(all, "{line}").map_err(Error::io("write", &lines))?;
                if number < SAMPLE {
                    writeln!(first, "{line}").map_err(Error::io("write", &sample))?;
                }
            }
            all.flush().map_err(Error::io("write", &lines))?;
            first.flush().map_err(Error::io("write", &sample))?;
            let journal = load.close();
            // Now, and not while somebody is measured.
            rustix::fs::sync();
            journal
        })?;
        Ok(Self { journal, lines, sample })
    }
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(1 << 20, File::create(path).map_err(Error::io("create", path))?))
}
