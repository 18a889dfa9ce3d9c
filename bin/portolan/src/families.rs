//! The IP families to serve: those that the host has, and the mode can serve here.
//!
//! As for kube-proxy a family that cannot be served is left out, and the other served alone, unless it is the one
//! that comes first.

use std::sync::Arc;

use anyhow::bail;
use portolan_config::Config;
use portolan_core::{BackendFactory, IpFamily, ProbeFailure};
use portolan_host::Host;
use tracing::{info, warn};

use crate::mode;
use crate::node_address::check_single_family;

/// Finds them out, and says which are left out and why.
///
/// # Errors
/// None is left, or not the one that comes first; or the configuration is for another family than the only one.
pub(crate) async fn served(
    config: &Config,
    host: &Host,
    factory: &Arc<dyn BackendFactory>,
) -> anyhow::Result<Vec<IpFamily>> {
    let families = host.families();
    if let Some(because) = families.without_ipv6 {
        info!(because, "IPv6 is left out");
    }
    let mut served = Vec::new();
    for family in families.served {
        match mode::probe_family(factory, family).await {
            Ok(()) => served.push(family),
            Err(ProbeFailure { mode, missing }) => {
                warn!(%family, %mode, missing, "a family is left out that the mode cannot serve here");
            }
        }
    }
    if served.is_empty() {
        bail!("{} mode can serve neither IPv4 nor IPv6 here", factory.mode());
    }
    if let Some(address) = config.bind_address
        && !served.contains(&IpFamily::of(address))
    {
        bail!("the family of bindAddress {address} comes first, and cannot be served here");
    }
    check_single_family(config, &served)?;
    Ok(served)
}
