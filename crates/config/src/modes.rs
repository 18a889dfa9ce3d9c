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
