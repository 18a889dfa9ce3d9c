//! What is left to do once a change is in force: chains to remove that nothing leads to any more, and clients
//! that must forget an endpoint.

use std::sync::Arc;

use portolan_core::{ApplyReport, BackendError};
use portolan_nft::{NftError, Tables, Transaction};

use super::{NftablesBackend, account, refused};
use crate::class::Class;
use crate::commit::Batches;
use crate::loaded::Loaded;
use crate::sticky::Purge;

/// How often a map of clients is read until it shows none that must forget.
const PURGE_ATTEMPTS: u32 = 5;

/// Each reading of a map showed more of what was to go from it.
#[derive(Debug, thiserror::Error)]
#[error("there were still some after {attempts} readings")]
struct StillLed {
    attempts: u32,
}

impl<T: Tables> NftablesBackend<T> {
    /// Removes chains that nothing leads to.
    ///
    /// Before Linux 6.2 a chain may count as used for a moment after its last map element
    /// went. It then stays, which harms nobody, until the next change or complete comparison.
    pub(super) fn sweep(
        &self,
        loaded: &mut Loaded,
        unused: &[Class],
        report: &mut ApplyReport,
    ) -> Result<(), BackendError> {
        let mut batches = Batches::new(&self.layout, self.limit);
        for class in unused {
            batches.delete_chain(class.chain());
        }
        for chain in &loaded.stale_chains {
            batches.delete_chain(Arc::clone(chain));
        }
        for transaction in batches.finish() {
            match self.tables().commit(&transaction) {
                Ok(commit) => account(report, &transaction, commit),
                Err(error) if error.is_busy() => {
                    tracing::debug!(table = %transaction.table(), "unused chains are still busy, kept for now");
                    report.failed_removals += 1;
                    return Ok(());
                }
                Err(error) => return Err(refused(error)),
            }
        }
        loaded.forget(unused);
        loaded.stale_chains.clear();
        Ok(())
    }

    /// Makes clients forget endpoints that have gone.
    ///
    /// Done when no new client can be led there: those that were go on to their old endpoint
    /// until their map has been read, which takes a while for tens of thousands of them. Before
    /// Linux 6.3 an entry that expires meanwhile fails the transaction, which is then made anew.
    pub(super) fn purge(&self, purges: &[Purge], report: &mut ApplyReport) -> Result<(), BackendError> {
        for purge in purges {
            self.purge_map(purge, report)?;
        }
        Ok(())
    }

    /// Makes the clients of one map forget. A reading of a map that clients come to and leave
    /// meanwhile may miss some, so it is read until it shows none.
    fn purge_map(&self, purge: &Purge, report: &mut ApplyReport) -> Result<(), BackendError> {
        let (table, map) = (self.layout.table(), &purge.map);
        for _ in 0..PURGE_ATTEMPTS {
            let found = self.tables().dump_set(&table, &map.name);
            let found = found.map_err(|error| half_read(&map.name, error))?;
            let stale = found.map(|found| purge.stale(&found)).unwrap_or_default();
            if stale.is_empty() {
                return Ok(());
            }
            let mut transaction = Transaction::new(table.clone());
            transaction.destroy_elements(map, stale);
            match self.tables().commit(&transaction) {
                Ok(commit) => account(report, &transaction, commit),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(refused(error)),
            }
        }
        let action = format!("empty map {} of clients whose endpoint has gone", map.name);
        Err(BackendError::refused(action, StillLed { attempts: PURGE_ATTEMPTS }))
    }
}

/// The change itself is in force by then, so this is not the case where nothing was written.
fn half_read(map: &str, error: NftError) -> BackendError {
    BackendError::io(format!("read map {map}"), error)
}
