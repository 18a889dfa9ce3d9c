//! What differs between the plan and what HAProxy, its files and the node's routes have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use portolan_core::{BackendError, ChangeSet, NodePlan, Protocol, ServicePort, ServicePortName};
use tracing::warn;

use super::{HaproxyBackend, io};
use crate::haproxy::Condition;
use crate::node;
use crate::render::{Block, NodeContext, block, identifier};

/// What differs, before anything is done about it.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Blocks that came, changed or went, by identifier.
    pub(super) blocks: BTreeMap<String, Option<Block>>,
    /// Files that must be written although their blocks are unchanged, or that belong to no service port.
    pub(super) stale: BTreeSet<String>,
    pub(super) come: BTreeSet<IpAddr>,
    pub(super) gone: BTreeSet<IpAddr>,
}

impl HaproxyBackend {
    /// Everything, read back.
    pub(super) fn compare_all(&mut self, plan: &NodePlan) -> Result<Difference, BackendError> {
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
    pub(super) fn compare_some(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Difference {
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
    pub(super) fn moves_claims(&self, plan: &NodePlan, changes: &ChangeSet) -> bool {
        changes.service_ports().any(|(name, old)| {
            let claims = |port: Option<&Arc<ServicePort>>| port.map(|port| self.claims(name, port));
            claims(old).unwrap_or_default() != claims(plan.service_ports.get(name)).unwrap_or_default()
        })
    }

    fn site<'a>(&'a self, plan: &'a NodePlan) -> NodeContext<'a> {
        NodeContext { family: self.family, node: &plan.node, addresses: &self.own, claimed: &self.claimed }
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
}

/// The addresses that a service port makes local: those of TCP, since no others are served.
fn addresses(name: &ServicePortName, port: &ServicePort) -> Vec<IpAddr> {
    if name.protocol != Protocol::Tcp {
        return Vec::new();
    }
    port.cluster_ip.into_iter().chain(port.external_addresses()).collect()
}
