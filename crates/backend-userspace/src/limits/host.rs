//! What this host lets the process have.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::info;

/// Where the ports are that the kernel picks for sockets that name none (ip-sysctl in the kernel's documentation).
const PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// What that is unless somebody changed it.
const USUAL_PORTS: (u16, u16) = (32_768, 60_999);
/// Descriptors of everything else: logs, the API server, netlink, metrics, health checks.
const OTHERS: usize = 64;
/// Pipes that there are even where descriptors are few; what has none is copied.
const FEWEST_OF_PIPES: usize = 8;

/// What file descriptors are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// Sockets of sessions and listeners.
    pub(super) for_clients: usize,
    /// Those of listeners among them.
    pub(super) listeners: usize,
    /// Pipes that bytes go through on their way.
    pub(super) pipes: usize,
}

/// What a process has that cannot tell; the usual soft limit.
const USUAL: u64 = 1024;

/// Asks for as many descriptors as the process may ask for.
pub(super) fn raise_open_files() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((USUAL, USUAL));
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        info!(from = soft, to = hard, "the limit of open files is raised");
    }
}

/// How many descriptors there may be.
pub(super) fn descriptors() -> Descriptors {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((USUAL, USUAL));
    divide(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Nine of ten are for sessions and listeners, at least half of those for sessions.
fn divide(limit: usize) -> Descriptors {
    let for_clients = (limit / 10 * 9).min(limit.saturating_sub(OTHERS + FEWEST_OF_PIPES));
    let pipes = (limit - for_clients).saturating_sub(OTHERS).max(FEWEST_OF_PIPES);
    Descriptors { for_clients, listeners: for_clients / 2, pipes }
}

/// How many ports the kernel has for sockets that name none. Each UDP session has one, in this whole network
/// namespace: a relay that took them all would leave none to others, such as those who ask for names.
pub(super) fn ports() -> usize {
    let (first, last) =
        fs::read_to_string(PORTS).ok().and_then(|text| read_range(&text)).unwrap_or(USUAL_PORTS);
    usize::from(last.saturating_sub(first)) + 1
}

fn read_range(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_divided_so_that_no_use_takes_those_of_another() {
        for limit in [256, 1024, 20_000, 1 << 20] {
            let Descriptors { for_clients, listeners, pipes } = divide(limit);
            assert!(for_clients + pipes + OTHERS <= limit, "{limit}");
            assert!(for_clients >= limit * 7 / 10 && pipes >= FEWEST_OF_PIPES, "{limit}");
            assert!(listeners <= for_clients / 2 && listeners >= limit / 3, "{limit}");
        }
        assert_eq!(divide(1024), Descriptors { for_clients: 918, listeners: 459, pipes: 42 });
        assert_eq!(divide(20).for_clients, 0);
    }

    #[test]
    fn a_range_of_ports_is_read_as_the_kernel_writes_it() {
        assert_eq!(read_range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(read_range("nonsense"), None);
        assert!(ports() > 0);
    }
}
