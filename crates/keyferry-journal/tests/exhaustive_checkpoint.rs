//! The checkpoint file, cut at each byte and with each of its bits flipped: what is read is one of the two checkpoints that
//! were written last, the newer one unless it is the one that was hit, or the file is called damaged. Never another position.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use keyferry_journal::{CheckpointFile, Epoch, Error, MemoryStorage, Place, Resume, Storage};

const NAME: &str = "default";

/// Each copy begins in a block of its own, in bytes.
const BLOCK: usize = 4096;

type Position = (Option<Resume>, u64);

fn position(number: u64) -> Position {
    let place = |offset| Place { segment: number as u32, offset };
    let resume = Resume {
        epoch: Epoch(0x0006_447b_0d1a_2c00),
        from: place(64 * number),
        head: place(128 * number),
        commit: number,
        in_doubt: (!number.is_multiple_of(3)).then(|| place(32 * number)),
    };
    (Some(resume), 10 * number)
}

/// The checkpoint file after so many writes.
fn written(count: u64) -> Vec<u8> {
    let mut storage = MemoryStorage::new();
    let mut file = CheckpointFile::begin_anew(NAME);
    for number in 1..=count {
        let (resume, next_sequence) = position(number);
        file.write(&mut storage, resume, next_sequence).unwrap();
    }
    storage.read_checkpoint(NAME).unwrap()
}

/// The position in a file with these bytes; an error if it is damaged.
fn read(bytes: &[u8]) -> Result<Option<Position>, Error> {
    let mut storage = MemoryStorage::new();
    storage.write_checkpoint(NAME, 0, bytes).unwrap();
    let (_, checkpoint) = CheckpointFile::load(&mut storage, NAME)?;
    Ok(checkpoint.map(|checkpoint| (checkpoint.resume, checkpoint.next_sequence)))
}

#[test]
fn each_bit_flipped() {
    for count in [2, 3] {
        let bytes = written(count);
        let begin = if count % 2 == 1 { 0 } else { BLOCK };
        let newer = begin..begin + written(1).len();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = if newer.contains(&(bit / 8)) { position(count - 1) } else { position(count) };
            assert_eq!(read(&flipped).unwrap(), Some(expected), "bit {bit} after {count} writes");
        }
    }
}

#[test]
fn each_bit_of_an_only_copy_flipped() {
    let bytes = written(1);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let read = read(&flipped);
        assert!(matches!(read, Err(Error::DamagedCheckpoint { .. })), "bit {bit}: {read:?}");
    }
}

#[test]
fn cut_at_each_byte() {
    let only = written(1);
    let bytes = written(2);
    for length in 0..bytes.len() {
        let read = read(&bytes[..length]);
        match length {
            0 => assert_eq!(read.unwrap(), None),
            length if length < only.len() => {
                assert!(matches!(read, Err(Error::DamagedCheckpoint { .. })), "cut at {length}: {read:?}");
            }
            _ => assert_eq!(read.unwrap(), Some(position(1)), "cut at {length}"),
        }
    }
}

#[test]
fn both_copies_hit() {
    let bytes = written(2);
    for shift in 0..64 {
        let mut hit = bytes.clone();
        hit[shift] ^= 0x10;
        hit[BLOCK + 64 - shift] ^= 0x01;
        assert!(matches!(read(&hit), Err(Error::DamagedCheckpoint { .. })), "shift {shift}");
    }
}
