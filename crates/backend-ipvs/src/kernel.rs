//! The kernel as the backend sees it, and the real one.

mod errors;
mod netlink;
pub(crate) mod settings;

use std::collections::HashSet;

use portolan_ipvs::{Capacity, Carried, Destination, Member, Server, ServerKey, Set};

use crate::changes::Change;
use crate::node_context::HostAddresses;

pub use errors::KernelError;
pub use netlink::Netlink;
pub(crate) use netlink::host_addresses;

/// Reads and changes what one family of the mode has in a kernel.
pub trait Kernel: Send {
    /// Creates or sets what changes need and is missing: sysctls, the device, all sets. Returns how much was missing.
    ///
    /// # Errors
    /// Something cannot be created or set.
    fn prepare(&mut self) -> Result<usize, KernelError>;

    /// The addresses of the family.
    ///
    /// # Errors
    /// They cannot be read.
    fn addresses(&mut self) -> Result<HostAddresses, KernelError>;

    /// Whether an address of the node itself may have been added or removed since the addresses were last read. Called
    /// for each change, so it must be cheap.
    ///
    /// # Errors
    /// Notifications cannot be read.
    fn addresses_changed(&mut self) -> Result<bool, KernelError>;

    /// All virtual servers of the family, also those of other programs.
    ///
    /// # Errors
    /// They cannot be read.
    fn servers(&mut self) -> Result<Vec<Server>, KernelError>;

    /// The destinations of one of them.
    ///
    /// # Errors
    /// They cannot be read.
    fn destinations(&mut self, server: &ServerKey) -> Result<Vec<Destination>, KernelError>;

    /// Whether this virtual server exists.
    ///
    /// # Errors
    /// It cannot be read.
    fn has_server(&mut self, server: &ServerKey) -> Result<bool, KernelError>;

    /// The elements of a set; none if the set does not exist.
    ///
    /// # Errors
    /// It cannot be read.
    fn members(&mut self, set: Set) -> Result<HashSet<Member>, KernelError>;

    /// Gives an existing set exactly this capacity. It keeps its elements, and rules can use it meanwhile. Returns
    /// whether it had another capacity.
    ///
    /// # Errors
    /// The set is unchanged.
    fn fit(&mut self, set: Set, capacity: Capacity) -> Result<bool, KernelError>;

    /// Makes these changes in this order. If the kernel rejects some of them, the others are made; the result has the
    /// indices of rejected ones.
    ///
    /// # Errors
    /// A request could not be sent, or has no response. Some changes were made.
    fn carry_out(&mut self, changes: &[Change]) -> Result<Carried, KernelError>;

    /// Passes on each line that `iptables-save` prints.
    ///
    /// # Errors
    /// The program failed.
    fn saved_rules(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), KernelError>;

    /// Loads input for `iptables-restore`.
    ///
    /// # Errors
    /// The program failed.
    fn load_rules(&mut self, input: &str) -> Result<(), KernelError>;
}
