//! What the tests of the pipeline share.

use std::sync::Arc;
use std::time::Duration;

use keyferry_event::{Content, HeaderMode, Topics};
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::writer::Clock;
use keyferry_journal::{EventKind, MemoryStorage, Writer};
use keyferry_pipeline::schemas::NoSchemas;
use keyferry_pipeline::{Credit, InDoubt, LowPriority, Retention, Settings, backpressure, breaker};

/// User events go to `events`, and nothing is out of the ordinary.
pub fn settings() -> Settings {
    Settings {
        topics: Topics { events: Some("events".to_owned()), admin_events: None },
        content: Content::default(),
        headers: HeaderMode::CloudEvents,
        in_doubt: InDoubt::Publish,
        dead_letter_topic: None,
        gap_records: true,
        settle_delay: Duration::ZERO,
        ceiling: None,
        retention: Retention::default(),
        credit: Credit { bytes: 1 << 20, records: 100 },
        delivery_timeout: Duration::from_secs(120),
        breaker: breaker::Settings::default(),
        backpressure: backpressure::Settings::default(),
        low_priority: LowPriority::default(),
        controls: Arc::default(),
        meter: Arc::default(),
        schemas: Arc::new(NoSchemas),
        seed: 1,
    }
}

/// Commits so many events of so many bytes, each in a transaction of its own.
#[allow(dead_code, reason = "not every file of tests that has this module writes like that")]
pub fn write(writer: &mut Writer<MemoryStorage, impl Clock>, events: u64, bytes: usize) {
    for _ in 0..events {
        let mut payload = EventEncoder::new();
        payload.push(EventKind::User, 1, &[(Field::Id, "e")], &vec![b'x'; bytes]);
        let transaction = writer.next_transaction();
        writer.prepare(transaction, payload.payload()).unwrap();
        writer.commit(transaction).unwrap();
    }
}
