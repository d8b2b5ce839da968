//! The configuration changes while the agent ships: by operators who get into each other's way, by the file, and by itself.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use fastrand::Rng;
use keyferry_tests::ferry::{Ferry, Plan};
use keyferry_tests::wait;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
/// How many changes are wished for; this variable may say otherwise.
const CHANGES: (&str, usize) = ("KEYFERRY_TEST_CHANGES", 500);
/// Where chance begins; this variable may say otherwise.
const SEED: (&str, u64) = ("KEYFERRY_TEST_SEED", 1);
/// Events a second.
const FULL_RATE: u32 = 5_000;
const LINGER: &str = "destination.delivery.linger";

/// Who changes the configuration by the command line.
#[derive(Clone, Copy)]
struct Operator<'a> {
    executable: &'a Path,
    slot: &'a Path,
}

/// What became of a change.
#[derive(Debug)]
enum Ended {
    Made(Value),
    Refused(String),
}

impl<'a> Operator<'a> {
    fn of(ferry: &'a Ferry) -> Self {
        Self { executable: ferry.agent.executable(), slot: ferry.agent.slot() }
    }

    fn run(&self, words: &[&str], order: &[&str]) -> Output {
        Command::new(self.executable).args(words).arg(self.slot).args(order).arg("--json").output().unwrap()
    }

    fn look(&self, words: &[&str], order: &[&str]) -> Value {
        let output = self.run(words, order);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn config(&self) -> Config {
        Config(self.look(&["config", "show"], &[]))
    }

    fn set(&self, changes: &[(&str, &str)], order: &[&str]) -> Ended {
        let words: Vec<String> = changes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).chain(order.iter().copied()).collect();
        Ended::of(&self.run(&["config", "set"], &words))
    }
}

impl Ended {
    fn of(output: &Output) -> Self {
        match output.status.code() {
            Some(0) => Self::Made(serde_json::from_slice(&output.stdout).unwrap()),
            Some(1) => Self::Refused(String::from_utf8_lossy(&output.stderr).into_owned()),
            code => panic!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    #[track_caller]
    fn made(self) -> Value {
        match self {
            Self::Made(change) => change,
            Self::Refused(reason) => panic!("{reason}"),
        }
    }

    #[track_caller]
    fn refused(self) -> String {
        match self {
            Self::Made(change) => panic!("{change}"),
            Self::Refused(reason) => reason,
        }
    }
}

/// What an agent says of its configuration.
#[derive(Debug, Clone, PartialEq)]
struct Config(Value);

impl Config {
    fn version(&self) -> u64 {
        self.0["version"]["version"].as_u64().unwrap()
    }

    fn hash(&self) -> String {
        self.0["version"]["hash"].as_str().unwrap().to_owned()
    }

    /// What a source gives, by key.
    fn values(&self) -> BTreeMap<String, String> {
        let settings = self.0["settings"].as_array().unwrap().iter();
        let given = |one: &Value| Some((one["key"].as_str()?.to_owned(), one["value"].as_str()?.to_owned()));
        settings.filter_map(given).collect()
    }

    fn value(&self, key: &str) -> Option<String> {
        self.values().remove(key)
    }
}

/// Records wait for their batch for longer than the breaker waits for them.
const WORSE: [(&str, &str); 2] = [(LINGER, "2s"), ("destination.breaker.oldest_unacknowledged", "100ms")];

/// Values that can be, by key.
const LEGAL: [(&str, &[&str]); 14] = [
    (LINGER, &["0ms", "3ms", "20ms", "50ms"]),
    ("destination.delivery.batch_size", &["16KiB", "64KiB", "256KiB"]),
    ("destination.delivery.compression", &["none", "lz4", "zstd", "gzip"]),
    ("destination.delivery.max_in_flight", &["1", "3", "5"]),
    ("destination.delivery.request_timeout", &["20s", "40s"]),
    ("destination.client_id", &["one", "another"]),
    ("destination.pool.min_connections", &["1", "2", "3"]),
    ("destination.librdkafka.client.rack", &["a", "b"]),
    ("destination.delivery.delivery_timeout", &["1m", "2m"]),
    ("destination.breaker.failures", &["3", "5"]),
    ("destination.tuner.frozen", &["true", "false"]),
    ("backpressure.elevated_age", &["5s", "20s"]),
    ("journal.keep", &["0s", "1s"]),
    ("log.level", &["info", "debug"]),
];

/// Values that cannot be, or not while the agent runs.
const ILLEGAL: [(&str, &str); 12] = [
    (LINGER, "soon"),
    (LINGER, "20m"),
    ("destination.delivery.batch_size", "0B"),
    ("destination.delivery.compression", "brotli"),
    ("destination.delivery.max_in_flight", "6"),
    ("destination.delivery.lingr", "1ms"),
    ("destination[west].client_id", "west"),
    ("destination.librdkafka.acks", "1"),
    ("destination.security.sasl.password", "hunter2"),
    ("destination.security.protocol", "SASL_SSL"),
    ("destination.topic_events", "others"),
    ("journal.dir", "/elsewhere"),
];

/// A change by chance: one or two keys, and the keys of it that cannot be.
fn wish(chance: &mut Rng) -> (Vec<(&'static str, &'static str)>, Vec<&'static str>) {
    let mut changes = BTreeMap::new();
    let mut wrong = Vec::new();
    for _ in 0..chance.usize(1..=2) {
        let (key, values) = LEGAL[chance.usize(..LEGAL.len())];
        changes.insert(key, values[chance.usize(..values.len())]);
    }
    if chance.u8(..4) == 0 {
        let (key, value) = ILLEGAL[chance.usize(..ILLEGAL.len())];
        changes.insert(key, value);
        wrong.push(key);
    }
    (changes.into_iter().collect(), wrong)
}

/// What runs is what is told: connections are made as the configuration says, and there are as many.
fn assert_runs_as_told(operator: Operator<'_>, config: &Config) {
    let values = config.values();
    let tuner = operator.look(&["tuner"], &[]);
    let tuning = &tuner["slots"][0]["tuning"];
    let told = [
        ("destination.delivery.compression", tuning["compression"].as_str().unwrap().to_owned()),
        ("destination.delivery.max_in_flight", tuning["max_in_flight"].to_string()),
        (LINGER, format!("{}ms", tuning["linger_ms"])),
        ("destination.delivery.batch_size", format!("{}KiB", tuning["batch_size"].as_u64().unwrap() / 1024)),
    ];
    for (key, runs) in told {
        assert!(
            values.get(key).is_none_or(|value| *value == runs),
            "{key} is {runs} and told as {:?}",
            values.get(key)
        );
    }
}

#[test]
fn changes_at_random_by_two_operators_under_load_leave_no_trace() {
    let of = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (wishes, seed) = (of(CHANGES.0).unwrap_or(CHANGES.1 as u64) as usize, of(SEED.0).unwrap_or(SEED.1));
    println!("{wishes} changes, seed {seed}");
    let plan = Plan::shared("changed").unwrap().rate(FULL_RATE).users(500).segment(4 << 20);
    let ferry = plan.settings("[config]\nprobation = \"0s\"").start().unwrap();
    let operator = Operator::of(&ferry);
    let mut chance = Rng::with_seed(seed);
    let (mut committed, mut refused, mut stale, mut round) = (0, 0, 0, 0);
    while committed + refused < wishes {
        round += 1;
        let before = operator.config();
        let expecting = ["--expect", &before.hash()];
        let (one, two) = (wish(&mut chance), wish(&mut chance));
        // Every other round two of them decide on the same version, at the same time.
        let ended = std::thread::scope(|scope| {
            let other = (round % 2 == 0).then(|| scope.spawn(|| operator.set(&two.0, &expecting)));
            let mut ended = vec![(&one, operator.set(&one.0, &expecting))];
            ended.extend(other.map(|other| (&two, other.join().unwrap())));
            ended
        });
        let mut expected = before.values();
        let mut made = 0;
        for ((changes, wrong), ended) in ended {
            match ended {
                Ended::Made(change) => {
                    assert!(wrong.is_empty(), "{changes:?} was made");
                    committed += 1;
                    // What says what ran already may have been judged before the other one was made.
                    if change["outcome"] == "committed" {
                        made += 1;
                        let values = changes.iter();
                        expected.extend(values.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
                    }
                }
                Ended::Refused(reason) => {
                    refused += 1;
                    let is_stale = reason.contains("look at it and decide again");
                    stale += usize::from(is_stale);
                    assert!(is_stale || !wrong.is_empty(), "{changes:?} was refused: {reason}");
                    let mut named =
                        if is_stale { changes.iter().map(|(key, _)| *key).collect() } else { wrong.clone() };
                    named.retain(|key| !reason.contains(*key));
                    assert!(named.is_empty(), "{reason:?} does not name {named:?}");
                    assert!(!reason.contains("hunter2"), "{reason}");
                }
            }
        }
        assert!(made <= 1, "two changes were made of one version");
        let after = operator.config();
        assert_eq!(after.version(), before.version() + made);
        assert_eq!(after.values(), expected);
        assert_eq!(operator.look(&["config", "history"], &[])[0], after.0["version"]);
        assert_runs_as_told(operator, &after);
    }
    assert!(stale > 0 && committed > 0, "{committed} were committed, {stale} were too late");
    ferry.wait_for_delivery().unwrap();
    let (written, ledger) = ferry.settle().unwrap();
    println!(
        "{committed} changes were made and {refused} refused, {stale} of these because another one was first; {} events, {} records",
        written.committed(),
        ledger.records()
    );
    assert_eq!(ledger.copies(), 0, "a change sends nothing twice");
}

#[test]
fn a_change_whose_trial_fails_or_that_makes_things_worse_is_taken_back() {
    let ferry = Plan::shared("taken-back").unwrap().rate(500).start().unwrap();
    let operator = Operator::of(&ferry);
    let before = operator.config();
    let dry = operator.set(&[(LINGER, "30ms")], &["--dry-run"]).made();
    assert_eq!((&dry["outcome"], &dry["steps"][0]["class"]), (&"planned".into(), &"swap".into()));
    // Nobody listens there, so that new connections are never healthy; that takes longer than one request may.
    let reason =
        operator.set(&[("destination.bootstrap_servers", "127.0.0.1:1"), (LINGER, "30ms")], &[]).refused();
    for named in ["destination.bootstrap_servers", LINGER, "127.0.0.1:1"] {
        assert!(reason.contains(named), "{reason}");
    }
    assert_eq!(operator.config(), before);
    ferry.wait_for_delivery().unwrap();
    assert_eq!(operator.set(&WORSE, &[]).made()["version"], before.version() + 1);
    let back = wait::until("the change is taken back", LIMIT, || {
        Some(operator.config()).filter(|config| config.version() == before.version() + 2)
    })
    .unwrap();
    assert_eq!(back.hash(), before.hash());
    let version = &back.0["version"];
    assert_eq!(version["author"], "keyferry");
    assert!(version["cause"].as_str().unwrap().contains("circuit breaker"), "{version}");
    ferry.wait_for_delivery().unwrap();
    ferry.settle().unwrap();
}

#[test]
fn what_shows_to_be_worse_only_in_the_next_agent_is_taken_back_by_that() {
    let mut ferry = Plan::shared("taken-back-later").unwrap().rate(500).start().unwrap();
    let operator = Operator::of(&ferry);
    let before = operator.config();
    // Nothing is written meanwhile that could be late.
    ferry.settle().unwrap();
    operator.set(&WORSE, &[]).made();
    ferry.agent.stop().unwrap();
    ferry.agent.start().unwrap();
    ferry.traffic.resume();
    let back = wait::until("the next agent takes the change back", LIMIT, || {
        let operator = Operator::of(&ferry);
        // It does not answer at once.
        let answers = operator.run(&["config", "show"], &[]).status.success();
        answers.then(|| operator.config()).filter(|config| config.version() == before.version() + 2)
    });
    assert_eq!(back.unwrap().hash(), before.hash());
    ferry.wait_for_delivery().unwrap();
    ferry.settle().unwrap();
}

#[test]
fn what_the_file_says_is_taken_up_and_a_broken_one_gives_way_to_what_ran_last() {
    let plan = Plan::shared("by-file").unwrap().rate(500);
    let mut ferry = plan.start().unwrap();
    let path = ferry.directory().join("keyferry.toml");
    let directory = ferry.directory().to_owned();
    let with =
        |linger: &str| format!("{}[destination.delivery]\nlinger = \"{linger}\"\n", plan.configuration());
    let wait_for = |ferry: &Ferry, linger: &str| {
        let operator = Operator::of(ferry);
        let is_it = |config: &Config| config.value(LINGER).as_deref() == Some(linger);
        wait::until(&format!("linger {linger}"), LIMIT, || Some(operator.config()).filter(is_it)).unwrap()
    };
    // An edit.
    fs::write(&path, with("11ms")).unwrap();
    let edited = wait_for(&ferry, "11ms");
    assert_eq!((edited.version(), &edited.0["version"]["author"]), (2, &"the file".into()));
    // As Kubernetes renews what it mounts: a link to a link, of which the second comes to stand for another directory.
    for (generation, linger) in [("..first", "11ms"), ("..second", "12ms")] {
        fs::create_dir(directory.join(generation)).unwrap();
        fs::write(directory.join(generation).join("keyferry.toml"), with(linger)).unwrap();
    }
    let replace_link = |target: &str, name: &str| {
        symlink(target, directory.join("..new")).unwrap();
        fs::rename(directory.join("..new"), directory.join(name)).unwrap();
    };
    replace_link("..first", "..data");
    replace_link("..data/keyferry.toml", "keyferry.toml");
    replace_link("..second", "..data");
    assert_eq!(wait_for(&ferry, "12ms").version(), 3);
    // Back to what was before, and the same file once more because somebody wants it.
    let back = Ended::of(&Operator::of(&ferry).run(&["config", "rollback"], &["2"])).made();
    assert_eq!(back["version"], 4);
    assert_eq!(wait_for(&ferry, "11ms").version(), 4);
    kill_process(ferry.agent.pid().unwrap(), Signal::HUP).unwrap();
    assert_eq!(wait_for(&ferry, "12ms").version(), 5);
    // What is changed lies above the file.
    let set = Operator::of(&ferry).set(&[(LINGER, "13ms")], &[]).made();
    assert_eq!(set["version"], 6);
    // A file that cannot be, and one that cannot be now: what runs goes on.
    let difference = Operator::of(&ferry).look(&["config", "diff"], &[]);
    assert_eq!((&difference[0]["before"], &difference[0]["after"]), (&"12ms".into(), &"13ms".into()));
    let file = directory.join("..second/keyferry.toml");
    for (text, told) in [
        ("[destination".to_owned(), "line 1"),
        (format!("{}[metrics]\nlisten = \"127.0.0.1:1\"\n", with("14ms")), "metrics.listen"),
        (with("14ms") + "batch_size = \"much\"\n", "destination.delivery.batch_size"),
    ] {
        fs::write(&file, text).unwrap();
        let config = wait::until(&format!("{told} is refused"), LIMIT, || {
            let config = Operator::of(&ferry).config();
            config.0["file_refused"].as_str().is_some_and(|reason| reason.contains(told)).then_some(config)
        });
        assert_eq!(config.unwrap().version(), 6);
    }
    ferry.wait_for_delivery().unwrap();
    // At the start nothing runs that could go on, and so what ran last is used.
    ferry.agent.stop().unwrap();
    ferry.agent.start().unwrap();
    ferry.wait_for_delivery().unwrap();
    let config = Operator::of(&ferry).config();
    assert_eq!((config.version(), config.value(LINGER).as_deref()), (6, Some("13ms")));
    assert!(config.0["fallback"].as_str().unwrap().contains("batch_size"), "{config:?}");
    // Until the file is mended. What was set stays above it until it is taken away.
    fs::write(&file, with("15ms")).unwrap();
    wait::until("the mended file", LIMIT, || {
        Operator::of(&ferry).config().0["fallback"].is_null().then_some(())
    })
    .unwrap();
    Ended::of(&Operator::of(&ferry).run(&["config", "set"], &["--unset", LINGER])).made();
    assert_eq!(wait_for(&ferry, "15ms").version(), 8);
    ferry.wait_for_delivery().unwrap();
    ferry.settle().unwrap();
}
