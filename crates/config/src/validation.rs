//! Checks the fields of a configuration and parses their values.
//!
//! Always holds: all errors are found in one pass, with kube-proxy's paths. A value that cannot be parsed is replaced
//! by a harmless one, which is never used, because an error was added.

pub(crate) mod errors;
mod logging;
mod node;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use portolan_core::ProxyMode;
use portolan_core::address::parse_ip;

use crate::bind;
use crate::config::{
    Conntrack, IpvsSettings, ModeSelection, ServiceAddresses, SyncPeriods, UserspaceSettings,
};
use crate::gates::FeatureGates;
use crate::kube_proxy::section::Section;
use crate::kube_proxy::{KubeProxyConfiguration, Userspace};
use crate::version::PREVIOUS_MINOR;
use errors::FieldErrors;

pub(crate) use logging::logging;
pub(crate) use node::{detect_local, node_ports};

/// Modes that are known whether the binary has them or not.
const KNOWN_MODES: [ProxyMode; 4] =
    [ProxyMode::NFTABLES, ProxyMode::IPTABLES, ProxyMode::IPVS, ProxyMode::USERSPACE];
/// Selects the best mode that the host supports.
const AUTO: &str = "auto";
/// The bits of a packet mark (`__u32` in the kernel).
const HIGHEST_BIT: i32 = 31;

/// Stands for an address that cannot be parsed.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

pub(crate) fn gates(config: &KubeProxyConfiguration, errors: &mut FieldErrors) -> FeatureGates {
    let gates = FeatureGates::new(&config.feature_gates);
    for (gate, reason) in gates.errors() {
        errors.text("featureGates", &gate, reason);
    }
    gates
}

/// The masquerade mark of the section in effect. The bit of `iptables` is checked in every mode, that of `nftables`
/// only if its section is in effect.
pub(crate) fn mark(config: &KubeProxyConfiguration, errors: &mut FieldErrors) -> u32 {
    let iptables = config.iptables.masquerade_bit.unwrap_or_default();
    errors.within("KubeProxyIPTablesConfiguration.MasqueradeBit", iptables, 0, HIGHEST_BIT);
    if config.section() == Section::Nftables {
        let nftables = config.nftables.masquerade_bit.unwrap_or_default();
        errors.within("KubeProxyNFTablesConfiguration.MasqueradeBit", nftables, 0, HIGHEST_BIT);
    }
    let bit = u32::try_from(config.shared().masquerade_bit).ok();
    bit.and_then(|bit| 1_u32.checked_shl(bit)).unwrap_or_default()
}

/// The `ipvs` section is checked in mode ipvs only; in other modes invalid values are left out.
pub(crate) fn ipvs(config: &KubeProxyConfiguration, errors: &mut FieldErrors) -> IpvsSettings {
    let mut ignored = FieldErrors::default();
    let errors = if config.section() == Section::Ipvs { errors } else { &mut ignored };
    let path = |field: &str| format!("KubeProxyIPVSConfiguration.{field}");
    let ipvs = &config.ipvs;
    IpvsSettings {
        scheduler: ipvs.scheduler.clone(),
        strict_arp: ipvs.strict_arp,
        tcp_timeout: errors.duration(&path("TCPTimeout"), ipvs.tcp_timeout),
        tcp_fin_timeout: errors.duration(&path("TCPFinTimeout"), ipvs.tcp_fin_timeout),
        udp_timeout: errors.duration(&path("UDPTimeout"), ipvs.udp_timeout),
        exclude_cidrs: errors.cidrs(
            &path("ExcludeCidrs"),
            ipvs.exclude_cidrs.iter().map(String::as_str),
            |_| "must be a valid CIDR",
        ),
    }
}

/// The `userspace` section is checked in every mode, since each may fall back to that one.
pub(crate) fn userspace(section: &Userspace, errors: &mut FieldErrors) -> UserspaceSettings {
    let path = |field: &str| format!("KubeProxyUserspaceConfiguration.{field}");
    UserspaceSettings {
        addresses: match section.addresses.as_str() {
            "made" => ServiceAddresses::Made,
            "prepared" => ServiceAddresses::Prepared,
            unknown => {
                errors.unsupported(&path("Addresses"), unknown, &["made", "prepared"]);
                ServiceAddresses::Made
            }
        },
        max_sessions: errors.count(&path("MaxSessions"), section.max_sessions),
        max_sessions_per_service: errors
            .count(&path("MaxSessionsPerService"), section.max_sessions_per_service),
        udp_timeout: errors.positive(&path("UDPTimeout"), section.udp_timeout),
        udp_single_timeout: errors.positive(&path("UDPSingleTimeout"), section.udp_single_timeout),
    }
}

pub(crate) fn conntrack(config: &KubeProxyConfiguration, errors: &mut FieldErrors) -> Conntrack {
    let path = |field: &str| format!("KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.{field}");
    let given = &config.conntrack;
    let established = given.tcp_established_timeout.unwrap_or_default();
    let close_wait = given.tcp_close_wait_timeout.unwrap_or_default();
    Conntrack {
        max_per_core: errors.count(&path("MaxPerCore"), given.max_per_core.unwrap_or_default()),
        min: errors.count(&path("Min"), given.min.unwrap_or_default()),
        tcp_established_timeout: errors.duration(&path("TCPEstablishedTimeout"), established),
        tcp_close_wait_timeout: errors.duration(&path("TCPCloseWaitTimeout"), close_wait),
        tcp_be_liberal: given.tcp_be_liberal,
        udp_timeout: errors.duration(&path("UDPTimeout"), given.udp_timeout),
        udp_stream_timeout: errors.duration(&path("UDPStreamTimeout"), given.udp_stream_timeout),
    }
}

pub(crate) fn oom_score_adj(config: &KubeProxyConfiguration, errors: &mut FieldErrors) -> i32 {
    let score = config.oom_score_adj.unwrap_or_default();
    // The range of the kernel (linux/oom.h).
    errors.within("KubeProxyLinuxConfiguration.OOMScoreAdj", score, -1000, 1000);
    score
}

pub(crate) fn mode(requested: &str, modes: &[ProxyMode], errors: &mut FieldErrors) -> ModeSelection {
    match requested {
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
                errors.text("Mode.ProxyMode", name, wanted);
            }
            ModeSelection::Explicit(mode)
        }
    }
}

pub(crate) fn periods(config: &KubeProxyConfiguration, errors: &mut FieldErrors) -> SyncPeriods {
    let shared = config.shared();
    errors.positive("ConfigSyncPeriod", config.config_sync_period);
    let max = errors.positive("SyncPeriod", shared.sync_period);
    let min = errors.duration("MinSyncPeriod", shared.min_sync_period);
    if shared.min_sync_period > shared.sync_period {
        let wanted = "must be greater than or equal to KubeProxyConfiguration.MinSyncPeriod";
        errors.number("SyncPeriod", shared.min_sync_period, wanted);
    }
    SyncPeriods { min, max }
}

pub(crate) fn bind_address(address: &str, errors: &mut FieldErrors) -> IpAddr {
    parse_ip(address).unwrap_or_else(|_no_ip| {
        errors.text("BindAddress", address, "not a valid textual representation of an IP address");
        NO_ADDRESS
    })
}

/// The address of a server.
pub(crate) fn listen(path: &str, address: &str, errors: &mut FieldErrors) -> SocketAddr {
    bind::parse(address).unwrap_or_else(|error| {
        errors.text(path, &error.part, error.wanted);
        SocketAddr::new(NO_ADDRESS, 0)
    })
}

/// kube-proxy accepts the previous release only, so that its users reconsider with every release.
pub(crate) fn hidden_metrics(version: &str, errors: &mut FieldErrors) {
    if !version.is_empty() && version != PREVIOUS_MINOR {
        let wanted = format!("must be omitted or have the value '{PREVIOUS_MINOR}'");
        errors.text("ShowHiddenMetricsForVersion", version, wanted);
    }
}
