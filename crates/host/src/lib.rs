//! The host: sysctls, limits, IP families, and the features of the kernel.
//!
//! [`Host`] reads and writes the files of procfs and sysfs. Which of the answers is fatal is decided in the binary.
//!
//! Always holds: a file is written only if its value differs; a failure names the file and the value and stops nothing;
//! as in kube-proxy settings are never reverted, because other software on the node may depend on them.

mod conntrack;
mod error;
mod families;
mod sysctl;

pub use error::HostError;
pub use families::Families;
pub use sysctl::{Host, Outcome, SysctlResult};
