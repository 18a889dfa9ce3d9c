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

/// Bit of the packet mark that requests masquerading.
pub(crate) const MASQUERADE_BIT: i32 = 14;
/// Whether node ports are accepted on loopback addresses, in modes that support it.
pub(crate) const LOCALHOST_NODE_PORTS: bool = true;
/// Longest time between retries of a failed sync.
pub(crate) const SYNC_PERIOD: GoDuration = GoDuration::from_secs(30);
/// `oom_score_adj`, as the kubelet sets it for node services.
pub(crate) const OOM_SCORE_ADJ: i32 = -999;
/// Maximum of tracked connections per CPU.
pub(crate) const MAX_PER_CORE: i32 = 32 * 1024;
/// Minimum of the maximum of tracked connections.
pub(crate) const MIN_CONNECTIONS: i32 = 128 * 1024;
/// Timeout of established connections.
pub(crate) const TCP_ESTABLISHED: GoDuration = GoDuration::from_secs(24 * 3600);
/// Timeout of connections in CLOSE_WAIT.
pub(crate) const TCP_CLOSE_WAIT: GoDuration = GoDuration::from_secs(3600);
/// How often kube-proxy resynchronizes all objects.
pub(crate) const CONFIG_SYNC_PERIOD: GoDuration = GoDuration::from_secs(15 * 60);
/// The content type that kube-proxy requests.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Requests per second.
pub(crate) const QPS: f32 = 5.0;
/// Requests in a burst.
pub(crate) const BURST: i32 = 10;
/// How often kube-proxy flushes logs.
pub(crate) const FLUSH_FREQUENCY: GoDuration = GoDuration::from_secs(5);
/// The log format.
pub(crate) const LOG_FORMAT: &str = "text";
/// No primary IP is configured.
pub(crate) const BIND_ADDRESS: &str = "0.0.0.0";

/// Portolan adds service addresses to the node in userspace mode.
pub(crate) const ADDRESSES: &str = "made";
/// Idle timeout of a UDP client in userspace mode, as in connection tracking for ASSURED flows.
pub(crate) const UDP_TIMEOUT: GoDuration = GoDuration::from_secs(120);
/// The same for a client that sent a single datagram: a DNS query is answered or repeated within this time.
pub(crate) const UDP_SINGLE_TIMEOUT: GoDuration = GoDuration::from_secs(10);

impl KubeProxyConfiguration {
    /// The default of each field.
    pub(crate) fn with_defaults() -> Self {
        let mut config = Self::default();
        fill(&mut config);
        config
    }
}

/// Fills in the defaults.
pub(crate) fn fill(config: &mut KubeProxyConfiguration) {
    addresses(config);
    client(&mut config.client_connection);
    or(&mut config.logging.format, LOG_FORMAT);
    or(&mut config.logging.flush_frequency, FLUSH_FREQUENCY);
    or(&mut config.config_sync_period, CONFIG_SYNC_PERIOD);
    config.oom_score_adj.get_or_insert(OOM_SCORE_ADJ);
    sections(config);
    fill_userspace(&mut config.userspace);
    let conntrack = &mut config.conntrack;
    conntrack.max_per_core.get_or_insert(MAX_PER_CORE);
    conntrack.min.get_or_insert(MIN_CONNECTIONS);
    conntrack.tcp_established_timeout.get_or_insert(TCP_ESTABLISHED);
    conntrack.tcp_close_wait_timeout.get_or_insert(TCP_CLOSE_WAIT);
}

/// To Kubernetes' client a zero or an empty text means the default, also if a flag sets it.
pub(crate) fn client(client: &mut ClientConnection) {
    or(&mut client.content_type, CONTENT_TYPE);
    or(&mut client.qps, QPS);
    or(&mut client.burst, BURST);
}

/// The servers have the IP family of `bindAddress`; an invalid address counts as IPv6 and is an error later.
fn addresses(config: &mut KubeProxyConfiguration) {
    or(&mut config.bind_address, BIND_ADDRESS);
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

fn sections(config: &mut KubeProxyConfiguration) {
    for bit in [&mut config.iptables.masquerade_bit, &mut config.nftables.masquerade_bit] {
        bit.get_or_insert(MASQUERADE_BIT);
    }
    config.iptables.localhost_node_ports.get_or_insert(LOCALHOST_NODE_PORTS);
    for period in
        [&mut config.iptables.sync_period, &mut config.ipvs.sync_period, &mut config.nftables.sync_period]
    {
        or(period, SYNC_PERIOD);
    }
}

fn fill_userspace(section: &mut Userspace) {
    or(&mut section.addresses, ADDRESSES);
    or(&mut section.udp_timeout, UDP_TIMEOUT);
    or(&mut section.udp_single_timeout, UDP_SINGLE_TIMEOUT);
}

/// The defaults of the section `userspace`.
pub(crate) fn userspace() -> Userspace {
    let mut section = Userspace::default();
    fill_userspace(&mut section);
    section
}

/// Zero and an empty text mean the default.
fn or<T: Default + PartialEq>(value: &mut T, default: impl Into<T>) {
    if *value == T::default() {
        *value = default.into();
    }
}
