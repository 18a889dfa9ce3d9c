//! What counts where nothing was said.
//!
//! Kubernetes cannot tell a zero or an empty text from nothing, so both receive the default; in
//! the few fields that can be absent an explicit zero stays.
//!
//! One default differs: the shortest time between updates is zero and not a second. kube-proxy's
//! second spares it syncs that cost as much as the cluster is large; ours cost what changed, and
//! a change should be in force when it can be. What a file or a flag says counts as it does there.

use portolan_core::address::parse_ip;

use super::{ClientConnection, KubeProxyConfiguration, Userspace};
use crate::bind::{self, HEALTHZ_PORT, METRICS_PORT};
use crate::duration::GoDuration;

/// Bit of the packet mark that asks for masquerading.
pub(crate) const MASQUERADE_BIT: i32 = 14;
/// Whether node ports answer on loopback, where a mode can do that.
pub(crate) const LOCALHOST_NODE_PORTS: bool = true;
/// Longest time between attempts while rules cannot be updated.
pub(crate) const SYNC_PERIOD: GoDuration = GoDuration::from_secs(30);
/// Shortest time between updates.
pub(crate) const MIN_SYNC_PERIOD: GoDuration = GoDuration::ZERO;
/// How the kernel is to rate the process when memory runs out, as the kubelet does with node services.
pub(crate) const OOM_SCORE_ADJ: i32 = -999;
/// Connections to track per CPU.
pub(crate) const MAX_PER_CORE: i32 = 32 * 1024;
/// Connections to track at least.
pub(crate) const MIN_CONNECTIONS: i32 = 128 * 1024;
/// Idle time of an established connection.
pub(crate) const TCP_ESTABLISHED: GoDuration = GoDuration::from_secs(24 * 3600);
/// Idle time of a connection that one side has closed.
pub(crate) const TCP_CLOSE_WAIT: GoDuration = GoDuration::from_secs(3600);
/// How often kube-proxy would look at all objects again.
pub(crate) const CONFIG_SYNC_PERIOD: GoDuration = GoDuration::from_secs(15 * 60);
/// How kube-proxy would ask for objects.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Requests per second.
pub(crate) const QPS: f32 = 5.0;
/// Requests at once.
pub(crate) const BURST: i32 = 10;
/// How often logs would be flushed.
pub(crate) const FLUSH_FREQUENCY: GoDuration = GoDuration::from_secs(5);
/// Log lines are text.
pub(crate) const LOG_FORMAT: &str = "text";
/// No address of the node's is preferred.
pub(crate) const BIND_ADDRESS: &str = "0.0.0.0";

/// Service addresses are made the node's in userspace mode.
pub(crate) const ADDRESSES: &str = "made";
/// Idle time of a UDP client in userspace mode, as connection tracking has it for flows with answers.
pub(crate) const UDP_TIMEOUT: GoDuration = GoDuration::from_secs(120);
/// The same for one that asked once: a name is resolved within this time or asked for anew.
pub(crate) const UDP_SINGLE_TIMEOUT: GoDuration = GoDuration::from_secs(10);

/// Fills in what was left out.
pub(crate) fn fill(config: &mut KubeProxyConfiguration) {
    addresses(config);
    client(&mut config.client_connection);
    or_text(&mut config.logging.format, LOG_FORMAT);
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

/// Zero and nothing mean the defaults to Kubernetes' client, also where a flag says it.
pub(crate) fn client(client: &mut ClientConnection) {
    or_text(&mut client.content_type, CONTENT_TYPE);
    if client.qps == 0.0 {
        client.qps = QPS;
    }
    if client.burst == 0 {
        client.burst = BURST;
    }
}

/// The family of the servers follows that of `bindAddress`; what is no address at all is taken for IPv6,
/// and refused later.
fn addresses(config: &mut KubeProxyConfiguration) {
    or_text(&mut config.bind_address, BIND_ADDRESS);
    let is_ipv4 = parse_ip(&config.bind_address).is_ok_and(|ip| ip.is_ipv4());
    let (any, loopback) = if is_ipv4 { ("0.0.0.0", "127.0.0.1") } else { ("::", "::1") };
    for (address, default, port) in [
        (&mut config.healthz_bind_address, any, HEALTHZ_PORT),
        (&mut config.metrics_bind_address, loopback, METRICS_PORT),
    ] {
        or_text(address, default);
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
    for period in [
        &mut config.iptables.min_sync_period,
        &mut config.ipvs.min_sync_period,
        &mut config.nftables.min_sync_period,
    ] {
        or(period, MIN_SYNC_PERIOD);
    }
}

fn fill_userspace(section: &mut Userspace) {
    or_text(&mut section.addresses, ADDRESSES);
    or(&mut section.udp_timeout, UDP_TIMEOUT);
    or(&mut section.udp_single_timeout, UDP_SINGLE_TIMEOUT);
}

/// The section `userspace` that says nothing.
pub(crate) fn userspace() -> Userspace {
    let mut section = Userspace::default();
    fill_userspace(&mut section);
    section
}

fn or(value: &mut GoDuration, default: GoDuration) {
    if value.is_zero() {
        *value = default;
    }
}

fn or_text(value: &mut String, default: &str) {
    if value.is_empty() {
        default.clone_into(value);
    }
}
