//! Missing segments are reported once, however often reading begins before them.
#![allow(clippy::unwrap_used)]

use keyferry_journal::event::{EventEncoder, EventKind, Field};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{Feed, FeedOptions, Item, MemoryStorage, Storage, Writer};

fn payload(id: &str) -> Vec<u8> {
    let mut events = EventEncoder::new();
    events.push(EventKind::User, 1, &[(Field::Id, id)], b"{}");
    events.payload().to_vec()
}

/// The ids of the events and how often segments were missing, up to where nothing more comes.
fn read(feed: &mut Feed<MemoryStorage>) -> (Vec<String>, u32) {
    let (mut ids, mut missing) = (Vec::new(), 0);
    while let Some(item) = feed.next(0).unwrap() {
        match item {
            Item::Transaction(transaction) => {
                ids.extend(transaction.events().map(|event| event.unwrap().id().unwrap().to_owned()));
            }
            Item::MissingSegments { .. } => missing += 1,
            _ => {}
        }
    }
    (ids, missing)
}

#[test]
fn missing_segments_are_not_reported_again_after_going_back() {
    let mut storage = MemoryStorage::new();
    let options = WriterOptions { segment_size: 1 << 20, node: "node".to_owned() };
    let mut writer = Writer::begin(storage.clone(), 0, || 1_700_000_000_000, options).unwrap();
    let open = writer.next_transaction();
    writer.prepare(open, &payload("open")).unwrap();
    let mut segments = Vec::new();
    for id in ["gone", "there"] {
        writer.roll().unwrap();
        segments.push(writer.segment());
        let transaction = writer.next_transaction();
        writer.prepare(transaction, &payload(id)).unwrap();
        writer.commit(transaction).unwrap();
    }
    storage.remove(segments[0]).unwrap();

    let mut feed = Feed::open(storage, None, FeedOptions::default()).unwrap();
    assert_eq!(read(&mut feed), (vec!["there".to_owned()], 1));
    let resume = feed.resume_point().unwrap();
    assert!(resume.from.segment < segments[0].number, "the open transaction holds reading back");
    feed.seek(Some(&resume)).unwrap();
    assert_eq!(read(&mut feed), (Vec::new(), 0));
    writer.commit(open).unwrap();
    assert_eq!(read(&mut feed), (vec!["open".to_owned()], 0));
}
