//! Checks a configuration as a whole, and turns it into what the process works with.
//!
//! Always holds: every fault is found in one go, with kube-proxy's path; what comes out has none.
//! Each value is read once, here: where it cannot be read something harmless stands in for it,
//! and nobody ever sees that, because there is a fault then.

pub(crate) mod faults;
mod logging;
mod node;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use portolan_core::ProxyMode;
use portolan_core::address::{parse_cidr, parse_ip};
use portolan_core::node::{DetectLocal, NodePortSelection};

use crate::bind;
use crate::config::{Conntrack, Logging, ModeSelection, SyncPeriods};
use crate::duration::GoDuration;
use crate::gates::FeatureGates;
use crate::kube_proxy::section::Section;
use crate::kube_proxy::{KubeProxyConfiguration, Userspace, defaults};
use crate::modes::ServiceAddresses;
use crate::version::PREVIOUS_MINOR;
use faults::Faults;

/// Modes that are known whether the binary has them or not.
const KNOWN_MODES: [ProxyMode; 4] =
    [ProxyMode::NFTABLES, ProxyMode::IPTABLES, ProxyMode::IPVS, ProxyMode::USERSPACE];
/// The word for the best mode that the host can do.
const AUTO: &str = "auto";
/// The bits of a packet mark (`__u32` in the kernel).
const HIGHEST_BIT: i32 = 31;
/// What the kernel takes for `oom_score_adj` (linux/oom.h).
const OOM_SCORE_ADJ: std::ops::RangeInclusive<i32> = -1000..=1000;

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const POSITIVE: &str = "must be greater than 0";

/// A configuration without faults, its values read.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) mode: ModeSelection,
    pub(crate) sync: SyncPeriods,
    pub(crate) masquerade_mark: u32,
    pub(crate) detect_local: DetectLocal,
    /// `None` if nobody restricted node ports.
    pub(crate) node_ports: Option<NodePortSelection>,
    pub(crate) bind_address: IpAddr,
    pub(crate) healthz_address: Option<SocketAddr>,
    pub(crate) metrics_address: SocketAddr,
    pub(crate) conntrack: Conntrack,
    pub(crate) oom_score_adj: i32,
    pub(crate) burst: u32,
    pub(crate) gates: FeatureGates,
    pub(crate) logging: Logging,
}

/// Checks `config`; `modes` are those of the binary.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn check(config: &KubeProxyConfiguration, modes: &[ProxyMode]) -> Result<Checked, Faults> {
    let mut faults = Faults::default();
    let gates = gates(config, &mut faults);
    let masquerade_mark = marks(config, &mut faults);
    ipvs(config, &mut faults);
    userspace(&config.userspace, &mut faults);
    let conntrack = conntrack(config, &mut faults);
    let oom_score_adj = oom_score_adj(config, &mut faults);
    let mode = mode(&config.mode, modes, &mut faults);
    let burst = burst(config.client_connection.burst, &mut faults);
    let sync = periods(config, &mut faults);
    let bind_address = bind_address(&config.bind_address, &mut faults);
    let healthz_address = healthz(&config.healthz_bind_address, &mut faults);
    let metrics_address = listen("MetricsBindAddress", &config.metrics_bind_address, &mut faults);
    let node_ports = node::ports(&config.node_port_addresses, &mut faults);
    hidden_metrics(&config.show_hidden_metrics_for_version, &mut faults);
    let detect_local = node::detect_local(config, &mut faults);
    let logging = logging::check(&config.logging, &gates, &mut faults);
    faults.or_else(Checked {
        mode,
        sync,
        masquerade_mark,
        detect_local,
        node_ports,
        bind_address,
        healthz_address,
        metrics_address,
        conntrack,
        oom_score_adj,
        burst,
        gates,
        logging,
    })
}

fn gates(config: &KubeProxyConfiguration, faults: &mut Faults) -> FeatureGates {
    let gates = FeatureGates::new(&config.feature_gates);
    for (gate, why) in gates.faults() {
        faults.text("featureGates", &gate, why);
    }
    gates
}

/// The masquerade mark of the section that counts. The bit of `iptables` is looked at in every mode, that of
/// `nftables` only if it counts.
fn marks(config: &KubeProxyConfiguration, faults: &mut Faults) -> u32 {
    let mut bit = |path, bit: Option<i32>| {
        let bit = bit.unwrap_or(defaults::MASQUERADE_BIT);
        if !(0..=HIGHEST_BIT).contains(&bit) {
            faults.number(path, bit, "must be within the range [0, 31]");
        }
    };
    bit("KubeProxyIPTablesConfiguration.MasqueradeBit", config.iptables.masquerade_bit);
    if config.section() == Section::Nftables {
        bit("KubeProxyNFTablesConfiguration.MasqueradeBit", config.nftables.masquerade_bit);
    }
    let bit = config.shared().masquerade_bit;
    u32::try_from(bit).ok().and_then(|bit| 1_u32.checked_shl(bit)).unwrap_or_default()
}

/// What is in the `ipvs` section matters in that mode alone, and so do its faults.
fn ipvs(config: &KubeProxyConfiguration, faults: &mut Faults) {
    if config.section() != Section::Ipvs {
        return;
    }
    let ipvs = &config.ipvs;
    for (field, timeout) in [
        ("TCPTimeout", ipvs.tcp_timeout),
        ("TCPFinTimeout", ipvs.tcp_fin_timeout),
        ("UDPTimeout", ipvs.udp_timeout),
    ] {
        if timeout < GoDuration::ZERO {
            faults.number(&format!("KubeProxyIPVSConfiguration.{field}"), timeout, NOT_NEGATIVE);
        }
    }
    for (index, cidr) in ipvs.exclude_cidrs.iter().enumerate() {
        if parse_cidr(cidr).is_err() {
            let path = format!("KubeProxyIPVSConfiguration.ExcludeCidrs[{index}]");
            faults.text(&path, cidr, "must be a valid CIDR");
        }
    }
}

/// What is in the `userspace` section matters in every mode, since each may fall back to that one.
fn userspace(section: &Userspace, faults: &mut Faults) {
    const SECTION: &str = "KubeProxyUserspaceConfiguration";
    if ServiceAddresses::of(&section.addresses).is_none() {
        faults.unsupported(&format!("{SECTION}.Addresses"), &section.addresses, &["made", "prepared"]);
    }
    for (field, count) in
        [("MaxSessions", section.max_sessions), ("MaxSessionsPerService", section.max_sessions_per_service)]
    {
        if count < 0 {
            faults.number(&format!("{SECTION}.{field}"), count, NOT_NEGATIVE);
        }
    }
    for (field, timeout) in
        [("UDPTimeout", section.udp_timeout), ("UDPSingleTimeout", section.udp_single_timeout)]
    {
        if timeout <= GoDuration::ZERO {
            faults.number(&format!("{SECTION}.{field}"), timeout, POSITIVE);
        }
    }
}

fn conntrack(config: &KubeProxyConfiguration, faults: &mut Faults) -> Conntrack {
    const SECTION: &str = "KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration";
    let given = &config.conntrack;
    let mut count = |field: &str, value: i32| {
        u32::try_from(value).unwrap_or_else(|_negative| {
            faults.number(&format!("{SECTION}.{field}"), value, NOT_NEGATIVE);
            0
        })
    };
    let max_per_core = count("MaxPerCore", given.max_per_core.unwrap_or(defaults::MAX_PER_CORE));
    let min = count("Min", given.min.unwrap_or(defaults::MIN_CONNECTIONS));
    let mut time = |field: &str, value: GoDuration| {
        if value < GoDuration::ZERO {
            faults.number(&format!("{SECTION}.{field}"), value, NOT_NEGATIVE);
        }
        value.get()
    };
    let established = given.tcp_established_timeout.unwrap_or(defaults::TCP_ESTABLISHED);
    let close_wait = given.tcp_close_wait_timeout.unwrap_or(defaults::TCP_CLOSE_WAIT);
    Conntrack {
        max_per_core,
        min,
        tcp_established_timeout: time("TCPEstablishedTimeout", established),
        tcp_close_wait_timeout: time("TCPCloseWaitTimeout", close_wait),
        tcp_be_liberal: given.tcp_be_liberal,
        udp_timeout: time("UDPTimeout", given.udp_timeout),
        udp_stream_timeout: time("UDPStreamTimeout", given.udp_stream_timeout),
    }
}

fn oom_score_adj(config: &KubeProxyConfiguration, faults: &mut Faults) -> i32 {
    let score = config.oom_score_adj.unwrap_or(defaults::OOM_SCORE_ADJ);
    if !OOM_SCORE_ADJ.contains(&score) {
        faults.number(
            "KubeProxyLinuxConfiguration.OOMScoreAdj",
            score,
            "must be within the range [-1000, 1000]",
        );
    }
    score
}

fn mode(asked: &str, modes: &[ProxyMode], faults: &mut Faults) -> ModeSelection {
    match asked {
        "" => ModeSelection::Unset,
        AUTO => ModeSelection::Auto,
        name => {
            let mode = ProxyMode::new(name.to_owned());
            if !KNOWN_MODES.contains(&mode) && !modes.contains(&mode) {
                let mut offered: Vec<_> = KNOWN_MODES.iter().chain(modes).map(ProxyMode::as_str).collect();
                offered.push(AUTO);
                offered.sort_unstable();
                offered.dedup();
                let offered = offered.join(", ");
                let wanted =
                    format!("must be {offered} or blank (blank means the best that this host can do)");
                faults.text("Mode.ProxyMode", name, wanted);
            }
            ModeSelection::Explicit(mode)
        }
    }
}

fn burst(given: i32, faults: &mut Faults) -> u32 {
    u32::try_from(given).unwrap_or_else(|_negative| {
        faults.number("ClientConnection.Burst", given, NOT_NEGATIVE);
        0
    })
}

fn periods(config: &KubeProxyConfiguration, faults: &mut Faults) -> SyncPeriods {
    let shared = config.shared();
    for (path, period) in
        [("ConfigSyncPeriod", config.config_sync_period), ("SyncPeriod", shared.sync_period)]
    {
        if period <= GoDuration::ZERO {
            faults.number(path, period, POSITIVE);
        }
    }
    if shared.min_sync_period < GoDuration::ZERO {
        faults.number("MinSyncPeriod", shared.min_sync_period, NOT_NEGATIVE);
    }
    if shared.min_sync_period > shared.sync_period {
        let wanted = "must be greater than or equal to KubeProxyConfiguration.MinSyncPeriod";
        faults.number("SyncPeriod", shared.min_sync_period, wanted);
    }
    SyncPeriods { min: shared.min_sync_period.get(), max: shared.sync_period.get() }
}

const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn bind_address(address: &str, faults: &mut Faults) -> IpAddr {
    parse_ip(address).unwrap_or_else(|_no_ip| {
        faults.text("BindAddress", address, "not a valid textual representation of an IP address");
        NOBODY
    })
}

/// Nothing is no server.
fn healthz(address: &str, faults: &mut Faults) -> Option<SocketAddr> {
    (!address.is_empty()).then(|| listen("HealthzBindAddress", address, faults))
}

fn listen(path: &str, address: &str, faults: &mut Faults) -> SocketAddr {
    bind::parse(address).unwrap_or_else(|fault| {
        faults.text(path, &fault.part, fault.wanted);
        SocketAddr::new(NOBODY, 0)
    })
}

/// kube-proxy wants its users to think again with every release, and takes the release before it only.
fn hidden_metrics(version: &str, faults: &mut Faults) {
    if !version.is_empty() && version != PREVIOUS_MINOR {
        let wanted = format!("must be omitted or have the value '{PREVIOUS_MINOR}'");
        faults.text("ShowHiddenMetricsForVersion", version, wanted);
    }
}
