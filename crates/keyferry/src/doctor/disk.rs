//! The file system that the journal lies on.

use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statfs, statvfs};

use super::checks::{DISK_INODES, DISK_KIND, DISK_SPACE, JOURNAL_WRITABLE};
use super::finding::Finding;
use crate::terminal::{count, size};

/// Room for fewer segments than the first is too little, for fewer than the second little.
const SEGMENTS: (u64, u64) = (1, 4);
/// So many files more are too few, or few.
const INODES: (u64, u64) = (16, 1024);

/// What there is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The journal directory.
    pub place: PathBuf,
    /// The number by which the kernel names the file system's kind (`statfs(2)`).
    pub kind: u64,
    /// What is left for its owner, in bytes.
    pub free: u64,
    /// How many more files it can hold; `None` where it does not count them.
    pub inodes: Option<u64>,
    /// Whether it is mounted for reading only.
    pub is_read_only: bool,
}

/// What becomes of a journal on a kind of file system.
enum Fate {
    /// It is gone after a restart of the machine.
    Volatile,
    /// It is gone with the container.
    OfContainer,
    /// It depends on the network, and locks may not work.
    Remote,
    Local,
}

impl Disk {
    /// That of `place`.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn observe(place: &Path) -> std::io::Result<Self> {
        let (space, kind) = (statvfs(place)?, statfs(place)?);
        Ok(Self {
            place: place.to_owned(),
            kind: kind.f_type.cast_unsigned() & 0xffff_ffff,
            free: space.f_bavail.saturating_mul(space.f_frsize),
            inodes: (space.f_files > 0).then_some(space.f_favail),
            is_read_only: space.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    /// What follows for segments of so many bytes.
    pub fn judge(&self, segment: u64) -> Vec<Finding> {
        vec![self.judge_kind(), self.judge_writable(), self.judge_space(segment), self.judge_inodes()]
    }

    fn judge_kind(&self) -> Finding {
        let (name, fate) = kind(self.kind);
        let place = self.place.display();
        match fate {
            Fate::Volatile => DISK_KIND.problem(place, format!("{name}: a restart takes everything with it")),
            Fate::OfContainer => DISK_KIND.warning(
                place,
                format!("{name}: what is not delivered is gone with the container; mount a volume"),
            ),
            Fate::Remote => DISK_KIND
                .problem(place, format!("{name}: Keycloak waits for the network, and locks may not work")),
            Fate::Local => DISK_KIND.ok(place, name),
        }
    }

    fn judge_writable(&self) -> Finding {
        let place = self.place.display();
        if self.is_read_only {
            return JOURNAL_WRITABLE.problem(place, "its file system is mounted for reading only");
        }
        JOURNAL_WRITABLE.ok(place, "its file system is mounted for writing")
    }

    fn judge_space(&self, segment: u64) -> Finding {
        let place = self.place.display();
        let told = format!("{} free, and a segment has {}", size(self.free), size(segment));
        match self.free {
            free if free < SEGMENTS.0.saturating_mul(segment) => DISK_SPACE.problem(place, told),
            free if free < SEGMENTS.1.saturating_mul(segment) => DISK_SPACE.warning(place, told),
            free => DISK_SPACE.ok(place, format!("{} free", size(free))),
        }
    }

    fn judge_inodes(&self) -> Finding {
        let place = self.place.display();
        let Some(inodes) = self.inodes else {
            return DISK_INODES.ok(place, "it does not count them");
        };
        let told = format!("{} more can be created", count(inodes, "file"));
        match inodes {
            few if few < INODES.0 => DISK_INODES.problem(place, told),
            few if few < INODES.1 => DISK_INODES.warning(place, told),
            _ => DISK_INODES.ok(place, told),
        }
    }
}

/// By the numbers of `statfs(2)` and the kernel's `magic.h`.
fn kind(number: u64) -> (&'static str, Fate) {
    match number {
        0x0102_1994 => ("tmpfs", Fate::Volatile),
        0x8584_58f6 => ("ramfs", Fate::Volatile),
        0x794c_7630 => ("overlay", Fate::OfContainer),
        0x6969 => ("NFS", Fate::Remote),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => ("SMB", Fate::Remote),
        0x00c3_6400 => ("Ceph", Fate::Remote),
        0x0102_1997 => ("9P", Fate::Remote),
        0x6573_5546 => ("FUSE", Fate::Remote),
        0xef53 => ("ext2, 3 or 4", Fate::Local),
        0x5846_5342 => ("XFS", Fate::Local),
        0x9123_683e => ("Btrfs", Fate::Local),
        0x2fc1_2fc1 => ("ZFS", Fate::Local),
        _ => ("a file system of no known trouble", Fate::Local),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    const SEGMENT: u64 = 64 << 20;

    fn roomy() -> Disk {
        Disk {
            place: PathBuf::from("journal"),
            kind: 0xef53,
            free: 1 << 30,
            inodes: Some(1 << 20),
            is_read_only: false,
        }
    }

    #[test]
    fn each_trouble_is_found() {
        assert!(roomy().judge(SEGMENT).iter().all(|finding| finding.severity == Severity::Ok));
        for (disk, id, severity) in [
            (Disk { free: SEGMENT - 1, ..roomy() }, "disk.space", Severity::Problem),
            (Disk { free: 4 * SEGMENT - 1, ..roomy() }, "disk.space", Severity::Warning),
            (Disk { inodes: Some(15), ..roomy() }, "disk.inodes", Severity::Problem),
            (Disk { inodes: Some(1023), ..roomy() }, "disk.inodes", Severity::Warning),
            (Disk { kind: 0x0102_1994, ..roomy() }, "disk.kind", Severity::Problem),
            (Disk { kind: 0x794c_7630, ..roomy() }, "disk.kind", Severity::Warning),
            (Disk { kind: 0x6969, ..roomy() }, "disk.kind", Severity::Problem),
            (Disk { is_read_only: true, ..roomy() }, "journal.writable", Severity::Problem),
        ] {
            let wrong: Vec<_> = disk
                .judge(SEGMENT)
                .into_iter()
                .filter(|finding| finding.severity != Severity::Ok)
                .map(|finding| (finding.check, finding.severity))
                .collect();
            assert_eq!(wrong, [(id, severity)]);
        }
    }

    #[test]
    fn this_file_system_can_be_asked() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::observe(directory.path()).unwrap();
        assert!(disk.free > 0 && !disk.is_read_only, "{disk:?}");
    }
}
