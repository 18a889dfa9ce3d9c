//! What an observer outside of the proxy must know of its mode.

use std::fmt;

/// The proxy's `--mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mode(String);

impl Mode {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Whether endpoints are elements of nftables maps, so that the kernel's notices of commits name them and
    /// the numbers of operations are known by arithmetic.
    ///
    /// iptables writes nftables as well on most hosts, but rules, which tell nothing that could be read.
    pub(crate) fn has_elements(&self) -> bool {
        self.0 == "nftables"
    }

    /// Whether the proxy itself listens at VIPs and relays: without it nothing is served, and no other program may
    /// have the ports.
    pub(crate) fn relays(&self) -> bool {
        self.0 == "userspace"
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self::new("nftables")
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
