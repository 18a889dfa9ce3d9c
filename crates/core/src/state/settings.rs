//! What holds for the node as a whole: its configuration, its own object, where cluster IPs come from and where the API
//! server is.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::State;
use crate::address::IpFamily;
use crate::claims::api_server_claim;
use crate::event::{Node, ServiceCidr};
use crate::name::Name;
use crate::node::NodeConfig;
use crate::plan::NodeSettings;

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

    /// The API server is found at these sockets now.
    pub(super) fn set_api_server(&mut self, sockets: BTreeSet<SocketAddr>) {
        let old = std::mem::replace(&mut self.api_server, sockets);
        for socket in old.difference(&self.api_server) {
            let (frontend, claim) = api_server_claim(*socket);
            if let Some(heir) = self.families[IpFamily::of(socket.ip())].claims.remove(&frontend, &claim) {
                self.dirty.readdress(heir.service);
            }
        }
        for socket in self.api_server.difference(&old) {
            let (frontend, claim) = api_server_claim(*socket);
            if let Some(contest) = self.families[IpFamily::of(socket.ip())].claims.add(frontend, claim) {
                self.dirty.readdress(contest.loser.service.clone());
                self.contests.push(contest);
            }
        }
        self.resettle();
    }

    /// Decides anew what holds for the node as a whole.
    fn resettle(&mut self) {
        for family in IpFamily::ALL {
            let cidrs = self.service_cidrs.values().flat_map(|cidr| &cidr.cidrs);
            let settings = self.config.settings(family, self.node.as_ref(), cidrs);
            let api_server = self.api_server.iter().filter(|socket| IpFamily::of(socket.ip()) == family);
            let settings = NodeSettings { api_server: api_server.copied().collect(), ..settings };
            self.families[family].set_node(settings);
        }
    }
}
