//! The table of errors: that it is whole, that it gives up nothing, and that `docs/errors.md` says the same. After a change: `KEYFERRY_DOCS=write cargo test -p
//! keyferry-kafka --test errors`.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use keyferry_event::FailureClass;
use keyferry_kafka::error::{NOT_OF_A_PRODUCER, Persistence, TABLE, Verdict, entry, verdict};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

/// Every error that this librdkafka knows.
fn every_code() -> impl Iterator<Item = RDKafkaErrorCode> {
    (-300..1_000).filter_map(|number| RDKafkaRespErr::try_from(number).ok()).map(RDKafkaErrorCode::from)
}

#[test]
fn every_error_of_librdkafka_stands_in_one_of_the_two_lists_and_once() {
    let mut seen = 0;
    for code in every_code() {
        let met = TABLE.iter().filter(|entry| entry.code == code).count();
        let not_met = NOT_OF_A_PRODUCER.iter().filter(|other| **other == code).count();
        assert_eq!(
            met + not_met,
            1,
            "{code:?} ({}) is in the table {met} times and beside it {not_met}",
            code as i32
        );
        seen += 1;
    }
    assert_eq!(
        seen,
        TABLE.len() + NOT_OF_A_PRODUCER.len(),
        "a list has a code that librdkafka does not know"
    );
}

/// A record is condemned for itself, and nothing condemns a batch: no code alone is poison.
#[test]
fn no_error_gives_up_a_record_that_was_not_alone_in_its_batch() {
    for code in every_code() {
        assert_ne!(verdict(code), Verdict::Record(FailureClass::Poison), "{code:?}");
    }
}

#[test]
fn only_what_a_broker_can_say_of_one_record_condemns_it() {
    use RDKafkaErrorCode as Code;
    let of_batches: Vec<_> =
        every_code().filter(|code| verdict(*code) == Verdict::Batch).map(|code| code as i32).collect();
    let expected = [
        Code::InvalidMessageSize,
        Code::MessageSizeTooLarge,
        Code::MessageBatchTooLarge,
        Code::InvalidTimestamp,
        Code::PolicyViolation,
        Code::InvalidRecord,
    ];
    assert_eq!(of_batches, expected.map(|code| code as i32));
}

/// The broker refused another record of the batch: this one is in good order.
#[test]
fn the_company_of_an_invalid_record_is_sent_again() {
    assert_eq!(verdict(RDKafkaErrorCode::InvalidDifferentRecord), Verdict::Record(FailureClass::Transient));
}

#[test]
fn what_the_producer_cannot_go_on_after_is_fatal_and_what_may_have_arrived_is_said() {
    use RDKafkaErrorCode as Code;
    for code in [
        Code::Fatal,
        Code::GaplessGuarantee,
        Code::OutOfOrderSequenceNumber,
        Code::UnknownProducerId,
        Code::InvalidProducerEpoch,
        Code::ProducerFenced,
    ] {
        assert_eq!(verdict(code), Verdict::Record(FailureClass::Fatal), "{code:?}");
    }
    for code in [
        Code::MessageTimedOut,
        Code::BrokerTransportFailure,
        Code::RequestTimedOut,
        Code::NotEnoughReplicasAfterAppend,
        Code::PurgeInflight,
        Code::NetworkException,
    ] {
        assert_eq!(entry(code).unwrap().persistence, Persistence::Perhaps, "{code:?}");
    }
}

#[test]
fn the_page_says_the_same() {
    const BEGIN: &str = "<!-- errors: begin, written by the tests of keyferry-kafka, see crates/keyferry-kafka/tests/errors.rs -->\n";
    const END: &str = "<!-- errors: end -->";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let page = fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let generated = format!("{head}{BEGIN}{}{END}{tail}", table());
    if std::env::var("KEYFERRY_DOCS").as_deref() == Ok("write") {
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == generated, "docs/errors.md is out of date: run this test with KEYFERRY_DOCS=write");
}

fn table() -> String {
    let mut out = "| error | code | class | may be persisted | what it means, and where to look |\n|---|---|---|---|---|\n".to_owned();
    for entry in TABLE {
        let class = match entry.verdict {
            Verdict::Record(class) => class.name(),
            Verdict::Batch => "poison, if alone in its batch",
        };
        let persisted = match entry.persistence {
            Persistence::No => "no",
            Persistence::Perhaps => "yes",
        };
        let (code, number, advice) = (entry.code, entry.code as i32, entry.advice);
        writeln!(out, "| `{code:?}` | {number} | {class} | {persisted} | {advice} |").unwrap();
    }
    out
}
