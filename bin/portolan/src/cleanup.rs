//! `--cleanup`: removes what any mode may have left.

use std::path::Path;

use anyhow::{Context, bail};
use portolan_core::backend::error_chain;
use portolan_core::{BackendFactory, IpFamily, Registry};
use tokio::runtime;
use tracing::{error, info};

use crate::families;

/// Has every mode in `registry` remove all it may have created. Carries on past failures.
///
/// # Errors
/// Something could not be removed; each such thing has been logged.
pub(crate) fn run(registry: &Registry) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let mut failures = 0;
    for factory in registry.factories() {
        for family in families::to_clean_up(Path::new(families::PROC)) {
            let mode = factory.mode();
            match runtime.block_on(clean(factory.as_ref(), family)) {
                Ok(()) => info!(%mode, %family, "cleaned up"),
                Err(problem) => {
                    failures += 1;
                    error!(%mode, %family, err = error_chain(&problem), "cannot clean up");
                }
            }
        }
    }
    if failures > 0 {
        bail!("{failures} clean-ups failed");
    }
    Ok(())
}

async fn clean(factory: &dyn BackendFactory, family: IpFamily) -> Result<(), portolan_core::BackendError> {
    factory.create(family)?.cleanup().await
}
