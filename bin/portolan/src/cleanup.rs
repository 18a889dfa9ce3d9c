//! `--cleanup`: removes what any mode may have left, kube-proxy's included.

use anyhow::{Context, bail};
use portolan_core::Registry;
use portolan_core::backend::error_chain;
use portolan_host::Host;
use tokio::runtime;
use tracing::{error, info};

use crate::takeover::{self, goes_by_kube_proxys_names};

/// Has every mode in `registry` remove all it may have created, and removes what goes by kube-proxy's names,
/// be it kube-proxy's or ours. Carries on past failures.
///
/// # Errors
/// Something could not be removed; each such thing has been logged.
pub(crate) fn run(registry: &Registry) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let families = Host::new().families_to_clean_up();
    let mut failures = 0;
    let apart = registry.factories().filter(|factory| !goes_by_kube_proxys_names(&factory.mode()));
    for factory in apart {
        for family in &families {
            let mode = factory.mode();
            match runtime.block_on(factory.cleanup(*family)) {
                Ok(()) => info!(%mode, %family, "cleaned up"),
                Err(problem) => {
                    failures += 1;
                    error!(%mode, %family, err = error_chain(&problem), "cannot clean up");
                }
            }
        }
    }
    failures += takeover::report(&takeover::remove_stale(None, &families), None);
    if failures > 0 {
        bail!("encountered an error while tearing down rules: {failures} steps failed");
    }
    Ok(())
}
