//! Reads a table of the nftables backend back and says what it serves, by itself.
//!
//! Written against the layout as documented, not with the backend's code, so that
//! the two cannot agree on a mistake. Works on what the kernel dumps and on what
//! the fake dumps alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use portolan_core::plan::{Locality, NodePlan};
use portolan_nft::{Element, ElementValue, TableDump, Verdict};

/// What one family's table serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// By `address port/protocol` or `node port port/protocol`: the kind of class, and all endpoints.
    pub served: BTreeMap<String, (String, BTreeSet<SocketAddr>)>,
    /// The same keys, for those that are rejected.
    pub rejected: BTreeSet<String>,
    /// Addresses that may reach themselves.
    pub hairpin: BTreeSet<IpAddr>,
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
    /// What `plan` asks for.
    pub fn wanted(plan: &NodePlan) -> Self {
        let mut view = Self::default();
        for (name, port) in &plan.service_ports {
            let endpoints: BTreeSet<_> =
                port.cluster_endpoints.iter().map(|e| SocketAddr::new(e.address, e.port)).collect();
            let vip = |ip: IpAddr| vip_key(ip, name.protocol.number(), port.port);
            let mut frontends = Vec::new();
            frontends.extend(port.cluster_ip.map(|ip| (vip(ip), "cluster")));
            frontends.extend(port.external_addresses().map(|ip| (vip(ip), "external")));
            frontends.extend(port.node_port.map(|p| (node_port_key(name.protocol.number(), p), "nodeport")));
            for (key, kind) in frontends {
                if endpoints.is_empty() {
                    view.rejected.insert(key);
                } else {
                    view.served.insert(key, (kind.to_owned(), endpoints.clone()));
                }
            }
            let local = port.cluster_endpoints.iter().filter(|e| e.locality != Locality::Remote);
            view.hairpin.extend(local.map(|e| e.address));
        }
        view
    }

    /// What `dump` serves.
    ///
    /// # Errors
    /// The table is broken in itself: slots with gaps or without a verdict, verdicts
    /// without slots or chains, chains that do not fit their names.
    pub fn of(dump: &TableDump) -> Result<Self, Flaw> {
        let view = Self::read(dump, Remains::Refused)?;
        match view.rejected.iter().find(|key| view.served.contains_key(*key)) {
            Some(both) => Err(Flaw(format!("{both} is served and rejected"))),
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

    fn read(dump: &TableDump, remains: Remains) -> Result<Self, Flaw> {
        let mut view = Self::default();
        for (dispatch, endpoints, vips) in
            [("services", "endpoints", true), ("nodeports", "nodeport-endpoints", false)]
        {
            view.read_served(dump, dispatch, endpoints, vips, remains)?;
        }
        for (set, vips) in [("no-endpoint-services", true), ("no-endpoint-nodeports", false)] {
            for element in elements(dump, set)? {
                view.rejected.insert(frontend_key(&element.key, vips)?);
            }
        }
        for element in elements(dump, "hairpin")? {
            let (from, to) = element.key.split_at(element.key.len() / 2);
            if from != to {
                return Err(Flaw(format!("hairpin element {:?} is of two addresses", element.key)));
            }
            view.hairpin.insert(address(from)?);
        }
        Ok(view)
    }

    fn read_served(
        &mut self,
        dump: &TableDump,
        dispatch: &str,
        endpoints: &str,
        vips: bool,
        remains: Remains,
    ) -> Result<(), Flaw> {
        let mut slots: BTreeMap<String, BTreeMap<u32, SocketAddr>> = BTreeMap::new();
        for element in elements(dump, endpoints)? {
            let (frontend, slot) = element.key.split_at(element.key.len() - 4);
            let slot = u32::from_ne_bytes(fixed(slot)?);
            let ElementValue::Data(data) = element.value else {
                return Err(Flaw(format!("{endpoints} has an element without data")));
            };
            slots.entry(frontend_key(frontend, vips)?).or_default().insert(slot, endpoint(&data)?);
        }
        for element in elements(dump, dispatch)? {
            let key = frontend_key(&element.key, vips)?;
            let ElementValue::Verdict(Verdict::Goto(chain)) = &element.value else {
                return Err(Flaw(format!("{key} in {dispatch} leads nowhere")));
            };
            let (kind, count) = chain.rsplit_once('-').ok_or_else(|| Flaw(format!("{key}: {chain}")))?;
            let mut found = slots.remove(&key).unwrap_or_default();
            let count: u32 = count.parse().map_err(|error| Flaw(format!("{key}: {chain}: {error}")))?;
            if remains == Remains::Overlooked {
                found.retain(|slot, _| *slot < count);
            }
            if !found.keys().copied().eq(0..count) {
                return Err(Flaw(format!("{key} goes to {chain} with slots {found:?}")));
            }
            let targets: BTreeSet<_> = found.values().copied().collect();
            if remains == Remains::Refused && targets.len() != found.len() {
                return Err(Flaw(format!("{key} has an endpoint twice: {found:?}")));
            }
            if dump.chain(chain).is_none_or(|chain| chain.rules.is_empty()) {
                return Err(Flaw(format!("{key} goes to {chain}, which does nothing")));
            }
            self.served.insert(key, (kind.to_owned(), targets));
        }
        match slots.first_key_value().filter(|_| remains == Remains::Refused) {
            Some((key, slots)) => Err(Flaw(format!("{key} has slots but no verdict: {slots:?}"))),
            None => Ok(()),
        }
    }
}

fn vip_key(ip: IpAddr, protocol: u8, port: u16) -> String {
    format!("{ip} {port}/{protocol}")
}

fn node_port_key(protocol: u8, port: u16) -> String {
    format!("node port {port}/{protocol}")
}

fn elements(dump: &TableDump, set: &str) -> Result<Vec<Element>, Flaw> {
    let set = dump.set(set).ok_or_else(|| Flaw(format!("set {set} is missing")))?;
    Ok(set.elements.iter().collect())
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Flaw> {
    bytes.try_into().map_err(|error| Flaw(format!("{bytes:?} is not {N} bytes long: {error}")))
}

fn address(bytes: &[u8]) -> Result<IpAddr, Flaw> {
    if bytes.len() == 4 { Ok(fixed::<4>(bytes)?.into()) } else { Ok(fixed::<16>(bytes)?.into()) }
}

/// Reads `[address .] protocol . port`, each padded to four bytes.
fn frontend_key(key: &[u8], vips: bool) -> Result<String, Flaw> {
    let split = key.len().checked_sub(8).ok_or_else(|| Flaw(format!("short key {key:?}")))?;
    let (ip, rest) = key.split_at(split);
    let [protocol, 0, 0, 0, high, low, 0, 0] = fixed::<8>(rest)? else {
        return Err(Flaw(format!("odd padding in {key:?}")));
    };
    let port = u16::from_be_bytes([high, low]);
    if vips { Ok(vip_key(address(ip)?, protocol, port)) } else { Ok(node_port_key(protocol, port)) }
}

fn endpoint(data: &[u8]) -> Result<SocketAddr, Flaw> {
    let (ip, port) = data.split_at(data.len().saturating_sub(4));
    let [high, low, 0, 0] = fixed::<4>(port)? else {
        return Err(Flaw(format!("odd padding in {data:?}")));
    };
    Ok(SocketAddr::new(address(ip)?, u16::from_be_bytes([high, low])))
}
