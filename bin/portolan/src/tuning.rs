//! Settings of the host that follow from the configuration: connection tracking, and who dies first when
//! memory is short.

use portolan_config::Config;
use portolan_core::backend::error_chain;
use portolan_host::{Host, HostError, Outcome, SysctlResult};
use portolan_sync::DETAIL;
use tracing::{error, info, warn};

/// Sets what `config` asks for. What cannot be set is a warning: in a container without privileges that
/// is the rule, and forwarding does not depend on it.
pub(crate) fn apply(host: &Host, config: &Config) {
    for problem in failures(host, config) {
        let err = error_chain(&problem);
        if matches!(problem, HostError::ReadOnly { .. }) {
            warn!(err, "Failed to set sysctl; --init-only in a privileged init container sets it");
        } else {
            warn!(err, "Failed to set sysctl");
        }
    }
}

/// The same for `--init-only`, which is there to set it.
///
/// # Errors
/// The first that cannot be set; the others are set, and each that cannot be is logged.
pub(crate) fn require(host: &Host, config: &Config) -> Result<(), HostError> {
    let mut first = None;
    for problem in failures(host, config) {
        error!(err = error_chain(&problem), "Failed to set sysctl");
        first.get_or_insert(problem);
    }
    first.map_or(Ok(()), Err)
}

/// Sets what connection tracking is to be like. Gives what cannot be set.
fn failures(host: &Host, config: &Config) -> Vec<HostError> {
    let mut failures = Vec::new();
    for SysctlResult { sysctl, outcome } in host.tune_conntrack(&config.conntrack) {
        match outcome {
            Outcome::Kept => {}
            Outcome::Set { from, to } => info!(sysctl, from, to, "changed"),
            Outcome::Failed(problem) => failures.push(problem),
        }
    }
    failures
}

/// Sets the process's own score. kube-proxy mentions a failure at `-v 2` only.
pub(crate) fn apply_oom_score(host: &Host, config: &Config) {
    if let Err(problem) = host.set_oom_score_adj(config.oom_score_adj) {
        info!(target: DETAIL, err = error_chain(&problem), "the OOM score stays as it is");
    }
}
