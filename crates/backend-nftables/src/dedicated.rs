//! Dedicated chains and sets: those of one service port with session affinity, or with many addresses.
//!
//! Many external addresses of a service port share one chain `external/…` that draws from a dedicated map
//! `endpoints/…` (and `local-endpoints/…` under the Local policy). All of them lead there whatever endpoints
//! there are, and without endpoints the chain rejects.
//!
//! A client's endpoint is not known before one is drawn, and a rule cannot both draw and store
//! it. So the endpoint is learned from the packet after destination NAT:
//!
//! ```text
//! dstnat  cluster/shop/web/tcp/http     dnat to the endpoint in affinity-8080/… for ip saddr, else draw
//! srcnat  affinity/shop/web/tcp/http    update affinity-8080/… { ct original ip saddr : ip daddr }
//! ```
//!
//! | object | holds |
//! |---|---|
//! | `affinity-8080/…` | client → address of its endpoint, of those that serve on port 8080 |
//! | `affinity-endpoints/…` | the endpoints; others are not learned, or a flow to a removed one would add it again |
//! | `affinity-local-8080/…`, `affinity-local-endpoints/…` | the same for endpoints of this node, where a Local policy needs them apart |
//! | `cluster/…`, `external/…`, `nodeport/…` | chains instead of a class |
//! | `affinity/…` | chain that learns |
//!
//! The cost is the same for any number of endpoints. What is learned through one address of the
//! service port applies to all of them. The map has no port in its data, because nft 1.0.6 aborts
//! when it loads a rule that stores an IPv6 address together with something else. Endpoints nearly
//! always share one port; otherwise there is a map for each port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::event::TrafficPolicy;
use portolan_core::plan::NodeSettings;
use portolan_core::{Endpoint, Protocol, ServicePort, ServicePortName};
use portolan_nft::{Bytes, MatchOp, Rule, Selector, Set, SetTimeout, Statement};

use crate::delivery::{self, Kind, Remembered, SlotMaps};
use crate::frontend::{List, address, counts, shares_slots, unserved};
use crate::layout::condition::{is_protocol, to_port};
use crate::layout::{ENDPOINTS, LOCAL_ENDPOINTS};
use crate::programmed::SlotLists;

mod edit;

pub(crate) use edit::{DedicatedEdit, ProgrammedDedicated, Purge};

/// The most clients stored for one service port and target port. Each costs the kernel some 150 bytes;
/// without a limit, forged sources could fill its memory.
const MAX_CLIENTS: u32 = 1 << 18;

/// The longest owner that fits every name which ends in it, `affinity-local-endpoints/…` being the longest: names
/// have up to 255 bytes (`NFT_NAME_MAXLEN` in linux/netfilter/nf_tables.h).
const MAX_OWNER: usize = 255 - "affinity-local-endpoints/".len();

/// The elements of a dedicated set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Endpoints that may be learned, or slots with their endpoints.
    Elements(BTreeMap<Bytes, Option<Bytes>>),
    /// Clients, of which only these endpoints are known: those that they have, or may have.
    Clients(BTreeSet<IpAddr>),
}

/// The dedicated chains and sets that one service port needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dedicated {
    /// Its sets with their elements: first those of endpoints that may be learned, then those of clients.
    pub(crate) sets: Vec<(Arc<Set>, Contents)>,
    /// The chains with their rules.
    pub(crate) chains: BTreeMap<Arc<str>, Vec<Rule>>,
}

impl Dedicated {
    /// Whether a service port may need any.
    pub(crate) fn concerns(port: &ServicePort) -> bool {
        port.session_affinity.is_some() || shares_slots(port)
    }

    /// Those of `port`, whose endpoints are in these slots.
    pub(crate) fn of(
        name: &ServicePortName,
        port: &ServicePort,
        slots: &SlotLists,
        settings: &NodeSettings,
    ) -> Option<Self> {
        if !Self::concerns(port) {
            return None;
        }
        let owner = owner(name);
        let mut own = Self::default();
        for kind in Kind::ALL {
            let shares_slots = kind == Kind::External && shares_slots(port);
            if !shares_slots && port.session_affinity.is_none() {
                continue;
            }
            let rules = match counts(kind, port) {
                Some(counts) => {
                    let maps =
                        if shares_slots { own_maps(name.protocol, &owner) } else { SlotMaps::shared(kind) };
                    let remembered = remembered(name, port, kind, &owner);
                    delivery::rules(kind, counts, &maps, &remembered, settings)
                }
                None if shares_slots => vec![Rule::new([Statement::Goto(unserved(kind, port).into())])],
                None => continue,
            };
            own.chains.insert(Arc::from(chain_name(kind, &owner)), rules);
        }
        if let Some(timeout) = port.session_affinity {
            own.learn(port, &owner, timeout);
        }
        if shares_slots(port) {
            let is_local = port.external_traffic_policy == TrafficPolicy::Local;
            for list in [Some(List::Cluster), is_local.then_some(List::Local)].into_iter().flatten() {
                let slots = slots[list as usize].iter();
                let elements = slots.map(|(slot, target)| (slot_key(slot), Some(target.bytes()))).collect();
                own.sets.push((Arc::new(slot_map(list, &owner)), Contents::Elements(elements)));
            }
        }
        (!own.chains.is_empty()).then_some(own)
    }

    /// Learns which endpoint a client got; nothing while there is no endpoint.
    fn learn(&mut self, port: &ServicePort, owner: &str, timeout: Duration) {
        if Kind::ALL.into_iter().all(|kind| counts(kind, port).is_none()) {
            return;
        }
        let (mut learn, mut memories) = (Vec::new(), Vec::new());
        for list in List::ALL {
            let endpoints = list.of(port);
            if endpoints.is_empty() {
                continue;
            }
            let guard = Arc::new(known_set(list, owner));
            for (target_port, addresses) in by_port(endpoints) {
                let memory = Arc::new(memory_map(list, target_port, owner));
                learn.push(learn_rule(&guard, &memory, target_port, timeout));
                memories.push((memory, Contents::Clients(addresses)));
            }
            let known = endpoints.iter().map(|endpoint| (known_key(endpoint), None)).collect();
            self.sets.push((guard, Contents::Elements(known)));
        }
        self.sets.extend(memories);
        self.chains.insert(Arc::from(learn_chain(owner)), learn);
    }

    /// Its sets and maps.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &Arc<Set>> {
        self.sets.iter().map(|(set, _)| set)
    }
}

fn prefix(list: List) -> &'static str {
    match list {
        List::Cluster => "affinity",
        List::Local => "affinity-local",
    }
}

/// What follows the slash in the names of dedicated objects.
///
/// Names from files may be longer than the kernel's limit or hold characters that nft cannot read; such a
/// service port is named by a hash, which has no slash in it and so never equals another owner.
pub(crate) fn owner(name: &ServicePortName) -> Arc<str> {
    let owner = format!("{}/{}/{}", name.service, name.protocol, name.port);
    let parts = [&name.service.namespace, &name.service.name, &name.port];
    let is_plain = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if owner.len() <= MAX_OWNER && parts.into_iter().all(|part| is_plain(part)) {
        return owner.into();
    }
    format!("{:016x}", fnv1a(owner.as_bytes())).into()
}

/// FNV-1a of 64 bits (`draft-eastlake-fnv`): the same in every run and version.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The owner in the name of a dedicated object.
pub(crate) fn owner_of(name: &str) -> Option<&str> {
    name.split_once('/').map(|(_, owner)| owner)
}

/// The chain that frontends of a kind lead to.
pub(crate) fn chain_name(kind: Kind, owner: &str) -> String {
    format!("{}/{owner}", kind.as_str())
}

/// The chain that learns.
pub(crate) fn learn_chain(owner: &str) -> String {
    format!("affinity/{owner}")
}

/// The shape of the dedicated set of this name.
pub(crate) fn shape(name: &str) -> Option<Set> {
    let (kind, owner) = name.split_once('/')?;
    for list in [List::Local, List::Cluster] {
        if kind == slots_prefix(list) {
            return Some(slot_map(list, owner));
        }
        let Some(rest) = kind.strip_prefix(prefix(list)).and_then(|rest| rest.strip_prefix('-')) else {
            continue;
        };
        if rest == "endpoints" {
            return Some(known_set(list, owner));
        }
        if let Ok(port) = rest.parse() {
            return Some(memory_map(list, port, owner));
        }
    }
    None
}

fn slots_prefix(list: List) -> &'static str {
    match list {
        List::Cluster => ENDPOINTS,
        List::Local => LOCAL_ENDPOINTS,
    }
}

/// The map of the slots that all external addresses of a service port share.
fn slot_map(list: List, owner: &str) -> Set {
    // Any modulus will do: the type of a slot is the same for all.
    let slot = Selector::NumgenRandom { modulus: 2 };
    Set::map(format!("{}/{owner}", slots_prefix(list)), [slot], [Selector::Daddr, Selector::ThDport])
}

fn own_maps(protocol: Protocol, owner: &str) -> SlotMaps {
    SlotMaps::own(protocol, List::ALL.map(|list| slot_map(list, owner).name))
}

/// The key of a slot in such a map.
fn slot_key(slot: u32) -> Bytes {
    *Bytes::new().push_u32_host(slot)
}

fn known_set(list: List, owner: &str) -> Set {
    Set::new(format!("{}-endpoints/{owner}", prefix(list)), [Selector::Daddr, Selector::ThDport])
}

fn memory_map(list: List, port: u16, owner: &str) -> Set {
    Set::map(format!("{}-{port}/{owner}", prefix(list)), [Selector::CtOriginalSaddr], [Selector::Daddr])
        .filled_by_rules(SetTimeout::PerElement, Some(MAX_CLIENTS))
}

fn known_key(endpoint: &Endpoint) -> Bytes {
    *Bytes::new().push_addr(endpoint.address).push_port(endpoint.port)
}

/// The endpoint's address in an element of such a set; the port after it fills four bytes.
fn known_address(key: &Bytes) -> Option<IpAddr> {
    address(key.get(..key.len().checked_sub(4)?)?)
}

fn target_ports(endpoints: &[Endpoint]) -> BTreeSet<u16> {
    endpoints.iter().map(|endpoint| endpoint.port).collect()
}

fn by_port(endpoints: &[Endpoint]) -> BTreeMap<u16, BTreeSet<IpAddr>> {
    let mut ports = BTreeMap::<_, BTreeSet<_>>::new();
    for endpoint in endpoints {
        ports.entry(endpoint.port).or_default().insert(endpoint.address);
    }
    ports
}

/// Rules that send clients to the endpoints that they had.
fn remembered(name: &ServicePortName, port: &ServicePort, kind: Kind, owner: &str) -> Remembered {
    if port.session_affinity.is_none() {
        return Remembered::default();
    }
    let of = |list: List| -> Vec<Vec<Statement>> {
        target_ports(list.of(port))
            .into_iter()
            .map(|target_port| {
                let map = memory_map(list, target_port, owner).name;
                let again = Statement::DnatMapPort { key: vec![Selector::Saddr], map, port: target_port };
                vec![is_protocol(name.protocol), again]
            })
            .collect()
    };
    match kind {
        Kind::Cluster => Remembered { all: of(List::internal(port)), outside: Vec::new() },
        Kind::External | Kind::NodePort => Remembered { all: of(List::Cluster), outside: of(List::Local) },
    }
}

fn learn_rule(known: &Set, memory: &Set, port: u16, timeout: Duration) -> Rule {
    let is_known = Statement::InSet { key: known.key.clone(), op: MatchOp::Eq, set: Arc::clone(&known.name) };
    let learn = Statement::UpdateMap {
        map: Arc::clone(&memory.name),
        key: vec![Selector::CtOriginalSaddr],
        data: vec![Selector::Daddr],
        timeout: Some(timeout),
    };
    Rule::new([to_port(port), is_known, learn])
}
