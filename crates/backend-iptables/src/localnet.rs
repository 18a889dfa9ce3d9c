//! The sysctl without which node ports do not answer on loopback addresses.
//!
//! The running backend and `--init-only` set it by the same code; which addresses node ports have, and so whether it
//! is needed at all, [`Options::serves_loopback`](crate::options::Options::serves_loopback) decides for both.

use portolan_host::{Host, HostError, Outcome};

/// Lets packets for loopback addresses be routed.
const ROUTE_LOCALNET: &str = "net/ipv4/conf/all/route_localnet";

/// Sets it unless it is set.
///
/// # Errors
/// It is not, and cannot be.
pub(crate) fn route(host: &Host) -> Result<(), HostError> {
    let tuned = host.set_sysctl(ROUTE_LOCALNET, 1);
    match tuned.outcome {
        Outcome::Kept => Ok(()),
        Outcome::Set { .. } => {
            tracing::info!(sysctl = tuned.sysctl, "was set so that node ports answer on loopback addresses");
            Ok(())
        }
        Outcome::Failed(error) => Err(error),
    }
}
