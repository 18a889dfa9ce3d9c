//! The kernel's settings that this mode needs: sysctls as kube-proxy sets them, and timeouts of IPVS.
//!
//! Every full sync sets them, and before that `--init-only`, with the same code. A value that is right already is not
//! written, so without privileges it is enough that it can be read.
//!
//! A sysctl that cannot be set is an error if Services are not served without it, and always for `--init-only`, as for
//! kube-proxy. No sysctl is ever reverted.

use std::collections::BTreeSet;

use portolan_core::backend::error_chain;
use portolan_host::{Host, HostError, Outcome};
use portolan_ipvs::{Servers, Timeouts};

/// A sysctl below `/proc/sys`.
#[derive(Debug, Clone, Copy)]
struct Setting {
    path: &'static str,
    value: i64,
    /// The consequence if it cannot be set; none if Services are then not served.
    without: Option<&'static str>,
}

/// In every configuration. Without connection tracking of IPVS nothing is masqueraded.
const ALWAYS: [Setting; 4] = [
    Setting { path: "net/ipv4/vs/conntrack", value: 1, without: None },
    Setting {
        path: "net/ipv4/vs/expire_nodest_conn",
        value: 1,
        without: Some("connections whose endpoint is gone last until they time out"),
    },
    Setting {
        path: "net/ipv4/vs/expire_quiescent_template",
        value: 1,
        without: Some("clients with session affinity stay with an endpoint that gets no new connections"),
    },
    Setting { path: "net/ipv4/ip_forward", value: 1, without: None },
];

/// The consequence of both settings of [`STRICT_ARP`].
const LAX_ARP: Option<&str> =
    Some("other hosts on the link may take this node for the one that has a Service's address");

/// The node answers ARP requests only on the interface that has the address, so the device's addresses are not
/// announced.
const STRICT_ARP: [Setting; 2] = [
    Setting { path: "net/ipv4/conf/all/arp_ignore", value: 1, without: LAX_ARP },
    Setting { path: "net/ipv4/conf/all/arp_announce", value: 2, without: LAX_ARP },
];

/// Whether a new connection from a port that was used before gets a new endpoint. Before Linux 5.9 that delayed such a
/// connection by a second, so it is disabled there (f719e3754ee2 of Linux).
const REUSE: Setting = Setting {
    path: "net/ipv4/vs/conn_reuse_mode",
    value: 0,
    without: Some("connections from a port that was used before take a second"),
};
const REUSE_IS_CHEAP: (u32, u32) = (5, 9);

/// Whether netfilter sees packets that a bridge forwards between its ports, by family.
const BRIDGE: [&str; 2] = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];

/// Sets the sysctls in a running proxy, and logs each failure once.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    logged: BTreeSet<&'static str>,
}

impl Settings {
    /// Sets those that differ, and returns how many did.
    ///
    /// # Errors
    /// The first that cannot be set and without which Services are not served.
    pub(super) fn make(&mut self, host: &Host, strict_arp: bool) -> Result<usize, HostError> {
        let Made { count, failed } = make(host, strict_arp);
        let mut missing = None;
        for (setting, error) in failed {
            if self.logged.insert(setting.path) {
                log_failure(&setting, &error, Some("--init-only in a privileged init container sets it"));
            }
            if setting.without.is_none() {
                missing.get_or_insert(error);
            }
        }
        missing.map_or(Ok(count), Err)
    }
}

/// Sets all of them once.
///
/// # Errors
/// The first that cannot be set. Each failure is logged.
pub(crate) fn make_all(host: &Host, strict_arp: bool) -> Result<(), HostError> {
    let Made { count: _, failed } = make(host, strict_arp);
    for (setting, error) in &failed {
        log_failure(setting, error, None);
    }
    failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// The result of setting all sysctls.
struct Made {
    /// How many had another value and were set.
    count: usize,
    failed: Vec<(Setting, HostError)>,
}

fn make(host: &Host, strict_arp: bool) -> Made {
    let strict = if strict_arp { &STRICT_ARP[..] } else { &[] };
    let reuse = release().filter(|release| *release < REUSE_IS_CHEAP).map(|_| REUSE);
    let mut made = Made { count: 0, failed: Vec::new() };
    for setting in ALWAYS.iter().chain(strict).copied().chain(reuse) {
        let tuned = host.set_sysctl(setting.path, setting.value);
        match tuned.outcome {
            Outcome::Kept => {}
            Outcome::Set { from, to } => {
                tracing::info!(sysctl = tuned.sysctl, from, to, "Set sysctl");
                made.count += 1;
            }
            Outcome::Failed(error) => made.failed.push((setting, error)),
        }
    }
    made
}

fn log_failure(setting: &Setting, error: &HostError, help: Option<&str>) {
    let err = error_chain(error);
    match setting.without {
        None => tracing::error!(err, help, "Services are not served without this setting"),
        Some(without) => tracing::warn!(err, without, help, "Services are served without this setting"),
    }
}

/// Sets the configured timeouts of IPVS. A failure affects nothing else, so it is only logged.
pub(crate) fn set_timeouts(servers: &mut Servers, wanted: Timeouts) {
    if wanted == Timeouts::default() {
        return;
    }
    if let Err(error) = servers.set_timeouts(wanted) {
        tracing::error!(err = error_chain(&error), "Failed to set the timeouts of IPVS");
    }
}

/// Warns if pods on one bridge would not reach each other through a Service.
pub(super) fn warn_of_bridges(host: &Host) {
    for sysctl in passed_by(host) {
        tracing::warn!(
            sysctl,
            "Pods on one bridge do not reach each other through Services while this setting is 0"
        );
    }
}

/// Those of [`BRIDGE`] that are 0. Without the module that has them it is unknown whether there will be bridges, so there
/// is no warning.
fn passed_by(host: &Host) -> impl Iterator<Item = &'static str> {
    BRIDGE.into_iter().filter(|sysctl| host.sysctl(sysctl).is_ok_and(|value| value == 0))
}

/// The kernel's version, if it is known.
fn release() -> Option<(u32, u32)> {
    parse(&std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests;
