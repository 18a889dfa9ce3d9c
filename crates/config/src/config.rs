//! The checked configuration.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use portolan_core::node::NodePortSelection;
use portolan_core::{GIT_VERSION, IpFamily, NodeConfig, ProxyMode};

use crate::difference::{self, Difference};
use crate::error::ConfigError;
use crate::families;
use crate::flags::Bound;
use crate::flags::value::VersionFlag;
use crate::gates::{EXTERNAL_IPS, FeatureGates, STREAMED_LISTS};
use crate::kube_proxy::KubeProxyConfiguration;
use crate::kube_proxy::effective::{EVERYWHERE, PRIMARY};
use crate::kube_proxy::section::Section;
use crate::modes::{IptablesSettings, IpvsSettings, UserspaceSettings};
use crate::note::Note;
use crate::validation::Checked;

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
    /// For the iptables mode, if that runs.
    pub iptables: IptablesSettings,
    /// For the ipvs mode, if that runs.
    pub ipvs: IpvsSettings,
    /// For the userspace mode, if that runs.
    pub userspace: UserspaceSettings,
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
    /// The version to report, [`GIT_VERSION`] unless `--version=v…` says otherwise.
    pub reported_version: String,
    /// What the log should say about the configuration.
    pub notes: Vec<Note>,
    /// Every flag by its name, without dashes, with the value bound to it, sorted. With a file these
    /// are the values of the flags and not of the file, as on kube-proxy's `/flagz`.
    pub flags: Vec<(String, String)>,
    node: NodeConfig,
    /// The configuration itself, as it was checked.
    given: KubeProxyConfiguration,
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
    /// The feature gate `WatchListClient`: whether to ask for streamed lists.
    pub streamed_lists: bool,
}

/// Connection tracking (`conntrack`); a zero, as by default, leaves the kernel's setting alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// Longest time between attempts while writing fails, and time from one look at whether the rules are
    /// there still to the next.
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
    /// Puts together what was checked, for the node of this name.
    ///
    /// # Errors
    /// A folder of manifests and an API server are both asked for.
    pub(crate) fn new(
        bound: &Bound,
        given: KubeProxyConfiguration,
        checked: Checked,
        node_name: String,
        notes: Vec<Note>,
    ) -> Result<Self, ConfigError> {
        let source = source(bound, &given, &checked)?;
        let bind_address = Some(checked.bind_address).filter(|ip| !ip.is_unspecified());
        let unrestricted = || match given.section() {
            Section::Nftables => NodePortSelection::Primary,
            Section::Iptables | Section::Ipvs => NodePortSelection::Cidrs(Vec::new()),
        };
        let node = NodeConfig {
            detect_local: checked.detect_local,
            masquerade_all: given.shared().masquerade_all,
            masquerade_mark: checked.masquerade_mark,
            node_port_addresses: checked.node_ports.unwrap_or_else(unrestricted),
            bind_address,
            allow_external_ips: checked.gates.is_on(EXTERNAL_IPS),
            ..NodeConfig::new(node_name)
        };
        Ok(Self {
            file: path(&bound.file),
            source,
            mode: checked.mode,
            mode_fallback: bound.mode_fallback,
            sync: checked.sync,
            iptables: IptablesSettings::of(&given),
            ipvs: IpvsSettings::of(&given),
            userspace: UserspaceSettings::of(&given),
            metrics_address: checked.metrics_address,
            healthz_address: checked.healthz_address,
            bind_address,
            bind_family: IpFamily::of(checked.bind_address),
            bind_address_hard_fail: given.bind_address_hard_fail,
            profiling: given.enable_profiling,
            conntrack: checked.conntrack,
            oom_score_adj: checked.oom_score_adj,
            logging: checked.logging,
            gates: checked.gates,
            reported_version: reported_version(bound),
            notes,
            flags: flags(bound, &given),
            node,
            given,
        })
    }

    /// What plans depend on. Which section of the file counts depends on the mode that was asked
    /// for, whatever mode then runs: a cluster that asks for none keeps the node ports and the
    /// masquerading that it had with kube-proxy.
    pub fn node(&self) -> NodeConfig {
        self.node.clone()
    }

    /// Has these addresses of the node answer on node ports if `nodePortAddresses` is unset: the default of the mode
    /// that was asked for.
    pub fn set_default_node_ports(&mut self, selection: &NodePortSelection) {
        if self.given.node_port_addresses.is_empty() && self.node.node_port_addresses != *selection {
            self.given.node_port_addresses = match selection {
                NodePortSelection::Primary => vec![PRIMARY.to_owned()],
                NodePortSelection::Cidrs(cidrs) if cidrs.is_empty() => EVERYWHERE.map(str::to_owned).to_vec(),
                NodePortSelection::Cidrs(cidrs) => cidrs.iter().map(ToString::to_string).collect(),
            };
            self.node.node_port_addresses = selection.clone();
        }
    }

    /// The body of `/configz`: the configuration in force, as JSON, while `running` is the mode.
    /// What the section of another mode says is shown in the one of this mode.
    pub fn configz(&self, running: &ProxyMode) -> String {
        self.given.effective_in(running).to_configz()
    }

    /// Compares the families of configured addresses with those that are `served`, of which
    /// `primary` comes first.
    ///
    /// # Errors
    /// Pods are told by `clusterCIDR`, and none of its ranges is of the one family that is served.
    pub fn check_families(&self, served: &[IpFamily], primary: IpFamily) -> Result<Vec<Note>, ConfigError> {
        families::check(&self.given, served, primary)
    }

    /// Whether what plans are made of, and when they are applied, must wait for a restart with all that
    /// `new` says of it: another mode, or another family of `bindAddress`, gives its values another meaning.
    pub fn plans_wait(&self, new: &Self) -> bool {
        difference::plans_wait(&self.given, &new.given)
    }

    /// What `new` has different, by field and sorted. Fields that change nothing here are left out.
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        difference::between(&self.given, &new.given)
    }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn source(bound: &Bound, given: &KubeProxyConfiguration, checked: &Checked) -> Result<Source, ConfigError> {
    let client = &given.client_connection;
    let kubeconfig = path(&client.kubeconfig);
    let master = (!bound.master.is_empty()).then(|| bound.master.clone());
    let Some(folder) = path(&bound.manifests) else {
        let (qps, burst) = (client.qps, checked.burst);
        let streamed_lists = checked.gates.is_on(STREAMED_LISTS);
        return Ok(Source::Api(ApiAccess { kubeconfig, master, qps, burst, streamed_lists }));
    };
    let name = if bound.file.is_empty() { "--kubeconfig" } else { "clientConnection.kubeconfig" };
    if kubeconfig.is_some() {
        return Err(ConfigError::Conflict { first: "--manifests", second: name });
    }
    if master.is_some() {
        return Err(ConfigError::Conflict { first: "--manifests", second: "--master" });
    }
    Ok(Source::Manifests(folder))
}

fn reported_version(bound: &Bound) -> String {
    match &bound.version {
        VersionFlag::Report(version) => version.clone(),
        _ => GIT_VERSION.to_owned(),
    }
}

/// A URL without user and password, which no log and no page shows.
fn without_user(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_user, host))) => format!("{scheme}://{host}"),
        (None, Some((_user, host))) => host.to_owned(),
        (_, None) => url.to_owned(),
    }
}

/// Without a file the flags show what they were settled to, as on kube-proxy's `/flagz`.
fn flags(bound: &Bound, given: &KubeProxyConfiguration) -> Vec<(String, String)> {
    let mut bound = bound.clone();
    bound.master = without_user(&bound.master);
    if bound.file.is_empty() {
        let effective = given.effective();
        bound.config.detect_local_mode = effective.detect_local_mode;
        bound.config.node_port_addresses = effective.node_port_addresses;
    }
    bound.listed()
}
