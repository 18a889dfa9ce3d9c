//! Modes that kube-proxy's users know and this binary has no backend for.

use portolan_core::{IpFamily, ProbeFailure, ProxyMode};
use portolan_host::{iptables, ipvs};

/// Why `mode` cannot run here: what the host lacks, as that may be mended first, or else that the
/// binary has no backend for it.
pub(super) fn probe(mode: &ProxyMode) -> ProbeFailure {
    let lacking = if *mode == ProxyMode::IPTABLES {
        iptables::probe(IpFamily::V4).err()
    } else if *mode == ProxyMode::IPVS {
        ipvs::probe().err()
    } else {
        None
    };
    let missing = lacking
        .map_or_else(|| "a backend that this binary does not have".to_owned(), |missing| missing.to_string());
    ProbeFailure { mode: mode.clone(), missing }
}
