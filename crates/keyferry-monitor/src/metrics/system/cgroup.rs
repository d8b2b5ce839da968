//! The limits of a control group, version 1 or 2: <https://docs.kernel.org/admin-guide/cgroup-v2.html>, <https://docs.kernel.org/admin-guide/cgroup-v1/memory.html>.
//!
//! A limit holds for everything below the group that has it, so the smallest of the group and its ancestors counts. In a container the path in `/proc/self/cgroup` may be that
//! of the host, which does not exist here; the mount's root is the container's own group then.

use std::fs;
use std::path::{Path, PathBuf};

use procfs::process::Process;

/// The directories of a process's group, from its own to the root of the mount, by what controls what.
#[derive(Debug)]
pub(super) struct ControlGroup {
    cpu: Controller,
    memory: Controller,
}

#[derive(Debug)]
enum Controller {
    V1(Vec<PathBuf>),
    V2(Vec<PathBuf>),
}

/// How much memory the group may use, and uses but for what can be taken from it at once, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) limit: u64,
    pub(super) used: u64,
}

impl ControlGroup {
    pub(super) fn of(process: &Process, root: &Path) -> Option<Self> {
        let groups = process.cgroups().ok()?;
        let groups: Vec<_> = groups
            .into_iter()
            .map(|group| {
                (group.controllers.into_iter().filter(|name| !name.is_empty()).collect(), group.pathname)
            })
            .collect();
        Self::among(&groups, root)
    }

    /// Of a process that is in these groups, each with the controllers of version 1 that it has; none is version 2.
    fn among(groups: &[(Vec<String>, String)], root: &Path) -> Option<Self> {
        let of = |name: &str| {
            let v1 = groups.iter().find(|(controllers, _)| controllers.iter().any(|each| each == name));
            match v1 {
                Some((_, path)) => Some(Controller::V1(lineage(&root.join(name), path))),
                None => {
                    let (_, path) = groups.iter().find(|(controllers, _)| controllers.is_empty())?;
                    Some(Controller::V2(lineage(root, path)))
                }
            }
        };
        Some(Self { cpu: of("cpu")?, memory: of("memory")? })
    }

    /// How many processors it may use at a time; `None` is no limit.
    pub(super) fn cores(&self) -> Option<f64> {
        let quota = |directory: &Path| match &self.cpu {
            Controller::V1(_) => {
                ratio(&read(directory, "cpu.cfs_quota_us")?, &read(directory, "cpu.cfs_period_us")?)
            }
            Controller::V2(_) => {
                let text = read(directory, "cpu.max")?;
                let (quota, period) = text.split_once(' ')?;
                ratio(quota, period)
            }
        };
        self.cpu.directories().iter().filter_map(|directory| quota(directory)).reduce(f64::min)
    }

    /// What it may use and uses of memory; `None` is no limit.
    pub(super) fn memory(&self) -> Option<Memory> {
        let [limit, usage, reclaimable] = match &self.memory {
            Controller::V1(_) => ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"],
            Controller::V2(_) => ["memory.max", "memory.current", "inactive_file"],
        };
        let limits = self.memory.directories().iter().filter_map(|directory| {
            let limit: u64 = read(directory, limit)?.parse().ok()?;
            Some((limit, directory))
        });
        let (limit, directory) = limits.min_by_key(|(limit, _)| *limit)?;
        let used: u64 = read(directory, usage)?.parse().ok()?;
        let statistics = read(directory, "memory.stat").unwrap_or_default();
        let line = statistics.lines().find_map(|line| line.strip_prefix(reclaimable)?.trim().parse().ok());
        Some(Memory { limit, used: used.saturating_sub(line.unwrap_or_default()) })
    }

    /// The path of a file of the own group, in version 2.
    pub(super) fn unified(&self, file: &str) -> Option<PathBuf> {
        match &self.cpu {
            Controller::V2(directories) => directories.first().map(|directory| directory.join(file)),
            Controller::V1(_) => None,
        }
    }
}

impl Controller {
    fn directories(&self) -> &[PathBuf] {
        match self {
            Self::V1(directories) | Self::V2(directories) => directories,
        }
    }
}

/// The directory of `group` below `root` and those above it, as far as they exist.
fn lineage(root: &Path, group: &str) -> Vec<PathBuf> {
    let own = root.join(group.trim_start_matches('/'));
    own.ancestors()
        .take_while(|directory| directory.starts_with(root))
        .filter(|directory| directory.is_dir())
        .map(Path::to_owned)
        .collect()
}

fn read(directory: &Path, file: &str) -> Option<String> {
    Some(fs::read_to_string(directory.join(file)).ok()?.trim().to_owned())
}

/// `None` for no limit: `max`, or -1.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn group(groups: &[(&str, &str)], root: &Path) -> ControlGroup {
        let controllers =
            |text: &str| text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let groups: Vec<_> =
            groups.iter().map(|(names, path)| (controllers(names), (*path).to_owned())).collect();
        ControlGroup::among(&groups, root).unwrap()
    }

    #[test]
    fn the_smallest_limit_of_the_group_and_its_ancestors_counts() {
        let root = tree(&[
            ("pods/pod/cpu.max", "max 100000\n"),
            ("pods/cpu.max", "150000 100000\n"),
            ("pods/pod/memory.max", "1000\n"),
            ("pods/pod/memory.current", "700\n"),
            ("pods/pod/memory.stat", "anon 5\ninactive_file 200\nactive_file 9\n"),
            ("pods/memory.max", "max\n"),
        ]);
        let group = group(&[("", "/pods/pod")], root.path());
        assert_eq!(group.cores(), Some(1.5));
        assert_eq!(group.memory(), Some(Memory { limit: 1_000, used: 500 }));
        assert_eq!(group.unified("io.pressure"), Some(root.path().join("pods/pod/io.pressure")));
    }

    #[test]
    fn version_one_has_a_tree_for_each_controller() {
        let root = tree(&[
            ("cpu/docker/cpu.cfs_quota_us", "50000\n"),
            ("cpu/docker/cpu.cfs_period_us", "100000\n"),
            ("memory/docker/memory.limit_in_bytes", "4096\n"),
            ("memory/docker/memory.usage_in_bytes", "1024\n"),
            ("memory/docker/memory.stat", "total_inactive_file 24\n"),
        ]);
        let group = group(&[("cpu,cpuacct", "/docker"), ("memory", "/docker"), ("", "/")], root.path());
        assert_eq!(group.cores(), Some(0.5));
        assert_eq!(group.memory(), Some(Memory { limit: 4_096, used: 1_000 }));
        assert_eq!(group.unified("io.pressure"), None);
    }

    #[test]
    fn a_path_of_the_host_means_the_root_of_the_mount() {
        let root = tree(&[("cpu.max", "200000 100000\n")]);
        assert_eq!(group(&[("", "/host/only")], root.path()).cores(), Some(2.0));
    }

    #[test]
    fn no_limit_is_none() {
        let root = tree(&[("cpu.max", "max 100000\n"), ("memory.max", "max\n")]);
        let group = group(&[("", "/")], root.path());
        assert_eq!((group.cores(), group.memory()), (None, None));
    }
}
