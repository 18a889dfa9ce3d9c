//! Reads a table of the nftables backend back and says what it serves, by itself.
//!
//! Written against the layout as documented, not with the backend's code, so that
//! the two cannot agree on a mistake. Works on what the kernel dumps and on what
//! the fake dumps alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use portolan_nft::TableDump;

mod read;
mod wanted;

/// What one family's table serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// By `address port/protocol` or `node port port/protocol`.
    pub served: BTreeMap<String, Served>,
    /// The same keys, for those that are rejected.
    pub rejected: BTreeSet<String>,
    /// The same keys, for those that are ignored.
    pub dropped: BTreeSet<String>,
    /// Keys that are open to these ranges of sources alone.
    pub restricted: BTreeMap<String, BTreeSet<String>>,
    /// Addresses that may reach themselves.
    pub hairpin: BTreeSet<IpAddr>,
    /// Addresses whose other ports are refused.
    pub cluster_ips: BTreeSet<IpAddr>,
    /// Ranges that cluster IPs come from, as `first-last`.
    pub service_cidrs: BTreeSet<String>,
}

/// Where one frontend leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// `cluster`, `external` or `nodeport`.
    pub kind: String,
    /// The endpoints of all clients; or, where `outside` is set, those on this node.
    pub endpoints: BTreeSet<SocketAddr>,
    /// Whom those on other hosts reach, where the Local policy sets them apart.
    pub outside: Option<BTreeSet<SocketAddr>>,
    /// With session affinity, whose: `namespace/name/protocol/port`.
    pub affinity: Option<Affinity>,
}

/// What is kept for a service port with session affinity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affinity {
    /// Whose it is.
    pub owner: String,
    /// The endpoints of either list that may be learned, `None` where there is no such list.
    pub learned: [Option<BTreeSet<SocketAddr>>; 2],
}

/// What to make of slots that no verdict reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remains {
    Refused,
    Overlooked,
}

/// What is wrong with a table, whatever it should serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw(String);

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl View {
    /// What `dump` serves.
    ///
    /// # Errors
    /// The table is broken in itself: slots with gaps or without a verdict, verdicts
    /// without slots or chains, clients led to endpoints that are not there, objects for
    /// affinity that no client uses.
    pub fn of(dump: &TableDump) -> Result<Self, Flaw> {
        let view = Self::read(dump, Remains::Refused)?;
        let unserved = view.rejected.iter().chain(&view.dropped);
        match unserved.into_iter().find(|key| view.served.contains_key(*key)) {
            Some(both) => Err(Flaw(format!("{both} is served and not served"))),
            None => Ok(view),
        }
    }

    /// What `dump` serves in the middle of a change that takes several transactions: slots
    /// that no verdict reaches yet, or any more, do not count.
    ///
    /// # Errors
    /// A verdict leads to a slot or a chain that is not there.
    pub fn in_between(dump: &TableDump) -> Result<Self, Flaw> {
        Self::read(dump, Remains::Overlooked)
    }
}

fn vip_key(ip: IpAddr, protocol: u8, port: u16) -> String {
    format!("{ip} {port}/{protocol}")
}

fn node_port_key(protocol: u8, port: u16) -> String {
    format!("node port {port}/{protocol}")
}
