//! Kernel state as kube-proxy 1.36 leaves it, for tests that take over from it.
//!
//! Each mode has a module that writes, for a few [`Service`]s, what that mode would have written: with its
//! names, in its order, and so that traffic really gets through. What serves no test is left out: policies,
//! affinity, source ranges. [`kubelet`] writes what the kubelet adds, which no other program may change.
//!
//! ```no_run
//! use portolan_core::IpFamily;
//! use portolan_testkit::netns::isolated;
//! use portolan_testkit::upstream::{Service, Xtables, iptables};
//!
//! isolated(|| {
//!     let web = Service::new("default/web", "10.96.0.10:80").node_port(30080).endpoint("10.244.0.11:8080");
//!     Xtables::Nft.restore(IpFamily::V4, &iptables::ruleset(IpFamily::V4, &[web])).unwrap();
//! });
//! ```

use std::net::SocketAddr;

use portolan_core::{IpFamily, Protocol};

pub mod iptables;
pub mod ipvs;
pub mod kubelet;
mod name;
pub mod nftables;
mod xtables;

pub use xtables::{Xtables, comparable_rules, rules_by_chain};

use crate::netns::{POD_CIDR_V4, POD_CIDR_V6};

/// The bit of the packet mark that asks for masquerading, by default.
const MASQUERADE_MARK: &str = "0x00004000";

/// A port of a Service that kube-proxy had been serving.
#[derive(Debug, Clone)]
pub struct Service {
    name: String,
    port_name: String,
    protocol: Protocol,
    vip: SocketAddr,
    node_port: Option<u16>,
    endpoints: Vec<SocketAddr>,
}

impl Service {
    /// A TCP port of the Service `name` (`namespace/name`), with its cluster IP and port and no endpoints.
    ///
    /// # Panics
    /// When `vip` is no socket address.
    pub fn new(name: &str, vip: &str) -> Self {
        Self {
            name: name.to_owned(),
            port_name: String::new(),
            protocol: Protocol::Tcp,
            vip: socket(vip),
            node_port: None,
            endpoints: Vec::new(),
        }
    }

    /// Gives the port a name.
    #[must_use]
    pub fn port_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.port_name);
        self
    }

    /// Another protocol than TCP.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// A port on all addresses of the node.
    #[must_use]
    pub fn node_port(mut self, port: u16) -> Self {
        self.node_port = Some(port);
        self
    }

    /// One more endpoint.
    ///
    /// # Panics
    /// When it is no socket address.
    #[must_use]
    pub fn endpoint(mut self, address: &str) -> Self {
        self.endpoints.push(socket(address));
        self
    }

    /// The family of its cluster IP.
    pub fn family(&self) -> IpFamily {
        IpFamily::of(self.vip.ip())
    }

    /// Its cluster IP and port.
    pub fn vip(&self) -> SocketAddr {
        self.vip
    }

    /// How kube-proxy calls the port in comments: `namespace/name:port`, without a colon if it has no name.
    fn title(&self) -> String {
        match self.port_name.as_str() {
            "" => self.name.clone(),
            port => format!("{}:{port}", self.name),
        }
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The Services of one family, which are all that its rules know.
fn of_family(family: IpFamily, services: &[Service]) -> impl Iterator<Item = &Service> + Clone {
    services.iter().filter(move |service| service.family() == family)
}

/// The range that traffic from pods comes from.
fn pod_cidr(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => POD_CIDR_V4,
        IpFamily::V6 => POD_CIDR_V6,
    }
}

#[cfg(test)]
mod tests;
