//! Virtual servers as values.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portolan_core::Protocol;

/// Identifies a virtual server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey {
    /// The protocol.
    pub protocol: Protocol,
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// `tcp 10.96.0.10:80`
impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, SocketAddr::new(self.address, self.port))
    }
}

/// A virtual server as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its identity.
    pub key: ServerKey,
    /// How it chooses.
    pub settings: ServerSettings,
}

/// How a virtual server chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// The scheduler's name, such as `rr`.
    pub scheduler: Arc<str>,
    /// Of [`server_flag`].
    pub flags: u32,
    /// For how long a persistent server's clients keep their destination; whole seconds count.
    pub timeout: Duration,
}

/// What may be in [`ServerSettings::flags`] (`IP_VS_SVC_F_*`, linux/ip_vs.h).
pub mod server_flag {
    /// Clients keep their destination: `IP_VS_SVC_F_PERSISTENT`.
    pub const PERSISTENT: u32 = 0x1;
    /// The kernel's own note that the server can be found: `IP_VS_SVC_F_HASHED`.
    pub const HASHED: u32 = 0x2;
    /// The scheduler `mh` hashes the client's port besides its address: `IP_VS_SVC_F_SCHED_MH_PORT`.
    pub const HASH_PORT: u32 = 0x10;
}

/// Where a virtual server leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Its address and port.
    pub socket: SocketAddr,
    /// How many connections it gets, compared with others; none when it is zero.
    pub weight: u32,
    /// Connections in use.
    pub active: u32,
    /// Connections that are closing.
    pub inactive: u32,
}

/// How long unused connections are remembered. Zero leaves a time as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// Of TCP.
    pub tcp: Duration,
    /// Of TCP after a FIN.
    pub tcp_fin: Duration,
    /// Of UDP.
    pub udp: Duration,
}
