//! The threads of this process (proc(5)).

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A thread at a point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thread {
    /// Its id (`gettid`).
    pub(crate) id: u32,
    /// Its name, which the kernel cuts off after 15 bytes.
    pub(crate) name: String,
    /// The letter of its state: `R` running or runnable, `S` sleeping.
    pub(crate) state: char,
    /// Its CPU time so far, in nanoseconds.
    pub(crate) cpu: u64,
}

/// A tick of times in `/proc` (`USER_HZ` in include/asm-generic/param.h), in nanoseconds.
const TICK: u64 = 10_000_000;

/// All threads of this process in order of id. One that ends meanwhile is left out.
pub(crate) fn list(proc: &Path) -> Vec<Thread> {
    let entries = fs::read_dir(proc.join("self/task")).into_iter().flatten().flatten();
    let mut threads: Vec<_> = entries.filter_map(|entry| read(&entry.path())).collect();
    threads.sort_by_key(|thread| thread.id);
    threads
}

fn read(task: &Path) -> Option<Thread> {
    let id = task.file_name()?.to_str()?.parse().ok()?;
    let name = fs::read_to_string(task.join("comm")).ok()?.trim_end_matches('\n').to_owned();
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    // Fields 14 and 15 of proc(5), which counts from 1 and includes the two before these.
    let ticks = || Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?);
    // To the nanosecond, in kernels with CONFIG_SCHED_INFO.
    let schedstat = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let exact = schedstat.split_whitespace().next().and_then(|time| time.parse().ok());
    Some(Thread { id, name, state, cpu: exact.or_else(|| Some(ticks()? * TICK))? })
}

/// The threads as a table.
pub(crate) fn table(proc: &Path) -> String {
    let heading = format!("{:>8} {:<15} {:>5} {:>14}\n", "thread", "name", "state", "CPU seconds");
    list(proc).iter().fold(heading, |mut table, Thread { id, name, state, cpu }| {
        let (seconds, fraction) = (cpu / 1_000_000_000, cpu % 1_000_000_000);
        let _infallible = writeln!(table, "{id:>8} {name:<15} {state:>5} {seconds:>4}.{fraction:09}");
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_comes_from_the_exact_statistics_or_else_from_ticks() {
        let proc = tempfile::tempdir().unwrap();
        let task = |id: &str, name: &str, schedstat: Option<&str>| {
            let task = proc.path().join("self/task").join(id);
            fs::create_dir_all(&task).unwrap();
            fs::write(task.join("comm"), format!("{name}\n")).unwrap();
            let stat = format!("{id} ({name}) S 1 1 1 0 -1 64 0 0 0 0 150 50 0 0 20 0 2 0 99 1 1\n");
            fs::write(task.join("stat"), stat).unwrap();
            if let Some(schedstat) = schedstat {
                fs::write(task.join("schedstat"), schedstat).unwrap();
            }
        };
        task("12", "sync) x", None);
        task("7", "main", Some("1234567890 55 6\n"));
        fs::create_dir_all(proc.path().join("self/task/99")).unwrap();
        let expected = [
            Thread { id: 7, name: "main".into(), state: 'S', cpu: 1_234_567_890 },
            Thread { id: 12, name: "sync) x".into(), state: 'S', cpu: 2_000_000_000 },
        ];
        assert_eq!(list(proc.path()), expected);
        let table = "  thread name            state    CPU seconds\n       7 main                S    \
                     1.234567890\n      12 sync) x             S    2.000000000\n";
        assert_eq!(super::table(proc.path()), table);
    }
}
