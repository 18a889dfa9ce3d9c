//! What the proxy asks of the host besides packets: sysctls, limits, what the kernel offers.
//!
//! [`Host`] reads and writes the files of procfs and sysfs. Which of the answers is fatal is decided in the binary.
//!
//! Holds: a file is written only when its value differs; what cannot be written is said, with the file and
//! the value wanted, and stops nothing; nothing that is set here is ever set back, as in kube-proxy, because
//! others on the node may have come to rely on it.

mod conntrack;
mod cpus;
mod error;
mod families;
mod host;
mod sysctl;

pub use error::HostError;
pub use families::Families;
pub use host::Host;
pub use sysctl::{Outcome, Tuned};
