//! The tables of this host, by iptables' programs.

use std::io::{self, Write};

use portolan_core::BackendError;

use crate::programs::{ProgramError, Programs, Variant};
use crate::stale;
use crate::tables::Tables;

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
