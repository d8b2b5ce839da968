//! A checkpoint file that was written, then overwritten at some places: what is read is one of the checkpoints that were written, or the
//! file is called damaged. Never another position.
#![no_main]

use arbitrary::Arbitrary;
use keyferry_journal::{
    Checkpoint, CheckpointFile, Epoch, Error, MemoryStorage, Place, Resume, Storage as _,
};
use libfuzzer_sys::fuzz_target;

const NAME: &str = "default";

#[derive(Debug, Arbitrary)]
struct Input {
    written: Vec<Position>,
    overwritten: Vec<(u16, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Position {
    resume: Option<ResumeSeed>,
    next_sequence: u64,
    durable: bool,
}

/// Epoch; segment and offset of `from`; those of `head`; commit; segment and offset of `in_doubt`.
type ResumeSeed = (u64, u32, u64, u32, u64, u64, Option<(u32, u64)>);

fuzz_target!(|input: Input| {
    let mut storage = MemoryStorage::new();
    let mut file = CheckpointFile::begin_anew(NAME);
    let mut written = Vec::new();
    for position in &input.written {
        let resume = position.resume.map(resume);
        let checkpoint = if position.durable {
            file.write_durable(&mut storage, resume, position.next_sequence)
        } else {
            file.write(&mut storage, resume, position.next_sequence)
        };
        written.push(checkpoint.expect("memory"));
        assert_eq!(read(&mut storage), Ok(written.last().copied()));
    }
    for (offset, bytes) in &input.overwritten {
        storage.write_checkpoint(NAME, u64::from(*offset), bytes).expect("memory");
    }
    if let Ok(Some(found)) = read(&mut storage) {
        let same =
            |known: &Checkpoint| (known.resume, known.next_sequence) == (found.resume, found.next_sequence);
        assert!(written.iter().any(same), "{found:?} was never written");
    }
    let anew = CheckpointFile::begin_anew(NAME).write_durable(&mut storage, None, 7).expect("memory");
    if !input.overwritten.iter().any(|(_, bytes)| bytes.windows(4).any(|window| window == b"KFCP")) {
        assert_eq!(read(&mut storage).ok().flatten(), Some(anew));
    }
});

fn resume((epoch, from_segment, from, head_segment, head, commit, in_doubt): ResumeSeed) -> Resume {
    Resume {
        epoch: Epoch(epoch),
        from: Place { segment: from_segment, offset: from },
        head: Place { segment: head_segment, offset: head },
        commit,
        in_doubt: in_doubt.map(|(segment, offset)| Place { segment, offset }),
    }
}

/// The checkpoint in the file; an error where the file is damaged or of a later release.
fn read(storage: &mut MemoryStorage) -> Result<Option<Checkpoint>, String> {
    match CheckpointFile::load(storage, NAME) {
        Ok((_, checkpoint)) => Ok(checkpoint),
        Err(error @ (Error::DamagedCheckpoint { .. } | Error::LaterCheckpoint { .. })) => {
            Err(error.to_string())
        }
        Err(error) => panic!("{error}"),
    }
}
