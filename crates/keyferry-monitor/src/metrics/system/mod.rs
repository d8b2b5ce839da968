//! What is known of the agent's process, that of the Keycloak that started it, their control group, and the disk of the journal.
//!
//! Everything is read when somebody asks, and nothing that nobody asks for. The invariant: **what this machine does not tell is left out**, never reported as zero:
//! pressure without PSI, a device that is not in `/proc/diskstats`, a parent that belongs to somebody else.

mod cgroup;

use std::path::{Path, PathBuf};

use procfs::process::{LimitValue, Process, Stat};
use procfs::{
    CpuPressure, Current as _, FromRead, IoPressure, Meminfo, MemoryPressure, PressureRecord, ProcResult,
};

use self::cgroup::ControlGroup;
use super::catalog::*;
use super::definition::Metric;
use super::sample::Samples;

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// A sector of `/proc/diskstats`, whatever the device has, in bytes.
const SECTOR: u64 = 512;

/// Reads what the kernel tells. Holds nothing open.
#[derive(Debug)]
pub struct System {
    journal: PathBuf,
    keycloak: Option<i32>,
    cgroups: PathBuf,
}

impl System {
    /// Of an agent whose journal is on the file system of `journal`, and that was started by the process `keycloak`.
    pub fn new(journal: &Path, keycloak: Option<i32>) -> Self {
        Self { journal: journal.to_owned(), keycloak, cgroups: PathBuf::from(CGROUPS) }
    }

    /// When the agent started, in seconds since the Unix epoch.
    pub fn started(&self) -> Option<f64> {
        started(&Process::myself().ok()?.stat().ok()?)
    }

    /// What `wanted` names of it, and what is read with that.
    pub fn collect(&self, wanted: &dyn Fn(&str) -> bool) -> Samples {
        let mut samples = Samples::default();
        let wants = |metrics: &[&Metric]| metrics.iter().any(|metric| wanted(metric.name));
        let of_limits = wants(&[&CPU_LIMIT, &MEMORY_LIMIT, &MEMORY_USED]);
        let of_pressure = wants(&[&PRESSURE]);
        if wants(&OF_PROCESS) {
            self.processes(&mut samples);
        }
        if of_limits || of_pressure {
            let agent = Process::myself().ok();
            let group = agent.and_then(|agent| ControlGroup::of(&agent, &self.cgroups));
            if of_limits {
                limits(&mut samples, group.as_ref());
            }
            if of_pressure {
                pressure(&mut samples, group.as_ref());
            }
        }
        if wants(&[&DISK_SIZE, &DISK_FREE]) {
            self.space(&mut samples);
        }
        if wants(&[&DISK_READ, &DISK_WRITTEN, &DISK_BUSY]) {
            self.disk(&mut samples);
        }
        samples
    }

    fn processes(&self, samples: &mut Samples) {
        if let Ok(agent) = Process::myself() {
            process(samples, "agent", &agent);
        }
        if let Some(Ok(keycloak)) = self.keycloak.map(Process::new) {
            process(samples, "keycloak", &keycloak);
        }
    }

    fn space(&self, samples: &mut Samples) {
        if let Ok(space) = rustix::fs::statvfs(&self.journal) {
            samples.count(&DISK_SIZE, &[], space.f_blocks.saturating_mul(space.f_frsize));
            samples.count(&DISK_FREE, &[], space.f_bavail.saturating_mul(space.f_frsize));
        }
    }

    fn disk(&self, samples: &mut Samples) {
        let (Ok(file), Ok(disks)) = (rustix::fs::stat(&self.journal), procfs::diskstats()) else { return };
        let (major, minor) = (rustix::fs::major(file.st_dev), rustix::fs::minor(file.st_dev));
        let device = disks.iter().find(|disk| (disk.major, disk.minor) == (major as i32, minor as i32));
        if let Some(disk) = device {
            samples.count(&DISK_READ, &[], disk.sectors_read.saturating_mul(SECTOR));
            samples.count(&DISK_WRITTEN, &[], disk.sectors_written.saturating_mul(SECTOR));
            samples.put(&DISK_BUSY, &[], disk.time_in_progress as f64 / 1_000.0);
        }
    }
}

/// What is read of a process.
static OF_PROCESS: [&Metric; 6] =
    [&PROCESS_CPU, &PROCESS_MEMORY, &PROCESS_THREADS, &PROCESS_START, &PROCESS_FDS, &PROCESS_MAX_FDS];

fn process(samples: &mut Samples, name: &str, process: &Process) {
    let Ok(stat) = process.stat() else { return };
    let ticks = procfs::ticks_per_second() as f64;
    samples.put(&PROCESS_CPU, &[name], (stat.utime + stat.stime) as f64 / ticks);
    samples.count(&PROCESS_MEMORY, &[name], stat.rss.saturating_mul(procfs::page_size()));
    samples.count(&PROCESS_THREADS, &[name], stat.num_threads.unsigned_abs());
    samples.put_some(&PROCESS_START, &[name], started(&stat));
    // Of a process of somebody else the kernel does not tell.
    samples.put_some(&PROCESS_FDS, &[name], process.fd_count().ok().map(|count| count as f64));
    let most = process.limits().ok().map(|limits| limits.max_open_files.soft_limit);
    if let Some(LimitValue::Value(most)) = most {
        samples.count(&PROCESS_MAX_FDS, &[name], most);
    }
}

fn started(stat: &Stat) -> Option<f64> {
    let since_boot = stat.starttime as f64 / procfs::ticks_per_second() as f64;
    Some(procfs::boot_time_secs().ok()? as f64 + since_boot)
}

/// Those of the control group, or of the machine where it has none.
fn limits(samples: &mut Samples, group: Option<&ControlGroup>) {
    let cores = std::thread::available_parallelism().ok().map(|cores| cores.get() as f64);
    let limit = group.and_then(ControlGroup::cores);
    samples.put_some(&CPU_LIMIT, &[], [cores, limit].into_iter().flatten().reduce(f64::min));
    let Ok(machine) = Meminfo::current() else { return };
    let limit = group.and_then(ControlGroup::memory).filter(|memory| memory.limit < machine.mem_total);
    let (most, used) = match limit {
        Some(memory) => (memory.limit, Some(memory.used)),
        None => (
            machine.mem_total,
            machine.mem_available.map(|available| machine.mem_total.saturating_sub(available)),
        ),
    };
    samples.count(&MEMORY_LIMIT, &[], most);
    samples.put_some(&MEMORY_USED, &[], used.map(|used| used as f64));
}

fn pressure(samples: &mut Samples, group: Option<&ControlGroup>) {
    let mut put = |resource, some: ProcResult<(PressureRecord, PressureRecord)>| {
        let Ok((some, full)) = some else { return };
        samples.put(&PRESSURE, &[resource, "some"], some.total as f64 / 1e6);
        samples.put(&PRESSURE, &[resource, "full"], full.total as f64 / 1e6);
    };
    let cpu = of_group(group, "cpu.pressure").unwrap_or_else(CpuPressure::current);
    put("cpu", cpu.map(|cpu| (cpu.some, cpu.full)));
    let memory = of_group(group, "memory.pressure").unwrap_or_else(MemoryPressure::current);
    put("memory", memory.map(|memory| (memory.some, memory.full)));
    let io = of_group(group, "io.pressure").unwrap_or_else(IoPressure::current);
    put("io", io.map(|io| (io.some, io.full)));
}

/// What a file of the control group says; `None` if it has none.
fn of_group<T: FromRead>(group: Option<&ControlGroup>, file: &str) -> Option<ProcResult<T>> {
    let path = group?.unified(file)?;
    path.exists().then(|| T::from_file(path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: &dyn Fn(&str) -> bool = &|_| true;

    fn number(samples: &Samples, metric: &'static crate::metrics::Metric, labels: &[&str]) -> f64 {
        let mut of = samples.of(metric).filter(|sample| sample.labels == labels);
        of.next().unwrap_or_else(|| panic!("no {}", metric.name)).number()
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let system = System::new(directory.path(), Some(std::process::id() as i32));
        let before = system.collect(ALL);
        let files: Vec<_> = (0..9).map(|_| tempfile::tempfile().unwrap()).collect();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        let memory = vec![1_u8; 64 << 20];
        let after = system.collect(ALL);
        for process in ["agent", "keycloak"] {
            let grown = |metric| number(&after, metric, &[process]) - number(&before, metric, &[process]);
            // Other tests of this process open files and start threads, too: hence no equality.
            assert!(grown(&PROCESS_FDS) >= 5.0, "{process}");
            assert!(grown(&PROCESS_MEMORY) >= f64::from(32 << 20), "{process}");
            assert!(number(&after, &PROCESS_THREADS, &[process]) >= 2.0);
            assert!(number(&after, &PROCESS_START, &[process]) > 1.6e9);
        }
        assert!(number(&after, &MEMORY_LIMIT, &[]) > number(&after, &MEMORY_USED, &[]));
        assert!(number(&after, &DISK_SIZE, &[]) >= number(&after, &DISK_FREE, &[]));
        assert!(number(&after, &CPU_LIMIT, &[]) > 0.0);
        drop((files, memory, stop));
        let _ = thread.join().unwrap();
    }

    #[test]
    fn a_process_that_is_gone_is_left_out() {
        let system = System::new(Path::new("/"), Some(i32::MAX));
        assert!(system.collect(ALL).of(&PROCESS_CPU).all(|sample| sample.labels == ["agent"]));
    }

    #[test]
    fn what_nobody_wants_is_not_read() {
        let system = System::new(Path::new("/"), Some(i32::MAX));
        let read_for = |wanted: &[&str]| -> BTreeSet<&'static str> {
            let samples = system.collect(&|name| wanted.contains(&name));
            samples.iter().map(|sample| sample.metric.name).collect()
        };
        assert_eq!(read_for(&[]), BTreeSet::new());
        let space = [DISK_SIZE.name, DISK_FREE.name];
        assert_eq!(read_for(&space[..1]), space.into());
        assert!(read_for(&[PROCESS_FDS.name]).contains(PROCESS_FDS.name));
        assert!(!read_for(&[MEMORY_USED.name]).contains(PRESSURE.name));
    }
}
