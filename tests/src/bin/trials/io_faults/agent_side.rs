//! The agent under faults.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::agent::Agent;
use keyferry_tests::consumer::{Consumer, Record};
use keyferry_tests::journal::Journal;
use keyferry_tests::kafka::Kafka;
use keyferry_tests::{Error, Result, audit, log, wait};

use super::Verdict;
use super::fault::{self, Calls, Fault, ShortCall, Shortener};

/// Small, so that the agent opens and deletes many.
const SEGMENT: u64 = 4096;
/// How much is written before the run with the fault, and after it, in transactions.
const PORTIONS: [u64; 2] = [60, 20];
/// How long an agent that meets a fault may go on before it is stopped.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(30);
/// How many segments a case has at most.
const SEGMENTS: u32 = 40;
/// How long the agent without a fault may take.
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);
/// The exit codes that `docs/provider-agent.md` lists.
const DOCUMENTED: [i32; 6] = [0, 64, 65, 70, 73, 74];

/// Everything that the cases share.
#[derive(Debug)]
pub struct AgentSide<'a> {
    executable: PathBuf,
    kafka: &'a Kafka,
    directory: PathBuf,
    /// The names of the files that the agent uses beside segments.
    names: Vec<String>,
    calls: Calls,
    shortener: Shortener,
}

/// What one worker delivers to: a topic of its own, so that it reads nobody else's records.
pub struct Delivery<'a> {
    side: &'a AgentSide<'a>,
    topic: String,
    records: Consumer,
}

/// A journal that is still written, and its agent.
struct Case {
    journal: Journal,
    agent: Agent,
    trace: PathBuf,
    place: PathBuf,
}

impl<'a> AgentSide<'a> {
    /// Counts the agent's system calls.
    ///
    /// # Errors
    /// Where it does not deliver without faults.
    pub fn prepare(
        executable: &Path,
        kafka: &'a Kafka,
        directory: &Path,
        shortener: Shortener,
    ) -> Result<Self> {
        let names = ["lock", "agent.lock", "status.json", "status.json.tmp"].map(str::to_owned);
        let mut side = Self {
            executable: executable.to_owned(),
            kafka,
            directory: directory.to_owned(),
            names: names.into(),
            calls: Calls::default(),
            shortener,
        };
        let names = side.delivery("calibration-1")?.names_of_files()?;
        side.names.extend(names);
        let calls = side.delivery("calibration-2")?.count_calls()?;
        side.calls = calls;
        Ok(side)
    }

    /// How often the agent makes each system call on the slot.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// A fault for the agent.
    pub fn fault(&self, random: &mut fastrand::Rng) -> Fault {
        match random.u8(..8) {
            0 => self.short(ShortCall::Read, random),
            1 => self.short(ShortCall::WriteAt, random),
            _ => self.calls.failure(random),
        }
    }

    fn short(&self, call: ShortCall, random: &mut fastrand::Rng) -> Fault {
        Fault::Short { call, percent: random.u8(10..=100), by: self.shortener.clone() }
    }

    /// What a worker needs.
    ///
    /// # Errors
    /// Where its topic cannot be created.
    pub fn delivery(&self, worker: &str) -> Result<Delivery<'_>> {
        let topic = format!("events-of-{worker}");
        self.kafka.create_topic(&topic, 2)?;
        let records = Consumer::new(&self.kafka.bootstrap_servers(), &topic)?;
        Ok(Delivery { side: self, topic, records })
    }
}

impl Delivery<'_> {
    /// Runs the agent under a fault, then without, and judges what it delivered.
    ///
    /// # Errors
    /// Where the harness itself fails.
    pub fn attempt(&mut self, number: u32, fault: &Fault) -> Result<Verdict> {
        let mut case = self.begin(&format!("case-{number}"))?;
        let wrapper = fault.wrapper(&self.paths(&case), &case.trace);
        let (status, mut wrong) = self.run_with_fault(&mut case, &wrapper)?;
        let met = fault.was_met(&case.trace);
        let place = case.place.clone();
        wrong.extend(self.finish(case)?);
        if wrong.is_empty() {
            fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?;
        }
        let end = status.code().map_or("a signal".to_owned(), |code| format!("exit {code}"));
        Ok(Verdict { end, met, wrong })
    }

    fn begin(&self, name: &str) -> Result<Case> {
        let place = self.side.directory.join(name);
        fs::create_dir_all(&place).map_err(Error::io("create", &place))?;
        let mut journal = Journal::begin(&place.join("journal"), name, SEGMENT)?;
        journal.write(PORTIONS[0])?;
        let servers = self.side.kafka.bootstrap_servers();
        let topics = [self.topic.as_str(); 2];
        let agent = Agent::new(&self.side.executable, &place, journal.slot(), &servers, topics)?;
        Ok(Case { journal, agent, trace: place.join("trace"), place })
    }

    /// Every path that the agent uses in the slot.
    fn paths(&self, case: &Case) -> Vec<PathBuf> {
        let slot = case.journal.slot();
        let segments = (0..SEGMENTS).map(|number| slot.join(case.journal.segment(number)));
        let others = self.side.names.iter().map(|name| slot.join(name));
        segments.chain(others).chain([slot.to_owned()]).collect()
    }

    /// Lets the agent run until it has delivered, ended, or had enough time, and says how it ended and what is wrong with that.
    fn run_with_fault(&mut self, case: &mut Case, wrapper: &[String]) -> Result<(ExitStatus, Vec<String>)> {
        case.agent.start_below(wrapper)?;
        let begin = Instant::now();
        while case.agent.ended()?.is_none() && begin.elapsed() < PATIENCE && !self.is_delivered(case)? {
            thread::sleep(POLL);
        }
        let status = case.agent.stop()?;
        let mut wrong = Vec::new();
        match status.code() {
            Some(0) => {}
            Some(code) if DOCUMENTED.contains(&code) => {
                if log::lines_with(case.agent.log(), "ERROR").is_empty() {
                    wrong.push(format!("the agent ended with {code} and without a word"));
                }
            }
            _ => wrong.push(format!("the agent ended with {status}: {}", log::tail(case.agent.log()))),
        }
        Ok((status, wrong))
    }

    /// Writes the rest, runs the agent without a fault, and says what is wrong with all that was delivered.
    fn finish(&mut self, mut case: Case) -> Result<Vec<String>> {
        case.journal.write(PORTIONS[1])?;
        case.agent.start()?;
        let mut wrong = Vec::new();
        let delivered = wait::try_until("the delivery of everything", DELIVERY_LIMIT, || {
            Ok((self.is_delivered(&case)? || case.agent.ended()?.is_some()).then_some(()))
        });
        if let Err(error) = delivered {
            wrong.push(error.with_log(case.agent.log()).to_string());
        }
        let status = case.agent.stop()?;
        if !status.success() {
            wrong.push(format!(
                "without a fault the agent ended with {status}: {}",
                log::tail(case.agent.log())
            ));
        }
        let records = self.records_of(&case)?;
        wrong.extend(case.journal.written().judge(&records));
        wrong.extend(audit::repetition(&records).conflicts);
        wrong.extend(
            audit::gaps(&records).values().map(|numbers| format!("numbers are missing: {numbers:?}")),
        );
        Ok(wrong)
    }

    fn is_delivered(&mut self, case: &Case) -> Result<bool> {
        Ok(audit::distinct(&self.records_of(case)?) >= case.journal.written().committed())
    }

    fn records_of(&mut self, case: &Case) -> Result<Vec<Record>> {
        let epoch = case.journal.epoch();
        let records = self.records.read()?;
        Ok(records.iter().filter(|record| record.header("ce_epoch") == epoch).cloned().collect())
    }

    /// The names of what the agent leaves in a slot beside segments, and those under which it may write them first.
    fn names_of_files(&mut self) -> Result<Vec<String>> {
        let mut case = self.begin("names")?;
        self.run_with_fault(&mut case, &[])?;
        let slot = case.journal.slot().to_owned();
        let entries = fs::read_dir(&slot).map_err(Error::io("read", &slot))?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let others: Vec<String> = names.filter(|name| !name.ends_with(".kfj")).collect();
        Self::require(&self.finish(case)?)?;
        Ok(others.into_iter().flat_map(|name| [format!("{name}.tmp"), name]).collect())
    }

    fn count_calls(&mut self) -> Result<Calls> {
        let mut case = self.begin("calls")?;
        let wrapper = fault::tracer(&self.paths(&case), &case.trace);
        let (_, wrong) = self.run_with_fault(&mut case, &wrapper)?;
        Self::require(&wrong)?;
        let calls = Calls::of(&case.trace)?;
        Self::require(&self.finish(case)?)?;
        Ok(calls)
    }

    fn require(wrong: &[String]) -> Result<()> {
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::Missing(format!("the agent fails without a fault: {}", wrong.join("; "))))
    }
}
