//! Stale chains of this mode: kube-proxy's, or those of an earlier run.

use portolan_core::backend::{CleanupReport, error_chain};
use portolan_core::{BackendError, IpFamily, ProxyMode};
use portolan_iptables::stale::{self, Mode};

/// Removes all chains of kube-proxy's names in one family that the running mode does not have, or all if none runs: those
/// of the iptables and ipvs modes lead to each other. While ipvs mode runs, it removes them itself.
pub fn remove(running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
    match stale::running(running, family) {
        Ok(Some((Mode::Ipvs, _))) => CleanupReport::default(),
        Ok(running) => stale::remove(&[Mode::Iptables, Mode::Ipvs], running, family),
        Err(error) => {
            tracing::debug!(ipFamily = %family, err = error_chain(&error), "Not looking for stale chains");
            CleanupReport::default()
        }
    }
}

/// Removes all chains of this mode in one family.
///
/// # Errors
/// Carries on past a failure and returns the first.
pub(crate) fn clean(family: IpFamily) -> Result<(), BackendError> {
    let report = stale::remove(&[Mode::Iptables], None, family);
    for what in report.kept {
        tracing::warn!(ipFamily = %family, what, "Kept stale rules");
    }
    report.failures.into_iter().next().map_or(Ok(()), |failure| {
        let action = format!("remove the rules of iptables of {family}");
        Err(BackendError::io(action, failure.error))
    })
}
