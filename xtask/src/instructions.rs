//! How many instructions the pipeline takes for an event, held to what was committed.
//!
//! The invariant: **what is compared is the same on a busy machine as on an idle one.** Instructions are counted by callgrind, which runs the program on a
//! simulated processor; only the C library looks at the real one's caches, to copy by one instruction a byte or by vectors, and is told not to.
//!
//! What became cheaper fails as well as what became dearer: the next regression would hide in the gain.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::tool::{VALGRIND, output_of};
use crate::{Error, Result, ferry_rate, progress, workspace};

/// The cases of the example `ferry_rate` that are counted.
const CASES: [&str; 12] = [
    "none",
    "default",
    "filter",
    "filter-details",
    "secrets",
    "pseudonyms",
    "cloudevents",
    "ocsf",
    "ecs",
    "avro",
    "protobuf",
    "json-schema",
];
/// Enough that what is done once does not show.
const EVENTS: u64 = 20_000;
/// By how much a figure may differ from the committed one, in per cent.
const TOLERANCE: u64 = 3;
/// Copies are never made by `rep movsb`, nor past the caches, however large the real processor's are.
const TUNABLES: &str =
    "glibc.cpu.x86_rep_movsb_threshold=0x7fffffff:glibc.cpu.x86_non_temporal_threshold=0x7fffffff";

/// What `cargo xtask instructions` understands.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write what is counted to testdata/instructions.txt, instead of comparing.
    #[arg(long)]
    write: bool,
}

/// Counts, and compares or writes.
///
/// # Errors
/// [`Error::InstructionsChanged`]; a missing valgrind; [`Error::CommandFailed`] where a program fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    VALGRIND.require()?;
    let program = ferry_rate::build("with", &[])?;
    let counted = progress::step("count the instructions of an event", || {
        CASES.iter().map(|case| Ok(((*case).to_owned(), count(&program, case)?))).collect::<Result<_>>()
    })?;
    let counted = Counts(counted);
    let baseline = baseline();
    if arguments.write {
        return fs::write(&baseline, counted.to_string()).map_err(Error::io("write", &baseline));
    }
    let committed = fs::read_to_string(&baseline).map_err(Error::io("read", &baseline))?;
    let changed = Counts::parse(&committed).changed_to(&counted);
    print!("{counted}");
    if changed.is_empty() { Ok(()) } else { Err(Error::InstructionsChanged { path: baseline, changed }) }
}

fn baseline() -> PathBuf {
    Path::new(workspace::root()).join("testdata/instructions.txt")
}

/// The instructions that an event takes in a case.
fn count(program: &Path, case: &str) -> Result<u64> {
    let mut callgrind = Command::new("valgrind");
    callgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*one_pass*"]);
    callgrind.arg(program).args([case, &EVENTS.to_string()]).env("GLIBC_TUNABLES", TUNABLES);
    let said = output_of(&mut callgrind)?;
    let collected =
        said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<u64>().ok());
    match collected {
        Some(collected) if collected > 0 => Ok(collected / EVENTS),
        _ => Err(Error::CommandFailed {
            command: format!("{callgrind:?}"),
            outcome: "counted nothing".to_owned(),
            output: format!("\n{said}"),
        }),
    }
}

/// Instructions an event, by case.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// A case whose number cannot be read is missing, and so differs.
    fn parse(text: &str) -> Self {
        let counts = text.lines().filter_map(|line| {
            let (case, count) = line.split_once(' ')?;
            Some((case.to_owned(), count.trim().parse().ok()?))
        });
        Self(counts.collect())
    }

    /// What differs in `now` by more than is tolerated, in words.
    fn changed_to(&self, now: &Self) -> Vec<String> {
        let differs = |before: u64, now: u64| before.abs_diff(now) * 100 > before * TOLERANCE;
        let changed = now.0.iter().filter_map(|(case, now)| match self.0.get(case) {
            Some(before) if !differs(*before, *now) => None,
            Some(before) => {
                Some(format!("{case}: {now} instructions an event, where {before} are committed"))
            }
            None => Some(format!("{case}: {now} instructions an event, and none committed")),
        });
        changed.collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(case, count)| writeln!(out, "{case} {count}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, u64)]) -> Counts {
        Counts(of.iter().map(|(case, count)| ((*case).to_owned(), *count)).collect())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = counts(&[("none", 9_000), ("default", 12_000)]);
        assert_eq!(Counts::parse(&written.to_string()), written);
    }

    #[test]
    fn three_per_cent_are_tolerated_and_no_more_either_way() {
        let committed = counts(&[("none", 1_000)]);
        for (now, changes) in [(1_000, 0), (1_030, 0), (970, 0), (1_031, 1), (969, 1)] {
            assert_eq!(committed.changed_to(&counts(&[("none", now)])).len(), changes, "{now}");
        }
    }

    #[test]
    fn a_case_that_is_not_committed_differs() {
        assert_eq!(counts(&[]).changed_to(&counts(&[("none", 1)])).len(), 1);
    }
}
