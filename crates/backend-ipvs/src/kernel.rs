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

/// Reads and changes what one family of the mode has in a kernel.
pub trait Kernel: Send {
    /// Makes everything be there that changes are made to: modules, settings, the device, all sets.
    ///
    /// Gives how much had to be made. Makes nothing that is there.
    ///
    /// # Errors
    /// Something is not to be had.
    fn prepare(&mut self) -> Result<usize, KernelError>;

    /// The addresses of the family.
    ///
    /// # Errors
    /// They cannot be read.
    fn addresses(&mut self) -> Result<HostAddresses, KernelError>;

    /// Whether an address of the node itself may have come or gone since the addresses were last read: cheap, for
    /// it is asked with each change.
    ///
    /// # Errors
    /// That cannot be found out.
    fn addresses_changed(&mut self) -> Result<bool, KernelError>;

    /// All virtual servers of the family, whosever they are.
    ///
    /// # Errors
    /// They cannot be read.
    fn servers(&mut self) -> Result<Vec<Server>, KernelError>;

    /// Where one of them leads.
    ///
    /// # Errors
    /// That cannot be read.
    fn destinations(&mut self, server: &ServerKey) -> Result<Vec<Destination>, KernelError>;

    /// Whether there is this virtual server.
    ///
    /// # Errors
    /// That cannot be found out.
    fn has_server(&mut self, server: &ServerKey) -> Result<bool, KernelError>;

    /// What is in a set; nothing if there is no such set.
    ///
    /// # Errors
    /// It cannot be read.
    fn members(&mut self, set: Set) -> Result<HashSet<Member>, KernelError>;

    /// Gives an existing set exactly this capacity, with all its elements and while rules use it. Gives
    /// whether it had another.
    ///
    /// # Errors
    /// It is as it was.
    fn fit(&mut self, set: Set, capacity: Capacity) -> Result<bool, KernelError>;

    /// Carries changes out, in this order, whatever becomes of the others. What is refused is said by its place
    /// in the list.
    ///
    /// # Errors
    /// The kernel could not be asked, or did not answer; some were carried out.
    fn carry_out(&mut self, changes: &[Change]) -> Result<Carried, KernelError>;

    /// Everything that `iptables-save` prints.
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
