//! Which limit was reached, and what moves it.

use std::fmt;
use std::io;

/// What there is an end of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The sessions that somebody has chosen to allow.
    Sessions,
    /// Those that somebody has chosen to allow each Service.
    OfService,
    /// The file descriptors of this process.
    Descriptors,
    /// Those of the host.
    HostDescriptors,
    /// The host's ports, which UDP sessions take.
    Ports,
}

impl Limit {
    /// The limit that keeps a file descriptor from being had, if that is what an error says.
    pub(crate) fn of_descriptors(error: &io::Error) -> Option<Self> {
        match error.raw_os_error() {
            Some(nix::libc::EMFILE) => Some(Self::Descriptors),
            Some(nix::libc::ENFILE) => Some(Self::HostDescriptors),
            _ => None,
        }
    }
}

impl fmt::Display for Limit {
    /// The limit and its setting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sessions => "sessions (--userspace-max-sessions)",
            Self::OfService => "sessions of one Service (--userspace-max-sessions-per-service)",
            Self::Descriptors => "open files of this process (RLIMIT_NOFILE: LimitNOFILE=, ulimit -n)",
            Self::HostDescriptors => "open files of this host (fs.file-max)",
            Self::Ports => "ports for UDP (half of net.ipv4.ip_local_port_range)",
        })
    }
}
