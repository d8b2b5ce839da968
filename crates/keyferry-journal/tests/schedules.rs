//! Random journals, read in one go, read while they are being written, and read with restarts: always the same content,
//! and that of the model.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use keyferry_journal::format::{GapCause, GapPayload};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{Epoch, Feed, FeedOptions, MemoryStorage, SegmentName, SegmentStore, Writer};
use proptest::prelude::*;
use support::model::{Meant, expect};
use support::*;

#[derive(Debug, Clone)]
enum Act {
    /// A PREPARE of the open transaction with this index (modulo), or of a new one.
    Prepare {
        new: bool,
        which: usize,
        events: usize,
        long: bool,
    },
    Commit(usize),
    Abort(usize),
    Gap,
    Roll,
    Abandon,
    Kill,
    Close,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => (prop::bool::weighted(0.8), any::<usize>(), 0..4usize, prop::bool::weighted(0.1))
            .prop_map(|(new, which, events, long)| Act::Prepare { new, which, events, long }),
        7 => any::<usize>().prop_map(Act::Commit),
        2 => any::<usize>().prop_map(Act::Abort),
        1 => Just(Act::Gap),
        1 => Just(Act::Roll),
        1 => Just(Act::Abandon),
        1 => Just(Act::Kill),
        1 => Just(Act::Close),
    ]
}

/// One write as the disk sees it.
#[derive(Debug, Clone)]
enum Write {
    Create(SegmentName, Vec<u8>),
    Append(Vec<u8>),
}

/// Takes down each write.
#[derive(Debug, Clone, Default)]
struct Recorder {
    writes: Rc<RefCell<Vec<Write>>>,
}

impl SegmentStore for Recorder {
    fn create(&mut self, segment: SegmentName, header: &[u8]) -> io::Result<()> {
        self.writes.borrow_mut().push(Write::Create(segment, header.to_vec()));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writes.borrow_mut().push(Write::Append(bytes.to_vec()));
        Ok(())
    }

    fn last_epoch(&mut self) -> io::Result<Option<Epoch>> {
        let epoch = |write: &Write| if let Write::Create(name, _) = write { Some(name.epoch) } else { None };
        Ok(self.writes.borrow().iter().filter_map(epoch).next_back())
    }

    fn mark_epoch(&mut self, _: Epoch) -> io::Result<()> {
        Ok(())
    }
}

/// Performs the acts; returns the writes and the content that a reader must find.
fn perform(acts: &[Act]) -> (Vec<Write>, Vec<Seen>) {
    let recorder = Recorder::default();
    let begin = || {
        let options = WriterOptions { segment_size: 2048, node: "kc".into() };
        Writer::begin(recorder.clone(), 0, Ticks(BEGIN_MS), options).unwrap()
    };
    let mut writer = begin();
    let mut content = Vec::new();
    let mut records = Vec::new();
    let mut open: Vec<u64> = Vec::new();
    let mut events = 0;
    for act in acts {
        match *act {
            Act::Prepare { new, which, events: count, long } => {
                if new || open.is_empty() {
                    open.push(writer.next_transaction());
                }
                let id = if new { open[open.len() - 1] } else { open[which % open.len()] };
                let pad = if long { "x".repeat(2500) } else { String::new() };
                let names: Vec<String> =
                    (events..events + count).map(|number| format!("{number}{pad}")).collect();
                events += count;
                let refs: Vec<&str> = names.iter().map(String::as_str).collect();
                writer.prepare(id, &payload(&refs)).unwrap();
                records.push(Meant::Prepare(id, names));
            }
            Act::Commit(which) if !open.is_empty() => {
                let id = open.remove(which % open.len());
                writer.commit(id).unwrap();
                records.push(Meant::Commit(id));
            }
            Act::Abort(which) if !open.is_empty() => {
                let id = open.remove(which % open.len());
                writer.abort(id).unwrap();
                records.push(Meant::Abort(id));
            }
            Act::Commit(_) | Act::Abort(_) => {}
            Act::Gap => {
                let user_events = events as u64;
                let cause = GapCause::NoSpace;
                writer
                    .gap(&GapPayload { user_events, admin_events: 0, first_ms: 0, last_ms: 0, cause })
                    .unwrap();
                records.push(Meant::Gap(user_events));
            }
            Act::Roll => writer.roll().unwrap(),
            Act::Abandon => writer.abandon().unwrap(),
            Act::Kill | Act::Close => {
                content.extend(expect(writer.epoch(), &records).0);
                records.clear();
                open.clear();
                if matches!(act, Act::Close) {
                    writer.close().unwrap();
                }
                writer = begin();
            }
        }
    }
    content.extend(expect(writer.epoch(), &records).0);
    (recorder.writes.take(), content)
}

fn apply(storage: &mut MemoryStorage, write: &Write) {
    match write {
        Write::Create(name, bytes) => storage.create(*name, bytes).unwrap(),
        Write::Append(bytes) => storage.append(bytes).unwrap(),
    }
}

/// The writes cut into pieces of about the given sizes, so that a reader may see any part of one.
fn pieces(writes: &[Write], sizes: &[usize]) -> Vec<Write> {
    let mut sizes = sizes.iter().cycle();
    let mut pieces = Vec::new();
    for write in writes {
        let mut rest = match write {
            Write::Create(name, bytes) => {
                pieces.push(Write::Create(*name, Vec::new()));
                &bytes[..]
            }
            Write::Append(bytes) => &bytes[..],
        };
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            pieces.push(Write::Append(piece.to_vec()));
            rest = after;
        }
    }
    pieces
}

fn content(seen: impl IntoIterator<Item = Seen>) -> Vec<Seen> {
    let unexpected = |seen: &Seen| {
        assert!(
            matches!(
                seen,
                Seen::Transaction { .. } | Seen::Gap { .. } | Seen::Ended { .. } | Seen::Abandoned(_)
            ),
            "an undamaged journal gave {seen:?}"
        );
    };
    seen.into_iter().inspect(unexpected).filter(Seen::is_content).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_one_go(acts in prop::collection::vec(act(), 0..80), longest_read in 1..5000usize) {
        let (writes, expected) = perform(&acts);
        let mut storage = MemoryStorage::new();
        writes.iter().for_each(|write| apply(&mut storage, write));
        storage.set_writer_alive(false);
        storage.set_longest_read(longest_read);
        prop_assert_eq!(content(read_slot(&storage)), expected);
    }

    #[test]
    fn while_it_is_written(
        acts in prop::collection::vec(act(), 0..60),
        sizes in prop::collection::vec(1..400usize, 1..8),
        pauses in prop::collection::vec((0..4usize, 0..1500u64), 1..8),
        restart_every in 1..20usize,
    ) {
        let (writes, expected) = perform(&acts);
        let mut storage = MemoryStorage::new();
        let mut feed = feed(storage.clone());
        let mut seen = Vec::new();
        let mut now = 0;
        for (index, piece) in pieces(&writes, &sizes).iter().enumerate() {
            apply(&mut storage, piece);
            let (reads, pause) = pauses[index % pauses.len()];
            now += pause;
            for _ in 0..reads {
                let item = feed.next(now).unwrap();
                seen.extend(item.map(|item| Seen::of(&item)));
            }
            if index % restart_every == 0 {
                let resume = feed.resume_point();
                feed = Feed::open(storage.clone(), resume.as_ref(), FeedOptions::default()).unwrap();
            }
        }
        storage.set_writer_alive(false);
        seen.extend(read_all(&mut feed, &mut now).into_iter().map(|(seen, _)| seen));
        prop_assert_eq!(content(seen), expected);
    }

    #[test]
    fn from_each_resume_point(acts in prop::collection::vec(act(), 0..60), rewind in any::<bool>()) {
        let (writes, expected) = perform(&acts);
        let mut storage = MemoryStorage::new();
        writes.iter().for_each(|write| apply(&mut storage, write));
        storage.set_writer_alive(false);
        let mut first = feed(storage.clone());
        let mut now = 0;
        let all = read_all(&mut first, &mut now);
        let mut returned = 0;
        for (seen, resume) in &all {
            returned += usize::from(seen.is_content());
            let rest = if rewind {
                first.seek(resume.as_ref()).unwrap();
                read_all(&mut first, &mut now)
            } else {
                let mut again = Feed::open(storage.clone(), resume.as_ref(), FeedOptions::default()).unwrap();
                read_all(&mut again, &mut now)
            };
            prop_assert_eq!(&content(rest.into_iter().map(|(seen, _)| seen))[..], &expected[returned..]);
        }
        prop_assert_eq!(returned, expected.len());
    }
}
