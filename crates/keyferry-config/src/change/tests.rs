//! The machine on a clock of the test's own.

use std::path::Path;

use super::*;
use crate::error::ConfigErrors;
use crate::sources::Sources;

const FILE: &str = "[destination]\nbootstrap_servers = \"kafka:9092\"\ntopic_events = \"events\"\n[destination.delivery]\nlinger = \"5ms\"\n";
const LINGER: &str = "destination.delivery.linger";
/// The default probation.
const PROBATION_MS: u64 = 60_000;

fn file(text: &str) -> FileText {
    FileText { path: "keyferry.toml".into(), text: text.to_owned() }
}

fn begin_with(others: Sources, history: History, text: &str) -> Result<Begun, ConfigErrors> {
    Changes::begin(others, history, Ok(Some(file(text))), 1_000)
}

fn machine() -> Changes {
    begin_with(Sources::new(), History::default(), FILE).unwrap().changes
}

fn by(author: &str, wish: Wish) -> Proposal {
    Proposal { author: author.to_owned(), wish, expected: None, dry_run: false }
}

fn set(changes: &[(&str, &str)]) -> Wish {
    Wish::Live(changes.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect())
}

#[track_caller]
fn trial(changes: &Changes, wish: Wish, now_ms: u64) -> Trial {
    match changes.propose(&by("ada", wish), now_ms) {
        Ok(Next::Try(trial)) => *trial,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn commit(changes: &mut Changes, wish: Wish, now_ms: u64) -> Version {
    let trial = trial(changes, wish, now_ms);
    changes.settle(trial, Ok(()), &health(0, 0), now_ms).unwrap().clone()
}

#[track_caller]
fn refusal(changes: &Changes, proposal: &Proposal) -> Refusal {
    match changes.propose(proposal, 2_000) {
        Err(refusal) => refusal,
        Ok(next) => panic!("{next:?}"),
    }
}

fn health(openings: u64, failures: u64) -> Health {
    Health::from([("slot-0 to default".to_owned(), Tally { openings, failures })])
}

fn linger_of(loaded: &crate::Loaded) -> u128 {
    loaded.config.destinations[0].complete().unwrap().delivery.linger.as_millis()
}

#[test]
fn a_change_becomes_a_version_when_its_trial_has_succeeded_and_not_before() {
    let mut changes = machine();
    assert_eq!((changes.running().number, changes.running().keys.len()), (1, 0));
    let trial = trial(&changes, set(&[(LINGER, "20ms"), ("log.level", "debug")]), 2_000);
    assert_eq!(linger_of(&trial.loaded), 20);
    let steps: Vec<String> = trial.plan.steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [format!("{LINGER}: 5ms -> 20ms (swap)"), "log.level: default -> debug (live)".to_owned()]
    );
    assert_eq!(trial.plan.class_of(0), Some(crate::Class::Swap));
    assert_eq!(changes.running().number, 1, "it is only being tried");
    let version = changes.settle(trial, Ok(()), &health(0, 0), 2_500).unwrap().clone();
    assert_eq!((version.number, version.author.as_str(), version.time_ms), (2, "ada", 2_000));
    assert_eq!(version.keys, [LINGER, "log.level"]);
    assert_eq!(changes.givens()[LINGER].origin, crate::Origin::Live);
}

#[test]
fn a_trial_that_fails_leaves_everything_as_it_was_and_names_the_keys() {
    let mut changes = machine();
    let before = changes.running().clone();
    let trial = trial(&changes, set(&[("destination.bootstrap_servers", "nowhere:1")]), 2_000);
    let refusal = changes.settle(trial, Err("no answer".to_owned()), &health(0, 0), 9_000).unwrap_err();
    assert!(refusal.to_string().contains("destination.bootstrap_servers"), "{refusal}");
    assert!(refusal.to_string().contains("no answer"), "{refusal}");
    assert_eq!(*changes.running(), before);
    assert_eq!(changes.probation_until_ms(), None);
}

#[test]
fn what_is_not_legal_is_refused_by_its_key_and_nothing_of_it_is_made() {
    let changes = machine();
    for (wish, key) in [
        (set(&[(LINGER, "soon"), ("log.level", "debug")]), LINGER),
        (set(&[("destination.delivery.lingr", "1ms")]), "destination.delivery.lingr"),
        (set(&[("destination[west].delivery.linger", "1ms")]), "destination[west].delivery.linger"),
        (set(&[("destination.librdkafka.acks", "1")]), "destination.librdkafka.acks"),
        (Wish::File(file(&FILE.replace("5ms", "5"))), LINGER),
    ] {
        let refusal = refusal(&changes, &by("ada", wish));
        assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal:?}");
        assert!(refusal.to_string().contains(key), "{refusal}");
        assert_eq!(refusal.keys(), [key]);
    }
    let syntax = refusal(&changes, &by("ada", Wish::File(file("["))));
    assert!(syntax.to_string().contains("keyferry.toml, line 1"), "{syntax}");
}

#[test]
fn what_takes_a_restart_is_refused_by_name_wherever_it_comes_from() {
    let changes = machine();
    let another = format!("{FILE}[metrics]\nlisten = \"127.0.0.1:9464\"\n");
    let topic = FILE.replace("\"events\"", "\"others\"");
    for (wish, key) in [
        (set(&[("journal.dir", "/elsewhere"), (LINGER, "1ms")]), "journal.dir"),
        (set(&[("destination.topic_events", "others")]), "destination.topic_events"),
        (Wish::File(file(&another)), "metrics.listen"),
        (Wish::File(file(&topic)), "destination.topic_events"),
    ] {
        let refusal = refusal(&changes, &by("ada", wish));
        assert!(matches!(&refusal, Refusal::Restart { keys } if keys == &[key]), "{refusal:?}");
        assert!(refusal.to_string().contains(key), "{refusal}");
    }
}

#[test]
fn a_destination_that_works_is_never_left_incomplete() {
    let changes = machine();
    let needs_login = set(&[("destination.security.protocol", "SASL_SSL")]);
    let refusal = refusal(&changes, &by("ada", needs_login));
    assert!(matches!(refusal, Refusal::Incomplete { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("destination.security.protocol"), "{refusal}");
    assert!(refusal.to_string().contains("sasl.mechanism"), "{refusal}");
}

#[test]
fn a_secret_is_set_by_a_reference_only_and_never_shown() {
    let login = "[destination]\nbootstrap_servers = \"kafka:9092\"\ntopic_events = \"events\"\n[destination.security]\nprotocol = \"SASL_PLAINTEXT\"\n\
                 [destination.security.sasl]\nmechanism = \"PLAIN\"\nusername = \"ferry\"\npassword = \"hunter2\"\n";
    let others = Sources::new().with_environment([("NEXT", "hunter3")]);
    let changes = begin_with(others, History::default(), login).unwrap().changes;
    let key = "destination.security.sasl.password";
    assert_eq!(changes.givens()[key].shown, crate::REDACTED);
    let plain = refusal(&changes, &by("ada", set(&[(key, "hunter3")])));
    assert!(plain.to_string().contains(key) && !plain.to_string().contains("hunter"), "{plain}");
    let trial = trial(&changes, set(&[(key, "${env:NEXT}")]), 2_000);
    assert_eq!(trial.plan.steps[0].to_string(), format!("{key}: <redacted> -> ${{env:NEXT}} (swap)"));
    assert!(!format!("{trial:?} {changes:?}").contains("hunter"));
}

#[test]
fn two_who_decide_on_the_same_version_do_not_undo_each_other() {
    let mut changes = machine();
    let seen = changes.running().hash.clone();
    let expecting = |value| Proposal { expected: Some(seen.clone()), ..by("ada", set(&[(LINGER, value)])) };
    let Ok(Next::Try(first)) = changes.propose(&expecting("1ms"), 2_000) else { panic!() };
    changes.settle(*first, Ok(()), &health(0, 0), 2_000).unwrap();
    let refusal = refusal(&changes, &expecting("2ms"));
    assert!(matches!(&refusal, Refusal::Stale { running: 2, .. }), "{refusal:?}");
    assert!(refusal.to_string().contains(LINGER), "{refusal}");
    assert!(refusal.to_string().contains(&changes.running().hash), "{refusal}");
}

#[test]
fn a_dry_run_tells_the_plan_and_does_nothing_and_the_same_again_is_no_change() {
    let changes = machine();
    let dry = Proposal { dry_run: true, ..by("ada", set(&[(LINGER, "20ms")])) };
    let Ok(Next::WouldDo(plan)) = changes.propose(&dry, 2_000) else { panic!() };
    assert_eq!(plan.keys(), [LINGER]);
    assert_eq!(changes.running().number, 1);
    let same = changes.propose(&by("ada", Wish::File(file(FILE))), 2_000);
    assert!(matches!(same, Ok(Next::Unchanged)), "{same:?}");
    let wrong = Proposal { dry_run: true, ..by("ada", set(&[(LINGER, "x")])) };
    assert!(matches!(changes.propose(&wrong, 2_000), Err(Refusal::Invalid(_))));
}

#[test]
fn live_changes_lie_above_everything_else_and_are_taken_away_by_name() {
    let others = Sources::new().with_options([("linger-ms", "7")]);
    let mut changes = begin_with(others, History::default(), FILE).unwrap().changes;
    let trial = trial(&changes, set(&[(LINGER, "20ms")]), 2_000);
    assert_eq!(linger_of(&trial.loaded), 20);
    changes.settle(trial, Ok(()), &health(0, 0), 2_000).unwrap();
    let without = Wish::Live([(LINGER.to_owned(), None)].into());
    let trial = self::trial(&changes, without, 3_000);
    assert_eq!(linger_of(&trial.loaded), 7);
}

#[test]
fn any_version_can_be_had_back_and_that_is_a_version_too() {
    let mut changes = machine();
    let first = changes.running().clone();
    commit(&mut changes, set(&[(LINGER, "20ms")]), 2_000);
    commit(&mut changes, Wish::File(file(&FILE.replace("5ms", "9ms"))), 3_000);
    let back = commit(&mut changes, Wish::Version(1), 4_000);
    assert_eq!((back.number, &back.hash, &back.document), (4, &first.hash, &first.document));
    assert_eq!(changes.difference(1, 4).unwrap(), Plan::default());
    assert_eq!(changes.difference(1, 2).unwrap().keys(), [LINGER]);
    let none = refusal(&changes, &by("ada", Wish::Version(9)));
    assert!(none.to_string().contains("from 1 to 4"), "{none}");
}

#[test]
fn a_breaker_that_opens_in_the_probation_takes_the_change_back() {
    let mut changes = machine();
    assert!(changes.look(&health(0, 0), 1_000).is_none());
    commit(&mut changes, set(&[(LINGER, "20ms")]), 2_000);
    assert_eq!(changes.probation_until_ms(), Some(2_000 + PROBATION_MS));
    assert!(changes.look(&health(0, 3), 3_000).is_none(), "a few failures are no sign");
    let retreat = changes.look(&health(1, 3), 4_000).unwrap();
    assert!(retreat.is_retreat);
    assert_eq!(linger_of(&retreat.loaded), 5);
    // The way back leads through connections that may fail for the same reason: it is committed all the same.
    let version = changes.settle(retreat, Err("no answer".to_owned()), &health(1, 3), 5_000).unwrap();
    assert_eq!((version.number, version.author.as_str()), (3, "keyferry"));
    assert!(
        version.cause.contains("circuit breaker") && version.cause.contains("version 2"),
        "{}",
        version.cause
    );
    assert!(changes.look(&health(2, 99), 6_000).is_none(), "the way back is not on probation");
}

#[test]
fn failures_that_double_take_the_change_back_and_those_that_were_there_before_do_not() {
    for (before, after, is_taken_back) in [(0, 10, true), (0, 9, false), (40, 79, false), (40, 80, true)] {
        let mut changes = machine();
        let begin = 100_000;
        changes.look(&health(0, 0), begin - 10_000);
        changes.look(&health(0, before), begin);
        let trial = trial(&changes, set(&[(LINGER, "20ms")]), begin);
        changes.settle(trial, Ok(()), &health(0, before), begin).unwrap();
        let retreat = changes.look(&health(0, before + after), begin + 10_000);
        assert_eq!(retreat.is_some(), is_taken_back, "{before} before and {after} after");
    }
}

#[test]
fn an_outage_that_was_there_before_is_not_blamed_on_the_change() {
    let mut changes = machine();
    changes.look(&health(0, 0), 1_000);
    changes.look(&health(1, 5), 2_000);
    let trial = trial(&changes, set(&[(LINGER, "20ms")]), 2_000);
    changes.settle(trial, Ok(()), &health(1, 5), 2_000).unwrap();
    assert!(changes.look(&health(4, 6), 3_000).is_none());
}

#[test]
fn after_its_probation_a_change_is_not_taken_back() {
    let mut changes = machine();
    commit(&mut changes, set(&[(LINGER, "20ms")]), 2_000);
    assert!(changes.look(&health(0, 0), 2_000 + PROBATION_MS).is_none());
    assert_eq!(changes.probation_until_ms(), None);
    assert!(changes.look(&health(5, 500), 3_000 + PROBATION_MS).is_none());
    // How long it lasts is a setting, and the change itself may bring it.
    commit(&mut changes, set(&[("config.probation", "1s")]), 100_000);
    assert_eq!(changes.probation_until_ms(), Some(101_000));
    commit(&mut changes, set(&[("config.probation", "0s")]), 102_000);
    assert!(changes.look(&health(9, 900), 103_000).is_none(), "nothing is watched");
}

#[test]
fn a_file_that_is_broken_at_the_start_gives_way_to_what_ran_last() {
    let mut changes = machine();
    commit(&mut changes, set(&[(LINGER, "20ms")]), 2_000);
    let written = serde_json::to_string(changes.history()).unwrap();
    let history: History = serde_json::from_str(&written).unwrap();
    let begun = begin_with(Sources::new(), history.clone(), "[destination").unwrap();
    let fallback = begun.fallback.unwrap();
    assert_eq!(fallback.version, 2);
    assert!(fallback.reason.contains("keyferry.toml, line 1"), "{}", fallback.reason);
    assert_eq!(linger_of(&begun.loaded), 20);
    assert_eq!(begun.changes.history(), &history, "nothing has changed");
    let gone = crate::error::ConfigError::Unreadable {
        path: Path::new("keyferry.toml").to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    let begun = Changes::begin(Sources::new(), history, Err(gone.into()), 5_000).unwrap();
    assert_eq!(begun.fallback.map(|fallback| fallback.version), Some(2));
    assert!(begin_with(Sources::new(), History::default(), "[").is_err(), "there is nothing to fall back to");
}

#[test]
fn a_file_that_has_changed_while_nobody_looked_is_a_version() {
    let mut changes = machine();
    commit(&mut changes, set(&[("log.level", "debug")]), 2_000);
    // What takes a restart has got one.
    let text = FILE.replace("\"events\"", "\"others\"");
    let begun = begin_with(Sources::new(), changes.history().clone(), &text).unwrap();
    let version = begun.changes.running();
    assert_eq!(
        (version.number, version.keys.as_slice()),
        (3, ["destination.topic_events".to_owned()].as_slice())
    );
    assert_eq!(begun.loaded.config.log.level, crate::LogLevel::Debug, "live changes outlive a restart");
}

#[test]
fn a_file_that_was_taken_back_is_not_used_again_until_it_changes() {
    let worse = FILE.replace("5ms", "900ms");
    let mut changes = machine();
    changes.look(&health(0, 0), 1_000);
    commit(&mut changes, Wish::File(file(&worse)), 2_000);
    let retreat = changes.look(&health(1, 0), 3_000).unwrap();
    changes.settle(retreat, Ok(()), &health(1, 0), 3_000).unwrap();
    let history = changes.history().clone();
    let begun = begin_with(Sources::new(), history.clone(), &worse).unwrap();
    assert_eq!((linger_of(&begun.loaded), begun.fallback.map(|one| one.version)), (5, Some(3)));
    let mended = begin_with(Sources::new(), history, &FILE.replace("5ms", "6ms")).unwrap();
    assert_eq!((linger_of(&mended.loaded), mended.fallback), (6, None));
}

#[test]
fn only_so_many_versions_are_kept() {
    let mut changes = machine();
    for turn in 0..150_u64 {
        commit(&mut changes, set(&[(LINGER, &format!("{}ms", turn % 7 + 10))]), 2_000 + turn);
    }
    let kept = &changes.history().versions;
    assert_eq!((kept.len(), kept[0].number, changes.running().number), (version::KEPT, 52, 151));
}

#[test]
fn no_secret_is_written_down_and_what_was_not_is_not_gone_back_to() {
    let login = |linger: &str| {
        format!(
            "{}[destination.security]\nprotocol = \"SASL_PLAINTEXT\"\n[destination.security.sasl]\nmechanism = \"PLAIN\"\nusername = \"ferry\"\npassword = \"hunter2\"\n",
            FILE.replace("5ms", linger)
        )
    };
    let mut changes = begin_with(Sources::new(), History::default(), &login("5ms")).unwrap().changes;
    commit(&mut changes, Wish::File(file(&login("6ms"))), 2_000);
    let written = serde_json::to_string(&changes.history().without_secrets()).unwrap();
    assert!(!written.contains("hunter2"), "{written}");
    // As long as the agent lives it knows them.
    assert_eq!(commit(&mut changes, Wish::Version(1), 3_000).number, 3);
    let history: History = serde_json::from_str(&written).unwrap();
    let again = begin_with(Sources::new(), history.clone(), &login("6ms")).unwrap().changes;
    assert_eq!((again.running().number, again.running().is_withheld()), (2, false), "the file has it still");
    let refusal = refusal(&again, &by("ada", Wish::Version(1)));
    assert!(matches!(refusal, Refusal::Withheld { number: 1 }), "{refusal:?}");
    assert!(begin_with(Sources::new(), history, "[").is_err(), "there is nothing to fall back to");
}

/// The machine of an agent that is started anew with what was written down, `file` in its file.
fn started_anew(changes: &Changes, text: &str, now_ms: u64) -> Changes {
    let written = serde_json::to_vec(&changes.history().without_secrets()).unwrap();
    let history: History = serde_json::from_slice(&written).unwrap();
    Changes::begin(Sources::new(), history, Ok(Some(file(text))), now_ms).unwrap().changes
}

#[test]
fn a_probation_outlives_the_agent() {
    let mut changes = machine();
    changes.look(&health(0, 0), 1_500);
    commit(&mut changes, set(&[(LINGER, "20ms")]), 2_000);
    let mut changes = started_anew(&changes, FILE, 12_000);
    assert_eq!(changes.probation_until_ms(), Some(2_000 + PROBATION_MS));
    assert!(changes.look(&Health::new(), 12_500).is_none(), "nothing is shipped yet");
    assert!(changes.look(&health(0, 0), 13_000).is_none());
    let retreat = changes.look(&health(1, 0), 14_000).unwrap();
    assert!(retreat.is_retreat);
    assert_eq!(linger_of(&retreat.loaded), 5);
    changes.settle(retreat, Ok(()), &health(1, 0), 14_500).unwrap();
    assert!(changes.running().cause.contains("opened 12000 ms after it"), "{}", changes.running().cause);
    assert_eq!(started_anew(&changes, FILE, 15_000).probation_until_ms(), None, "the way back is on none");
}

#[test]
fn a_probation_ends_while_the_agent_is_away_and_with_another_file() {
    let mut changes = machine();
    commit(&mut changes, set(&[(LINGER, "20ms")]), 2_000);
    assert_eq!(started_anew(&changes, FILE, 2_000 + PROBATION_MS).probation_until_ms(), None);
    let another = format!("{FILE}[log]\nlevel = \"debug\"\n");
    assert_eq!(
        started_anew(&changes, &another, 3_000).probation_until_ms(),
        None,
        "that is a version of its own"
    );
}

#[test]
fn where_the_version_before_is_not_known_any_more_there_is_no_way_back() {
    let secret = format!(
        "{FILE}[destination.security]\nprotocol = \"SASL_PLAINTEXT\"\n[destination.security.sasl]\nmechanism = \"PLAIN\"\nusername = \"u\"\npassword = \"hunter2\"\n"
    );
    let mut changes = begin_with(Sources::new(), History::default(), &secret).unwrap().changes;
    commit(&mut changes, set(&[(LINGER, "20ms")]), 2_000);
    let mut changes = started_anew(&changes, &secret, 3_000);
    assert!(changes.look(&health(0, 0), 4_000).is_none() && changes.look(&health(1, 0), 5_000).is_none());
    assert_eq!(changes.running().number, 2);
}

fn for_all(change: &str, values: &[(&str, &str)]) -> Wish {
    let Wish::Live(values) = set(values) else { unreachable!("that is what it makes") };
    Wish::Shared { change: change.to_owned(), values }
}

fn last_decision(changes: &Changes) -> (String, Outcome, String) {
    let Decision { change, outcome, reason } = changes.history().decided.last.clone().unwrap();
    (change, outcome, reason.unwrap_or_default())
}

/// What the topic says after these changes.
fn shared(wishes: &[(&str, &str)]) -> SharedValues {
    let mut shared = SharedValues::default();
    for (time_ms, (key, value)) in (0..).zip(wishes) {
        let values = [((*key).to_owned(), Some((*value).to_owned()))].into();
        let announcement = shared.announce(&values, "ada", "a", time_ms);
        shared.take(announcement);
    }
    shared
}

#[test]
fn a_change_for_all_nodes_is_decided_on_by_the_version_that_it_becomes_and_never_again() {
    let mut changes = machine();
    let shared = shared(&[(LINGER, "20ms")]);
    let due = changes.due(&shared).unwrap();
    let wish = Wish::Shared { change: due.change.clone(), values: due.values };
    let trial = trial(&changes, wish, 2_000);
    // What is written down before it is committed has both.
    let written = changes.with(&trial, &health(0, 0), 2_000);
    let anew = begin_with(Sources::new(), written, FILE).unwrap();
    assert_eq!(linger_of(&anew.loaded), 20);
    assert_eq!(anew.changes.history().decided.last.clone().unwrap().outcome, Outcome::Applied);
    let mut anew = anew.changes;
    assert_eq!(anew.due(&shared), None, "the agent died before anybody was told");
    let version = changes.settle(trial, Ok(()), &health(0, 0), 2_000).unwrap().clone();
    assert_eq!(version.change.as_deref(), Some(due.change.as_str()));
    assert!(version.cause.contains(&due.change), "{version:?}");
    assert_eq!(changes.due(&shared), None);
    assert_eq!(shared.differing(&changes.running().document.live), [""; 0]);
    // What is changed here afterwards stays, and is told.
    commit(&mut changes, set(&[(LINGER, "30ms")]), 3_000);
    assert_eq!(
        (changes.due(&shared), shared.differing(&changes.running().document.live)),
        (None, vec![LINGER.to_owned()])
    );
}

#[test]
fn a_change_for_all_nodes_that_fails_here_is_no_version_until_somebody_decides() {
    let mut changes = machine();
    let shared = shared(&[(LINGER, "20ms")]);
    let due = changes.due(&shared).unwrap();
    let trial =
        trial(&changes, Wish::Shared { change: due.change.clone(), values: due.values.clone() }, 2_000);
    let refusal = changes.settle(trial, Err("no answer".to_owned()), &health(0, 0), 2_000).unwrap_err();
    assert_eq!(
        (changes.running().number, changes.due(&shared)),
        (1, Some(due.clone())),
        "nothing is decided yet"
    );
    changes.decide(Decision {
        change: due.change,
        outcome: Outcome::Refused,
        reason: Some(refusal.to_string()),
    });
    let written = serde_json::to_string(changes.history()).unwrap();
    let mut anew = begin_with(Sources::new(), serde_json::from_str(&written).unwrap(), FILE).unwrap().changes;
    assert_eq!(anew.due(&shared), None, "it is not tried again at the next start");
    assert!(last_decision(&anew).2.contains("no answer"));
}

#[test]
fn a_change_for_all_nodes_that_makes_things_worse_here_is_taken_back_and_told_so_even_after_a_restart() {
    let mut changes = machine();
    commit(&mut changes, for_all("c1", &[(LINGER, "20ms")]), 2_000);
    let retreat = changes.look(&health(1, 0), 3_000).unwrap();
    let written = changes.with(&retreat, &health(1, 0), 3_000);
    let anew = begin_with(Sources::new(), written, FILE).unwrap().changes;
    let (change, outcome, reason) = last_decision(&anew);
    assert_eq!((change.as_str(), outcome), ("c1", Outcome::TakenBack));
    assert!(reason.contains("circuit breaker"), "{reason}");
    changes.settle(retreat, Ok(()), &health(1, 0), 3_000).unwrap();
    assert_eq!(last_decision(&changes).1, Outcome::TakenBack);
    // The way back of a change that was not for all nodes decides on none.
    commit(&mut changes, set(&[(LINGER, "40ms")]), 4_000);
    let retreat = changes.look(&health(2, 0), 5_000).unwrap();
    changes.settle(retreat, Ok(()), &health(2, 0), 5_000).unwrap();
    assert_eq!(last_decision(&changes).0, "c1");
}
