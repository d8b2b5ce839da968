//! The binary test vectors in `testdata/journal`: written by the Rust writer and compared byte for byte, and read, with
//! those of the Java writer, by the reader. `KEYFERRY_GOLDEN=write` writes those of the Rust writer anew.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use keyferry_journal::event::{EventEncoder, EventKind, EventView, Field};
use keyferry_journal::format::{GapCause, GapPayload, Kind};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{Epoch, Error, Item, MemoryStorage, Outcome, SegmentName, Writer};
use support::{BEGIN_MS, MemoryWriter, Ticks, feed};

const EXPECTED: &str = "expected.txt";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/journal")
}

/// What the reader makes of a slot whose writer is gone, as text.
fn describe(storage: MemoryStorage) -> String {
    storage.set_writer_alive(false);
    let mut feed = feed(storage);
    let mut text = String::new();
    let mut now = 0;
    while now < 5000 {
        match feed.next(now) {
            Ok(Some(item)) => describe_item(&mut text, &item),
            Ok(None) => now += 500,
            Err(error @ Error::LaterVersion { .. }) => {
                writeln!(text, "error: {error}").unwrap();
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    text
}

fn describe_item(text: &mut String, item: &Item<'_>) {
    match item {
        Item::Transaction(transaction) => {
            let outcome = match transaction.outcome {
                Outcome::Committed => "committed",
                Outcome::Unknown => "unknown",
            };
            writeln!(
                text,
                "transaction epoch={} commit={} id={} outcome={outcome} written={} node={:?}",
                transaction.epoch,
                transaction.commit,
                transaction.id,
                transaction.written_ms,
                transaction.node
            )
            .unwrap();
            for event in transaction.events() {
                describe_event(text, &event.unwrap());
            }
        }
        Item::Gap(gap) => writeln!(
            text,
            "gap segment={} offset={} written={} user-events={} admin-events={} first={} last={} cause={}",
            gap.segment,
            gap.offset,
            gap.written_ms,
            gap.user_events,
            gap.admin_events,
            gap.first_ms,
            gap.last_ms,
            gap.cause.code()
        )
        .unwrap(),
        Item::Damage(range) => {
            writeln!(text, "damage {} {}..{}", range.segment, range.from, range.to).unwrap()
        }
        Item::TornTail(range) => {
            writeln!(text, "torn tail {} {}..{}", range.segment, range.from, range.to).unwrap()
        }
        Item::Abandoned(segment) => writeln!(text, "abandoned {segment}").unwrap(),
        Item::MissingSegments { epoch, first, last } => {
            writeln!(text, "missing segments epoch={epoch} first={first} last={last:?}").unwrap();
        }
        Item::MissingCommits { epoch, expected, found } => {
            writeln!(text, "missing commits epoch={epoch} expected={expected} found={found}").unwrap();
        }
        Item::LostTransaction { epoch, commit, id, .. } => {
            writeln!(text, "lost transaction epoch={epoch} commit={commit} id={id}").unwrap();
        }
        Item::UnknownRecord { segment, offset, kind } => {
            writeln!(text, "unknown record {segment} offset={offset} kind={kind}").unwrap();
        }
        Item::EpochEnded { epoch, commit, closed } => {
            writeln!(text, "epoch ended epoch={epoch} commit={commit} closed={closed}").unwrap();
        }
        Item::EpochReopened { epoch } => writeln!(text, "epoch reopened epoch={epoch}").unwrap(),
    }
}

fn describe_event(text: &mut String, event: &EventView<'_>) {
    let kind = match event.kind() {
        EventKind::User => "user",
        EventKind::Admin => "admin",
    };
    write!(text, "  {kind} time={}", event.time_ms()).unwrap();
    let fields = [
        ("id", event.id()),
        ("type", event.event_type()),
        ("realm-id", event.realm_id()),
        ("realm-name", event.realm_name()),
        ("client", event.client()),
        ("user-id", event.user_id()),
        ("resource-type", event.resource_type()),
        ("resource-path", event.resource_path()),
        ("error", event.error()),
        ("traceparent", event.traceparent()),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            write!(text, " {name}={value:?}").unwrap();
        }
    }
    writeln!(text, "\n    {}", std::str::from_utf8(event.body()).unwrap()).unwrap();
}

fn begin(storage: &MemoryStorage, slot: u8, begin_ms: u64, segment_size: u64) -> MemoryWriter {
    let options = WriterOptions { segment_size, node: "kc-1.example".into() };
    Writer::begin(storage.clone(), slot, Ticks(begin_ms), options).unwrap()
}

fn login(id: &str) -> Vec<u8> {
    let body = format!(
        "{{\"id\":\"{id}\",\"time\":{BEGIN_MS},\"type\":\"LOGIN\",\"realmId\":\"r-1\",\"realmName\":\"master\",\"clientId\":\"account\",\"userId\":\"u-1\",\"error\":null,\"details\":{{\"username\":\"zoë\"}}}}"
    );
    let fields = [
        (Field::Id, id),
        (Field::Type, "LOGIN"),
        (Field::RealmId, "r-1"),
        (Field::RealmName, "master"),
        (Field::Client, "account"),
        (Field::UserId, "u-1"),
        (Field::TraceParent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let mut encoder = EventEncoder::new();
    encoder.push(EventKind::User, BEGIN_MS, &fields, body.as_bytes());
    encoder.payload().to_vec()
}

/// A PREPARE with a failed login and an admin event.
fn mixed() -> Vec<u8> {
    let mut encoder = EventEncoder::new();
    let failed =
        [(Field::Id, "e-mixed-1"), (Field::Type, "LOGIN_ERROR"), (Field::Error, "invalid_user_credentials")];
    encoder.push(EventKind::User, BEGIN_MS + 1, &failed, b"{\"id\":\"e-mixed-1\"}");
    let created = [
        (Field::Id, "e-mixed-2"),
        (Field::Type, "CREATE"),
        (Field::RealmName, "κόσμος"),
        (Field::ResourceType, "USER"),
        (Field::ResourcePath, "users/u-2"),
    ];
    encoder.push(EventKind::Admin, BEGIN_MS + 2, &created, b"{\"id\":\"e-mixed-2\"}");
    encoder.payload().to_vec()
}

fn commit(writer: &mut MemoryWriter, id: &str) {
    let transaction = writer.next_transaction();
    writer.prepare(transaction, &login(id)).unwrap();
    writer.commit(transaction).unwrap();
}

/// Every kind of record, interleaved transactions, one with two PREPAREs, an orderly end.
fn basic() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let mut writer = begin(&storage, 0, BEGIN_MS, 1 << 20);
    let [a, b, c] = [(); 3].map(|()| writer.next_transaction());
    writer.prepare(a, &login("e-a")).unwrap();
    writer.prepare(b, &login("e-b, rolled back")).unwrap();
    writer.prepare(c, &mixed()).unwrap();
    writer.commit(c).unwrap();
    writer.abort(b).unwrap();
    let gap = GapPayload {
        user_events: 12,
        admin_events: 1,
        first_ms: BEGIN_MS - 500,
        last_ms: BEGIN_MS - 100,
        cause: GapCause::NoSpace,
    };
    writer.gap(&gap).unwrap();
    writer.prepare(a, &login("e-a, second")).unwrap();
    writer.commit(a).unwrap();
    writer.close().unwrap()
}

/// Segments that roll over, one that was given up, a killed writer with a transaction in doubt, and the next epoch on the
/// same slot with a clock that went backwards.
fn epochs() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let mut first = begin(&storage, 7, BEGIN_MS, 1024);
    let doubtful = first.next_transaction();
    first.prepare(doubtful, &login("e-doubtful")).unwrap();
    commit(&mut first, "e-1");
    commit(&mut first, "e-2");
    first.abandon().unwrap();
    commit(&mut first, "e-3");
    first.kill();
    let mut second = begin(&storage, 7, BEGIN_MS - 60_000, 1024);
    commit(&mut second, "e-4");
    second.record(Kind::Unknown(200), 0, b"of a later release").unwrap();
    second.close().unwrap()
}

/// Three transactions in one segment whose bytes are changed afterwards; `places` are where the PREPAREs begin.
fn damaged(change: impl FnOnce(&mut Vec<u8>, [usize; 3])) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let mut writer = begin(&storage, 0, BEGIN_MS, 1 << 20);
    let segment = writer.segment();
    let places = ["e-1", "e-2", "e-3"].map(|id| {
        let place = writer.length() as usize;
        commit(&mut writer, id);
        place
    });
    writer.kill();
    let mut bytes = storage.bytes(segment);
    change(&mut bytes, places);
    storage.put(segment, bytes);
    storage
}

fn future_version() -> MemoryStorage {
    damaged(|bytes, [header, ..]| {
        bytes[8] = 2;
        let checksum = crc_fast::crc32_iscsi(&bytes[..header - 4]);
        bytes[header - 4..header].copy_from_slice(&checksum.to_le_bytes());
    })
}

fn cases() -> BTreeMap<&'static str, MemoryStorage> {
    let longest = ((64u32 << 20) + 1).to_le_bytes();
    BTreeMap::from([
        ("rust-basic", basic()),
        ("rust-epochs", epochs()),
        ("rust-torn-tail", damaged(|bytes, [.., last]| bytes.truncate(last + 100))),
        ("rust-flipped-bit", damaged(|bytes, [_, second, _]| bytes[second + 200] ^= 0x10)),
        (
            "rust-impossible-length",
            damaged(|bytes, [_, second, _]| bytes[second + 8..second + 12].copy_from_slice(&longest)),
        ),
        ("rust-foreign-magic", damaged(|bytes, _| bytes[..8].copy_from_slice(b"\x89PNG\r\n\x1a\n"))),
        ("rust-future-version", future_version()),
    ])
}

#[test]
fn the_rust_writer_writes_what_it_always_wrote() {
    let write = std::env::var_os("KEYFERRY_GOLDEN").is_some_and(|value| value == "write");
    for (name, storage) in cases() {
        let folder = directory().join(name);
        if write {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            for segment in storage.names() {
                fs::write(folder.join(segment.to_string()), storage.bytes(segment)).unwrap();
            }
            fs::write(folder.join(EXPECTED), describe(storage.copy())).unwrap();
        }
        let kept = segments(&folder);
        assert_eq!(kept.keys().copied().collect::<Vec<_>>(), storage.names(), "{name}");
        for (segment, bytes) in kept {
            assert!(bytes == storage.bytes(segment), "{name}/{segment} is not what the writer writes now");
        }
    }
}

#[test]
fn the_rust_vectors_are_read_as_expected() {
    for name in cases().into_keys() {
        let folder = directory().join(name);
        let expected = fs::read_to_string(folder.join(EXPECTED)).unwrap();
        assert_eq!(describe(slot(segments(&folder))), expected, "{name}");
    }
}

/// Those of the Java writer that are there: a folder with its segments, or a segment alone. What they hold is said by
/// `expected.txt` in the folder, if there is one; in any case nothing in them is damaged.
#[test]
fn the_java_vectors_are_read_without_damage() {
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("java-") || !(path.is_dir() || name.ends_with(".kfj")) {
            continue;
        }
        let described =
            if path.is_dir() { describe(slot(segments(&path))) } else { describe(slot(alone(&path))) };
        if let Ok(expected) = fs::read_to_string(path.join(EXPECTED)) {
            assert_eq!(described, expected, "{name}");
        }
        assert!(described.contains("transaction epoch="), "{name} holds no transaction:\n{described}");
        for bad in ["damage ", "missing ", "lost ", "unknown record ", "error: "] {
            assert!(!described.lines().any(|line| line.starts_with(bad)), "{name}:\n{described}");
        }
    }
}

fn slot(segments: BTreeMap<SegmentName, Vec<u8>>) -> MemoryStorage {
    assert!(!segments.is_empty(), "there are no segments");
    let storage = MemoryStorage::new();
    for (segment, bytes) in segments {
        storage.put(segment, bytes);
    }
    storage
}

/// A segment whose file has another name than that in its header.
fn alone(path: &Path) -> BTreeMap<SegmentName, Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let number = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
    let epoch = Epoch(u64::from_le_bytes(bytes[16..24].try_into().unwrap()));
    BTreeMap::from([(SegmentName { epoch, number }, bytes)])
}

/// The segments in a folder.
fn segments(folder: &Path) -> BTreeMap<SegmentName, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = files.map(|file| file.unwrap().path());
    let segment = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.parse().ok()?;
        Some((name, fs::read(path).unwrap()))
    };
    files.filter_map(segment).collect()
}
