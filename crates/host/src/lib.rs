//! What the proxy asks of the host besides packets: sysctls, limits, what the kernel offers.
//!
//! [`Host`] reads and writes the files of procfs and sysfs; [`iptables`], [`ipvs`], [`programs`] and
//! [`capabilities`] find out what could run here. Which of the answers is fatal is decided in the binary.
//!
//! Holds: a file is written only when its value differs; what cannot be written is said, with the file and
//! the value wanted, and stops nothing; nothing that is set here is ever set back, as in kube-proxy, because
//! others on the node may have come to rely on it.

pub mod capabilities;
mod conntrack;
mod cpus;
mod error;
mod families;
mod host;
pub mod iptables;
pub mod ipvs;
mod kernel_version;
mod missing;
pub mod programs;
mod sysctl;

pub use conntrack::ConntrackSettings;
pub use error::HostError;
pub use families::Families;
pub use host::Host;
pub use kernel_version::KernelVersion;
pub use missing::Missing;
pub use sysctl::{Outcome, Tuned};
