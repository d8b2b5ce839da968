//! Every command: that it has a test of its own, that it prints JSON, and what it prints for people.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use support::running::{Agent, NOWHERE, agent_of, begin, cluster, commit, status, until};
use support::{all_commands, help, keyferry, transcript};

/// Where each command is tested as a whole, by the path from the root of the project and the name of the test. The parts of a command that is looked at without an order are tested with it.
const TESTED: &[(&str, &str, &str)] = &[
    ("run", DEAD_LETTERS, "the_log_names_the_trace_of_what_is_refused"),
    ("journal ls", JOURNAL, "each_vector_is_listed_and_checked"),
    ("journal cat", JOURNAL, "each_tool_prints_text_and_json"),
    ("journal check", JOURNAL, "each_vector_is_listed_and_checked"),
    ("journal stats", JOURNAL, "each_tool_prints_text_and_json"),
    ("verify", "crates/keyferry/tests/verify.rs", "topics_that_have_everything_are_complete"),
    ("replay", REPLAY, "what_was_delivered_is_sent_again_as_it_was_with_the_mark_of_a_replay"),
    ("in-doubt ls", IN_DOUBT, HELD),
    ("in-doubt publish", IN_DOUBT, HELD),
    ("in-doubt drop", IN_DOUBT, HELD),
    ("dead-letter ls", DEAD_LETTERS, REFUSED),
    ("dead-letter show", DEAD_LETTERS, REFUSED),
    ("dead-letter retry", DEAD_LETTERS, REFUSED),
    ("dead-letter drop", DEAD_LETTERS, "some_are_dropped_and_an_unknown_id_is_said"),
    ("status", CONTROL, "a_destination_that_does_not_answer_is_told_with_the_reason"),
    ("breaker", CONTROL, "nothing_is_sent_while_the_breaker_is_forced_open_and_everything_afterwards"),
    ("tuner freeze", CONTROL, TUNER),
    ("tuner unfreeze", CONTROL, TUNER),
    ("tuner profile", CONTROL, TUNER),
    ("tuner override", CONTROL, TUNER),
    ("tuner release", CONTROL, TUNER),
    ("pool reconnect", CONTROL, "a_pool_hears_what_is_asked_of_it"),
    ("pool resize", CONTROL, "a_pool_hears_what_is_asked_of_it"),
    ("log", COMMANDS, SESSION),
    ("config show", COMMANDS, SESSION),
    ("config set", COMMANDS, SESSION),
    ("config diff", COMMANDS, SESSION),
    ("config history", COMMANDS, SESSION),
    ("config rollback", COMMANDS, SESSION),
    (
        "config nodes",
        "tests/tests/kafka/nodes.rs",
        "a_change_for_all_nodes_is_decided_on_by_each_of_them_once_and_they_tell_how",
    ),
    ("alert ls", COMMANDS, SESSION),
    ("alert silence", COMMANDS, SESSION),
    ("alert silences", COMMANDS, SESSION),
    ("alert unsilence", COMMANDS, SESSION),
    ("alert test", COMMANDS, "rules_are_tested_without_an_agent"),
    ("incident ls", COMMANDS, SESSION),
    ("incident show", COMMANDS, SESSION),
    ("incident ack", COMMANDS, SESSION),
    ("incident resolve", COMMANDS, SESSION),
    ("incident remediate", COMMANDS, SESSION),
    ("incident report", COMMANDS, SESSION),
    ("check", COMMANDS, "a_configuration_is_checked_without_an_agent"),
    (
        "doctor",
        "tests/tests/kafka/doctor.rs",
        "the_doctor_finds_nothing_on_a_sound_way_and_each_planted_fault_with_its_remedy",
    ),
    ("tail", "crates/keyferry/tests/tail.rs", "events_are_told_with_what_is_odd_about_them"),
    ("top", "crates/keyferry/tests/top.rs", "one_picture_tells_what_the_agent_does"),
    ("bench", COMMANDS, "a_machine_is_measured_and_nothing_is_left"),
    ("completions", "crates/keyferry/tests/help.rs", "completions_know_the_commands"),
    ("man", "crates/keyferry/tests/help.rs", "every_command_has_a_manual_page"),
];

const COMMANDS: &str = "crates/keyferry/tests/commands.rs";
const CONTROL: &str = "crates/keyferry/tests/control.rs";
const DEAD_LETTERS: &str = "crates/keyferry/tests/dead_letters.rs";
const IN_DOUBT: &str = "crates/keyferry/tests/in_doubt.rs";
const JOURNAL: &str = "crates/keyferry/tests/journal.rs";
const REPLAY: &str = "crates/keyferry/tests/replay.rs";
const HELD: &str = "what_is_held_is_listed_published_by_its_id_and_dropped";
const REFUSED: &str = "what_is_refused_is_listed_and_shown_and_delivered_as_it_was_once_kafka_takes_it";
const SESSION: &str = "an_operator_at_work";
const TUNER: &str = "a_tuner_does_what_it_is_told";

/// What these print is for somebody else: a service manager, a shell, `man`.
const WITHOUT_JSON: [&str; 3] = ["run", "completions", "man"];

/// The commands that have none below them.
fn leaves() -> BTreeSet<String> {
    let all: Vec<String> = all_commands().into_iter().map(|path| path.join(" ")).collect();
    let has_more = |path: &String| all.iter().any(|other| other.starts_with(&format!("{path} ")));
    all.iter().filter(|path| !path.is_empty() && !has_more(path)).cloned().collect()
}

#[test]
fn every_command_has_a_test_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let registered: BTreeSet<String> = TESTED.iter().map(|(command, ..)| (*command).to_owned()).collect();
    assert_eq!(leaves(), registered, "register the test of each command");
    for (command, file, test) in TESTED {
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(text.contains(&format!("fn {test}()")), "{command}: there is no {test} in {file}");
        let named = |words: &str| text.matches(&format!("\"{words}\"")).count();
        let runs_it = match *file {
            // The table itself names each once.
            COMMANDS => named(command) > 1 || named(&command.replace(' ', "\", \"")) > 0,
            _ => command.split(' ').next_back().is_some_and(|word| named(word) > 0),
        };
        assert!(runs_it, "{command}: {file} does not run it");
    }
}

#[test]
fn every_command_can_print_json_but_those_whose_reader_is_no_program() {
    for command in leaves() {
        let path: Vec<&str> = command.split(' ').collect();
        let has_json = help(&path).contains("--json");
        assert_eq!(has_json, !WITHOUT_JSON.contains(&command.as_str()), "{command}");
    }
}

/// Without what differs from run to run: numbers, hashes, the temporary directory, and the room that columns take.
fn redacted(text: &str, directory: &Path) -> String {
    let text = text.replace(directory.to_str().unwrap(), "DIR");
    let mut redacted = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.split_whitespace().map(redacted_word).collect();
        redacted.push_str(&if line.starts_with("exit code") { line.to_owned() } else { words.join(" ") });
        redacted.push('\n');
    }
    redacted
}

fn redacted_word(word: &str) -> String {
    let is_hash = |part: &str| {
        part.len() >= 8
            && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            && part.bytes().any(|byte| byte.is_ascii_digit())
    };
    if word.split(|one: char| !one.is_ascii_alphanumeric()).any(is_hash) {
        return "HASH".to_owned();
    }
    let mut redacted = String::new();
    for one in word.chars() {
        match one {
            '0'..='9' if redacted.ends_with('N') => {}
            '0'..='9' => redacted.push('N'),
            one => redacted.push(one),
        }
    }
    redacted
}

/// One rule only: others depend on the machine.
const ALERTS: &str = r#"
default_rules = false
incidents.automatic = false
incidents.at_once = 9
[[rule]]
name = "BreakerOpen"
severity = "critical"
signal.value = { metric = 'keyferry_breaker_state{state="open"}', by = ["destination"] }
above = 0.5
summary = "nothing is sent to {destination}"
"#;

/// Somebody at the command line, beside an agent.
struct Operator<'a> {
    directory: &'a Path,
    slot: &'a str,
}

impl Operator<'_> {
    /// What a command of an agent prints, and how it ends. `order` is what follows the slot.
    fn run(&self, command: &str, order: &[&str]) -> (String, Option<i32>) {
        let words: Vec<&str> = command.split(' ').chain([self.slot]).chain(order.iter().copied()).collect();
        let output = keyferry(self.directory, &words).output().unwrap();
        (transcript(&output), output.status.code())
    }

    /// Runs it once, and holds what it prints for people to its snapshot.
    #[track_caller]
    fn show(&self, command: &str, order: &[&str]) {
        let (text, _) = self.run(command, order);
        insta::assert_snapshot!(
            format!("says-{}", command.replace(' ', "-")),
            redacted(&text, self.directory)
        );
    }

    /// The same without what depends on how fast the machine is: times, the words of `passing`, and the evidence of an incident.
    #[track_caller]
    fn show_timeless(&self, command: &str, order: &[&str], passing: &[&str]) {
        let (text, _) = self.run(command, order);
        let text = text.split("## Evidence").next().unwrap_or_default();
        // Percentages are of what was sent in the last second.
        let redacted = redacted(text, self.directory).replace("N %", "-");
        let is_time =
            |word: &str| !["", "N", "-"].contains(&word) && word.chars().all(|one| "N./:%-hms".contains(one));
        let line = |line: &str| {
            let timeless = |word| if is_time(word) || passing.contains(&word) { "TIME" } else { word };
            let mut words: Vec<&str> = line.split(' ').map(timeless).collect();
            words.dedup_by(|next, word| *next == "TIME" && *word == "TIME");
            words.join(" ") + "\n"
        };
        let told: String = redacted.lines().map(line).collect();
        insta::assert_snapshot!(format!("says-{}", command.replace(' ', "-")), told);
    }

    /// Runs it, and answers what it prints as JSON.
    #[track_caller]
    fn json(&self, command: &str, order: &[&str]) -> Vec<Value> {
        let (text, _) = self.run(command, &[order, &["--json"]].concat());
        let lines = text.lines().filter(|line| !line.starts_with("exit code"));
        let parsed =
            lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{command}: {text}")));
        let parsed: Vec<Value> = parsed.collect();
        assert!(!parsed.is_empty(), "{command} prints nothing");
        parsed
    }
}

#[test]
fn an_operator_at_work() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let directory = directory.path();
    let (mut writer, slot) = begin(directory, 0);
    commit(&mut writer, &["a-1"]);
    let place = slot.to_str().unwrap();
    let alerts = directory.join("alerts.toml");
    fs::write(&alerts, ALERTS).unwrap();
    let further = format!("[alerts]\nfile = \"{}\"", alerts.display());
    let agent = Agent::start_with(directory, &cluster.bootstrap_servers(), &further, &["--slot", place]);
    let operator = Operator { directory, slot: place };
    let is_idle = |status: &Value| status["state"] == "idle" && status["published"] == 1;
    until("everything is delivered", || status(&slot).filter(is_idle));
    assert!(agent_of(&slot).is_some());

    for command in ["status", "breaker", "tuner", "pool"] {
        operator.show_timeless(command, &[], &["starting", "calm", "busy", "-"]);
    }

    operator.show("log", &["debug"]);
    assert_eq!(operator.json("log", &["info"])[0]["level"], "info");

    operator.show("config show", &[]);
    operator.json("config show", &[]);
    operator.show("config set", &["log.level=warn"]);
    operator.json("config set", &["log.level=error"]);
    operator.show("config diff", &[]);
    assert_eq!(operator.json("config diff", &[])[0][0]["after"], "error");
    operator.show("config history", &[]);
    operator.json("config history", &[]);
    operator.show("config rollback", &["1"]);
    operator.json("config rollback", &["2", "--dry-run"]);

    operator.show("alert ls", &[]);
    operator.json("alert ls", &[]);
    operator.show("alert silence", &["--match", "alertname=Nothing", "--for", "2h", "--comment", "work"]);
    let silence = operator.json("alert silence", &["--match", "alertname=Nobody", "--for", "1h"]).remove(0);
    operator.show("alert silences", &[]);
    assert_eq!(operator.json("alert silences", &[])[0].as_array().unwrap().len(), 2);
    operator.show("alert unsilence", &[silence["id"].as_str().unwrap()]);
    let ends = |silences: &Value| silences[0]["ends"].as_u64().unwrap();
    let before = operator.json("alert silences", &[]).remove(0);
    let after = operator.json("alert unsilence", &[before[0]["id"].as_str().unwrap()]).remove(0);
    assert!(ends(&after) < ends(&before), "{after}");

    operator.show("incident ls", &[]);
    operator.run("breaker", &["open"]);
    let opened = until("there is an incident", || {
        operator.json("incident ls", &[]).remove(0)["incidents"].as_array()?.first().cloned()
    });
    let id = opened["id"].as_str().unwrap();
    assert_eq!(operator.run("incident ls", &[]).1, Some(1), "one is going on");
    assert_eq!(operator.json("incident show", &[id])[0]["id"], id);
    operator.json("incident ack", &[id]);
    let (acknowledged, _) = operator.run("incident show", &[id]);
    assert!(acknowledged.contains(&format!("{id} is acknowledged")), "{acknowledged}");
    let (done, _) = operator.run("incident remediate", &[id, "--action", "reset_breaker"]);
    assert!(done.contains("reset_breaker"), "{done}");
    operator.json("incident remediate", &[id, "--action", "open_breaker"]);
    let resolved = operator.json("incident resolve", &[id]).remove(0);
    assert!(matches!(resolved["state"].as_str(), Some("resolved" | "closed")), "{resolved}");
    operator.show("incident show", &[id]);
    operator.show_timeless("incident report", &[id], &[]);
    let (report, code) = operator.run("incident report", &[id]);
    assert!(report.starts_with("# ") && code == Some(0), "{report}");
    assert_eq!(
        operator.json("incident report", &[id])[0]["markdown"].as_str(),
        report.rsplit_once("exit code").map(|(text, _)| text)
    );
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn rules_are_tested_without_an_agent() {
    let directory = tempfile::tempdir().unwrap();
    let text = r#"
        [[test]]
        name = "an open breaker is told at once"
        series = [{ series = 'keyferry_breaker_state{destination="default",state="open"}', values = "0x5 1x10 0x5" }]
        expect = [{ at = "30s", alerts = [{ name = "BreakerOpen", labels = { destination = "default" } }] }]
    "#;
    fs::write(directory.path().join("tests.toml"), text).unwrap();
    fs::write(directory.path().join("wrong.toml"), text.replace("\"30s\"", "\"20s\"")).unwrap();
    let said = |words: &[&str]| {
        let output = keyferry(directory.path(), &[&["alert", "test"], words].concat()).output().unwrap();
        redacted(&transcript(&output), directory.path())
    };
    insta::assert_snapshot!("says-alert-test", said(&["tests.toml"]) + &said(&["wrong.toml"]));
    let json = keyferry(directory.path(), &["alert", "test", "wrong.toml", "--json"]).output().unwrap();
    assert_eq!(json.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&told["tests"], told["failures"].as_array().unwrap().len()), (&1.into(), 1));
}

#[test]
fn a_configuration_is_checked_without_an_agent() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    let sound = format!("[destination]\nbootstrap_servers = \"{NOWHERE}\"\ntopic_events = \"events\"\n");
    write("sound.toml", &sound);
    write("wrong.toml", &format!("{sound}topic_evnts = \"x\"\nheaders = \"some\"\n"));
    write("incomplete.toml", "[destination]\ntopic_events = \"${file:nowhere}\"\n");
    let run = |words: &[&str]| keyferry(directory.path(), &[&["check"], words].concat()).output().unwrap();
    let files = ["sound.toml", "wrong.toml", "incomplete.toml"];
    let said: String = files.iter().map(|file| transcript(&run(&[file]))).collect();
    insta::assert_snapshot!("says-check", said);
    let json = run(&["wrong.toml", "--json"]);
    assert_eq!(json.status.code(), Some(1));
    let lines = json.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let found: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert!(found.iter().any(|one| one["check"] == "config.unknown-key" && one["severity"] == "problem"));
}

#[test]
fn a_machine_is_measured_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "[destination]\nbootstrap_servers = \"{NOWHERE}\"\ntopic_events = \"events\"\n[destination.filter]\nexclude = \"type = LOGIN\"\n"
    );
    fs::write(directory.path().join("keyferry.toml"), config).unwrap();
    fs::create_dir(directory.path().join("disk")).unwrap();
    let run = |words: &[&str]| {
        keyferry(directory.path(), &[&["bench", "disk", "--events", "3000"], words].concat())
            .output()
            .unwrap()
    };
    insta::assert_snapshot!("says-bench", redacted(&transcript(&run(&[])), directory.path()));
    let measured: Value = serde_json::from_slice(&run(&["--json", "--size", "1KiB"]).stdout).unwrap();
    assert_eq!(measured["events"], 3000);
    assert!(measured["journaled"]["bytes"].as_u64().unwrap() > 3_000_000, "{measured}");
    assert!(measured["shipped"]["bytes"].as_u64().unwrap() > 3_000_000, "{measured}");
    let filtered: Value =
        serde_json::from_slice(&run(&["--json", "--config", "keyferry.toml"]).stdout).unwrap();
    assert_eq!(filtered["shipped"]["bytes"], 0, "what is filtered is not shipped: {filtered}");
    assert_eq!(fs::read_dir(directory.path().join("disk")).unwrap().count(), 0, "something is left");
}

/// Without a server: the way to Kafka, and faults of everything else, are tested on real ones.
#[test]
fn a_doctor_says_what_it_finds_and_skips_what_depends_on_it() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!("[destination]\nbootstrap_servers = \"{NOWHERE}\"\ntopic_events = \"events\"\n");
    fs::write(directory.path().join("keyferry.toml"), config).unwrap();
    let words = ["doctor", "nowhere", "--config", "keyferry.toml", "--keycloak", "nowhere"];
    let run = |further: &[&str]| keyferry(directory.path(), &[&words, further].concat()).output().unwrap();
    let text = transcript(&run(&[]));
    // What is told of the machine is its own.
    let told: String =
        text.lines().filter(|line| !line.contains("machine.")).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!("says-doctor", told);
    assert!(!text.contains('\x1b'), "colours are for terminals");
    let lines = String::from_utf8(run(&["--json"]).stdout).unwrap();
    let found: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |severity: &str| -> Vec<&str> {
        let of_severity = found.iter().filter(|one| one["severity"] == severity);
        of_severity.filter_map(|one| one["check"].as_str()).collect()
    };
    assert_eq!(of("problem"), ["provider.jar", "journal.directory", "net.tcp"]);
    assert!(of("skipped").contains(&"kafka.answers"), "{lines}");
    let coloured = keyferry(directory.path(), &words).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(coloured.stdout.contains(&0x1b), "they are there for those who insist");
}
