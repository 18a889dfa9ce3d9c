//! What the backend asks of whoever keeps the tables of one family: iptables' programs, or a pretended kernel.

use std::io::{self, Write};

use portolan_core::BackendError;

use crate::names::{Chain, Table};
use crate::programs::ProgramError;

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

    /// Whether there is this chain.
    ///
    /// # Errors
    /// It could not be found out.
    fn has_chain(&mut self, table: Table, chain: Chain) -> Result<bool, ProgramError>;

    /// Removes all that this mode may ever have made, and nothing else.
    ///
    /// # Errors
    /// Carries on past a failure and returns the first.
    fn clean(&mut self) -> Result<(), BackendError>;

    /// How many chains of service ports one input should name, because more at once take longer than the
    /// same in several.
    fn chains_at_once(&self) -> usize;
}
