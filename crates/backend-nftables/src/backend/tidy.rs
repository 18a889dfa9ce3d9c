//! What follows a committed change: chains that nothing leads to are deleted, and clients of removed endpoints are
//! deleted from affinity maps.

use std::sync::Arc;

use portolan_core::{ApplyReport, BackendError};
use portolan_nft::{NftError, Tables, Transaction};

use super::{NftablesBackend, account, rejected};
use crate::class::Class;
use crate::commit::Batches;
use crate::dedicated::Purge;
use crate::programmed::Programmed;

/// How often a map of clients is read until it holds no client of a removed endpoint.
const PURGE_ATTEMPTS: u32 = 5;

/// Each reading of a map found further clients to delete.
#[derive(Debug, thiserror::Error)]
#[error("there were still clients of removed endpoints after {attempts} attempts")]
struct ClientsLeft {
    attempts: u32,
}

impl<T: Tables> NftablesBackend<T> {
    /// Removes chains that nothing leads to.
    ///
    /// Before Linux 6.2 a chain may count as used for a moment after its last map element
    /// was deleted. It then stays until the next change or full sync, which is harmless.
    pub(super) fn sweep(
        &self,
        programmed: &mut Programmed,
        unused: &[Class],
        report: &mut ApplyReport,
    ) -> Result<(), BackendError> {
        let mut batches = Batches::new(&self.layout, self.limit);
        for class in unused {
            batches.current().delete_chain(class.chain());
        }
        for chain in &programmed.stale_chains {
            batches.current().delete_chain(Arc::clone(chain));
        }
        for transaction in batches.finish() {
            match self.tables().commit(&transaction) {
                Ok(commit) => account(report, &transaction, commit),
                Err(error) if error.is_busy() => {
                    tracing::debug!(table = %transaction.table(), "Unused chains are still in use; deleting them later");
                    report.failed_removals += 1;
                    return Ok(());
                }
                Err(error) => return Err(rejected(error)),
            }
        }
        programmed.forget(unused);
        programmed.stale_chains.clear();
        Ok(())
    }

    /// Deletes the clients of removed endpoints from affinity maps.
    ///
    /// Runs when no new client can get such an endpoint. Known clients keep theirs until the map has been
    /// read, which takes a while for tens of thousands of them. Before Linux 6.3 an entry that expires
    /// meanwhile fails the transaction, which is then built again.
    pub(super) fn purge(&self, purges: &[Purge], report: &mut ApplyReport) -> Result<(), BackendError> {
        for purge in purges {
            self.purge_map(purge, report)?;
        }
        Ok(())
    }

    /// Purges one map. A reading may miss clients while others come and expire, so the map is read until it
    /// holds no client to delete.
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
                Err(error) => return Err(rejected(error)),
            }
        }
        let action = format!("delete clients of removed endpoints from map {}", map.name);
        Err(BackendError::refused(action, ClientsLeft { attempts: PURGE_ATTEMPTS }))
    }
}

/// The change itself is committed by then, so this is not a failed read before any write.
fn half_read(map: &str, error: NftError) -> BackendError {
    BackendError::io(format!("read map {map}"), error)
}
