//! Settings of the host that follow from the configuration: connection tracking, and who dies first when
//! memory is short.

use portolan_config::Config;
use portolan_core::backend::error_chain;
use portolan_host::{Host, Outcome, Tuned};
use portolan_sync::DETAIL;
use tracing::{info, warn};

/// Sets what `config` asks for. What cannot be set is a warning: in a container without privileges that
/// is the rule, and forwarding does not depend on it.
pub(crate) fn apply(host: &Host, config: &Config) {
    for Tuned { sysctl, outcome } in host.tune_conntrack(&config.conntrack) {
        match outcome {
            Outcome::Kept => {}
            Outcome::Set { from, to } => info!(sysctl, from, to, "changed"),
            Outcome::Failed(problem) => warn!(sysctl, err = error_chain(&problem), "cannot be set"),
        }
    }
}

/// Sets the process's own score. kube-proxy mentions a failure at `-v 2` only.
pub(crate) fn apply_oom_score(host: &Host, config: &Config) {
    if let Err(problem) = host.set_oom_score_adj(config.oom_score_adj) {
        info!(target: DETAIL, err = error_chain(&problem), "the OOM score stays as it is");
    }
}
