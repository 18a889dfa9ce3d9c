//! Settings of single modes.
//!
//! They come from the section of their mode whatever mode is requested, since another mode may run.

use std::time::Duration;

use ipnet::IpNet;
use portolan_core::address::parse_cidr;

use crate::kube_proxy::{KubeProxyConfiguration, defaults};

/// Settings of the iptables mode: section `iptables`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IptablesSettings {
    /// `localhostNodePorts`: whether node ports are accepted on IPv4 loopback addresses, if they are accepted on all
    /// addresses.
    pub localhost_node_ports: bool,
}

/// Settings of the ipvs mode: section `ipvs`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpvsSettings {
    /// `scheduler`, by the kernel's name; empty for `rr`.
    pub scheduler: String,
    /// `excludeCIDRs`: virtual servers in these CIDRs are never removed as stale.
    pub exclude_cidrs: Vec<IpNet>,
    /// `strictARP`: whether the node answers ARP requests for an address only on its own interface.
    pub strict_arp: bool,
    /// `tcpTimeout`: timeout of idle TCP connections; zero leaves the kernel's unchanged.
    pub tcp_timeout: Duration,
    /// `tcpFinTimeout`: timeout of TCP connections after a FIN; zero leaves the kernel's unchanged.
    pub tcp_fin_timeout: Duration,
    /// `udpTimeout`: timeout of UDP flows; zero leaves the kernel's unchanged.
    pub udp_timeout: Duration,
}

/// Settings of the userspace mode: section `userspace`, which kube-proxy does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserspaceSettings {
    /// `addresses`: how service addresses become local addresses of the node.
    pub addresses: ServiceAddresses,
    /// `maxSessions`: limit of concurrent TCP connections and UDP clients; zero derives it from the limit of open files.
    pub max_sessions: usize,
    /// `maxSessionsPerService`: the same limit for each Service; zero derives it from the sessions that are free.
    pub max_sessions_per_service: usize,
    /// `udpTimeout`: idle timeout of a UDP client.
    pub udp_timeout: Duration,
    /// `udpSingleTimeout`: idle timeout of a UDP client that has sent a single datagram, if shorter.
    pub udp_single_timeout: Duration,
}

/// How service addresses become local addresses of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceAddresses {
    /// `made`: the proxy adds them.
    Made,
    /// `prepared`: they exist already.
    Prepared,
}

impl ServiceAddresses {
    /// The value of this name, if there is one.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "made" => Some(Self::Made),
            "prepared" => Some(Self::Prepared),
            _ => None,
        }
    }
}

impl UserspaceSettings {
    /// The section is checked in every mode, as any may fall back to this one.
    pub(crate) fn of(given: &KubeProxyConfiguration) -> Self {
        let section = &given.userspace;
        let count = |value: i32| usize::try_from(value).unwrap_or_default();
        Self {
            addresses: ServiceAddresses::parse(&section.addresses).unwrap_or(ServiceAddresses::Made),
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
    /// The section is checked in mode ipvs only; in other modes invalid values are left out.
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
