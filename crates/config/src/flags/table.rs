//! The table of all flags: name, field and help text.
//!
//! Names, types and defaults are kube-proxy's, except for flags that kube-proxy does not have. A default is that of the
//! field; no field is absent.

use super::value::Value::{
    self, Bool, Duration, Float, Gates, Int, Ip, IpPort, Level, List, Quantity, Text, VModule, Version,
};
use super::{Bound, Flag, WithFile};

const fn flag(name: &'static str, value: fn(&mut Bound) -> Value<'_>, help: &'static str) -> Flag {
    Flag { name, alias: None, short: None, with_file: WithFile::Ignored, deprecated: None, value, help }
}

/// A flag that is used with `--config` as well.
const fn kept(name: &'static str, value: fn(&mut Bound) -> Value<'_>, help: &'static str) -> Flag {
    Flag { with_file: WithFile::Honoured, ..flag(name, value, help) }
}

/// All flags, in the order of `--help`.
pub(crate) static FLAGS: [Flag; 67] = [
    // Actions of the process.
    kept(
        "config",
        |b| Text(&mut b.file),
        "configuration file (YAML or JSON); flags that have a corresponding field are then ignored",
    ),
    kept(
        "write-config-to",
        |b| Text(&mut b.write_config_to),
        "write the effective configuration to this file, or to standard output for -, and exit",
    ),
    kept("cleanup", |b| Bool(&mut b.cleanup), "remove the rules of all modes and exit"),
    kept(
        "init-only",
        |b| Bool(&mut b.init_only),
        "do the initialization that needs privileges and exit; later runs need only CAP_NET_ADMIN",
    ),
    kept(
        "version",
        |b| Version(&mut b.version),
        "print the version and exit; raw: print all version information; v1.36.2-x: report this version and continue",
    ),
    Flag { short: Some('h'), ..kept("help", |b| Bool(&mut b.help), "print this help and exit") },
    // The source of Services and endpoints.
    kept("master", |b| Text(&mut b.master), "address of the API server; overrides the kubeconfig"),
    flag(
        "kubeconfig",
        |b| Text(&mut b.config.client_connection.kubeconfig),
        "kubeconfig file (default: in-cluster configuration)",
    ),
    flag(
        "kube-api-content-type",
        |b| Text(&mut b.config.client_connection.content_type),
        "content type of requests; accepted, objects are always requested as JSON",
    ),
    flag(
        "kube-api-qps",
        |b| Float(&mut b.config.client_connection.qps),
        "sustained requests per second to the API server; negative: no limit",
    ),
    flag(
        "kube-api-burst",
        |b| Int(&mut b.config.client_connection.burst),
        "burst of requests to the API server",
    ),
    flag(
        "config-sync-period",
        |b| Duration(&mut b.config.config_sync_period),
        "accepted; objects are watched and never listed again periodically",
    ),
    kept(
        "manifests",
        |b| Text(&mut b.manifests),
        "read Services and EndpointSlices from the YAML files of this folder instead of an API server",
    ),
    kept(
        "hostname-override",
        |b| Text(&mut b.hostname_override),
        "name of this node (default: the host's name)",
    ),
    // The proxy mode and its settings.
    Flag {
        alias: Some("mode"),
        ..flag(
            "proxy-mode",
            |b| Text(&mut b.config.mode),
            "proxy mode: nftables, iptables, ipvs, userspace, or auto for the best that the host supports (default: auto, with the settings of iptables)",
        )
    },
    kept(
        "mode-fallback",
        |b| Bool(&mut b.mode_fallback),
        "run another mode if the host does not support the requested one; false: exit instead",
    ),
    flag("feature-gates", |b| Gates(&mut b.config.feature_gates), "enable or disable features"),
    flag(
        "iptables-sync-period",
        |b| Duration(&mut b.config.iptables.sync_period),
        "longest time between retries of a failed sync, and between integrity checks of the rules; in all modes except ipvs",
    ),
    flag(
        "iptables-min-sync-period",
        |b| Duration(&mut b.config.iptables.min_sync_period),
        "shortest time between two syncs; in all modes except ipvs",
    ),
    flag(
        "iptables-masquerade-bit",
        |b| Int(b.config.iptables.masquerade_bit.get_or_insert_default()),
        "bit of the packet mark that requests masquerading, 0 to 31; in modes iptables and ipvs, and if no mode is set",
    ),
    flag(
        "iptables-localhost-nodeports",
        |b| Bool(b.config.iptables.localhost_node_ports.get_or_insert_default()),
        "accept connections to node ports on 127.0.0.0/8; in mode iptables",
    ),
    flag(
        "masquerade-all",
        |b| Bool(&mut b.config.iptables.masquerade_all),
        "masquerade all traffic to cluster IPs",
    ),
    flag(
        "ipvs-sync-period",
        |b| Duration(&mut b.config.ipvs.sync_period),
        "as --iptables-sync-period, in mode ipvs",
    ),
    flag(
        "ipvs-min-sync-period",
        |b| Duration(&mut b.config.ipvs.min_sync_period),
        "as --iptables-min-sync-period, in mode ipvs",
    ),
    flag("ipvs-scheduler", |b| Text(&mut b.config.ipvs.scheduler), "ipvs scheduler (default: rr)"),
    flag(
        "ipvs-exclude-cidrs",
        |b| List(&mut b.config.ipvs.exclude_cidrs),
        "CIDRs in which mode ipvs never removes stale virtual servers",
    ),
    flag(
        "ipvs-strict-arp",
        |b| Bool(&mut b.config.ipvs.strict_arp),
        "answer ARP requests for an address only on its own interface (arp_ignore=1, arp_announce=2); in mode ipvs",
    ),
    flag(
        "ipvs-tcp-timeout",
        |b| Duration(&mut b.config.ipvs.tcp_timeout),
        "ipvs timeout of idle TCP connections; 0: leave unchanged",
    ),
    flag(
        "ipvs-tcpfin-timeout",
        |b| Duration(&mut b.config.ipvs.tcp_fin_timeout),
        "ipvs timeout of TCP connections after a FIN; 0: leave unchanged",
    ),
    flag(
        "ipvs-udp-timeout",
        |b| Duration(&mut b.config.ipvs.udp_timeout),
        "ipvs timeout of UDP flows; 0: leave unchanged",
    ),
    // The userspace mode. kube-proxy had `udp-timeout` and `proxy-port-range` while it had that mode.
    flag(
        "userspace-addresses",
        |b| Text(&mut b.config.userspace.addresses),
        "made: Portolan adds service addresses to this node, which needs CAP_NET_ADMIN; prepared: they already exist; in mode userspace",
    ),
    flag(
        "userspace-max-sessions",
        |b| Int(&mut b.config.userspace.max_sessions),
        "limit of concurrent TCP connections and UDP clients; 0: derived from the limit of open files; in mode userspace",
    ),
    flag(
        "userspace-max-sessions-per-service",
        |b| Int(&mut b.config.userspace.max_sessions_per_service),
        "the same limit for each Service; 0: derived from the sessions that are free; in mode userspace",
    ),
    flag(
        "udp-timeout",
        |b| Duration(&mut b.config.userspace.udp_timeout),
        "idle timeout of UDP clients; in mode userspace",
    ),
    flag(
        "userspace-udp-single-timeout",
        |b| Duration(&mut b.config.userspace.udp_single_timeout),
        "idle timeout of UDP clients that have sent a single datagram, if shorter; in mode userspace",
    ),
    flag("proxy-port-range", |b| Text(&mut b.config.port_range), "accepted and unused"),
    // The node and its kernel.
    flag(
        "bind-address",
        |b| Ip(&mut b.config.bind_address),
        "override the node's primary IP; also selects the primary IP family; nothing is bound to it",
    ),
    flag(
        "detect-local-mode",
        |b| Text(&mut b.config.detect_local_mode),
        "how to detect traffic from local pods: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix (default: ClusterCIDR)",
    ),
    flag(
        "cluster-cidr",
        |b| Text(&mut b.config.cluster_cidr),
        "CIDR of pod IPs, or a dual-stack pair separated by a comma",
    ),
    flag(
        "pod-bridge-interface",
        |b| Text(&mut b.config.detect_local.bridge_interface),
        "bridge interface of local pods, for BridgeInterface",
    ),
    flag(
        "pod-interface-name-prefix",
        |b| Text(&mut b.config.detect_local.interface_name_prefix),
        "prefix of the interface names of local pods, for InterfaceNamePrefix",
    ),
    flag(
        "nodeport-addresses",
        |b| List(&mut b.config.node_port_addresses),
        "CIDRs of local addresses that accept node ports, or primary for the node's primary IPs (default: all addresses; in modes nftables and auto: primary)",
    ),
    flag(
        "oom-score-adj",
        |b| Int(b.config.oom_score_adj.get_or_insert_default()),
        "oom_score_adj of this process, -1000 to 1000",
    ),
    flag(
        "conntrack-max-per-core",
        |b| Int(b.config.conntrack.max_per_core.get_or_insert_default()),
        "maximum number of tracked connections per CPU; 0: leave unchanged",
    ),
    flag(
        "conntrack-min",
        |b| Int(b.config.conntrack.min.get_or_insert_default()),
        "minimum of the maximum number of tracked connections, unless --conntrack-max-per-core is 0",
    ),
    flag(
        "conntrack-tcp-timeout-established",
        |b| Duration(b.config.conntrack.tcp_established_timeout.get_or_insert_default()),
        "conntrack timeout of established TCP connections; 0: leave unchanged",
    ),
    flag(
        "conntrack-tcp-timeout-close-wait",
        |b| Duration(b.config.conntrack.tcp_close_wait_timeout.get_or_insert_default()),
        "conntrack timeout of TCP connections in CLOSE_WAIT; 0: leave unchanged",
    ),
    flag(
        "conntrack-tcp-be-liberal",
        |b| Bool(&mut b.config.conntrack.tcp_be_liberal),
        "accept packets outside the TCP window; mode iptables removes its rule against them after a restart",
    ),
    flag(
        "conntrack-udp-timeout",
        |b| Duration(&mut b.config.conntrack.udp_timeout),
        "conntrack timeout of UNREPLIED UDP flows; 0: leave unchanged",
    ),
    flag(
        "conntrack-udp-timeout-stream",
        |b| Duration(&mut b.config.conntrack.udp_stream_timeout),
        "conntrack timeout of ASSURED UDP flows; 0: leave unchanged",
    ),
    // The servers.
    flag(
        "healthz-bind-address",
        |b| IpPort(&mut b.config.healthz_bind_address),
        "address of the health server; 0.0.0.0 and :: mean both IP families",
    ),
    flag(
        "metrics-bind-address",
        |b| IpPort(&mut b.config.metrics_bind_address),
        "address of the metrics and status server",
    ),
    flag(
        "bind-address-hard-fail",
        |b| Bool(&mut b.config.bind_address_hard_fail),
        "exit if a server cannot bind its address, instead of retrying",
    ),
    flag("profiling", |b| Bool(&mut b.config.enable_profiling), "serve /debug on the metrics address"),
    flag(
        "show-hidden-metrics-for-version",
        |b| Text(&mut b.config.show_hidden_metrics_for_version),
        "accepted: 1.35 or empty; no metrics are hidden",
    ),
    Flag {
        deprecated: Some("use --healthz-bind-address instead"),
        ..flag(
            "healthz-port",
            |b| Int(&mut b.healthz_port),
            "port of --healthz-bind-address if it has none; 0 disables the health server",
        )
    },
    Flag {
        deprecated: Some("use --metrics-bind-address instead"),
        ..flag("metrics-port", |b| Int(&mut b.metrics_port), "port of --metrics-bind-address if it has none")
    },
    // Logging; these override the file.
    Flag {
        short: Some('v'),
        ..kept(
            "v",
            |b| Level(&mut b.config.logging.verbosity),
            "log verbosity: 0 errors and start, 2 each sync, 4 each change, 6 everything",
        )
    },
    kept("vmodule", |b| VModule(&mut b.config.logging.vmodule), "accepted; verbosity cannot differ by file"),
    kept("logging-format", |b| Text(&mut b.config.logging.format), "log format: text or json"),
    kept(
        "log-flush-frequency",
        |b| Duration(&mut b.config.logging.flush_frequency),
        "accepted; log lines are not buffered",
    ),
    kept(
        "log-text-split-stream",
        |b| Bool(&mut b.config.logging.options.text.split_stream),
        "in format text, write errors to standard error and the rest to standard output (gate LoggingAlphaOptions)",
    ),
    kept(
        "log-json-split-stream",
        |b| Bool(&mut b.config.logging.options.json.split_stream),
        "in format json, write errors to standard error and the rest to standard output (gate LoggingAlphaOptions)",
    ),
    kept(
        "log-text-info-buffer-size",
        |b| Quantity(&mut b.config.logging.options.text.info_buffer_size),
        "accepted (gate LoggingAlphaOptions); log lines are not buffered",
    ),
    kept(
        "log-json-info-buffer-size",
        |b| Quantity(&mut b.config.logging.options.json.info_buffer_size),
        "accepted (gate LoggingAlphaOptions); log lines are not buffered",
    ),
    // Flags of a library that kube-proxy uses.
    kept("boot-id-file", |b| Text(&mut b.boot_id_file), "accepted and unused"),
    kept("machine-id-file", |b| Text(&mut b.machine_id_file), "accepted and unused"),
];
