//! What holds for the node as a whole: its configuration, its own object, and where cluster IPs come from.

use super::State;
use crate::address::IpFamily;
use crate::event::{Node, ServiceCidr};
use crate::name::Name;
use crate::node::NodeConfig;

impl State {
    /// From now on plans follow `config`. The node's name and whether external IPs count stay what they
    /// were from the start, as Services and endpoints have been taken in by them.
    pub fn reconfigure(&mut self, config: NodeConfig) {
        let node_name = self.config.node_name.clone();
        let allow_external_ips = self.config.allow_external_ips;
        let old = std::mem::replace(&mut self.config, NodeConfig { node_name, allow_external_ips, ..config });
        if old.node_ips(self.node.as_ref()) != self.config.node_ips(self.node.as_ref()) {
            self.services.keys().cloned().for_each(|name| self.dirty.reselect(name));
        }
        self.resettle();
    }

    pub(super) fn set_node(&mut self, name: &Name, node: Option<Node>) {
        if *name != self.config.node_name || self.node == node {
            return;
        }
        // A Node that is gone keeps the last it said, as in kube-proxy: its pods still run.
        let Some(node) = node else { return };
        let old = self.node.replace(node);
        let place =
            |node: Option<&Node>| (node.and_then(|node| node.zone.clone()), self.config.node_ips(node));
        if place(old.as_ref()) != place(self.node.as_ref()) {
            self.services.keys().cloned().for_each(|name| self.dirty.reselect(name));
        }
        self.resettle();
    }

    pub(super) fn set_service_cidr(&mut self, name: &Name, cidr: Option<ServiceCidr>) {
        match cidr {
            Some(cidr) => self.service_cidrs.insert(name.clone(), cidr),
            None => self.service_cidrs.remove(name),
        };
        self.resettle();
    }

    /// Decides anew what holds for the node as a whole.
    fn resettle(&mut self) {
        for family in IpFamily::ALL {
            let cidrs = self.service_cidrs.values().flat_map(|cidr| &cidr.cidrs);
            let settings = self.config.settings(family, self.node.as_ref(), cidrs);
            self.families[family].set_node(settings);
        }
    }
}
