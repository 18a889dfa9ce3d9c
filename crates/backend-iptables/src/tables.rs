//! The tables of one family, as the backend reads and writes them: with the programs of iptables, or a fake.

use std::io::{self, Write};
use std::task::{Context, Poll};

use portolan_core::BackendError;

use crate::names::{BuiltIn, Fixed, Table};
use crate::programs::{ProgramError, Programs, Variant};
use crate::stale;

/// A rule of a built-in chain that jumps to a chain of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jump {
    /// The table.
    pub table: Table,
    /// The built-in chain.
    pub from: BuiltIn,
    /// The chain that it jumps to.
    pub to: Fixed,
}

/// Whether another process has changed our chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interference {
    /// It has not.
    None,
    /// It has changed the tables. Only reading them shows whether our chains are concerned.
    Possible,
    /// It has.
    Certain,
}

/// Reads and changes the tables of one family.
pub trait Tables: Send {
    /// Passes each line that `iptables-save` prints, of all tables.
    ///
    /// # Errors
    /// The tables could not be read completely.
    fn save(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError>;

    /// Runs what `write` writes, as `iptables-restore --noflush` does: the section of a table takes effect at once, at
    /// its `COMMIT`; if it fails, it and the sections after it change nothing.
    ///
    /// # Errors
    /// A line was rejected, which the error names if it is known; or the program could not run.
    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError>;

    /// Removes everything that this mode may have written, and nothing else.
    ///
    /// # Errors
    /// Carries on past a failure and returns the first.
    fn clean(&mut self) -> Result<(), BackendError>;

    /// How many chains of service ports one input should have. More take longer at once than in several inputs.
    fn chains_at_once(&self) -> usize;

    /// Whether other processes changed our chains since [`save`](Self::save) was last called, given the jumps that
    /// should exist. Must be cheap, however often others change their own chains.
    fn interference(&mut self, _jumps: &[Jump]) -> Interference {
        Interference::Possible
    }

    /// Completes when other processes may have changed our chains, as
    /// [`poll_foreign_change`](portolan_core::ProxyBackend::poll_foreign_change) does.
    fn poll_interference(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// How many chains one input for iptables-nft should name.
///
/// It keeps them as a sorted list and goes through that for each line (`cache_chain_list_insert` of
/// iptables 1.8), so its time grows with the square: 30,000 chains take 50 s at once, and 4 s so many at a
/// time. Fewer take longer again, for the kernel checks the whole table with each input.
const CHAINS_AT_ONCE: usize = 1200;

impl Tables for Programs {
    fn save(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        Self::save(self, each_line)
    }

    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        Self::restore(self, write)
    }

    fn clean(&mut self) -> Result<(), BackendError> {
        stale::clean(self.family())
    }

    fn chains_at_once(&self) -> usize {
        match self.variant() {
            Variant::Nft => CHAINS_AT_ONCE,
            // Each input costs a copy of the whole table to the program and back.
            Variant::Legacy => usize::MAX,
        }
    }
}
