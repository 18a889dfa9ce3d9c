//! What a plan asks a table to serve.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use portolan_core::event::TrafficPolicy;
use portolan_core::plan::{Locality, NodePlan, Unserved};
use portolan_core::{Endpoint, ServicePort, ServicePortName};

use super::{Affinity, Served, View, node_port_key, vip_key};

impl View {
    /// What `plan` asks for.
    pub fn wanted(plan: &NodePlan) -> Self {
        let mut view = Self::default();
        for (name, port) in &plan.service_ports {
            view.want(name, port);
        }
        view.service_cidrs = plan.node.service_cidrs.iter().map(range).collect();
        view
    }

    fn want(&mut self, name: &ServicePortName, port: &ServicePort) {
        let protocol = name.protocol.number();
        let vip = |ip: IpAddr| vip_key(ip, protocol, port.port);
        if let Some(ip) = port.cluster_ip {
            self.cluster_ips.insert(ip);
            self.want_frontend(name, port, vip(ip), "cluster");
        }
        for ip in port.external_addresses() {
            self.want_frontend(name, port, vip(ip), "external");
        }
        if let Some(number) = port.node_port {
            self.want_frontend(name, port, node_port_key(protocol, number), "nodeport");
        }
        if !port.source_ranges.is_empty() {
            for ip in &*port.load_balancer_ips {
                self.restricted.insert(vip(*ip), port.source_ranges.iter().map(range).collect());
            }
        }
        let lists = port.cluster_endpoints.iter().chain(port.local_endpoints.iter());
        self.hairpin.extend(lists.filter(|e| e.locality != Locality::Remote).map(|e| e.address));
    }

    fn want_frontend(&mut self, name: &ServicePortName, port: &ServicePort, key: String, kind: &str) {
        let is_local = |policy| policy == TrafficPolicy::Local;
        let (list, outside) = match kind {
            "cluster" if is_local(port.internal_traffic_policy) => (&port.local_endpoints, None),
            "cluster" => (&port.cluster_endpoints, None),
            _ if is_local(port.external_traffic_policy) => {
                (&port.cluster_endpoints, Some(addresses(&port.local_endpoints)))
            }
            _ => (&port.cluster_endpoints, None),
        };
        if list.is_empty() {
            match port.unserved {
                Unserved::Reject => self.rejected.insert(key),
                Unserved::Drop => self.dropped.insert(key),
            };
            return;
        }
        let affinity = port.session_affinity.map(|_| affinity(name, port));
        let served = Served { kind: kind.to_owned(), endpoints: addresses(list), outside, affinity };
        self.served.insert(key, served);
    }
}

fn affinity(name: &ServicePortName, port: &ServicePort) -> Affinity {
    let list = |list: &[Endpoint]| (!list.is_empty()).then(|| addresses(list));
    Affinity {
        owner: format!("{}/{}/{}", name.service, name.protocol, name.port),
        learned: [list(&port.cluster_endpoints), list(&port.local_endpoints)],
    }
}

fn addresses(endpoints: &[Endpoint]) -> BTreeSet<SocketAddr> {
    endpoints.iter().map(Endpoint::socket_address).collect()
}

fn range(net: &IpNet) -> String {
    format!("{}-{}", net.network(), net.broadcast())
}
