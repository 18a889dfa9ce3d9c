//! What the backend asks of whoever keeps the tables of one family: iptables' programs, or a pretended kernel.

use std::io::{self, Write};
use std::task::{Context, Poll};

use portolan_core::BackendError;

use crate::names::{BuiltIn, Fixed, Table};
use crate::programs::ProgramError;

/// A rule of one of the kernel's chains that leads to one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jump {
    /// The table.
    pub table: Table,
    /// The kernel's chain.
    pub from: BuiltIn,
    /// The chain that it leads to.
    pub to: Fixed,
}

/// Whether another process has changed what is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interference {
    /// It has not.
    None,
    /// It has changed something. Whether that is ours takes reading the tables.
    Possible,
    /// It has.
    Certain,
}

/// Reads and changes the tables of one family.
pub trait Tables: Send {
    /// Tells each line that `iptables-save` prints, of all tables that there are.
    ///
    /// # Errors
    /// The tables could not be read to their end.
    fn save(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError>;

    /// Carries out what `write` writes, as `iptables-restore --noflush` does: each table's section becomes
    /// true at once at its `COMMIT`, or else it and all after it change nothing.
    ///
    /// # Errors
    /// A line was turned down, which the error names if that is known; or nothing could be done.
    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError>;

    /// Removes all that this mode may ever have made, and nothing else.
    ///
    /// # Errors
    /// Carries on past a failure and returns the first.
    fn clean(&mut self) -> Result<(), BackendError>;

    /// How many chains of service ports one input should name, because more at once take longer than the
    /// same in several.
    fn chains_at_once(&self) -> usize;

    /// What others have done to the tables since [`save`](Self::save) was last called, given the jumps that should
    /// be there. Must cost little, whatever others do all the time in chains of their own.
    fn interference(&mut self, _jumps: &[Jump]) -> Interference {
        Interference::Possible
    }

    /// Completes when others may have changed what is ours, as
    /// [`poll_foreign_change`](portolan_core::ProxyBackend::poll_foreign_change) does.
    fn poll_interference(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
