//! Reads `/proc` about this process (proc(5)).

use std::fs;
use std::path::Path;

/// Ticks per second of times in `/proc` (`USER_HZ` in include/asm-generic/param.h).
const TICKS: f64 = 100.0;

/// The state of the process, as far as it could be read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// Seconds in user space and in the kernel.
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) threads: Option<f64>,
    /// Unix time.
    pub(crate) start_time: Option<f64>,
    /// Bytes.
    pub(crate) virtual_memory: Option<f64>,
    /// Bytes.
    pub(crate) max_virtual_memory: Option<f64>,
    /// Bytes.
    pub(crate) resident_memory: Option<f64>,
    pub(crate) open_files: Option<f64>,
    pub(crate) max_open_files: Option<f64>,
    /// Bytes, since the network namespace was made.
    pub(crate) received: Option<f64>,
    /// Bytes, since the network namespace was made.
    pub(crate) transmitted: Option<f64>,
}

impl Reading {
    /// Reads below `proc`, which is `/proc` outside tests.
    pub(crate) fn take(proc: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(proc.join(path)).unwrap_or_default();
        let (stat, limits, netstat) = (text("self/stat"), text("self/limits"), text("self/net/netstat"));
        // The name of the program, in parentheses, may itself hold spaces and parentheses.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<f64> =
            after_name.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
        // proc(5) counts from 1, and the first two are before what was split off.
        let field = |number: usize| fields.get(number - 3).copied();
        Self {
            cpu_seconds: field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS),
            threads: field(20),
            start_time: field(22)
                .zip(labelled(&text("stat"), "btime "))
                .map(|(start, boot)| boot + start / TICKS),
            virtual_memory: field(23),
            max_virtual_memory: soft_limit(&limits, "Max address space"),
            // Not field 24, which counts pages of unknown size.
            resident_memory: labelled(&text("self/status"), "VmRSS:").map(|kib| kib * 1024.0),
            open_files: open_files(proc),
            max_open_files: soft_limit(&limits, "Max open files"),
            received: column(&netstat, "IpExt:", "InOctets"),
            transmitted: column(&netstat, "IpExt:", "OutOctets"),
        }
    }
}

/// The number after `label` at the start of a line.
fn labelled(text: &str, label: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The soft limit of this name; no limit is 2^64.
fn soft_limit(limits: &str, name: &str) -> Option<f64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(2.0_f64.powi(64)),
        number => number.parse().ok(),
    }
}

/// Open file descriptors, including the one that counts.
fn open_files(proc: &Path) -> Option<f64> {
    let entries = fs::read_dir(proc.join("self/fd")).ok()?;
    u32::try_from(entries.count()).ok().map(f64::from)
}

/// The number below `name` in a table of two lines that both start with `table`.
fn column(text: &str, table: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(table));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|column| column == name)?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(proc: &Path, path: &str, text: &str) {
        let path = proc.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn numbers_are_read_where_the_kernel_writes_them() {
        let proc = tempfile::tempdir().unwrap();
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 900 0 0 0 123 45 0 0 20 0 7 0 1050 268435456 2048 \
                    18446744073709551615 1 1 0 0 0 0 0 4096 81920 0 0 0 17 1 0 0 0 0 0\n";
        write(proc.path(), "self/stat", stat);
        write(proc.path(), "self/status", "Name:\tx\nVmHWM:\t  999 kB\nVmRSS:\t    8192 kB\nThreads:\t7\n");
        write(
            proc.path(),
            "self/limits",
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max open files            1024                 524288               files     \n\
             Max address space         unlimited            unlimited            bytes     \n",
        );
        write(
            proc.path(),
            "self/net/netstat",
            "TcpExt: A InOctets\nTcpExt: 1 2\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 3 4000 5000\n",
        );
        write(proc.path(), "stat", "cpu 1 2\nbtime 1700000000\nprocesses 9\n");
        write(proc.path(), "self/fd/0", "");
        write(proc.path(), "self/fd/1", "");
        let expected = Reading {
            cpu_seconds: Some(1.68),
            threads: Some(7.0),
            start_time: Some(1_700_000_010.5),
            virtual_memory: Some(268_435_456.0),
            max_virtual_memory: Some(18_446_744_073_709_551_616.0),
            resident_memory: Some(8_388_608.0),
            open_files: Some(2.0),
            max_open_files: Some(1024.0),
            received: Some(4000.0),
            transmitted: Some(5000.0),
        };
        assert_eq!(Reading::take(proc.path()), expected);
    }

    #[test]
    fn missing_or_malformed_numbers_are_absent() {
        let proc = tempfile::tempdir().unwrap();
        assert_eq!(Reading::take(proc.path()), Reading::default());
        write(proc.path(), "self/stat", "42 (short) S 1\n");
        write(proc.path(), "self/limits", "Max open files\n");
        write(proc.path(), "self/net/netstat", "IpExt: InOctets\n");
        assert_eq!(Reading::take(proc.path()), Reading::default());
    }

    #[test]
    fn cpu_time_has_fractions_of_seconds() {
        let reading = Reading::take(Path::new("/proc"));
        let start = reading.cpu_seconds.unwrap();
        let mut sum = 0_u64;
        let later = loop {
            sum = (0..1_000_000_u64).fold(sum, |sum, number| sum.wrapping_mul(31) ^ number);
            let later = Reading::take(Path::new("/proc")).cpu_seconds.unwrap();
            if later > start {
                break later;
            }
        };
        assert!(later - start < 0.9, "{start} {later} {sum}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - reading.start_time.unwrap();
        assert!((-2.0..600.0).contains(&age), "the process is {age} s old");
        assert!(reading.open_files.unwrap() >= 3.0 && reading.threads.unwrap() >= 1.0);
    }
}
