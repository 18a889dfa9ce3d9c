//! The defaults.
//!
//! As in Kubernetes, a zero or an empty text receives the default; in the few fields that can be absent an explicit zero
//! is kept.
//!
//! One default differs: the shortest time between syncs is 0 and not 1s. kube-proxy's second saves syncs whose cost
//! depends on the size of the cluster; the cost of Portolan's depends on the size of the change.

use portolan_core::address::parse_ip;

use super::{ClientConnection, KubeProxyConfiguration, Userspace};
use crate::bind::{self, HEALTHZ_PORT, METRICS_PORT};
use crate::duration::GoDuration;

impl KubeProxyConfiguration {
    /// The default of each field.
    pub(crate) fn with_defaults() -> Self {
        let mut config = Self::default();
        fill(&mut config);
        config
    }
}

/// Fills in the defaults; afterwards no field is absent.
pub(crate) fn fill(config: &mut KubeProxyConfiguration) {
    let seconds = GoDuration::from_secs;
    addresses(config);
    client(&mut config.client_connection);
    userspace(&mut config.userspace);
    or(&mut config.logging.format, "text");
    or(&mut config.logging.flush_frequency, seconds(5));
    or(&mut config.config_sync_period, seconds(15 * 60));
    // As the kubelet sets it for node services.
    config.oom_score_adj.get_or_insert(-999);
    let KubeProxyConfiguration { iptables, ipvs, nftables, conntrack, .. } = config;
    iptables.localhost_node_ports.get_or_insert(true);
    iptables.masquerade_bit.get_or_insert(14);
    nftables.masquerade_bit.get_or_insert(14);
    for period in [&mut iptables.sync_period, &mut ipvs.sync_period, &mut nftables.sync_period] {
        or(period, seconds(30));
    }
    conntrack.max_per_core.get_or_insert(32 * 1024);
    conntrack.min.get_or_insert(128 * 1024);
    conntrack.tcp_established_timeout.get_or_insert(seconds(24 * 3600));
    conntrack.tcp_close_wait_timeout.get_or_insert(seconds(3600));
}

/// To Kubernetes' client a zero or an empty text means the default, also if a flag sets it.
pub(crate) fn client(client: &mut ClientConnection) {
    or(&mut client.content_type, "application/vnd.kubernetes.protobuf");
    or(&mut client.qps, 5.0_f32);
    or(&mut client.burst, 10);
}

/// The defaults of the section `userspace`.
pub(crate) fn userspace(section: &mut Userspace) {
    or(&mut section.addresses, "made");
    // As in connection tracking for ASSURED flows.
    or(&mut section.udp_timeout, GoDuration::from_secs(120));
    // A DNS query is answered or repeated within this time.
    or(&mut section.udp_single_timeout, GoDuration::from_secs(10));
}

/// The servers have the IP family of `bindAddress`; an invalid address counts as IPv6 and is an error later.
fn addresses(config: &mut KubeProxyConfiguration) {
    or(&mut config.bind_address, "0.0.0.0");
    let is_ipv4 = parse_ip(&config.bind_address).is_ok_and(|ip| ip.is_ipv4());
    let (any, loopback) = if is_ipv4 { ("0.0.0.0", "127.0.0.1") } else { ("::", "::1") };
    for (address, default, port) in [
        (&mut config.healthz_bind_address, any, HEALTHZ_PORT),
        (&mut config.metrics_bind_address, loopback, METRICS_PORT),
    ] {
        or(address, default);
        *address = bind::with_port(address, port);
    }
}

/// Zero and an empty text mean the default.
fn or<T: Default + PartialEq>(value: &mut T, default: impl Into<T>) {
    if *value == T::default() {
        *value = default.into();
    }
}
