//! Stale tables of the nftables mode: kube-proxy's, and our own when another mode runs.

use std::hash::{DefaultHasher, Hash, Hasher};

use portolan_core::backend::CleanupReport;
use portolan_core::{IpFamily, ProxyMode};
use portolan_nft::{NetlinkTables, NftError, TableId, Tables as _, Transaction};

use crate::layout::{TABLE, nft_family};

/// The table of kube-proxy's nftables mode, in both families.
const KUBE_PROXY: &str = "kube-proxy";

/// Why a stale table could not be deleted, or not be looked for.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StaleTableError {
    /// A running process owns the table.
    #[error("table {table} belongs to a running process, which must release it first")]
    Owned {
        /// The table, with its family.
        table: TableId,
        /// The kernel's answer.
        source: NftError,
    },
    /// The kernel did not delete the table.
    #[error("cannot delete table {table}")]
    Delete {
        /// The table, with its family.
        table: TableId,
        /// What went wrong.
        source: NftError,
    },
}

/// Deletes kube-proxy's table of one family, and ours unless this mode runs: each with all its content, in one
/// transaction. A table that does not exist is no error.
pub fn remove(running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
    let mut report = CleanupReport::default();
    let own = (running != Some(&ProxyMode::NFTABLES)).then_some(TABLE);
    for name in [Some(KUBE_PROXY), own].into_iter().flatten() {
        report.step(|report, found| delete(TableId::new(nft_family(family), name), report, found));
    }
    report
}

/// A number for the rules in kube-proxy's table of one family; nothing if there is no such table. The number changes
/// whenever rules are written again.
///
/// # Errors
/// The table cannot be read.
pub fn foreign_rules(family: IpFamily) -> Result<Option<u64>, NftError> {
    let table = TableId::new(nft_family(family), KUBE_PROXY);
    let mut tables = NetlinkTables::open()?;
    if !exists(&mut tables, &table)? {
        return Ok(None);
    }
    let mut hasher = DefaultHasher::new();
    tables.rule_handles(&table, None)?.hash(&mut hasher);
    Ok(Some(hasher.finish()))
}

fn delete(table: TableId, report: &mut CleanupReport, found: &mut bool) -> Result<(), StaleTableError> {
    let mut try_delete = || -> Result<(), NftError> {
        let mut tables = NetlinkTables::open()?;
        if exists(&mut tables, &table)? {
            *found = true;
            let mut transaction = Transaction::new(table.clone());
            transaction.delete_table();
            tables.commit(&transaction)?;
            report.removed += 1;
        }
        Ok(())
    };
    match try_delete() {
        Ok(()) => Ok(()),
        // It was deleted meanwhile.
        Err(error) if error.is_not_found() => Ok(()),
        // The kernel has no nf_tables, and cannot load it (`nfnetlink_rcv_msg`).
        Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(()),
        // The kernel rejects the whole batch when the privilege is missing, one step when another process is the owner.
        Err(source) if source.is_not_permitted() && matches!(source, NftError::Rejected { .. }) => {
            Err(StaleTableError::Owned { table, source })
        }
        Err(source) => Err(StaleTableError::Delete { table, source }),
    }
}

fn exists(tables: &mut NetlinkTables, table: &TableId) -> Result<bool, NftError> {
    Ok(tables.list()?.iter().any(|(found, _)| found == table))
}
