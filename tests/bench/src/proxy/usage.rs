//! What a process takes of the machine, from `/proc` (proc(5)).

use std::time::Duration;

use anyhow::Context as _;

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// `VmRSS`
    pub(crate) now: u32,
    /// `VmHWM`
    pub(crate) highest: u32,
}

/// Ticks that `/proc/PID/stat` counts a second in: `USER_HZ`, 100 on every architecture of ours.
const TICKS: u64 = 100;

/// The memory of a process.
pub(crate) fn memory(id: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{id}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    read_memory(&status).with_context(|| format!("{path} does not tell the memory"))
}

/// The processor time of a process, all its threads and the programs that it ran together, in user and kernel
/// mode.
pub(crate) fn time(id: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{id}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    read_time(&stat).with_context(|| format!("{path} does not tell the time"))
}

fn read_memory(status: &str) -> Option<Memory> {
    let bytes = |field: &str| -> Option<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().strip_suffix(" kB")?.parse::<u32>().ok()?.checked_mul(1024)
    };
    Some(Memory { now: bytes("VmRSS:")?, highest: bytes("VmHWM:")? })
}

fn read_time(stat: &str) -> Option<Duration> {
    // The command's name, in parentheses, may hold blanks. `utime`, `stime`, `cutime` and `cstime` are fields
    // 14 to 17, and the first after the name is the third.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: Option<u64> = fields.get(11..15)?.iter().map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks? * 1000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tportolan\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        assert_eq!(read_memory(status), Some(Memory { now: 10_485_760, highest: 20_971_520 }));
        assert_eq!(read_memory("Name:\tportolan\n"), None);
    }

    #[test]
    fn time_is_of_both_modes_and_of_children_whatever_the_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 80 20 20 0 3 0 100 0 0";
        assert_eq!(read_time(stat), Some(Duration::from_secs(4)));
    }

    #[test]
    fn this_process_can_be_read() {
        assert!(memory(std::process::id()).unwrap().now > 0);
        time(std::process::id()).unwrap();
    }
}
