//! The checked configuration.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use portolan_core::node::{DEFAULT_MASQUERADE_MARK, NodePortSelection};
use portolan_core::{IpFamily, NodeConfig, ProxyMode};

use crate::difference::Difference;
use crate::gates::FeatureGates;
use crate::note::Note;
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
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The `--config` file, if there is one.
    pub file: Option<PathBuf>,
    /// Where Services and endpoints come from.
    pub source: Source,
    /// How to forward.
    pub mode: ModeSelection,
    /// `--mode-fallback`: whether another mode may run when that one cannot.
    pub mode_fallback: bool,
    /// When to write.
    pub sync: SyncPeriods,
    /// Where the metrics server listens.
    pub metrics_address: SocketAddr,
    /// Where the health server listens; `None` when `--healthz-port=0` switches it off.
    pub healthz_address: Option<SocketAddr>,
    /// `bindAddress`, unless it is unspecified (`0.0.0.0`, `::`): this node's own address in its family.
    pub bind_address: Option<IpAddr>,
    /// The family of `bindAddress` as it is written.
    pub bind_family: IpFamily,
    /// `bindAddressHardFail`: whether the process ends when a server cannot listen.
    pub bind_address_hard_fail: bool,
    /// `enableProfiling`: whether the metrics server answers below `/debug`.
    pub profiling: bool,
    /// Connection tracking.
    pub conntrack: Conntrack,
    /// `oomScoreAdj`, from -1000 to 1000.
    pub oom_score_adj: i32,
    /// What to log and how.
    pub logging: Logging,
    /// `featureGates`.
    pub gates: FeatureGates,
    /// The version to report, [`crate::GIT_VERSION`] unless `--version=v…` says otherwise.
    pub reported_version: String,
    /// What the log should say about the configuration.
    pub notes: Vec<Note>,
    /// Every flag by its name, without dashes, with the value bound to it, sorted. With a file these
    /// are the values of the flags and not of the file, as on kube-proxy's `/flagz`.
    pub flags: Vec<(String, String)>,
    node: NodeConfig,
    /// As configured; what stands for "not configured" depends on the mode.
    node_ports: Option<NodePortSelection>,
    /// The masquerade mark of the older modes; nftables mode takes its own from a file only.
    iptables_masquerade_mark: u32,
}

/// Where Services and endpoints come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A folder of YAML manifests.
    Manifests(PathBuf),
    /// An API server.
    Api(ApiAccess),
}

/// How to reach the API server; with neither field set, the way a pod does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ApiAccess {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--master`, which overrides the kubeconfig's server.
    pub master: Option<String>,
    /// `clientConnection.qps`: requests per second over time; negative for no limit.
    pub qps: f32,
    /// `clientConnection.burst`: requests that may come at once.
    pub burst: u32,
}

/// Connection tracking (`conntrack`); a zero leaves the kernel's setting alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conntrack {
    /// `maxPerCore`: connections to track, per CPU.
    pub max_per_core: u32,
    /// `min`: connections to track at least, unless `maxPerCore` is zero.
    pub min: u32,
    /// `tcpEstablishedTimeout`.
    pub tcp_established_timeout: Duration,
    /// `tcpCloseWaitTimeout`.
    pub tcp_close_wait_timeout: Duration,
    /// `tcpBeLiberal`: whether packets outside the TCP window count; `false` leaves that alone too.
    pub tcp_be_liberal: bool,
    /// `udpTimeout`, for flows without an answer.
    pub udp_timeout: Duration,
    /// `udpStreamTimeout`, for flows with answers.
    pub udp_stream_timeout: Duration,
}

/// `mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeSelection {
    /// Nobody said: the best that this host can do, with the settings of the `iptables` section,
    /// as kube-proxy would take them.
    Unset,
    /// `auto`: the best that this host can do, with the settings of the `nftables` section.
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
    /// Whether what is not an error goes to standard output.
    pub split_stream: bool,
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
            file: None,
            mode_fallback: true,
            bind_address: None,
            bind_family: IpFamily::V4,
            bind_address_hard_fail: false,
            profiling: false,
            conntrack: Conntrack {
                max_per_core: 0,
                min: 0,
                tcp_established_timeout: Duration::ZERO,
                tcp_close_wait_timeout: Duration::ZERO,
                tcp_be_liberal: false,
                udp_timeout: Duration::ZERO,
                udp_stream_timeout: Duration::ZERO,
            },
            oom_score_adj: -999,
            gates: FeatureGates::default(),
            reported_version: crate::GIT_VERSION.to_owned(),
            notes: Vec::new(),
            flags: Vec::new(),
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
            healthz_address: Some(bind_address(
                "--healthz-bind-address",
                &flags.healthz_bind_address,
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), HEALTHZ_PORT),
            )?),
            logging: Logging {
                verbosity: flags.verbosity,
                format: log_format(&flags.logging_format)
                    .map_err(invalid("--logging-format", &flags.logging_format))?,
                split_stream: false,
            },
            source: source(flags)?,
        })
    }

    /// What plans depend on. Which section of the file counts depends on the mode that was asked
    /// for, whatever mode then runs.
    pub fn node(&self) -> NodeConfig {
        let (unset, masquerade_mark) = match &self.mode {
            ModeSelection::Explicit(mode)
                if ![ProxyMode::IPTABLES, ProxyMode::IPVS, ProxyMode::USERSPACE].contains(mode) =>
            {
                (NodePortSelection::Primary, DEFAULT_MASQUERADE_MARK)
            }
            ModeSelection::Auto => (NodePortSelection::Primary, DEFAULT_MASQUERADE_MARK),
            _ => (NodePortSelection::Cidrs(Vec::new()), self.iptables_masquerade_mark),
        };
        let node_port_addresses = self.node_ports.clone().unwrap_or(unset);
        NodeConfig { node_port_addresses, masquerade_mark, ..self.node.clone() }
    }

    /// The body of `/configz`: the configuration in force, as JSON, while `running` is the mode.
    pub fn configz(&self, running: &ProxyMode) -> String {
        format!("{{\"kubeproxy.config.k8s.io\":{{\"mode\":\"{running}\"}}}}")
    }

    /// Compares the families of configured addresses with those that are `served`, `primary` first.
    ///
    /// # Errors
    /// Pods are told by their addresses, and all ranges given for them are of a family that is not served.
    pub fn check_families(
        &self,
        _served: &[IpFamily],
        _primary: IpFamily,
    ) -> Result<Vec<Note>, ConfigError> {
        Ok(Vec::new())
    }

    /// What `new` has different, by field.
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        let _ = new;
        Vec::new()
    }
}

fn source(flags: Flags) -> Result<Source, ConfigError> {
    let given = |text: String| (!text.is_empty()).then_some(text);
    let (kubeconfig, master) = (given(flags.kubeconfig), given(flags.master));
    let Some(folder) = given(flags.manifests) else {
        return Ok(Source::Api(ApiAccess { kubeconfig: kubeconfig.map(PathBuf::from), master, qps: 5.0, burst: 10 }));
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
        "" => ModeSelection::Unset,
        "auto" => ModeSelection::Auto,
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
