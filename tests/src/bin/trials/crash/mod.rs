//! Crash trials: load, kill, restart, audit.
//!
//! The oracle knows what clients saw, and nothing else: the tokens they were given, the users whose creation was confirmed, and, when all is
//! over, the users that exist.

mod plan;
mod tally;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::contest::{self, Contest};
use keyferry_tests::keycloak::Database;
use keyferry_tests::load::{Load, Requests};
use keyferry_tests::process;
use keyferry_tests::stage::Stage;
use keyferry_tests::{Error, Result, audit, wait};
use rustix::process::Signal;
use serde_json::json;

use self::plan::{Plan, Victim};
use self::tally::{Findings, Table};
use crate::seed::Seed;

const REALM: &str = "shop";
const WORKERS: usize = 4;
const LOAD_LIMIT: Duration = Duration::from_secs(180);
const AGENT_LIMIT: Duration = Duration::from_secs(90);
/// What an earlier life left may lie in other partitions and arrive after the end of the present one.
const REST_LIMIT: Duration = Duration::from_secs(60);
/// How long the load goes on when everything that was killed is on its way back.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// Each trial loads Keycloak, kills by seed (Keycloak's JVM, the agent, Kafka, JVM and agent, or all three; in every third trial twice), starts again
/// what it killed, and audits what Kafka holds. Fails where anything was lost or invented, a number is missing, or one was given to two events.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many trials.
    #[arg(long, default_value_t = 5)]
    trials: u32,
    #[command(flatten)]
    seed: Seed,
    /// Append one JSON object for each trial to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the trials on one Keycloak and one Kafka, and says whether everything held.
///
/// # Errors
/// Where a server does not come back.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let seed = arguments.seed.value();
    println!("{} crash trials, seed {seed}", arguments.trials);
    let mut stage = Stage::start(Database::Postgres)?;
    stage.admin.create_realm(REALM, &["kafka"])?;
    let mut table = Table::default();
    let outcome = run_each(arguments, seed, &mut stage, &mut table).inspect_err(|_| stage.keep());
    // What was found before a server failed counts all the same.
    println!("\n{table}");
    outcome.map(|()| table.holds())
}

fn run_each(arguments: &Arguments, seed: u64, stage: &mut Stage, table: &mut Table) -> Result<()> {
    let mut before = Findings::default();
    for number in 1..=arguments.trials {
        let plan = Plan::of(seed, number);
        let begin = Instant::now();
        let (trial, total) = attempt(stage, &plan, number, &before)?;
        before = total;
        println!(
            "trial {number:>3}  {:<26} {trial}  {:.1} s",
            plan.to_string(),
            begin.elapsed().as_secs_f64()
        );
        if !trial.holds() {
            stage.keep();
            println!("{}", trial.explanation());
        }
        if let Some(out) = &arguments.out {
            let mut line = trial.to_json();
            line["trial"] = json!(number);
            line["seed"] = json!(seed);
            line["kind"] = json!(plan.to_string());
            append(out, &line.to_string())?;
        }
        table.add(plan.kind(), trial);
    }
    Ok(())
}

fn append(path: &PathBuf, line: &str) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(path).map_err(Error::io("open", path))?;
    writeln!(file, "{line}").map_err(Error::io("write", path))
}

/// What clients saw in one trial.
struct Seen {
    requests: Requests,
    users: contest::Outcome,
}

/// One trial: its findings, and those over all trials so far.
fn attempt(stage: &mut Stage, plan: &Plan, number: u32, before: &Findings) -> Result<(Findings, Findings)> {
    let seen = load_and_kill(stage, plan, number)?;
    let total = judge(stage, &seen)?;
    Ok((total.since(before), total))
}

fn load_and_kill(stage: &mut Stage, plan: &Plan, number: u32) -> Result<Seen> {
    stage.keycloak.wait_for_agent(AGENT_LIMIT)?;
    let address = stage.keycloak.address();
    let load = Load::start(&address, REALM, WORKERS);
    let contest = Contest::start(&address, REALM, &format!("trial{number}"));
    load.wait_for_successes(plan.successes, LOAD_LIMIT)?;
    thread::sleep(plan.pause);
    strike(stage, plan.first)?;
    if let Some((delay, victim)) = plan.second {
        thread::sleep(delay);
        strike(stage, victim)?;
    }
    thread::sleep(AFTERWARDS);
    let seen = Seen { requests: load.finish(), users: contest.finish() };
    stage.kafka.wait_until_it_serves()?;
    stage.keycloak.wait_until_it_serves()?;
    Ok(seen)
}

/// Kills, and starts again what nobody else does. What is not running, because it was killed before, cannot be killed.
fn strike(stage: &mut Stage, victim: Victim) -> Result<()> {
    match victim {
        Victim::Agent => {
            if let Some(agent) = stage.keycloak.agent() {
                // It may end by itself at this very moment.
                let _ = process::signal(agent, Signal::KILL);
            }
            return Ok(());
        }
        Victim::Broker => stage.kafka.kill()?,
        Victim::Jvm => match stage.keycloak.java() {
            Ok(_) => stage.keycloak.kill()?,
            // It is still on its way to its first Java process.
            Err(_) => stage.keycloak.kill_with_agent()?,
        },
        Victim::JvmAndAgent => stage.keycloak.kill_with_agent()?,
        Victim::All => {
            stage.keycloak.kill_with_agent()?;
            stage.kafka.kill()?;
        }
    }
    if matches!(victim, Victim::Broker | Victim::All) {
        stage.kafka.launch()?;
    }
    if victim != Victim::Broker {
        stage.keycloak.launch()?;
    }
    Ok(())
}

/// Waits for everything that is still to come, and compares it with what clients saw.
fn judge(stage: &mut Stage, seen: &Seen) -> Result<Findings> {
    let mut records = match stage.settle() {
        // What has not come is a finding, and is found below.
        Err(Error::TooLate { .. }) => stage.read()?,
        settled => settled?,
    };
    let arrived = wait::try_until("the arrival of the rest", REST_LIMIT, || {
        records = stage.read()?;
        let missing = audit::lost(&seen.requests, &records).len() + missing_users(seen, &records).len();
        Ok((missing == 0 && audit::gaps(&records).is_empty()).then_some(()))
    });
    match arrived {
        Ok(()) | Err(Error::TooLate { .. }) => {}
        Err(error) => return Err(error),
    }
    let existing = contest::existing_users(&stage.admin, REALM)?;
    let repetition = audit::repetition(&records);
    let mut lost: Vec<String> =
        audit::lost(&seen.requests, &records).into_iter().map(str::to_owned).collect();
    lost.extend(missing_users(seen, &records));
    Ok(Findings {
        requests: seen.requests.tokens().count() + seen.users.created.len(),
        rolled_back: seen.users.refused,
        events: records.len(),
        lost,
        invented: audit::created_users(&records).difference(&existing).cloned().collect(),
        copies: repetition.copies,
        conflicts: repetition.conflicts,
        gaps: audit::gaps(&records).into_iter().collect(),
    })
}

/// Users whose creation a client saw succeed and nobody published.
fn missing_users(seen: &Seen, records: &[keyferry_tests::consumer::Record]) -> BTreeSet<String> {
    seen.users.created.difference(&audit::created_users(records)).cloned().collect()
}
