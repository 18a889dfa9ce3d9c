//! The checked configuration.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use portolan_core::node::{DEFAULT_MASQUERADE_MARK, NodePortSelection};
use portolan_core::{NodeConfig, ProxyMode};

use crate::error::{ConfigError, ValueError, invalid};
use crate::flags::Flags;
use crate::{bind, node};

/// kube-proxy's health port.
const HEALTHZ_PORT: u16 = 10256;
/// kube-proxy's metrics port.
const METRICS_PORT: u16 = 10249;
/// kube-proxy's `syncPeriod`.
const SYNC_PERIOD: Duration = Duration::from_secs(30);

/// Everything the process needs to know before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where Services and endpoints come from.
    pub source: Source,
    /// How to forward.
    pub mode: ModeSelection,
    /// When to write.
    pub sync: SyncPeriods,
    /// Where the metrics server listens.
    pub metrics_address: SocketAddr,
    /// Where the health server listens.
    pub healthz_address: SocketAddr,
    /// What to log and how.
    pub logging: Logging,
    node: NodeConfig,
    /// As configured; what stands for "not configured" depends on the mode.
    node_ports: Option<NodePortSelection>,
    /// The masquerade mark of the older modes; nftables mode takes its own from a file only.
    iptables_masquerade_mark: u32,
}

/// Where Services and endpoints come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder of YAML manifests.
    Manifests(PathBuf),
    /// An API server.
    Api(ApiAccess),
}

/// How to reach the API server; with neither field set, the way a pod does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiAccess {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--master`, which overrides the kubeconfig's server.
    pub master: Option<String>,
}

/// `--mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeSelection {
    /// Unset or `auto`: the best that this host can do.
    Auto,
    /// This one.
    Explicit(ProxyMode),
}

/// When rules are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncPeriods {
    /// Shortest time from the end of one write to the next.
    pub min: Duration,
    /// Longest time between attempts while writing fails.
    pub max: Duration,
}

/// What to log and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// klog's verbosity.
    pub verbosity: u32,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// klog's text.
    Text,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Checks `flags` as a whole. `os_hostname` is asked if they name no node.
    ///
    /// # Errors
    /// A value is impossible or at odds with another, or the node has no name.
    pub(crate) fn check(
        flags: Flags,
        os_hostname: impl FnOnce() -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let hostname = if flags.hostname_override.is_empty() {
            os_hostname().map_err(|source| ConfigError::Hostname { source })?
        } else {
            flags.hostname_override.clone()
        };
        let node = NodeConfig {
            detect_local: node::detect_local(&flags)?,
            masquerade_all: flags.masquerade_all,
            ..NodeConfig::new(node::name(&hostname)?)
        };
        let ports = &flags.nodeport_addresses;
        Ok(Self {
            node,
            iptables_masquerade_mark: flags.masquerade_bit.map_or(DEFAULT_MASQUERADE_MARK, |bit| 1 << bit),
            node_ports: node::node_ports(ports).map_err(invalid("--nodeport-addresses", &ports.join(",")))?,
            mode: mode(&flags.mode),
            sync: sync_periods(&flags)?,
            metrics_address: bind_address(
                "--metrics-bind-address",
                &flags.metrics_bind_address,
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), METRICS_PORT),
            )?,
            healthz_address: bind_address(
                "--healthz-bind-address",
                &flags.healthz_bind_address,
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), HEALTHZ_PORT),
            )?,
            logging: Logging {
                verbosity: flags.verbosity,
                format: log_format(&flags.logging_format)
                    .map_err(invalid("--logging-format", &flags.logging_format))?,
            },
            source: source(flags)?,
        })
    }

    /// What plans depend on when `mode` carries them out. As in kube-proxy the older modes
    /// differ from nftables mode and those that came after it: node ports that nobody
    /// restricted answer on all addresses instead of the node's primary ones, and
    /// `--iptables-masquerade-bit` holds.
    pub fn node(&self, mode: &ProxyMode) -> NodeConfig {
        let is_older = [ProxyMode::IPTABLES, ProxyMode::IPVS, ProxyMode::USERSPACE].contains(mode);
        let (unset, masquerade_mark) = if is_older {
            (NodePortSelection::Cidrs(Vec::new()), self.iptables_masquerade_mark)
        } else {
            (NodePortSelection::Primary, DEFAULT_MASQUERADE_MARK)
        };
        let node_port_addresses = self.node_ports.clone().unwrap_or(unset);
        NodeConfig { node_port_addresses, masquerade_mark, ..self.node.clone() }
    }
}

fn source(flags: Flags) -> Result<Source, ConfigError> {
    let given = |text: String| (!text.is_empty()).then_some(text);
    let (kubeconfig, master) = (given(flags.kubeconfig), given(flags.master));
    let Some(folder) = given(flags.manifests) else {
        return Ok(Source::Api(ApiAccess { kubeconfig: kubeconfig.map(PathBuf::from), master }));
    };
    for (other, name) in [(kubeconfig, "--kubeconfig"), (master, "--master")] {
        if other.is_some() {
            return Err(ConfigError::Conflict { first: "--manifests", second: name });
        }
    }
    Ok(Source::Manifests(folder.into()))
}

fn mode(text: &str) -> ModeSelection {
    match text {
        "" | "auto" => ModeSelection::Auto,
        name => ModeSelection::Explicit(ProxyMode::new(name.to_owned())),
    }
}

fn sync_periods(flags: &Flags) -> Result<SyncPeriods, ConfigError> {
    let max = flags.sync_period.unwrap_or(SYNC_PERIOD);
    let min = flags.min_sync_period.unwrap_or_default();
    if max.is_zero() {
        return Err(invalid("--iptables-sync-period", "0s")(ValueError::Zero));
    }
    if min > max {
        let value = format!("{min:?}");
        return Err(invalid("--iptables-min-sync-period", &value)(ValueError::LongerThanSyncPeriod));
    }
    Ok(SyncPeriods { min, max })
}

/// An empty text leaves the default in force, as in kube-proxy.
fn bind_address(flag: &str, text: &str, default: SocketAddr) -> Result<SocketAddr, ConfigError> {
    if text.is_empty() {
        return Ok(default);
    }
    bind::parse(text, default.port()).map_err(invalid(flag, text))
}

fn log_format(text: &str) -> Result<LogFormat, ValueError> {
    match text {
        "" | "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(ValueError::LogFormat),
    }
}
