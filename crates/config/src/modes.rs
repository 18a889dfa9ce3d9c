//! What some modes need to know besides plans.
//!
//! Each is said by its mode's section of the file whatever mode was asked for, since the mode that then runs
//! may be another one.

use std::time::Duration;

use ipnet::IpNet;
use portolan_core::address::parse_cidr;

use crate::kube_proxy::{KubeProxyConfiguration, defaults};

/// What the iptables mode needs to know: section `iptables`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IptablesSettings {
    /// `localhostNodePorts`: whether node ports answer on IPv4's loopback addresses too, where they answer on
    /// all addresses.
    pub localhost_node_ports: bool,
}

/// What the ipvs mode needs to know: section `ipvs`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpvsSettings {
    /// `scheduler`: how an endpoint is picked, by the kernel's name; empty for `rr`.
    pub scheduler: String,
    /// `excludeCIDRs`: virtual servers in these ranges are others', whatever they look like.
    pub exclude_cidrs: Vec<IpNet>,
    /// `strictARP`: whether the node answers ARP for an address on its own interface alone.
    pub strict_arp: bool,
    /// `tcpTimeout`: idle time of a TCP connection; zero leaves the kernel's alone.
    pub tcp_timeout: Duration,
    /// `tcpFinTimeout`: idle time of a TCP connection that one side has closed; zero leaves the kernel's alone.
    pub tcp_fin_timeout: Duration,
    /// `udpTimeout`: idle time of a UDP flow; zero leaves the kernel's alone.
    pub udp_timeout: Duration,
}

/// What the userspace mode needs to know: section `userspace`, which kube-proxy does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserspaceSettings {
    /// `addresses`: whose work it is to make service addresses this node's.
    pub addresses: ServiceAddresses,
    /// `maxSessions`: TCP connections and UDP clients at a time; zero for as many as there are file descriptors for.
    pub max_sessions: usize,
    /// `maxSessionsPerService`: those of one Service; zero for as many as leave some to others.
    pub max_sessions_per_service: usize,
    /// `udpTimeout`: idle time of a UDP client.
    pub udp_timeout: Duration,
    /// `udpSingleTimeout`: idle time of a UDP client that has sent a single datagram, if that is shorter.
    pub udp_single_timeout: Duration,
}

/// How service addresses become this node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceAddresses {
    /// `made`: by the proxy.
    Made,
    /// `prepared`: they are already.
    Prepared,
}

impl ServiceAddresses {
    /// The word of this name, if it is one.
    pub(crate) fn of(word: &str) -> Option<Self> {
        match word {
            "made" => Some(Self::Made),
            "prepared" => Some(Self::Prepared),
            _ => None,
        }
    }
}

impl UserspaceSettings {
    /// What is wrong in the section was found out whatever the mode, as any other may fall back to this one.
    pub(crate) fn of(given: &KubeProxyConfiguration) -> Self {
        let section = &given.userspace;
        let count = |value: i32| usize::try_from(value).unwrap_or_default();
        Self {
            addresses: ServiceAddresses::of(&section.addresses).unwrap_or(ServiceAddresses::Made),
            max_sessions: count(section.max_sessions),
            max_sessions_per_service: count(section.max_sessions_per_service),
            udp_timeout: section.udp_timeout.get(),
            udp_single_timeout: section.udp_single_timeout.get(),
        }
    }
}

impl IptablesSettings {
    pub(crate) fn of(given: &KubeProxyConfiguration) -> Self {
        let localhost = given.iptables.localhost_node_ports;
        Self { localhost_node_ports: localhost.unwrap_or(defaults::LOCALHOST_NODE_PORTS) }
    }
}

impl IpvsSettings {
    /// What is wrong in the section was found out if it counts; otherwise it is left out.
    pub(crate) fn of(given: &KubeProxyConfiguration) -> Self {
        let ipvs = &given.ipvs;
        Self {
            scheduler: ipvs.scheduler.clone(),
            exclude_cidrs: ipvs.exclude_cidrs.iter().filter_map(|text| parse_cidr(text).ok()).collect(),
            strict_arp: ipvs.strict_arp,
            tcp_timeout: ipvs.tcp_timeout.get(),
            tcp_fin_timeout: ipvs.tcp_fin_timeout.get(),
            udp_timeout: ipvs.udp_timeout.get(),
        }
    }
}
