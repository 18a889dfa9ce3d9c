//! Tables and chains by name.
//!
//! kube-proxy's names, so that people and tools recognize the rules, and so that a node that
//! changes from one to the other keeps its chains. The name of a chain of one service port is a kind and a hash.

use std::fmt;
use std::net::SocketAddr;

use portolan_core::ServicePortName;
use sha2::{Digest as _, Sha256};

/// A table of iptables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// `mangle`, which holds a canary only.
    Mangle,
    /// `filter`: which packets are accepted.
    Filter,
    /// `nat`: the endpoints of connections.
    Nat,
}

impl Table {
    /// All tables with chains of ours, in the order in which they are written: connections must not be
    /// translated before the filter accepts them.
    pub const ALL: [Self; 3] = [Self::Mangle, Self::Filter, Self::Nat];

    /// The table of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.as_str() == name)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mangle => "mangle",
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

/// The `-t` name.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A chain in some table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Chain {
    /// A built-in chain, in which other programs have rules as well.
    BuiltIn(BuiltIn),
    /// A chain of ours with a fixed name.
    Fixed(Fixed),
    /// A chain of one service port, in the table nat.
    Own(Kind, Hash),
}

macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

named! {
    /// A built-in chain.
    BuiltIn {
        /// Before routing.
        Prerouting = "PREROUTING",
        /// To this node.
        Input = "INPUT",
        /// Through this node.
        Forward = "FORWARD",
        /// From this node.
        Output = "OUTPUT",
        /// After routing.
        Postrouting = "POSTROUTING",
    }
}

named! {
    /// A chain of ours that serves all service ports.
    Fixed {
        /// By cluster IPs and other addresses: in nat to the service port, in filter to a rejection.
        Services = "KUBE-SERVICES",
        /// Rejections at addresses from outside the cluster.
        ExternalServices = "KUBE-EXTERNAL-SERVICES",
        /// By node ports: in nat to the service port, in filter those of health checks.
        NodePorts = "KUBE-NODEPORTS",
        /// Packets of Services that this node forwards.
        Forward = "KUBE-FORWARD",
        /// Drops packets that the source ranges of a load balancer exclude.
        ProxyFirewall = "KUBE-PROXY-FIREWALL",
        /// Drops packets with a forged loopback source; the kubelet has it as well.
        Firewall = "KUBE-FIREWALL",
        /// Masquerades marked packets.
        Postrouting = "KUBE-POSTROUTING",
        /// Marks packets for masquerading.
        MarkMasq = "KUBE-MARK-MASQ",
        /// Empty; when it is missing, another process has flushed the table.
        Canary = "KUBE-PROXY-CANARY",
    }
}

impl Fixed {
    /// Whether there is a chain of ours by this name in a table.
    pub fn is_in(self, table: Table) -> bool {
        match self {
            Self::Canary => true,
            Self::Services | Self::NodePorts => table != Table::Mangle,
            Self::Postrouting | Self::MarkMasq => table == Table::Nat,
            Self::ExternalServices | Self::Forward | Self::ProxyFirewall | Self::Firewall => {
                table == Table::Filter
            }
        }
    }
}

named! {
    /// The purpose of a chain of one service port. The names are the prefixes of chains of the kind.
    Kind {
        /// Chooses among the endpoints of the Cluster policy.
        Cluster = "KUBE-SVC-",
        /// Chooses among those of the Local policy.
        Local = "KUBE-SVL-",
        /// Packets to an address from outside the cluster.
        External = "KUBE-EXT-",
        /// Accepts the source ranges of the load-balancer addresses.
        Firewall = "KUBE-FW-",
        /// Leads to one endpoint.
        Endpoint = "KUBE-SEP-",
    }
}

impl BuiltIn {
    /// The built-in chain of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|chain| chain.as_str() == name).copied()
    }
}

/// The prefix of all chains of kube-proxy.
pub(crate) const PREFIX: &str = "KUBE-";

impl Chain {
    /// The chain of this name, if it is built-in or can be ours.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(built_in) = BuiltIn::parse(name) {
            return Some(Self::BuiltIn(built_in));
        }
        if let Some(fixed) = Fixed::ALL.iter().find(|chain| chain.as_str() == name) {
            return Some(Self::Fixed(*fixed));
        }
        Kind::ALL.iter().find_map(|kind| {
            let hash = Hash::parse(name.strip_prefix(kind.as_str())?)?;
            Some(Self::Own(*kind, hash))
        })
    }
}

/// The chain's name in the kernel.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(chain) => f.write_str(chain.as_str()),
            Self::Fixed(chain) => f.write_str(chain.as_str()),
            Self::Own(kind, hash) => write!(f, "{}{hash}", kind.as_str()),
        }
    }
}

/// Bytes of a SHA-256 in a chain's name.
const SHOWN: usize = 10;
/// Their length in base32 (RFC 4648): five bits a character.
const CHARACTERS: usize = SHOWN * 8 / 5;

/// Identifies a chain among those of one kind: the first 80 bits of a SHA-256, which are the
/// 16 characters of base32 that kube-proxy puts into names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; SHOWN]);

impl Hash {
    /// That of a service port's own chains.
    pub fn of_port(name: &ServicePortName) -> Self {
        Self::of(&format!("{name}{}", name.protocol))
    }

    /// That of the chain to one of its endpoints.
    pub fn of_endpoint(name: &ServicePortName, endpoint: SocketAddr) -> Self {
        Self::of(&format!("{name}{}{endpoint}", name.protocol))
    }

    fn of(text: &str) -> Self {
        let mut shown = [0; SHOWN];
        shown.copy_from_slice(&Sha256::digest(text)[..SHOWN]);
        Self(shown)
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() != CHARACTERS {
            return None;
        }
        let bytes = data_encoding::BASE32_NOPAD.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

/// As in names of chains.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE32_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
