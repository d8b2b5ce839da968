//! The command line. One definition gives the parser, the help, the man pages and the completions.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use keyferry_config::ByteSize;
use keyferry_event::filter::Condition;
use keyferry_journal::Epoch;
use keyferry_kafka::consume::Begin;
use keyferry_server::model::{Compression, TunerProfile};

use crate::log::Format;

/// Carries every committed Keycloak event from the journal to Kafka.
#[derive(Debug, Parser)]
#[command(name = "keyferry", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ship a slot of the journal, or all of them, until told to stop (SIGTERM, SIGINT, or the end of the parent).
    ///
    /// An agent of one slot also ships, one after the other, slots beside it that nobody writes and nobody ships.
    ///
    /// Exit codes: 0 stopped in order, 64 usage or hand-over, 65 journal damaged or of a later version, 70 internal error,
    /// 73 the slot is served by another agent, 74 input/output error on the journal.
    Run(RunArguments),
    /// Look at a journal. Changes nothing, takes no lock, and may run beside Keycloak and the agent.
    ///
    /// Exit codes: 0 all is well, 1 damage was found (`check`), 2 the journal cannot be read (or the command line is wrong).
    Journal(JournalArguments),
    /// Read topics from their beginning to their present end and prove that nothing is missing, or name what is.
    ///
    /// Exit codes: 0 complete, 1 something is missing, doubly numbered or out of order (or there is nothing to verify),
    /// 2 the topics cannot be read (or the command line is wrong).
    Verify(VerifyArguments),
    /// Print the events in Kafka as they arrive, or from an earlier place on, and mark copies, events in doubt, and what is missing.
    ///
    /// Joins no consumer group and commits no offset. Exit codes: 0 ended as asked (also by Ctrl-C, or because nobody reads on), 2 the topics cannot
    /// be read (or the command line is wrong).
    Tail(TailArguments),
    /// Send delivered events again from what the journal has kept of them, with their ids and numbers and the header `ce_replay`.
    ///
    /// Changes nothing in the journal. Exit codes: 0 sent, 1 Kafka refused some for good, 2 not or not wholly sent (or the command line
    /// is wrong).
    Replay(ReplayArguments),
    /// Look at and decide on events whose transaction has no known outcome, and that are held because of that (`in-doubt = hold`).
    ///
    /// Exit codes: 0 done, 1 an id was not found, 2 the files cannot be read or written (or the command line is wrong).
    InDoubt(InDoubtArguments),
    /// Look at and decide on records that Kafka can never take where they belong, and that lie in the dead-letter file because of that.
    ///
    /// Exit codes: 0 done, 1 an id was not found or Kafka refused a record again, 2 the files cannot be read or written, or Kafka takes nothing (or the
    /// command line is wrong).
    DeadLetter(DeadLetterArguments),
    /// Tell what running agents do: of a journal, or of one slot. Without a running agent, what was written down last, and how old that is.
    ///
    /// Exit codes: 0 everything is delivered or on its way, 1 it is not or no agent runs, 2 an agent or a file cannot be read (or the
    /// command line is wrong).
    Status(StatusArguments),
    /// Watch a running agent: what it delivers and how fast, what waits, connections, decisions of the tuner, incidents.
    ///
    /// `q` ends it, arrows and Page Up/Down scroll. Exit codes: 0 ended as asked, 2 no agent answers, or there is no terminal (or the command line is wrong).
    Top(TopArguments),
    /// Show the circuit breakers of a running agent, or force them open or closed.
    ///
    /// What is forced stays so until `auto` or the end of the agent. Open loses nothing: the journal keeps the events.
    ///
    /// Exit codes: 0 shown or done, 1 the agent refuses it, 2 no agent answers (or the command line is wrong).
    Breaker(BreakerArguments),
    /// Show what the tuner of a running agent has set and why, freeze it, choose its profile, or set values by hand, until the end of the agent.
    ///
    /// Exit codes: 0 shown or done, 1 the agent refuses it, 2 no agent answers (or the command line is wrong).
    Tuner(TunerArguments),
    /// Show the connections of a running agent to Kafka, replace them, or change their number until the end of the agent.
    ///
    /// New connections take over when the old ones have delivered everything: the order of each key holds, and nothing is sent twice.
    ///
    /// Exit codes: 0 shown or done, 1 the agent refuses it, 2 no agent answers (or the command line is wrong).
    Pool(PoolArguments),
    /// Change from which level on a running agent logs, until it ends.
    ///
    /// Exit codes: 0 done, 1 the agent refuses it, 2 no agent answers (or the command line is wrong).
    Log(LogArguments),
    /// Show the configuration of a running agent, change it, compare versions, or go back to one.
    ///
    /// A change is judged, tried and committed as a whole, or refused with the reason; one that makes things worse is taken back by itself. What is set outlives the agent.
    ///
    /// Exit codes: 0 shown or done, 1 the agent refuses it, 2 no agent answers (or the command line is wrong).
    Config(ConfigArguments),
    /// Show what fires in a running agent, silence it, or test rules.
    ///
    /// Exit codes: 0 nothing fires, or done; 1 something fires (`ls`), a test fails, or the agent refuses it; 2 no agent answers, or a file cannot be
    /// read (or the command line is wrong).
    Alert(AlertArguments),
    /// Show the incidents of a running agent, or respond to one.
    ///
    /// Exit codes: 0 none is going on, or done; 1 one is going on (`ls`), or the agent refuses it; 2 no agent answers (or the command line is wrong).
    Incident(IncidentArguments),
    /// Check a configuration before it is used: every value, every key, every reference. Connects to nothing; `doctor` does.
    ///
    /// Exit codes: 0 it can be used (there may be warnings), 1 it cannot, 2 nothing can be printed (or the command line is wrong).
    Check(CheckArguments),
    /// Examine the whole way from Keycloak to Kafka, and say what is wrong and how it is mended: the first thing to run when something is.
    ///
    /// Looks at the provider, the configuration, the journal and its disk, the agent, the machine, and at each destination: names, connections, TLS, login, rights and topics.
    /// Changes nothing, and may run beside Keycloak and the agent; run it as their user, with the environment that they have.
    ///
    /// Exit codes: 0 no problem (there may be warnings), 1 a problem was found, 2 nothing can be printed (or the command line is wrong).
    Doctor(DoctorArguments),
    /// Measure how many events this machine journals and ships in a second, Kafka left out.
    ///
    /// Writes a journal of its own, ships it to nobody, and removes it.
    ///
    /// Exit codes: 0 measured, 2 the disk does not take the journal (or the command line or the configuration is wrong).
    Bench(BenchArguments),
    /// Print the completions of a shell.
    Completions(CompletionsArguments),
    /// Print the manual page, or write those of all commands into a directory.
    Man(ManArguments),
}

/// The arguments of `keyferry status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR", env = "KEYFERRY_JOURNAL_DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Look again every second, until interrupted.
    #[arg(long)]
    pub watch: bool,
}

/// What of a running agent is looked at or changed.
#[derive(Args, Debug)]
pub struct AspectArguments {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Only this destination. Needed for a change where there are several.
    #[arg(long, value_name = "NAME", global = true)]
    pub destination: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The arguments of `keyferry breaker`.
#[derive(Args, Debug)]
pub struct BreakerArguments {
    /// Which breakers.
    #[command(flatten)]
    pub aspect: AspectArguments,
    /// What to do. Default: show them.
    #[arg(value_name = "ORDER", value_enum)]
    pub order: Option<BreakerOrder>,
}

/// What a circuit breaker can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BreakerOrder {
    /// Send nothing.
    Open,
    /// Send everything, and let nothing trip it.
    Close,
    /// Decide by itself again.
    Auto,
}

/// The arguments of `keyferry tuner`.
#[derive(Args, Debug)]
pub struct TunerArguments {
    /// Which tuners.
    #[command(flatten)]
    pub aspect: AspectArguments,
    /// What to do. Default: show them.
    #[command(subcommand)]
    pub order: Option<TunerOrder>,
}

/// What a tuner can be ordered.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TunerOrder {
    /// Leave everything as it is set now.
    Freeze,
    /// Go on.
    Unfreeze,
    /// Strive for something else.
    Profile {
        /// For what.
        #[arg(value_name = "PROFILE", value_parser = profile_parser())]
        profile: TunerProfile,
    },
    /// Set values by hand, in place of all that were set by hand before. They hold before configuration and tuner.
    #[command(group(ArgGroup::new("values").required(true).multiple(true)))]
    Override {
        /// The largest batch.
        #[arg(long, value_name = "SIZE", value_parser = parse_size, group = "values")]
        batch_size: Option<ByteSize>,
        /// How long a batch waits to be filled.
        #[arg(long, value_name = "DURATION", value_parser = parse_duration, group = "values")]
        linger: Option<Duration>,
        /// How batches are compressed.
        #[arg(long, value_name = "CODEC", value_parser = compression_parser(), group = "values")]
        compression: Option<Compression>,
        /// Requests on their way on one connection.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5), group = "values")]
        max_in_flight: Option<u8>,
        /// Connections.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), group = "values")]
        connections: Option<u32>,
    },
    /// Give everything that was set by hand back to configuration and tuner.
    Release,
}

fn parse_size(text: &str) -> Result<ByteSize, String> {
    ByteSize::parse(text)
        .ok_or_else(|| "give a number of bytes, or with a unit such as 64KiB or 1MiB".to_owned())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    keyferry_config::units::parse_duration(text)
        .ok_or_else(|| "give a number with a unit, such as 0ms, 5ms or 1s".to_owned())
}

fn compression_parser() -> impl TypedValueParser<Value = Compression> {
    PossibleValuesParser::new(Compression::WORDS).try_map(|word| word.parse())
}

fn profile_parser() -> impl TypedValueParser<Value = TunerProfile> {
    PossibleValuesParser::new(TunerProfile::WORDS).try_map(|word| word.parse())
}

/// The arguments of `keyferry pool`.
#[derive(Args, Debug)]
pub struct PoolArguments {
    /// Which connections.
    #[command(flatten)]
    pub aspect: AspectArguments,
    /// What to do. Default: show them.
    #[command(subcommand)]
    pub order: Option<PoolOrder>,
}

/// What a pool can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum PoolOrder {
    /// Replace the connections by new ones.
    Reconnect,
    /// Have another number of connections, within the configured limits.
    Resize {
        /// How many.
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        connections: u32,
    },
}

/// The arguments of `keyferry log`.
#[derive(Args, Debug)]
pub struct LogArguments {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[arg(value_name = "LEVEL")]
    pub level: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `keyferry config`.
#[derive(Args, Debug)]
pub struct ConfigArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What `keyferry config` can do.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show what is configured, and where each value comes from. Secrets are redacted.
    Show {
        /// Of which agent.
        #[command(flatten)]
        of: ConfigOf,
        /// Also values that have their defaults.
        #[arg(long)]
        all: bool,
    },
    /// Change values while the agent runs.
    #[command(group(ArgGroup::new("changes").required(true).multiple(true)))]
    Set {
        /// Of which agent.
        #[command(flatten)]
        of: ConfigOf,
        /// Keys as in the configuration file, such as `destination.delivery.linger=20ms`; a secret by a reference only.
        #[arg(value_name = "KEY=VALUE", value_parser = parse_property, group = "changes")]
        values: Vec<(String, String)>,
        /// Have back what the file, the environment or Keycloak say of this key. May be repeated.
        #[arg(long, value_name = "KEY", group = "changes")]
        unset: Vec<String>,
        /// On all nodes that follow the same topic (`config.topic`), each of which decides by itself; `keyferry config nodes` tells what they run.
        #[arg(long)]
        all_nodes: bool,
        /// How.
        #[command(flatten)]
        how: ConfigHow,
    },
    /// Show what each node runs, and whether that is what was set for all of them.
    Nodes {
        /// By which agent; any of them knows.
        #[command(flatten)]
        of: ConfigOf,
    },
    /// Show in which values one version differs from another.
    Diff {
        /// Of which agent.
        #[command(flatten)]
        of: ConfigOf,
        /// The one. Default: the version before the other.
        #[arg(value_name = "FROM")]
        from: Option<u64>,
        /// The other. Default: the one that runs.
        #[arg(value_name = "TO")]
        to: Option<u64>,
    },
    /// List the versions that are kept, the latest first.
    History {
        /// Of which agent.
        #[command(flatten)]
        of: ConfigOf,
    },
    /// Have back what an earlier version said. That is a version of its own.
    Rollback {
        /// Of which agent.
        #[command(flatten)]
        of: ConfigOf,
        /// Which.
        #[arg(value_name = "VERSION")]
        version: u64,
        /// How.
        #[command(flatten)]
        how: ConfigHow,
    },
}

/// Whose configuration it is, and how to print.
#[derive(Args, Debug)]
pub struct ConfigOf {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// How a configuration is changed.
#[derive(Args, Debug)]
pub struct ConfigHow {
    /// Only if the version with this hash runs.
    #[arg(long, value_name = "HASH")]
    pub expect: Option<String>,
    /// Only tell what would be done.
    #[arg(long)]
    pub dry_run: bool,
}

/// The arguments of `keyferry alert`.
#[derive(Args, Debug)]
pub struct AlertArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: AlertCommand,
}

/// What `keyferry alert` can do.
#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// List what fires or may soon, and how the channels do.
    Ls {
        /// A journal directory, or one slot of it.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Keep notices of certain alerts back for a while.
    Silence(SilenceArguments),
    /// List silences.
    Silences {
        /// A journal directory, or one slot of it.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a silence.
    Unsilence {
        /// A journal directory, or one slot of it.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Test rules: series over time, and which alerts fire when. Needs no agent.
    Test {
        /// The tests (TOML, docs/alerts.md).
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// The arguments of `keyferry alert silence`.
#[derive(Args, Debug)]
pub struct SilenceArguments {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// What a label must be: a value, alternatives (`a|b`) or a beginning (`a*`). May be repeated.
    #[arg(long = "match", value_name = "LABEL=VALUE", required = true, value_parser = parse_property)]
    pub matchers: Vec<(String, String)>,
    /// For how long, such as `2h`.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub duration: std::time::Duration,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub comment: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `keyferry incident`.
#[derive(Args, Debug)]
pub struct IncidentArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: IncidentCommand,
}

/// Which incident.
#[derive(Args, Debug)]
pub struct OneIncident {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// What it is called, such as `inc-1`.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `keyferry incident` can do.
#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// List all that are kept, the latest first.
    Ls {
        /// A journal directory, or one slot of it.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what happened.
    Show {
        /// Which.
        #[command(flatten)]
        incident: OneIncident,
    },
    /// Take care of it: nobody else is called.
    Ack {
        /// Which.
        #[command(flatten)]
        incident: OneIncident,
    },
    /// Declare it over.
    Resolve {
        /// Which.
        #[command(flatten)]
        incident: OneIncident,
    },
    /// Do something about it, and look half a minute later whether it has helped.
    Remediate {
        /// Which.
        #[command(flatten)]
        incident: OneIncident,
        /// What: `reconnect`, `reload_credentials`, `open_breaker`, `close_breaker`, `reset_breaker` or `tuner_profile=PROFILE`.
        #[arg(long, value_name = "ACTION")]
        action: String,
    },
    /// Print what is to be read of it afterwards, in Markdown.
    Report {
        /// Which.
        #[command(flatten)]
        incident: OneIncident,
    },
}

/// The arguments of `keyferry check`.
#[derive(Args, Debug)]
pub struct CheckArguments {
    /// The agent's configuration file (TOML). Default: the environment alone.
    #[arg(value_name = "FILE", env = "KEYFERRY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where Keycloak is, for the options in its `conf/keycloak.conf`. Default: `/opt/keycloak`, if it is there.
    #[arg(long, value_name = "DIR", env = "KC_HOME")]
    pub keycloak: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `keyferry doctor`.
#[derive(Args, Debug)]
pub struct DoctorArguments {
    /// A journal directory, or one slot of it. Default: that of the configuration, or of Keycloak's data directory.
    #[arg(value_name = "DIR", env = "KEYFERRY_JOURNAL_DIR")]
    pub directory: Option<PathBuf>,
    /// Where Keycloak is, for its provider and the options in its `conf/keycloak.conf`. Default: `/opt/keycloak`, if it is there.
    #[arg(long, value_name = "DIR", env = "KC_HOME")]
    pub keycloak: Option<PathBuf>,
    /// The agent's configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "KEYFERRY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Send a record to this topic and wait for its acknowledgement. One whose `message.timestamp.type` is `LogAppendTime` tells the broker's time as well.
    #[arg(long, value_name = "TOPIC")]
    pub probe_topic: Option<String>,
    /// How long each check may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// The directory whose `proc` and `sys` tell of the machine.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
    /// Print JSON, one finding a line.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `keyferry bench`.
#[derive(Args, Debug)]
pub struct BenchArguments {
    /// Where to write: a directory on the disk that is to be measured. Default: that for temporary files.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// How many events.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// How much larger than it has to be each is.
    #[arg(long, value_name = "SIZE", default_value = "500B", value_parser = parse_size)]
    pub size: ByteSize,
    /// A configuration file (TOML): what its first destination filters, redacts and adds is done. Default: nothing is.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `keyferry completions`.
#[derive(Args, Debug)]
pub struct CompletionsArguments {
    /// Which shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// The arguments of `keyferry man`.
#[derive(Args, Debug)]
pub struct ManArguments {
    /// Where to write the pages. Default: print that of `keyferry` itself.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// The arguments of `keyferry dead-letter`.
#[derive(Args, Debug)]
pub struct DeadLetterArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: DeadLetterCommand,
}

/// What `keyferry dead-letter` can do.
#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// List dead letters, one line each, with their causes.
    Ls(LookAtLetters),
    /// Print all of a dead letter: cause, key, headers and value.
    Show(ChosenLetters),
    /// Send dead letters to the topics that they were for, and take out those that Kafka takes now.
    ///
    /// They carry the same id, number, key, headers and value, and the header `ce_replay`, because they come out of their order.
    Retry(RetryArguments),
    /// Give dead letters up.
    Drop(ChosenLetters),
}

/// Where the dead letters lie, and how to print.
#[derive(Args, Debug)]
pub struct LookAtLetters {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR", env = "KEYFERRY_JOURNAL_DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Only those of this destination.
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Which dead letters.
#[derive(Args, Debug)]
pub struct WhichLetters {
    /// The one with this id, its own or that of its event. May be repeated.
    #[arg(long = "id", value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// All of them.
    #[arg(long)]
    pub all: bool,
}

/// Certain dead letters.
#[derive(Args, Debug)]
pub struct ChosenLetters {
    /// Where they lie.
    #[command(flatten)]
    pub look: LookAtLetters,
    /// Which they are.
    #[command(flatten)]
    pub which: WhichLetters,
}

/// The arguments of `keyferry dead-letter retry`.
#[derive(Args, Debug)]
pub struct RetryArguments {
    /// What to send.
    #[command(flatten)]
    pub chosen: ChosenLetters,
    /// How to get to Kafka.
    #[command(flatten)]
    pub connection: ConnectionArguments,
}

/// The arguments of `keyferry in-doubt`.
#[derive(Args, Debug)]
pub struct InDoubtArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: InDoubtCommand,
}

/// What `keyferry in-doubt` can do.
#[derive(Debug, Subcommand)]
pub enum InDoubtCommand {
    /// List what is held.
    Ls(LookArguments),
    /// Publish events with the outcome `unknown`: they are written into the journal, and an agent ships them.
    Publish(DecideArguments),
    /// Give events up.
    Drop(DecideArguments),
}

/// Which held events are decided on.
#[derive(Args, Debug)]
pub struct DecideArguments {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR", env = "KEYFERRY_JOURNAL_DIR", default_value = ".")]
    pub directory: PathBuf,
    /// The event with this id. May be repeated.
    #[arg(long = "id", value_name = "EVENT_ID", required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// Everything that is held.
    #[arg(long)]
    pub all: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `keyferry journal`.
#[derive(Args, Debug)]
pub struct JournalArguments {
    /// The archive to which segments were moved (`journal.archive_directory`): they are read with the journal.
    #[arg(long, value_name = "DIR", env = "KEYFERRY_JOURNAL_ARCHIVE_DIRECTORY", global = true)]
    pub archive: Option<PathBuf>,
    /// What to look at.
    #[command(subcommand)]
    pub command: JournalCommand,
}

/// What `keyferry journal` can show.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// List slots and segments: who writes, who ships, how far each destination has got.
    ///
    /// Looks at the beginning and end of each segment only; `check` reads everything.
    Ls(LookArguments),
    /// Print events, one line each, in the order of their commits, with what is missing or wrong between them.
    Cat(CatArguments),
    /// Read everything and explain what is damaged, in words and offsets.
    ///
    /// Exit codes: 0 clean (a torn tail after a crash is normal), 1 damage found, 2 the journal cannot be read.
    Check(LookArguments),
    /// Count records, transactions and events.
    Stats(LookArguments),
}

/// Which journal, and how to print.
#[derive(Args, Debug)]
pub struct LookArguments {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR", env = "KEYFERRY_JOURNAL_DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `keyferry journal cat`.
#[derive(Args, Debug)]
pub struct CatArguments {
    /// Which journal.
    #[command(flatten)]
    pub look: LookArguments,
    /// Print the raw records with their offsets, also of transactions that were rolled back or are still open.
    #[arg(long, conflicts_with_all = ["types", "user", "from", "to", "outcome"])]
    pub records: bool,
    /// Only this epoch (16 hexadecimal digits).
    #[arg(long, value_name = "EPOCH")]
    pub epoch: Option<Epoch>,
    /// Only events of this type (`LOGIN`) or operation (`CREATE`). May be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Only events that concern this user, or that this administrator caused (a user id).
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Only events of this time or later (RFC 3339, such as `2026-01-31T03:00:00Z`).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<u64>,
    /// Only events before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: Option<u64>,
    /// Only transactions with this outcome.
    #[arg(long, value_enum)]
    pub outcome: Option<OutcomeFilter>,
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutcomeFilter {
    /// It committed.
    Committed,
    /// Keycloak died before it was written.
    Unknown,
}

/// Milliseconds since the Unix epoch of an RFC 3339 time in UTC.
fn parse_time(text: &str) -> Result<u64, String> {
    let time = humantime::parse_rfc3339_weak(text)
        .map_err(|error| format!("{error}; write 2026-01-31T03:00:00Z"))?;
    let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| "before 1970".to_owned())?;
    u64::try_from(since.as_millis()).map_err(|error| error.to_string())
}

/// How to get to Kafka.
#[derive(Args, Debug)]
pub struct ConnectionArguments {
    /// The Kafka servers (`host:port,…`). Default: those of the configuration and the environment.
    #[arg(long, value_name = "SERVERS")]
    pub bootstrap_servers: Option<String>,
    /// A property of librdkafka's, such as `security.protocol=ssl`. Stronger than the configuration. May be repeated.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = parse_property)]
    pub properties: Vec<(String, String)>,
    /// The agent's configuration file (TOML), for servers, security and topics.
    #[arg(long, value_name = "FILE", env = "KEYFERRY_CONFIG")]
    pub config: Option<PathBuf>,
    /// How long Kafka may be silent before it is given up, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

/// Which topics are read.
#[derive(Args, Debug)]
pub struct TopicsArguments {
    /// A topic to read. Sequence numbers run over all topics of a destination, so name all of them. Default: those of the configuration.
    #[arg(long = "topic", value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// The destination of the configuration whose servers and topics are meant. Default: the first.
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// How to get to Kafka.
    #[command(flatten)]
    pub connection: ConnectionArguments,
}

/// The arguments of `keyferry verify`.
#[derive(Args, Debug)]
pub struct VerifyArguments {
    /// What to read.
    #[command(flatten)]
    pub topics: TopicsArguments,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `keyferry tail`.
#[derive(Args, Debug)]
pub struct TailArguments {
    /// What to read.
    #[command(flatten)]
    pub topics: TopicsArguments,
    /// Where to begin in each partition: `beginning`, `end`, so many records before the end (`10`), a time (`2026-01-31T03:00:00Z`), or so long
    /// ago (`15m`). Default: `end`, or with `--until-end` `beginning`.
    #[arg(long, value_name = "PLACE", value_parser = parse_from)]
    pub from: Option<Begin>,
    /// End after what is the last record now, instead of waiting for more.
    #[arg(long)]
    pub until_end: bool,
    /// End after so many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Only events for which this holds, such as `type == "LOGIN_ERROR" && details.username ~ "adm*"` (docs/events.md). Gap records are always told.
    #[arg(long, value_name = "EXPRESSION", value_parser = parse_condition)]
    pub filter: Option<Condition>,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub json: bool,
}

fn parse_condition(text: &str) -> Result<Condition, String> {
    text.parse().map_err(|error: keyferry_event::filter::IllegalFilter| error.to_string())
}

/// A place in a partition, as people name it.
fn parse_from(text: &str) -> Result<Begin, String> {
    let ago = |duration: Duration| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Begin::Time(u64::try_from(now.saturating_sub(duration).as_millis()).unwrap_or(u64::MAX))
    };
    match text {
        "beginning" => return Ok(Begin::First),
        "end" => return Ok(Begin::End),
        _ => {}
    }
    let last = text.parse().ok().map(Begin::Last);
    let time = || parse_time(text).ok().map(Begin::Time);
    let since = || humantime::parse_duration(text).ok().map(ago);
    last.or_else(time).or_else(since).ok_or_else(|| {
        "write `beginning`, `end`, a number of records before the end (10), a time (2026-01-31T03:00:00Z) or how long ago (15m)".to_owned()
    })
}

/// The arguments of `keyferry top`.
#[derive(Args, Debug)]
pub struct TopArguments {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR", env = "KEYFERRY_JOURNAL_DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Print what there is to see now, and end: for a terminal that is none, and for scripts.
    #[arg(long)]
    pub once: bool,
    /// Print JSON, one object a second, or one with `--once`.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `keyferry replay`.
#[derive(Args, Debug)]
pub struct ReplayArguments {
    /// A journal directory, or one slot of it.
    #[arg(value_name = "DIR", env = "KEYFERRY_JOURNAL_DIR", default_value = ".")]
    pub directory: PathBuf,
    /// The archive to which segments were moved. Default: `journal.archive_directory` of the configuration.
    #[arg(long, value_name = "DIR")]
    pub archive: Option<PathBuf>,
    /// Events of this time or later (RFC 3339, such as `2026-01-31T03:00:00Z`).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: u64,
    /// Events before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: u64,
    /// Only events with this: `type=LOGIN`, `realm=master` or `user=ID`. May be repeated: one of each name must hold.
    #[arg(long = "filter", value_name = "NAME=VALUE", value_parser = parse_filter)]
    pub filters: Vec<Filter>,
    /// The topic to send to. Default: the configured topics, where the records were sent first.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// The destination that they were sent to, and are sent to again. Default: the first of the configuration.
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// Count what would be sent, and send nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// How to get to Kafka.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Something that an event must have to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The type (`LOGIN`), or the operation of an admin event (`CREATE`).
    Type(String),
    /// The realm's name or id.
    Realm(String),
    /// The user whom it concerns, or the administrator who acted.
    User(String),
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    let (name, value) = parse_property(text)?;
    match name.as_str() {
        "type" => Ok(Filter::Type(value)),
        "realm" => Ok(Filter::Realm(value)),
        "user" => Ok(Filter::User(value)),
        _ => Err("write type=…, realm=… or user=…".to_owned()),
    }
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// The arguments of `keyferry run`.
#[derive(Args, Debug)]
pub struct RunArguments {
    /// Run as the child of the Keycloak provider: slot and options arrive as one line on standard input, whose end means stop.
    #[arg(long, conflicts_with_all = ["slot", "journal"])]
    pub child: bool,
    /// The slot directory to ship, such as `/opt/keycloak/data/keyferry/slot-0`.
    #[arg(long, value_name = "DIR")]
    pub slot: Option<PathBuf>,
    /// The journal directory all of whose slots to ship, as they appear: for an agent beside Keycloak (a sidecar, a service). Default:
    /// the configuration's `journal.dir`.
    #[arg(long, value_name = "DIR", conflicts_with = "slot")]
    pub journal: Option<PathBuf>,
    /// The configuration file (TOML). Without it, defaults and the environment.
    #[arg(long, value_name = "FILE", env = "KEYFERRY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where records go.
    #[arg(long, value_enum, default_value_t = SinkKind::Kafka)]
    pub sink: SinkKind,
    /// Print records instead of shipping them, and leave no checkpoint: the same as `--sink stdout`.
    #[arg(long)]
    pub dry_run: bool,
    /// How the log on standard error looks. Default: `json` for a child, else `text`.
    #[arg(long, value_enum)]
    pub log_format: Option<Format>,
}

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SinkKind {
    /// To Kafka.
    Kafka,
    /// To standard output, one JSON object a record, without touching the checkpoint.
    Stdout,
}

impl RunArguments {
    /// The format of the log.
    pub fn log_format(&self) -> Format {
        self.log_format.unwrap_or(if self.child { Format::Json } else { Format::Text })
    }

    /// Where records go.
    pub fn sink(&self) -> SinkKind {
        if self.dry_run { SinkKind::Stdout } else { self.sink }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_decision_is_about_some_events_or_all() {
        let parsed =
            |words: &[&str]| Cli::try_parse_from([&["keyferry", "in-doubt", "drop"], words].concat()).is_ok();
        assert!(parsed(&["--all"]) && parsed(&["--id", "a", "--id", "b", "dir"]));
        assert!(!parsed(&[]) && !parsed(&["--all", "--id", "a"]));
    }

    #[test]
    fn an_aspect_is_shown_unless_an_order_is_given() {
        let parse =
            |words: &[&str]| Cli::try_parse_from([&["keyferry"], words].concat()).map(|cli| cli.command);
        let Ok(Command::Breaker(breaker)) = parse(&["breaker", "dir"]) else { panic!("no breaker") };
        assert_eq!((breaker.order, breaker.aspect.directory), (None, PathBuf::from("dir")));
        let Ok(Command::Breaker(breaker)) = parse(&["breaker", "dir", "open", "--destination", "siem"])
        else {
            panic!("no breaker")
        };
        assert_eq!(breaker.order, Some(BreakerOrder::Open));
        let Ok(Command::Tuner(tuner)) =
            parse(&["tuner", "dir", "profile", "latency", "--destination", "siem"])
        else {
            panic!("no tuner")
        };
        assert_eq!(tuner.order, Some(TunerOrder::Profile { profile: TunerProfile::Latency }));
        assert_eq!(tuner.aspect.destination.as_deref(), Some("siem"));
        assert!(parse(&["tuner", "dir", "profile", "fast"]).is_err());
        assert!(parse(&["pool", "dir", "resize", "0"]).is_err());
        assert!(parse(&["breaker", "open"]).is_ok_and(|command| {
            matches!(command, Command::Breaker(BreakerArguments { order: None, .. }))
        }));
    }

    #[test]
    fn a_filter_has_a_known_name() {
        assert_eq!(parse_filter("type=LOGIN"), Ok(Filter::Type("LOGIN".to_owned())));
        assert!(parse_filter("colour=red").is_err() && parse_filter("type").is_err());
    }

    #[test]
    fn a_place_is_named_as_people_do() {
        assert_eq!(parse_from("beginning"), Ok(Begin::First));
        assert_eq!(parse_from("10"), Ok(Begin::Last(10)));
        assert_eq!(parse_from("1970-01-01T00:00:01Z"), Ok(Begin::Time(1000)));
        let Ok(Begin::Time(quarter)) = parse_from("15m") else { panic!("no time") };
        let Ok(Begin::Time(half)) = parse_from("30m") else { panic!("no time") };
        assert_eq!((quarter - half + 30_000) / 60_000, 15);
        assert!(parse_from("yesterday").is_err() && parse_from("-3").is_err());
    }

    #[test]
    fn a_run_is_of_one_thing() {
        assert!(Cli::try_parse_from(["keyferry", "run", "--child", "--slot", "x"]).is_err());
        assert!(Cli::try_parse_from(["keyferry", "run", "--slot", "x", "--journal", "y"]).is_err());
        assert!(Cli::try_parse_from(["keyferry", "run", "--slot", "x"]).is_ok());
        assert!(Cli::try_parse_from(["keyferry", "run", "--journal", "y"]).is_ok());
        assert!(Cli::try_parse_from(["keyferry", "run", "--child"]).is_ok());
    }
}
