//! Changes of the node's settings: its configuration, its Node object, the ServiceCIDRs and the address of the API
//! server.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::State;
use crate::address::IpFamily;
use crate::event::{Node, ServiceCidr};
use crate::name::Name;
use crate::node::NodeConfig;
use crate::plan::NodeSettings;
use crate::vip_owners::api_server_owner;

impl State {
    /// Changes the configuration. The node's name and whether external IPs are served stay as they are: stored Services
    /// and plans depend on them.
    pub fn reconfigure(&mut self, config: NodeConfig) {
        let node_name = self.config.node_name.clone();
        let allow_external_ips = self.config.allow_external_ips;
        let old = std::mem::replace(&mut self.config, NodeConfig { node_name, allow_external_ips, ..config });
        if old.node_ips(self.node.as_ref()) != self.config.node_ips(self.node.as_ref()) {
            self.services.keys().cloned().for_each(|name| self.dirty.mark_endpoints(name));
        }
        self.update_settings();
    }

    pub(super) fn set_node(&mut self, name: &Name, node: Option<Node>) {
        if *name != self.config.node_name || self.node == node {
            return;
        }
        // A deleted Node object is kept, as in kube-proxy: the node's pods still run.
        let Some(node) = node else { return };
        let old = self.node.replace(node);
        let topology =
            |node: Option<&Node>| (node.and_then(|node| node.zone.clone()), self.config.node_ips(node));
        if topology(old.as_ref()) != topology(self.node.as_ref()) {
            self.services.keys().cloned().for_each(|name| self.dirty.mark_endpoints(name));
        }
        self.update_settings();
    }

    pub(super) fn set_service_cidr(&mut self, name: &Name, cidr: Option<ServiceCidr>) {
        match cidr {
            Some(cidr) => self.service_cidrs.insert(name.clone(), cidr),
            None => self.service_cidrs.remove(name),
        };
        self.update_settings();
    }

    /// Sets the addresses at which the proxy connects to the API server.
    pub(super) fn set_api_server(&mut self, sockets: BTreeSet<SocketAddr>) {
        let old = std::mem::replace(&mut self.api_server, sockets);
        for socket in old.difference(&self.api_server) {
            let (address, owner) = api_server_owner(*socket);
            if let Some(next_owner) = self.families[IpFamily::of(socket.ip())].owners.remove(&address, &owner)
            {
                self.dirty.mark(next_owner.service);
            }
        }
        for socket in self.api_server.difference(&old) {
            let (address, owner) = api_server_owner(*socket);
            if let Some(conflict) = self.families[IpFamily::of(socket.ip())].owners.add(address, owner) {
                self.dirty.mark(conflict.ignored.service.clone());
                self.conflicts.push(conflict);
            }
        }
        self.update_settings();
    }

    /// Updates the node's settings in both plans.
    fn update_settings(&mut self) {
        for family in IpFamily::ALL {
            let cidrs = self.service_cidrs.values().flat_map(|cidr| &cidr.cidrs);
            let settings = self.config.settings(family, self.node.as_ref(), cidrs);
            let api_server = self.api_server.iter().filter(|socket| IpFamily::of(socket.ip()) == family);
            let settings = NodeSettings { api_server: api_server.copied().collect(), ..settings };
            self.families[family].set_node(settings);
        }
    }
}
