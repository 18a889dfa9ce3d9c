//! All flags there are.
//!
//! Names, types and defaults are kube-proxy's; those that it does not have say so in the page of flags.

mod mode;

use super::value::Value;
use super::{Bound, Flag, WithFile};
use crate::kube_proxy::defaults;

const fn flag(name: &'static str, value: fn(&mut Bound) -> &mut dyn Value, help: &'static str) -> Flag {
    Flag { name, alias: None, short: None, with_file: WithFile::Ignored, deprecated: None, value, help }
}

/// A flag that counts beside a file as well.
const fn kept(name: &'static str, value: fn(&mut Bound) -> &mut dyn Value, help: &'static str) -> Flag {
    Flag { with_file: WithFile::Honoured, ..flag(name, value, help) }
}

/// All flags, in the order of `--help`.
pub(crate) fn all() -> impl Iterator<Item = &'static Flag> {
    [
        &PROCESS[..],
        &CLUSTER[..],
        &mode::FLAGS[..],
        &mode::USERSPACE[..],
        &NODE[..],
        &SERVERS[..],
        &LOGGING[..],
        &IDENTITY[..],
    ]
    .into_iter()
    .flatten()
}

/// What the process does.
static PROCESS: [Flag; 6] = [
    kept(
        "config",
        |b| &mut b.file,
        "read this configuration file (YAML or JSON); flags that say the same as a field of it are then ignored",
    ),
    kept(
        "write-config-to",
        |b| &mut b.write_config_to,
        "write the configuration in force to this file, or to standard output for -, and exit",
    ),
    kept("cleanup", |b| &mut b.cleanup, "remove what any mode may have left in the kernel, and exit"),
    kept(
        "init-only",
        |b| &mut b.init_only,
        "do what needs privileges at start, and exit; the next run needs no more than CAP_NET_ADMIN",
    ),
    kept(
        "version",
        |b| &mut b.version,
        "print the version and exit; raw: all that is known of it; v1.36.2-x: report this one instead and go on",
    ),
    Flag { short: Some('h'), ..kept("help", |b| &mut b.help, "print this, and exit") },
];

/// Where it learns what to proxy.
static CLUSTER: [Flag; 8] = [
    kept("master", |b| &mut b.master, "address of the API server, whatever the kubeconfig says"),
    flag(
        "kubeconfig",
        |b| &mut b.config.client_connection.kubeconfig,
        "reach the API server as this file says (default: as a pod does)",
    ),
    flag(
        "kube-api-content-type",
        |b| &mut b.config.client_connection.content_type,
        "content type of requests; objects are asked for as JSON, whatever it says",
    ),
    flag(
        "kube-api-qps",
        |b| &mut b.config.client_connection.qps,
        "requests to the API server per second over time; negative for no limit",
    ),
    flag(
        "kube-api-burst",
        |b| &mut b.config.client_connection.burst,
        "requests to the API server that may come at once",
    ),
    flag(
        "config-sync-period",
        |b| &mut b.config.config_sync_period,
        "accepted; objects are watched and need not be looked at again",
    ),
    kept(
        "manifests",
        |b| &mut b.manifests,
        "serve the Services and EndpointSlices in the YAML files of this folder; no API server",
    ),
    kept("hostname-override", |b| &mut b.hostname_override, "name of this node (default: the host's name)"),
];

/// The node and its kernel.
static NODE: [Flag; 14] = [
    flag(
        "bind-address",
        |b| &mut b.bind_address,
        "this node's own address in its family, and the family that comes first; nothing listens there",
    ),
    flag(
        "detect-local-mode",
        |b| &mut b.config.detect_local_mode,
        "how to tell that a pod of this node sent a packet: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix (default: ClusterCIDR)",
    ),
    flag(
        "cluster-cidr",
        |b| &mut b.config.cluster_cidr,
        "where pod addresses come from: a range, or one of each IP family with a comma between",
    ),
    flag(
        "pod-bridge-interface",
        |b| &mut b.config.detect_local.bridge_interface,
        "interface that this node's pods send through, in mode BridgeInterface",
    ),
    flag(
        "pod-interface-name-prefix",
        |b| &mut b.config.detect_local.interface_name_prefix,
        "what the names of such interfaces begin with, in mode InterfaceNamePrefix",
    ),
    flag(
        "nodeport-addresses",
        |b| &mut b.config.node_port_addresses,
        "ranges of local addresses that answer on node ports, or primary for the node's own (default: all addresses; in modes nftables and auto: primary)",
    ),
    flag(
        "oom-score-adj",
        |b| b.config.oom_score_adj.get_or_insert(defaults::OOM_SCORE_ADJ),
        "how the kernel rates this process when memory runs out, from -1000 to 1000",
    ),
    flag(
        "conntrack-max-per-core",
        |b| b.config.conntrack.max_per_core.get_or_insert(defaults::MAX_PER_CORE),
        "connections to track per CPU; 0 leaves the limit alone",
    ),
    flag(
        "conntrack-min",
        |b| b.config.conntrack.min.get_or_insert(defaults::MIN_CONNECTIONS),
        "connections to track at least, unless --conntrack-max-per-core is 0",
    ),
    flag(
        "conntrack-tcp-timeout-established",
        |b| b.config.conntrack.tcp_established_timeout.get_or_insert(defaults::TCP_ESTABLISHED),
        "idle time of an established TCP connection; 0 leaves it alone",
    ),
    flag(
        "conntrack-tcp-timeout-close-wait",
        |b| b.config.conntrack.tcp_close_wait_timeout.get_or_insert(defaults::TCP_CLOSE_WAIT),
        "idle time of a TCP connection that one side has closed; 0 leaves it alone",
    ),
    flag(
        "conntrack-tcp-be-liberal",
        |b| &mut b.config.conntrack.tcp_be_liberal,
        "count packets outside the TCP window as part of their connection; the rule of mode iptables against them goes after a restart",
    ),
    flag(
        "conntrack-udp-timeout",
        |b| &mut b.config.conntrack.udp_timeout,
        "idle time of a UDP flow without an answer; 0 leaves it alone",
    ),
    flag(
        "conntrack-udp-timeout-stream",
        |b| &mut b.config.conntrack.udp_stream_timeout,
        "idle time of a UDP flow with answers; 0 leaves it alone",
    ),
];

/// Where it answers.
static SERVERS: [Flag; 7] = [
    flag(
        "healthz-bind-address",
        |b| &mut b.healthz_address,
        "where to serve health checks; 0.0.0.0 and :: mean both IP families",
    ),
    flag("metrics-bind-address", |b| &mut b.metrics_address, "where to serve metrics and status"),
    flag(
        "bind-address-hard-fail",
        |b| &mut b.config.bind_address_hard_fail,
        "exit when a server cannot listen, rather than try again",
    ),
    flag("profiling", |b| &mut b.config.enable_profiling, "serve /debug on the metrics address"),
    flag(
        "show-hidden-metrics-for-version",
        |b| &mut b.config.show_hidden_metrics_for_version,
        "1.35 or nothing; no metric is hidden here",
    ),
    Flag {
        deprecated: Some("use --healthz-bind-address instead"),
        ..flag(
            "healthz-port",
            |b| &mut b.healthz_port,
            "port of --healthz-bind-address if that has none; 0 switches the health server off",
        )
    },
    Flag {
        deprecated: Some("use --metrics-bind-address instead"),
        ..flag("metrics-port", |b| &mut b.metrics_port, "port of --metrics-bind-address if that has none")
    },
];

/// What it logs; with a file these are laid over it.
static LOGGING: [Flag; 8] = [
    Flag {
        short: Some('v'),
        ..kept(
            "v",
            |b| &mut b.config.logging.verbosity,
            "how much to log: 0 little, 2 each update, 4 what is done, 6 everything",
        )
    },
    kept("vmodule", |b| &mut b.config.logging.vmodule, "accepted; verbosity is one for the whole process"),
    kept("logging-format", |b| &mut b.config.logging.format, "how to log: text or json"),
    kept(
        "log-flush-frequency",
        |b| &mut b.config.logging.flush_frequency,
        "accepted; log lines are written at once",
    ),
    kept(
        "log-text-split-stream",
        |b| &mut b.config.logging.options.text.split_stream,
        "in format text, write errors to standard error and the rest to standard output (gate LoggingAlphaOptions)",
    ),
    kept(
        "log-json-split-stream",
        |b| &mut b.config.logging.options.json.split_stream,
        "in format json, write errors to standard error and the rest to standard output (gate LoggingAlphaOptions)",
    ),
    kept(
        "log-text-info-buffer-size",
        |b| &mut b.config.logging.options.text.info_buffer_size,
        "accepted (gate LoggingAlphaOptions); log lines are written at once",
    ),
    kept(
        "log-json-info-buffer-size",
        |b| &mut b.config.logging.options.json.info_buffer_size,
        "accepted (gate LoggingAlphaOptions); log lines are written at once",
    ),
];

/// What a library of kube-proxy brings along.
static IDENTITY: [Flag; 2] = [
    kept("boot-id-file", |b| &mut b.boot_id_file, "accepted; boots are not told apart"),
    kept("machine-id-file", |b| &mut b.machine_id_file, "accepted; machines are not told apart"),
];
