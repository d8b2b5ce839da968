//! The machine, as far as the agent's process is concerned: its limits, and the C library.

use std::fs;
use std::path::{Path, PathBuf};

use super::checks::{MACHINE_GLIBC, MACHINE_MEMORY, MACHINE_OPEN_FILES, MACHINE_PROCESSOR};
use super::finding::Finding;
use crate::terminal::size;

/// The oldest C library that the agent runs on.
const OLDEST_GLIBC: (u32, u32) = (2, 28);
/// What the agent needs beside the buffers of its destinations, in bytes.
const AGENT_MEMORY: u64 = 64 << 20;
/// Fewer open files than this are too few, and fewer than the second are few: each broker is a connection, and each slot some files.
const OPEN_FILES: (u64, u64) = (256, 1024);
/// Less of a processor than this delays events, in hundredths.
const LEAST_PROCESSOR: u64 = 10;

/// What there is to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The process that it was asked of.
    pub process: String,
    /// The version of glibc.
    pub glibc: Option<(u32, u32)>,
    /// The limit of memory, in bytes; `None` if there is none or it is not told.
    pub memory: Option<u64>,
    /// The limit of the processor, in hundredths of one.
    pub processor: Option<u64>,
    /// How many files may be open.
    pub open_files: Option<u64>,
}

impl Machine {
    /// What `root` (the root directory) tells of the process `pid`, or of this one.
    pub fn observe(root: &Path, pid: Option<i32>) -> Self {
        let told = pid.filter(|pid| root.join(format!("proc/{pid}/limits")).exists());
        let process = told.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let of_process =
            |file: &str| fs::read_to_string(root.join("proc").join(&process).join(file)).unwrap_or_default();
        let groups = control_groups(root, &of_process("cgroup"));
        let least = |file: &str, parse: fn(&str) -> Option<u64>| {
            groups.iter().filter_map(|group| parse(&fs::read_to_string(group.join(file)).ok()?)).min()
        };
        Self {
            glibc: glibc(&fs::read_to_string(root.join("proc/self/maps")).unwrap_or_default()),
            memory: [least("memory.max", number), least("memory.limit_in_bytes", number)]
                .into_iter()
                .flatten()
                .min(),
            processor: least("cpu.max", quota),
            open_files: soft_limit(&of_process("limits"), "Max open files"),
            process: told.map_or_else(|| "this process".to_owned(), |pid| format!("process {pid}")),
        }
    }

    /// What follows, where destinations buffer so many bytes.
    pub fn judge(&self, buffers: u64) -> Vec<Finding> {
        vec![self.judge_glibc(), self.judge_memory(buffers), self.judge_processor(), self.judge_open_files()]
    }

    fn judge_glibc(&self) -> Finding {
        match self.glibc {
            None => MACHINE_GLIBC.skipped("this machine", "the C library does not tell its version"),
            Some((major, minor)) if (major, minor) < OLDEST_GLIBC => {
                MACHINE_GLIBC.problem("this machine", format!("glibc is {major}.{minor}"))
            }
            Some((major, minor)) => MACHINE_GLIBC.ok("this machine", format!("glibc {major}.{minor}")),
        }
    }

    fn judge_memory(&self, buffers: u64) -> Finding {
        let needed = AGENT_MEMORY + buffers;
        match self.memory {
            None => MACHINE_MEMORY.ok(&self.process, "no limit"),
            Some(limit) if limit < needed => MACHINE_MEMORY.problem(
                &self.process,
                format!("the limit is {}, and the agent may need {}", size(limit), size(needed)),
            ),
            Some(limit) => MACHINE_MEMORY.ok(&self.process, format!("the limit is {}", size(limit))),
        }
    }

    fn judge_processor(&self) -> Finding {
        match self.processor {
            None => MACHINE_PROCESSOR.ok(&self.process, "no limit"),
            Some(limit) if limit < LEAST_PROCESSOR => {
                MACHINE_PROCESSOR.warning(&self.process, format!("the limit is {limit} % of a processor"))
            }
            Some(limit) => {
                MACHINE_PROCESSOR.ok(&self.process, format!("the limit is {limit} % of a processor"))
            }
        }
    }

    fn judge_open_files(&self) -> Finding {
        let Some(limit) = self.open_files else {
            return MACHINE_OPEN_FILES.ok(&self.process, "no limit is told");
        };
        let told = format!("{limit} files may be open");
        if limit < OPEN_FILES.0 {
            MACHINE_OPEN_FILES.problem(&self.process, told)
        } else if limit < OPEN_FILES.1 {
            MACHINE_OPEN_FILES.warning(&self.process, told)
        } else {
            MACHINE_OPEN_FILES.ok(&self.process, told)
        }
    }
}

/// The directories of the control groups that a process is in, and of all above them.
fn control_groups(root: &Path, told: &str) -> Vec<PathBuf> {
    let mut groups = Vec::new();
    for line in told.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let mount = match controllers {
            "" => root.join("sys/fs/cgroup"),
            controllers => root.join("sys/fs/cgroup").join(controllers),
        };
        let path = Path::new(path.trim_start_matches('/'));
        groups.extend(path.ancestors().map(|ancestor| mount.join(ancestor)));
    }
    groups
}

/// A number; `max` is none. The first version of control groups writes a number beyond all memory for that.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|number| *number < 1 << 60)
}

/// `50000 100000`, microseconds out of each period, as hundredths of a processor.
fn quota(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota * 100).checked_div(period)
}

/// The soft limit that a line of `/proc/PID/limits` tells.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The version that the mapped C library tells of itself.
fn glibc(maps: &str) -> Option<(u32, u32)> {
    let path = maps.lines().find_map(|line| line.split_whitespace().nth(5).filter(|path| is_libc(path)))?;
    let bytes = fs::read(path).ok()?;
    let mark = b"GNU C Library ";
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    let line = bytes[at..].split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let version = line.split("version ").nth(1)?.trim_end_matches('.');
    let (major, minor) = version.split_once('.')?;
    let digits = minor.find(|character: char| !character.is_ascii_digit()).unwrap_or(minor.len());
    Some((major.parse().ok()?, minor[..digits].parse().ok()?))
}

fn is_libc(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name == "libc.so.6")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    fn severities(machine: &Machine) -> Vec<(&'static str, Severity)> {
        let findings = machine.judge(32 << 20).into_iter();
        findings.map(|finding| (finding.check, finding.severity)).collect()
    }

    const ROOMY: Machine = Machine {
        process: String::new(),
        glibc: Some((2, 36)),
        memory: Some(1 << 30),
        processor: Some(200),
        open_files: Some(1024),
    };

    #[test]
    fn each_limit_is_held_against_what_the_agent_needs() {
        assert!(severities(&ROOMY).iter().all(|(_, severity)| *severity == Severity::Ok));
        for (tight, id, severity) in [
            (Machine { glibc: Some((2, 17)), ..ROOMY }, "machine.glibc", Severity::Problem),
            (Machine { glibc: None, ..ROOMY }, "machine.glibc", Severity::Skipped),
            (Machine { memory: Some(95 << 20), ..ROOMY }, "machine.memory", Severity::Problem),
            (Machine { processor: Some(5), ..ROOMY }, "machine.processor", Severity::Warning),
            (Machine { open_files: Some(255), ..ROOMY }, "machine.open-files", Severity::Problem),
            (Machine { open_files: Some(1023), ..ROOMY }, "machine.open-files", Severity::Warning),
        ] {
            let wrong: Vec<_> =
                severities(&tight).into_iter().filter(|(_, severity)| *severity != Severity::Ok).collect();
            assert_eq!(wrong, [(id, severity)]);
        }
    }

    #[test]
    fn the_tightest_of_all_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/cgroup", "0::/pod/agent\n");
        write(
            "proc/self/limits",
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            128                  4096                 files\n",
        );
        write("proc/self/maps", &fs::read_to_string("/proc/self/maps").unwrap());
        write("sys/fs/cgroup/pod/memory.max", "67108864\n");
        write("sys/fs/cgroup/pod/agent/memory.max", "max\n");
        write("sys/fs/cgroup/pod/agent/cpu.max", "5000 100000\n");
        let machine = Machine::observe(root.path(), None);
        assert_eq!(
            (machine.memory, machine.processor, machine.open_files),
            (Some(64 << 20), Some(5), Some(128))
        );
        assert!(machine.glibc.is_some_and(|version| version >= OLDEST_GLIBC), "{machine:?}");
    }
}
