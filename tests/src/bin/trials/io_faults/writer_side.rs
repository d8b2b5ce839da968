//! The provider's journal under faults.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use keyferry_journal::slot::OwnedSlot;
use keyferry_journal::writer::{Writer, WriterOptions};
use keyferry_journal::{Epoch, SegmentName};
use keyferry_tests::{Error, Result};
use serde_json::Value;
use xtask::cache::Cache;
use xtask::{parts, tool};

use super::Verdict;
use super::fault::{self, Calls, Fault, ShortCall, Shortener};

/// The program that drives the journal, and its name in the class path.
const DRIVER: (&str, &str) = ("JournalDriver", include_str!("../../../../java/JournalDriver.java"));
/// A time that no clock shows: the epoch that a journal begins after one of this time has a known name.
const FAR_FUTURE_MS: u64 = 4_102_444_800_000;
/// How many segments the driver writes at most.
const SEGMENTS: u32 = 40;
/// How long the driver may take, in seconds.
const LIMIT: &str = "60";

/// Everything that the cases share.
#[derive(Debug)]
pub struct WriterSide {
    java: Vec<String>,
    executable: PathBuf,
    directory: PathBuf,
    calls: [(Fsync, Calls); 2],
    shortener: Shortener,
}

/// The option `journal-fsync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// The journal leaves it to the kernel when its bytes reach the disk.
    Never,
    /// Before the database commits.
    Commit,
}

impl Fsync {
    fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Commit => "commit",
        }
    }
}

/// What the driver was told about a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Acknowledged,
    RolledBack,
    Lost,
}

/// What can be read afterwards.
struct Journal {
    /// The outcome of each event, by its id; several where it is there several times.
    outcomes: BTreeMap<String, Vec<String>>,
    /// Whether it tells of a gap.
    has_gap: bool,
    /// Whether it is damaged.
    damage: Vec<String>,
}

impl WriterSide {
    /// Compiles the driver, and counts its system calls.
    ///
    /// # Errors
    /// Where it does not run without faults.
    pub fn prepare(
        cache: &Cache,
        jar: &Path,
        executable: &Path,
        directory: &Path,
        shortener: Shortener,
    ) -> Result<Self> {
        fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let source = directory.join(format!("{}.java", DRIVER.0));
        fs::write(&source, DRIVER.1).map_err(Error::io("write", &source))?;
        let logging = logging_library(&parts::Keycloak::V26_7.fetch(cache)?)?;
        let class_path = std::env::join_paths([directory, jar, &logging])
            .map_err(|error| Error::Missing(format!("the class path cannot be built: {error}")))?
            .to_string_lossy()
            .into_owned();
        let mut compiler = Command::new("javac");
        tool::run_silently(compiler.args(["-cp", &class_path, "-d"]).arg(directory).arg(&source))?;
        let java =
            ["java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &class_path, DRIVER.0];
        let mut side = Self {
            java: java.map(str::to_owned).into(),
            executable: executable.to_owned(),
            directory: directory.to_owned(),
            calls: [Fsync::Never, Fsync::Commit].map(|fsync| (fsync, Calls::default())),
            shortener,
        };
        for mode in 0..side.calls.len() {
            side.calls[mode].1 = side.count_calls(side.calls[mode].0)?;
        }
        Ok(side)
    }

    /// How often the driver makes each system call on the journal.
    pub fn calls(&self) -> &[(Fsync, Calls)] {
        &self.calls
    }

    /// A mode and a fault for the driver.
    pub fn fault(&self, random: &mut fastrand::Rng) -> (Fsync, Fault) {
        let (fsync, calls) = &self.calls[random.usize(..self.calls.len())];
        let fault = match random.u8(..6) {
            0 => {
                let (percent, by) = (random.u8(10..=90), self.shortener.clone());
                Fault::Short { call: ShortCall::Write, percent, by }
            }
            1 => Fault::FileLimit(random.u64(100..4200)),
            _ => calls.failure(random),
        };
        (*fsync, fault)
    }

    /// Runs the driver under a fault, and judges what it leaves.
    ///
    /// # Errors
    /// Where the harness itself fails.
    pub fn attempt(&self, number: u32, fsync: Fsync, fault: &Fault) -> Result<Verdict> {
        let place = self.directory.join(format!("case-{number}"));
        let (journal, trace) = (place.join("journal"), place.join("trace"));
        let paths = begin(&journal)?;
        let output = self.drive(&fault.wrapper(&paths, &trace), &journal, fsync)?;
        let met = fault.was_met(&trace);
        let told = Self::told(&output);
        let mut wrong = Vec::new();
        let closed = String::from_utf8_lossy(&output.stdout).contains("closed ");
        if !closed {
            wrong.push(format!("the driver did not reach its end: {}", last_line(&output.stderr)));
        }
        wrong.extend(judge(&told, &self.read(&journal)?, &output));
        let lost = told.iter().filter(|(_, told)| **told == Told::Lost).count();
        let end = if lost > 0 { "reported losses" } else { "nothing lost" };
        if wrong.is_empty() {
            fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?;
        }
        Ok(Verdict { end: end.to_owned(), met, wrong })
    }

    fn count_calls(&self, fsync: Fsync) -> Result<Calls> {
        let place = self.directory.join(format!("without-fault-{}", fsync.name()));
        let (journal, trace) = (place.join("journal"), place.join("trace"));
        let paths = begin(&journal)?;
        let output = self.drive(&fault::tracer(&paths, &trace), &journal, fsync)?;
        let told = Self::told(&output);
        let wrong = judge(&told, &self.read(&journal)?, &output);
        let is_complete = told.len() > 40 && !told.values().any(|told| *told == Told::Lost);
        if !is_complete || !wrong.is_empty() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Missing(format!("the driver fails without a fault: {wrong:?}\n{text}")));
        }
        Calls::of(&trace)
    }

    fn drive(&self, wrapper: &[String], journal: &Path, fsync: Fsync) -> Result<Output> {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", LIMIT]).args(wrapper).args(&self.java).arg(journal).arg(fsync.name());
        command.output().map_err(Error::io("start", "timeout"))
    }

    fn told(output: &Output) -> BTreeMap<String, Told> {
        let text = String::from_utf8_lossy(&output.stdout);
        let line = |line: &str| {
            let (told, id) = line.split_once(' ')?;
            let told = match told {
                "acknowledged" => Told::Acknowledged,
                "rolled-back" => Told::RolledBack,
                "lost" => Told::Lost,
                _ => return None,
            };
            Some((id.to_owned(), told))
        };
        text.lines().filter_map(line).collect()
    }

    /// Reads the journal by the tools.
    fn read(&self, journal: &Path) -> Result<Journal> {
        let ask = |what: &str| {
            let mut command = Command::new(&self.executable);
            command.args(["journal", what, "--json"]).arg(journal);
            let output = command.output().map_err(Error::io("start", &self.executable))?;
            let lines = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok::<Vec<Value>, Error>(
                lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(),
            )
        };
        let items = ask("cat")?;
        let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let is = |item: &Value, name: &str, value: &str| item[name] == value;
        let damage = ask("check")?.into_iter().filter(|item| is(item, "severity", "damage"));
        let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for item in items.iter().filter(|item| is(item, "item", "event")) {
            outcomes.entry(text(item, "id")).or_default().push(text(item, "outcome"));
        }
        Ok(Journal {
            outcomes,
            has_gap: items.iter().any(|item| is(item, "severity", "gap")),
            damage: damage.map(|item| text(&item, "what")).collect(),
        })
    }
}

/// What is wrong with a journal, given what its writer was told.
fn judge(told: &BTreeMap<String, Told>, journal: &Journal, output: &Output) -> Vec<String> {
    let outcomes = |id: &String| journal.outcomes.get(id).map_or(&[][..], Vec::as_slice);
    let commits = |id| outcomes(id).iter().filter(|outcome| *outcome == "committed").count();
    let mut wrong: Vec<String> = told
        .iter()
        .filter_map(|(id, told)| match (told, commits(id)) {
            (Told::Acknowledged, 0) if outcomes(id).is_empty() => {
                Some(format!("acknowledged and not in the journal: {id}"))
            }
            (Told::Acknowledged, 2..) => Some(format!("committed several times: {id}")),
            (Told::RolledBack, 1..) => Some(format!("rolled back and committed: {id}")),
            (Told::Lost, 1..) => Some(format!("reported as lost and committed: {id}")),
            _ => None,
        })
        .collect();
    let lost = told.values().any(|told| *told == Told::Lost);
    let is_logged = String::from_utf8_lossy(&output.stderr).contains("lost");
    if lost && !journal.has_gap && !is_logged {
        wrong.push("events were lost without a word".to_owned());
    }
    wrong.extend(journal.damage.iter().map(|what| format!("the journal is damaged: {what}")));
    wrong
}

/// Makes a journal whose next epoch's segments have known names, and returns all paths that its writer will use.
fn begin(journal: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(journal).map_err(Error::io("create", journal))?;
    let slot = OwnedSlot::claim(journal)?;
    let (path, number) = (slot.path().to_owned(), slot.number());
    let options = WriterOptions { node: "earlier".to_owned(), ..WriterOptions::default() };
    let writer = Writer::begin(slot, number, || FAR_FUTURE_MS, options)?;
    let epoch = Epoch::beginning(0, number, Some(writer.epoch()));
    writer.close()?;
    let segments = (0..SEGMENTS).map(|number| path.join(SegmentName { epoch, number }.to_string()));
    let places = [journal.to_owned(), path.clone(), path.join("lock")];
    Ok(segments.chain(places).collect())
}

fn logging_library(keycloak: &Path) -> Result<PathBuf> {
    let place = keycloak.join("lib/lib/boot");
    let entries = fs::read_dir(&place).map_err(Error::io("read", &place))?;
    let is_meant = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("org.jboss.logging.jboss-logging-"))
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(is_meant)
        .ok_or_else(|| Error::Missing(format!("{} has no jboss-logging", place.display())))
}

fn last_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().last().unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn judge_one(told: Told, outcome: Option<&str>, has_gap: bool, log: &str) -> Vec<String> {
        let outcomes =
            outcome.map(|outcome| ("a".to_owned(), vec![outcome.to_owned()])).into_iter().collect();
        let journal = Journal { outcomes, has_gap, damage: Vec::new() };
        let output =
            Output { status: ExitStatus::from_raw(0), stdout: Vec::new(), stderr: log.as_bytes().to_vec() };
        judge(&BTreeMap::from([("a".to_owned(), told)]), &journal, &output)
    }

    #[test]
    fn an_acknowledged_event_must_be_there() {
        assert_eq!(judge_one(Told::Acknowledged, None, true, "").len(), 1);
        assert!(judge_one(Told::Acknowledged, Some("committed"), false, "").is_empty());
        assert!(judge_one(Told::Acknowledged, Some("unknown"), false, "").is_empty());
    }

    #[test]
    fn what_was_rolled_back_or_lost_must_not_be_committed() {
        for told in [Told::RolledBack, Told::Lost] {
            assert_eq!(judge_one(told, Some("committed"), true, "").len(), 1);
            assert!(judge_one(told, Some("unknown"), true, "").is_empty());
        }
    }

    #[test]
    fn a_loss_must_be_told_of_in_the_journal_or_in_the_log() {
        assert_eq!(judge_one(Told::Lost, None, false, "").len(), 1);
        assert!(judge_one(Told::Lost, None, true, "").is_empty());
        assert!(judge_one(Told::Lost, None, false, "1 user events were lost").is_empty());
    }
}
