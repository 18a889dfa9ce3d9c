//! Modes that kube-proxy's users know and this binary has no backend for.

use portolan_core::{IpFamily, ProbeFailure, ProxyMode};
use portolan_host::{Missing, iptables, ipvs};
use tokio::task::spawn_blocking;

const NO_BACKEND: &str = "a backend that this binary does not have";

/// Why `mode` cannot run here: what the host lacks, as that may be mended first, or else that the
/// binary has no backend for it.
pub(super) async fn probe(mode: ProxyMode) -> ProbeFailure {
    let asked = mode.clone();
    // Programs of the host may take their time, and signals are to be heard meanwhile.
    let lacking = spawn_blocking(move || lacking(&asked)).await;
    let missing = match lacking {
        Ok(Some(missing)) => missing.to_string(),
        Ok(None) => NO_BACKEND.to_owned(),
        Err(crash) => format!("an answer about the host: {crash}"),
    };
    ProbeFailure { mode, missing }
}

fn lacking(mode: &ProxyMode) -> Option<Missing> {
    if *mode == ProxyMode::IPTABLES {
        iptables::probe(IpFamily::V4).err()
    } else if *mode == ProxyMode::IPVS {
        ipvs::probe().err()
    } else {
        None
    }
}
