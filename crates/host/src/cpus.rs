//! How many CPUs the host has.

use std::fs;

use nix::sched::sched_getaffinity;
use nix::unistd::Pid;

use crate::Host;

/// The CPUs that run, as ranges: `0-3,6` (kernel: admin-guide/cputopology.rst).
const ONLINE: &str = "/sys/devices/system/cpu/online";

impl Host {
    /// The CPUs of the host that are running, and at least one.
    ///
    /// The host's and not those left to this process, for connection tracking serves all of it. Only where
    /// sysfs does not tell does the process's own share count.
    pub fn cpus(&self) -> usize {
        let online = fs::read_to_string(self.path(ONLINE)).ok();
        online.as_deref().and_then(count).unwrap_or_else(usable)
    }
}

/// The CPUs in a list of ranges, if it is one and not empty.
fn count(ranges: &str) -> Option<usize> {
    let ranges = ranges.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
        Some(usize::from(last.checked_sub(first)?) + 1)
    });
    ranges.sum()
}

/// The CPUs this process may run on. Not the standard library's answer, which a CPU quota makes smaller.
fn usable() -> usize {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return 1 };
    let cpus = 0..nix::sched::CpuSet::count();
    cpus.filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_those_that_are_online() {
        let counts = |list| count(list);
        assert_eq!(counts("0\n"), Some(1));
        assert_eq!(counts("0-3\n"), Some(4));
        assert_eq!(counts("0-3,6,8-9\n"), Some(7));
        for nonsense in ["", "\n", "0-", "3-1", "a", "0,,1"] {
            assert_eq!(counts(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn without_sysfs_those_of_the_process_count() {
        let empty = tempfile::tempdir().unwrap();
        assert!((1..=Host::new().cpus()).contains(&Host::at(empty.path()).cpus()));
    }

    #[test]
    fn a_host_with_a_list_has_as_many_as_it_says() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/devices/system/cpu")).unwrap();
        fs::write(root.path().join("sys/devices/system/cpu/online"), "0-511\n").unwrap();
        assert_eq!(Host::at(root.path()).cpus(), 512);
    }
}
