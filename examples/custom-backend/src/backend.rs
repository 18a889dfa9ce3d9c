//! Makes HAProxy follow a plan, at the cost of what changed.
//!
//! Every apply has the same steps: addresses that come become local; files are exchanged; the worker is told,
//! or reloads where frontends changed; addresses that went are no longer local. What is to be done comes from
//! the change set, or from reading everything back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::backend::Scope;
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, IpFamily, NodePlan, Protocol, ProxyBackend, ProxyMode, ServicePort,
    ServicePortName,
};
use tracing::warn;

use crate::diff::{Turn, command, deletion, turns};
use crate::factory::MODE;
use crate::folder::{Edit, Folder};
use crate::haproxy::{Condition, Farms, Haproxy, HaproxyError};
use crate::node;
use crate::render::{Block, Site, block, identifier};

/// When to look again whether servers that went have lost their last connection.
const LATER: Duration = Duration::from_secs(10);

/// Keeps one HAProxy equal to the plan of one family.
#[derive(Debug)]
pub struct HaproxyBackend {
    family: IpFamily,
    haproxy: Haproxy,
    folder: Folder,
    /// What is written, by identifier.
    blocks: BTreeMap<String, Block>,
    /// The digests of all blocks, added up.
    digest: u64,
    /// What the worker has.
    farms: Farms,
    /// Servers that wait for their last connection to end.
    draining: BTreeSet<(String, SocketAddr)>,
    /// The addresses of Services that are local, and how many service ports each has.
    addresses: HashMap<IpAddr, usize>,
    /// The node's own.
    own: Vec<IpAddr>,
    /// Where Services have those for their own.
    claimed: BTreeSet<SocketAddr>,
    /// Whose service ports are not served, which has been said.
    told: HashSet<ServicePortName>,
}

/// What differs, before anything is done about it.
#[derive(Debug, Default)]
struct Difference {
    /// Blocks that came, changed or went, by identifier.
    blocks: BTreeMap<String, Option<Block>>,
    /// Files that are to be written although their blocks are as they were, or that are nobody's.
    stale: BTreeSet<String>,
    come: BTreeSet<IpAddr>,
    gone: BTreeSet<IpAddr>,
}

impl HaproxyBackend {
    pub(crate) fn new(family: IpFamily, haproxy: Haproxy) -> Self {
        Self {
            family,
            folder: Folder::new(haproxy.folder()),
            haproxy,
            blocks: BTreeMap::new(),
            digest: 0,
            farms: Farms::new(),
            draining: BTreeSet::new(),
            addresses: HashMap::new(),
            own: Vec::new(),
            claimed: BTreeSet::new(),
            told: HashSet::new(),
        }
    }

    /// Everything, read back.
    fn compare_all(&mut self, plan: &NodePlan) -> Result<Difference, BackendError> {
        let texts = self.folder.read().map_err(io("read the configuration files of HAProxy"))?;
        let routes = node::routes(self.family).map_err(io("read the routes of Services"))?;
        // No worker has no servers.
        self.farms = self.haproxy.farms().unwrap_or_default();
        let all =
            self.farms.iter().flat_map(|(farm, servers)| servers.iter().map(move |server| (farm, server)));
        let draining = all.filter(|(_, (_, condition))| **condition == Condition::Draining);
        self.draining = draining.map(|(farm, (server, _))| (farm.clone(), *server)).collect();

        self.claimed = plan.service_ports.iter().flat_map(|(name, port)| self.claims(name, port)).collect();
        let site = self.site(plan);
        let rendered = plan
            .service_ports
            .iter()
            .filter_map(|(name, port)| Some((identifier(name), block(&site, name, port)?)));
        let blocks: BTreeMap<_, _> = rendered.collect();
        let differs = |(id, block): &(&String, &Block)| texts.get(*id) != Some(&block.text());
        let mut stale: BTreeSet<_> = blocks.iter().filter(differs).map(|(id, _)| id.clone()).collect();
        stale.extend(texts.into_keys().filter(|id| !blocks.contains_key(id)));

        self.addresses.clear();
        for (name, port) in &plan.service_ports {
            self.count(name, port, true);
        }
        let wanted: BTreeSet<_> =
            self.addresses.keys().filter(|address| !self.own.contains(address)).copied().collect();
        let come = wanted.difference(&routes).copied().collect();
        let gone = routes.difference(&wanted).copied().collect();
        self.blocks.clear();
        self.digest = 0;
        let blocks = blocks.into_iter().map(|(id, block)| (id, Some(block))).collect();
        Ok(Difference { blocks, stale, come, gone })
    }

    /// What the change set names.
    fn compare_some(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Difference {
        let mut difference = Difference::default();
        // Whether they were local before.
        let mut touched = BTreeMap::new();
        for (name, old) in changes.service_ports() {
            let new = plan.service_ports.get(name);
            for (port, present) in [(old, false), (new, true)] {
                let Some(port) = port else { continue };
                for address in addresses(name, port) {
                    touched.entry(address).or_insert_with(|| self.addresses.contains_key(&address));
                }
                self.count(name, port, present);
            }
            if new.is_none() {
                self.told.remove(name);
            }
            if name.protocol != Protocol::Tcp {
                // A port of TCP may have the same name.
                continue;
            }
            let id = identifier(name);
            let wanted = new.and_then(|port| block(&self.site(plan), name, port));
            if self.blocks.get(&id) != wanted.as_ref() {
                difference.stale.insert(id.clone());
                difference.blocks.insert(id, wanted);
            }
        }
        touched.retain(|address, before| {
            !self.own.contains(address) && *before != self.addresses.contains_key(address)
        });
        (difference.gone, difference.come) =
            touched.into_keys().partition(|address| !self.addresses.contains_key(address));
        difference
    }

    /// Where a service port has an address of the node's for its own.
    fn claims(&self, name: &ServicePortName, port: &ServicePort) -> Vec<SocketAddr> {
        let own = addresses(name, port).into_iter().filter(|address| self.own.contains(address));
        own.map(|address| SocketAddr::new(address, port.port)).collect()
    }

    /// Whether node ports of others may answer elsewhere after these changes.
    fn moves_claims(&self, plan: &NodePlan, changes: &ChangeSet) -> bool {
        changes.service_ports().any(|(name, old)| {
            let claims = |port: Option<&Arc<ServicePort>>| port.map(|port| self.claims(name, port));
            claims(old).unwrap_or_default() != claims(plan.service_ports.get(name)).unwrap_or_default()
        })
    }

    fn site<'a>(&'a self, plan: &'a NodePlan) -> Site<'a> {
        Site { family: self.family, node: &plan.node, addresses: &self.own, claimed: &self.claimed }
    }

    /// Counts who has which address, and says once who is not served.
    fn count(&mut self, name: &ServicePortName, port: &ServicePort, present: bool) {
        if name.protocol != Protocol::Tcp && present && self.told.insert(name.clone()) {
            warn!(servicePort = %name, "{name} is not served: haproxy mode relays TCP only");
        }
        for address in addresses(name, port) {
            let users = self.addresses.entry(address).or_default();
            *users = if present { *users + 1 } else { users.saturating_sub(1) };
            if *users == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    /// Makes it so.
    fn follow(&mut self, difference: Difference, report: &mut ApplyReport) -> Result<(), BackendError> {
        let Difference { blocks, stale, come, gone } = difference;
        node::add(self.family, come.iter())
            .map_err(|error| refused("make addresses of Services local", error))?;
        let changed: Vec<_> = blocks.keys().cloned().collect();
        for (id, block) in blocks {
            let old = block.as_ref().map_or(0, |block| signed(&id, block));
            let left = match block {
                Some(block) => self.blocks.insert(id.clone(), block),
                None => self.blocks.remove(&id),
            };
            self.digest = self.digest.wrapping_add(old);
            self.digest = self.digest.wrapping_sub(left.map_or(0, |block| signed(&id, &block)));
        }
        let texts: Vec<Edit<'_>> =
            stale.iter().map(|id| (id.as_str(), self.blocks.get(id).map(Block::text))).collect();
        report.operations += come.len() + gone.len() + texts.len();
        report.bytes += texts.iter().filter_map(|(_, text)| text.as_ref()).map(String::len).sum::<usize>();
        if self.haproxy.digest() == Some(self.digest) {
            self.folder.exchange(&texts).map_err(|error| refused("exchange configuration files", error))?;
            self.tell(&changed, report)?;
        } else {
            self.reload(&texts)?;
            report.operations += 1;
            report.transactions += 1;
        }
        node::remove(self.family, gone.iter())
            .map_err(|error| refused("take addresses of Services back", error))
    }

    /// Other frontends: the worker gives way to another.
    fn reload(&mut self, texts: &[Edit<'_>]) -> Result<(), BackendError> {
        let preamble = self.haproxy.preamble(self.digest);
        let exchanged = self.folder.exchange_checked(&self.haproxy, &preamble, texts);
        exchanged.map_err(|error| refused("take over the configuration of Services", error))?;
        self.haproxy.serve(self.digest).map_err(|error| refused("serve what is configured", error))?;
        let ready =
            |servers: &[SocketAddr]| servers.iter().map(|server| (*server, Condition::Ready)).collect();
        let farms = self.blocks.values().flat_map(|block| &block.farms);
        self.farms = farms.map(|farm| (farm.name.clone(), ready(&farm.servers))).collect();
        // The worker that had them goes with their connections.
        self.draining.clear();
        Ok(())
    }

    /// Other servers: the worker is told.
    fn tell(&mut self, changed: &[String], report: &mut ApplyReport) -> Result<(), BackendError> {
        for farm in changed.iter().filter_map(|id| self.blocks.get(id)).flat_map(|block| &block.farms) {
            for (server, turn) in turns(farm, self.farms.get(&farm.name)) {
                let (command, answer) = command(&farm.name, &server, turn);
                let told = self.haproxy.tell(&command, answer);
                told.map_err(|error| refused(&format!("change server {server} of {}", farm.name), error))?;
                let servers = self.farms.entry(farm.name.clone()).or_default();
                let drains = turn == Turn::Drain;
                servers.insert(server, if drains { Condition::Draining } else { Condition::Ready });
                let place = (farm.name.clone(), server);
                let _ = if drains { self.draining.insert(place) } else { self.draining.remove(&place) };
                report.operations += 1;
                report.messages += 1;
                report.bytes += command.len();
            }
        }
        Ok(())
    }

    /// Deletes the servers whose last connection has ended.
    fn sweep(&mut self, report: &mut ApplyReport) -> Result<(), BackendError> {
        for (farm, server) in std::mem::take(&mut self.draining) {
            let (command, answer) = deletion(&farm, &server);
            report.messages += 1;
            match self.haproxy.tell(&command, answer) {
                Ok(()) => {
                    self.farms.get_mut(&farm).map(|servers| servers.remove(&server));
                    report.operations += 1;
                }
                // It still has connections.
                Err(HaproxyError::Refused { .. }) => drop(self.draining.insert((farm, server))),
                Err(error) => return Err(refused(&format!("delete server {server} of {farm}"), error)),
            }
        }
        report.follow_up = (!self.draining.is_empty()).then_some(LATER);
        Ok(())
    }
}

#[async_trait]
impl ProxyBackend for HaproxyBackend {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new(MODE)
    }

    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        let own = node::addresses(self.family).map_err(io("read the node's addresses"))?;
        let is_known = !changes.is_complete() && changes.old_node().is_none() && own == self.own;
        self.own = own;
        let is_full = !is_known || self.moves_claims(plan, changes);
        let scope = if is_full { Scope::Full } else { Scope::Partial };
        let mut report = ApplyReport { scope, ..ApplyReport::default() };
        let difference = if is_full { self.compare_all(plan)? } else { self.compare_some(plan, changes) };
        self.follow(difference, &mut report)?;
        self.sweep(&mut report)?;
        Ok(report)
    }

    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        let routes = node::routes(self.family).map_err(io("read the routes of Services"))?;
        let own = node::addresses(self.family).map_err(io("read the node's addresses"))?;
        let mut wanted = self.addresses.keys().filter(|address| !own.contains(address));
        Ok(self.haproxy.digest() == Some(self.digest)
            && own == self.own
            && wanted.all(|address| routes.contains(address)))
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        let ended = self.haproxy.end().map_err(|error| refused("end", error));
        let routes = node::routes(self.family).map_err(io("read the routes of Services"));
        let freed = routes.and_then(|routes| {
            node::remove(self.family, routes.iter()).map_err(|error| refused("take addresses back", error))
        });
        let removed = Folder::remove(self.haproxy.folder()).map_err(|error| refused("remove files", error));
        ended.and(freed).and(removed)
    }
}

/// The addresses that a service port makes local: those of TCP, since no others are served.
fn addresses(name: &ServicePortName, port: &ServicePort) -> Vec<IpAddr> {
    if name.protocol != Protocol::Tcp {
        return Vec::new();
    }
    port.cluster_ip.into_iter().chain(port.external_addresses()).collect()
}

/// A block's part of the digest of all: equal blocks of two service ports must not make up for each other.
fn signed(id: &str, block: &Block) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    (id, block.digest()).hash(&mut hasher);
    hasher.finish()
}

fn refused(action: &str, source: impl std::error::Error + Send + Sync + 'static) -> BackendError {
    BackendError::Refused { action: action.to_owned(), source: Box::new(source) }
}

fn io<E: std::error::Error + Send + Sync + 'static>(action: &'static str) -> impl FnOnce(E) -> BackendError {
    move |source| BackendError::Io { action: action.to_owned(), source: Box::new(source) }
}
