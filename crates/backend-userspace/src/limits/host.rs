//! The limits of this host and how file descriptors are divided.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

/// The ports that the kernel chooses from (ip-sysctl in the kernel's documentation), and its default.
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const DEFAULT_PORT_RANGE: (u16, u16) = (32_768, 60_999);
/// Descriptors for everything else: logs, the API server, netlink, metrics, health checks.
const RESERVED: usize = 64;
/// Descriptors for pipes that remain where there are few; a connection without a pipe is copied.
const MIN_PIPES: usize = 8;
/// The usual soft limit of open files, where it cannot be read.
const DEFAULT_OPEN_FILES: u64 = 1024;

/// How file descriptors are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// For sockets of sessions and listeners together.
    pub(super) for_clients: usize,
    /// The part of these that listeners may take.
    pub(super) listeners: usize,
    /// For pipes.
    pub(super) pipes: usize,
}

/// The division under the present limit of open files.
pub(super) fn descriptors() -> Descriptors {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((DEFAULT_OPEN_FILES, DEFAULT_OPEN_FILES));
    divide(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Gives nine tenths to sessions and listeners, at least half of that to sessions.
fn divide(limit: usize) -> Descriptors {
    let for_clients = (limit / 10 * 9).min(limit.saturating_sub(RESERVED + MIN_PIPES));
    let pipes = (limit - for_clients).saturating_sub(RESERVED).max(MIN_PIPES);
    Descriptors { for_clients, listeners: for_clients / 2, pipes }
}

/// How many ports the kernel chooses from for sockets that name none. All programs of the network namespace share them.
pub(super) fn ports() -> usize {
    let text = fs::read_to_string(PORT_RANGE).ok();
    let (first, last) = text.and_then(|text| parse_range(&text)).unwrap_or(DEFAULT_PORT_RANGE);
    usize::from(last.saturating_sub(first)) + 1
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_divided_without_overlap() {
        for limit in [256, 1024, 20_000, 1 << 20] {
            let Descriptors { for_clients, listeners, pipes } = divide(limit);
            assert!(for_clients + pipes + RESERVED <= limit, "{limit}");
            assert!(for_clients >= limit * 7 / 10 && pipes >= MIN_PIPES, "{limit}");
            assert!(listeners <= for_clients / 2 && listeners >= limit / 3, "{limit}");
        }
        assert_eq!(divide(1024), Descriptors { for_clients: 918, listeners: 459, pipes: 42 });
        assert_eq!(divide(20).for_clients, 0);
    }

    #[test]
    fn port_range_is_parsed() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(parse_range("nonsense"), None);
        assert!(ports() > 0);
    }
}
