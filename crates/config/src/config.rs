//! The checked configuration.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use portolan_core::node::NodePortSelection;
use portolan_core::{GIT_VERSION, IpFamily, NodeConfig, ProxyMode};

use crate::difference::{self, Difference};
use crate::error::ConfigError;
use crate::families;
use crate::flags::Bound;
use crate::flags::value::VersionFlag;
use crate::gates::{EXTERNAL_IPS, FeatureGates, STREAMED_LISTS};
use crate::kube_proxy::KubeProxyConfiguration;
use crate::kube_proxy::effective::{ALL_ADDRESSES, PRIMARY};
use crate::kube_proxy::section::Section;
use crate::notes::Note;
use crate::validation::{self, errors::FieldErrors};

/// All settings of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The `--config` file, if there is one.
    pub file: Option<PathBuf>,
    /// The source of Services and endpoints.
    pub source: Source,
    /// The proxy mode.
    pub mode: ModeSelection,
    /// `--mode-fallback`: whether another mode may run if the host does not support that one.
    pub mode_fallback: bool,
    /// The periods between syncs.
    pub sync: SyncPeriods,
    /// Settings of the iptables mode. Those of each mode come from its section whatever mode is requested, since another
    /// mode may run.
    pub iptables: IptablesSettings,
    /// Settings of the ipvs mode.
    pub ipvs: IpvsSettings,
    /// Settings of the userspace mode.
    pub userspace: UserspaceSettings,
    /// The address of the metrics server.
    pub metrics_address: SocketAddr,
    /// The address of the health server; `None` if `--healthz-port=0` disables it.
    pub healthz_address: Option<SocketAddr>,
    /// `bindAddress`, unless it is unspecified (`0.0.0.0`, `::`): the node's primary IP of its family.
    pub bind_address: Option<IpAddr>,
    /// The family of `bindAddress`, also if that is unspecified.
    pub bind_family: IpFamily,
    /// `bindAddressHardFail`: whether the process exits if a server cannot bind its address.
    pub bind_address_hard_fail: bool,
    /// `enableProfiling`: whether the metrics server serves `/debug`.
    pub profiling: bool,
    /// Settings of connection tracking.
    pub conntrack: Conntrack,
    /// `oomScoreAdj`, from -1000 to 1000.
    pub oom_score_adj: i32,
    /// Settings of the log.
    pub logging: Logging,
    /// `featureGates`.
    pub gates: FeatureGates,
    /// The version to report: [`GIT_VERSION`] or that of `--version=v…`.
    pub reported_version: String,
    /// Log lines about the configuration.
    pub notes: Vec<Note>,
    /// All flags by name, without dashes, with their values, sorted. With a file these are still the values of the
    /// flags, as on kube-proxy's `/flagz`.
    pub flags: Vec<(String, String)>,
    /// Without the node's name until that is known.
    pub(crate) node: NodeConfig,
    /// The fields as they were given.
    pub(crate) given: KubeProxyConfiguration,
}

/// The source of Services and endpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A folder of YAML manifests.
    Manifests(PathBuf),
    /// An API server.
    Api(ApiAccess),
}

/// Access to the API server; without kubeconfig and master: the in-cluster configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ApiAccess {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--master`, which overrides the kubeconfig's server.
    pub master: Option<String>,
    /// `clientConnection.qps`: sustained requests per second; negative for no limit.
    pub qps: f32,
    /// `clientConnection.burst`: requests in a burst.
    pub burst: u32,
    /// The feature gate `WatchListClient`: whether to request streamed lists.
    pub streamed_lists: bool,
}

/// Connection tracking (`conntrack`); zero leaves the kernel's setting unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conntrack {
    /// `maxPerCore`: maximum number of tracked connections per CPU.
    pub max_per_core: u32,
    /// `min`: minimum of the maximum number of tracked connections, unless `maxPerCore` is zero.
    pub min: u32,
    /// `tcpEstablishedTimeout`.
    pub tcp_established_timeout: Duration,
    /// `tcpCloseWaitTimeout`.
    pub tcp_close_wait_timeout: Duration,
    /// `tcpBeLiberal`: whether to accept packets outside the TCP window; `false` leaves that unchanged, too.
    pub tcp_be_liberal: bool,
    /// `udpTimeout`, for UNREPLIED flows.
    pub udp_timeout: Duration,
    /// `udpStreamTimeout`, for ASSURED flows.
    pub udp_stream_timeout: Duration,
}

/// `mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeSelection {
    /// Not set: the best mode that the host supports, with the settings of the `iptables` section, as kube-proxy reads
    /// them.
    Unset,
    /// `auto`: the best mode that the host supports, with the settings of the `nftables` section.
    Auto,
    /// This one.
    Explicit(ProxyMode),
}

/// The periods between syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncPeriods {
    /// Shortest time from the end of one sync to the next.
    pub min: Duration,
    /// Longest time between retries of a failed sync, and time between integrity checks of the rules.
    pub max: Duration,
}

/// Settings of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// klog's verbosity.
    pub verbosity: u32,
    /// The format of a line.
    pub format: LogFormat,
    /// Whether lines other than errors go to standard output.
    pub split_stream: bool,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// klog's text.
    Text,
    /// One JSON object per line.
    Json,
}

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

impl Config {
    /// Checks `given` and parses its values; `modes` are those of the binary. The name of the node and a folder of
    /// manifests are set later.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) fn check(
        bound: &Bound,
        given: KubeProxyConfiguration,
        modes: &[ProxyMode],
    ) -> Result<Self, FieldErrors> {
        let mut errors = FieldErrors::default();
        // In kube-proxy's order.
        let gates = validation::gates(&given, &mut errors);
        let masquerade_mark = validation::mark(&given, &mut errors);
        let ipvs = validation::ipvs(&given, &mut errors);
        let userspace = validation::userspace(&given.userspace, &mut errors);
        let conntrack = validation::conntrack(&given, &mut errors);
        let oom_score_adj = validation::oom_score_adj(&given, &mut errors);
        let mode = validation::mode(&given.mode, modes, &mut errors);
        let burst = errors.count("ClientConnection.Burst", given.client_connection.burst);
        let sync = validation::periods(&given, &mut errors);
        let bind = validation::bind_address(&given.bind_address, &mut errors);
        let healthz = Some(&given.healthz_bind_address).filter(|address| !address.is_empty());
        let healthz_address =
            healthz.map(|address| validation::listen("HealthzBindAddress", address, &mut errors));
        let metrics_address =
            validation::listen("MetricsBindAddress", &given.metrics_bind_address, &mut errors);
        let node_ports = validation::node_ports(&given.node_port_addresses, &mut errors);
        validation::hidden_metrics(&given.show_hidden_metrics_for_version, &mut errors);
        let detect_local = validation::detect_local(&given, &mut errors);
        let logging = validation::logging(&given.logging, &gates, &mut errors);

        let bind_address = Some(bind).filter(|ip| !ip.is_unspecified());
        let client = &given.client_connection;
        let source = Source::Api(ApiAccess {
            kubeconfig: path(&client.kubeconfig),
            master: (!bound.master.is_empty()).then(|| bound.master.clone()),
            qps: client.qps,
            burst,
            streamed_lists: gates.is_on(STREAMED_LISTS),
        });
        let node = NodeConfig {
            detect_local,
            masquerade_all: given.shared().masquerade_all,
            masquerade_mark,
            node_port_addresses: node_ports.unwrap_or_else(|| match given.section() {
                Section::Nftables => NodePortSelection::Primary,
                Section::Iptables | Section::Ipvs => NodePortSelection::Cidrs(Vec::new()),
            }),
            bind_address,
            allow_external_ips: gates.is_on(EXTERNAL_IPS),
            ..NodeConfig::new("")
        };
        errors.or_else(Self {
            file: path(&bound.file),
            source,
            mode,
            mode_fallback: bound.mode_fallback,
            sync,
            iptables: IptablesSettings {
                localhost_node_ports: given.iptables.localhost_node_ports.unwrap_or_default(),
            },
            ipvs,
            userspace,
            metrics_address,
            healthz_address,
            bind_address,
            bind_family: IpFamily::of(bind),
            bind_address_hard_fail: given.bind_address_hard_fail,
            profiling: given.enable_profiling,
            conntrack,
            oom_score_adj,
            logging,
            gates,
            reported_version: match &bound.version {
                VersionFlag::Report(version) => version.clone(),
                _ => GIT_VERSION.to_owned(),
            },
            notes: Vec::new(),
            flags: flags(bound, &given),
            node,
            given,
        })
    }

    /// Reads Services and endpoints from a folder, if `bound` names one.
    ///
    /// # Errors
    /// An API server is requested as well.
    pub(crate) fn set_manifests(&mut self, bound: &Bound) -> Result<(), ConfigError> {
        let Some(folder) = path(&bound.manifests) else { return Ok(()) };
        let kubeconfig = if bound.file.is_empty() { "--kubeconfig" } else { "clientConnection.kubeconfig" };
        for (setting, value) in
            [(kubeconfig, &self.given.client_connection.kubeconfig), ("--master", &bound.master)]
        {
            if !value.is_empty() {
                return Err(ConfigError::Conflict { first: "--manifests", second: setting });
            }
        }
        self.source = Source::Manifests(folder);
        Ok(())
    }

    /// The settings that plans depend on. The requested mode selects the section of the file, whatever mode then runs:
    /// a cluster that requests none keeps the node ports and the masquerading that it had with kube-proxy.
    pub fn node(&self) -> NodeConfig {
        self.node.clone()
    }

    /// Has these addresses of the node answer on node ports if `nodePortAddresses` is unset: the default of the mode
    /// that was asked for.
    pub fn set_default_node_ports(&mut self, selection: &NodePortSelection) {
        if self.given.node_port_addresses.is_empty() && self.node.node_port_addresses != *selection {
            self.given.node_port_addresses = match selection {
                NodePortSelection::Primary => vec![PRIMARY.to_owned()],
                NodePortSelection::Cidrs(cidrs) if cidrs.is_empty() => {
                    ALL_ADDRESSES.map(str::to_owned).to_vec()
                }
                NodePortSelection::Cidrs(cidrs) => cidrs.iter().map(ToString::to_string).collect(),
            };
            self.node.node_port_addresses = selection.clone();
        }
    }

    /// The body of `/configz`: the effective configuration as JSON, while `running` is the mode. Settings from the
    /// section of another mode are shown in the section of this one.
    pub fn configz(&self, running: &ProxyMode) -> String {
        self.given.effective_in(running).to_configz()
    }

    /// Compares the IP families of configured addresses with the `served` ones, of which `primary` is the primary.
    ///
    /// # Errors
    /// Local pods are detected by `clusterCIDR`, and none of its CIDRs is of the only family that is served.
    pub fn check_families(&self, served: &[IpFamily], primary: IpFamily) -> Result<Vec<Note>, ConfigError> {
        families::check(&self.given, served, primary)
    }

    /// Whether the settings of plans and their periods must wait for a restart if `new` replaces this configuration:
    /// another mode, or another family of `bindAddress`, gives them another meaning.
    pub fn plans_wait(&self, new: &Self) -> bool {
        difference::plans_wait(&self.given, &new.given)
    }

    /// The fields that differ in `new`, sorted. Fields without effect are left out.
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        difference::between(&self.given, &new.given)
    }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// A URL without user and password, which must not appear in logs and pages.
fn without_user(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_user, host))) => format!("{scheme}://{host}"),
        (None, Some((_user, host))) => host.to_owned(),
        (_, None) => url.to_owned(),
    }
}

/// Without a file the flags show the effective values, as on kube-proxy's `/flagz`.
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
