//! What one service port needs in the kernel: pure.
//!
//! | address | virtual server | on the device | in sets |
//! |---|---|---|---|
//! | cluster IP | yes | yes | `CLUSTER-IP` |
//! | external IP | yes | unless the node has it, or it is the API server's | `EXTERNAL-IP`, or `-LOCAL` |
//! | load balancer's | yes | the same | `LOAD-BALANCER`, `-LOCAL`, `-FW`, `-SOURCE-*` |
//! | node port | one at each of the node's addresses | no | `NODE-PORT-*`, `-LOCAL-*` |
//!
//! A virtual server has one list of endpoints for all clients. Under a Local policy that is the Local list, also
//! for pods and the node itself; without a local endpoint it is the Cluster list, as in kube-proxy.

use std::net::{IpAddr, SocketAddr};

use portolan_core::event::TrafficPolicy;
use portolan_core::plan::{Endpoint, Locality, ServicePort};
use portolan_core::{Protocol, ServicePortName};
use portolan_ipvs::{Member, ServerKey, ServerSettings, Set};

use crate::node_context::NodeContext;

/// The weight of an endpoint, and of one that gets no new connections.
pub(crate) const WEIGHT: u32 = 1;
pub(crate) const NOTHING_NEW: u32 = 0;

/// How a virtual server serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Serving {
    pub(crate) settings: ServerSettings,
    /// Its destinations with their weights, sorted.
    pub(crate) destinations: Vec<(SocketAddr, u32)>,
}

impl Serving {
    /// The weight of an endpoint, if it is a destination.
    pub(crate) fn weight(&self, endpoint: &SocketAddr) -> Option<u32> {
        let found = self.destinations.binary_search_by_key(endpoint, |(socket, _)| *socket).ok()?;
        Some(self.destinations[found].1)
    }
}

/// What a service port needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    pub(crate) servers: Vec<(ServerKey, Serving)>,
    /// Elements of sets. Those of [`Set::IpvsIps`] are addresses for the device.
    pub(crate) members: Vec<(Set, Member)>,
    /// Addresses that are not bound to the device because they are the API server's.
    pub(crate) unbound: Vec<IpAddr>,
}

impl Wanted {
    pub(crate) fn of(name: &ServicePortName, port: &ServicePort, context: &NodeContext) -> Self {
        let mut wanted = Self::default();
        let mut writer = Writer { protocol: name.protocol, port, context, wanted: &mut wanted };
        writer.cluster_ip();
        writer.external_ips();
        writer.load_balancer_ips();
        writer.node_port();
        writer.hairpin();
        wanted
    }
}

/// Collects what one service port needs.
struct Writer<'a> {
    protocol: Protocol,
    port: &'a ServicePort,
    context: &'a NodeContext,
    wanted: &'a mut Wanted,
}

impl Writer<'_> {
    fn cluster_ip(&mut self) {
        let Some(ip) = self.port.cluster_ip else { return };
        let serving = self.serving(internal(self.port));
        self.serve(ip, self.port.port, serving);
        self.bind(ip);
        self.member(Set::ClusterIp, ip);
    }

    fn external_ips(&mut self) {
        let set = if self.is_local() { Set::ExternalIpLocal } else { Set::ExternalIp };
        for ip in &*self.port.external_ips {
            self.vip(*ip);
            self.member(set, *ip);
        }
    }

    fn load_balancer_ips(&mut self) {
        for ip in &*self.port.load_balancer_ips {
            self.vip(*ip);
            self.member(Set::LoadBalancer, *ip);
            if self.is_local() {
                self.member(Set::LoadBalancerLocal, *ip);
            }
            if !self.port.source_ranges.is_empty() {
                self.restrict(*ip);
            }
        }
    }

    /// Restricts an address to the source ranges.
    fn restrict(&mut self, ip: IpAddr) {
        let at = SocketAddr::new(ip, self.port.port);
        self.member(Set::LoadBalancerFirewall, ip);
        for range in &self.port.source_ranges {
            let member = Member::FromNet(self.protocol, at, *range);
            self.wanted.members.push((Set::LoadBalancerSourceCidr, member));
        }
        // What the node sends to an address of its device comes from that address.
        if self.port.source_ranges.iter().any(|range| range.contains(&ip)) {
            self.wanted.members.push((Set::LoadBalancerSourceIp, Member::From(self.protocol, at, ip)));
        }
    }

    fn node_port(&mut self) {
        // Without an address for node ports there is none, and no load balancer checks its health.
        if self.context.node_ips.is_empty() {
            return;
        }
        if let Some(port) = self.port.health_check_node_port {
            self.wanted.members.push((Set::HealthCheckNodePort, Member::Port(port)));
        }
        let Some(port) = self.port.node_port else { return };
        let serving = self.serving(external(self.port));
        for ip in &self.context.node_ips {
            let key = self.key(*ip, port);
            if !self.context.taken.contains(&key) {
                self.wanted.servers.push((key, serving.clone()));
            }
        }
        self.node_port_members(port);
    }

    fn node_port_members(&mut self, port: u16) {
        let (all, local) = match self.protocol {
            Protocol::Tcp => (Set::NodePortTcp, Set::NodePortLocalTcp),
            Protocol::Udp => (Set::NodePortUdp, Set::NodePortLocalUdp),
            Protocol::Sctp => (Set::NodePortSctp, Set::NodePortLocalSctp),
        };
        for set in [Some(all), self.is_local().then_some(local)].into_iter().flatten() {
            if self.protocol == Protocol::Sctp {
                let sockets = self.context.node_ips.iter().map(|ip| SocketAddr::new(*ip, port));
                let members = sockets.map(|at| (set, Member::Socket(Protocol::Sctp, at)));
                self.wanted.members.extend(members);
            } else {
                self.wanted.members.push((set, Member::Port(port)));
            }
        }
    }

    /// Endpoints that may be on this node must reach themselves.
    fn hairpin(&mut self) {
        let endpoints = self.port.cluster_endpoints.iter().chain(&*self.port.local_endpoints);
        let local = endpoints.filter(|endpoint| endpoint.locality != Locality::Remote);
        let mut sockets: Vec<_> = local.map(Endpoint::socket_address).collect();
        sockets.sort_unstable();
        sockets.dedup();
        let members = sockets.into_iter().map(|at| (Set::LoopBack, Member::From(self.protocol, at, at.ip())));
        self.wanted.members.extend(members);
    }

    /// An address from outside the cluster.
    fn vip(&mut self, ip: IpAddr) {
        let serving = self.serving(external(self.port));
        self.serve(ip, self.port.port, serving);
        if self.context.elsewhere.contains(&ip) {
            return;
        }
        if self.context.node.is_api_server(ip, self.port.port, self.protocol) {
            self.wanted.unbound.push(ip);
        } else {
            self.bind(ip);
        }
    }

    /// The device gets this address.
    fn bind(&mut self, ip: IpAddr) {
        self.wanted.members.push((Set::IpvsIps, Member::Ip(ip)));
    }

    fn serve(&mut self, ip: IpAddr, port: u16, serving: Serving) {
        self.wanted.servers.push((self.key(ip, port), serving));
    }

    fn key(&self, address: IpAddr, port: u16) -> ServerKey {
        ServerKey { protocol: self.protocol, address, port }
    }

    fn member(&mut self, set: Set, ip: IpAddr) {
        let at = SocketAddr::new(ip, self.port.port);
        self.wanted.members.push((set, Member::Socket(self.protocol, at)));
    }

    fn is_local(&self) -> bool {
        self.port.external_traffic_policy == TrafficPolicy::Local
    }

    /// Endpoints with their weights. Terminating ones keep their flows and get no new ones.
    fn serving(&self, endpoints: &[Endpoint]) -> Serving {
        let mut destinations: Vec<_> =
            endpoints.iter().map(|endpoint| (endpoint.socket_address(), WEIGHT)).collect();
        let terminating = self.port.draining_endpoints.iter();
        destinations.extend(terminating.map(|socket| (*socket, NOTHING_NEW)));
        // Of two with one address the one with weight stays.
        destinations.sort_unstable_by_key(|(socket, weight)| (*socket, u32::MAX - weight));
        destinations.dedup_by_key(|(socket, _)| *socket);
        Serving { settings: self.context.settings(self.port.session_affinity), destinations }
    }
}

/// The endpoints of the cluster IP.
fn internal(port: &ServicePort) -> &[Endpoint] {
    or_all(port.internal_endpoints(), port)
}

/// The endpoints of all other addresses.
fn external(port: &ServicePort) -> &[Endpoint] {
    or_all(port.external_endpoints(), port)
}

fn or_all<'a>(endpoints: &'a [Endpoint], port: &'a ServicePort) -> &'a [Endpoint] {
    if endpoints.is_empty() { &port.cluster_endpoints } else { endpoints }
}

#[cfg(test)]
mod tests;
