//! Stale rules of this mode: kube-proxy's, or those of an earlier run.

use portolan_core::{BackendError, IpFamily};
use portolan_leftovers::Part;

/// Removes all rules of this mode in one family: by kube-proxy's names, which are ours, and in the tables of
/// both kinds.
///
/// # Errors
/// Carries on past a failure and returns the first.
pub(crate) fn clean(family: IpFamily) -> Result<(), BackendError> {
    let mut first = Ok(());
    for outcome in portolan_leftovers::remove(&[Part::Iptables], &[family]) {
        for kept in &outcome.kept {
            tracing::warn!(%family, "kept {kept}");
        }
        if let Err(error) = outcome.result {
            let action = format!("remove the rules of iptables of {family}");
            first = first.and(Err(BackendError::Io { action, source: Box::new(error) }));
        }
    }
    first
}
