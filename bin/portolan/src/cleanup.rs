//! `--cleanup`: removes what any mode may have left, kube-proxy's rules included.

use anyhow::{Context, bail};
use portolan_core::Registry;
use portolan_host::Host;
use tokio::runtime;

use crate::takeover;

/// Has every mode in `registry` remove its stale rules. Carries on past failures.
///
/// # Errors
/// Something could not be removed; each such thing has been logged.
pub(crate) fn run(registry: &Registry) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let families = Host::new().families_to_clean_up();
    let mut failures = 0;
    for factory in registry.factories() {
        for family in &families {
            let report = runtime.block_on(factory.remove_stale(None, *family));
            failures += takeover::log(&factory.mode(), *family, &report, None);
        }
    }
    if failures > 0 {
        bail!("encountered an error while tearing down rules: {failures} steps failed");
    }
    Ok(())
}
