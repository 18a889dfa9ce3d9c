//! The table of kube-proxy's nftables mode.

use portolan_core::IpFamily;
use portolan_nft::{NetlinkTables, NftError, TableId, Tables, Transaction};

use crate::netfilter::{is_absent, nft_family};
use crate::outcome::Progress;
use crate::{LeftoverError, Outcome, Part};

/// Its name, in both families.
pub(crate) const NAME: &str = "kube-proxy";

/// Deletes the table with all it holds, in one transaction; a table that is not there is no error.
pub(crate) fn remove(family: IpFamily) -> Outcome {
    let step = |progress: &mut Progress| delete(TableId::new(nft_family(family), NAME), progress);
    Outcome::of(Part::KubeProxyNftables, Some(family), step)
}

fn delete(table: TableId, progress: &mut Progress) -> Result<(), LeftoverError> {
    let name = table.to_string();
    match try_delete(table, progress) {
        Ok(()) => Ok(()),
        // It went between the look and the deletion, or the kernel has no nf_tables.
        Err(error) if error.is_not_found() || is_absent(error.errno()) => Ok(()),
        // The whole batch is refused when the privilege is missing, the step alone when somebody owns the table.
        Err(error) if error.is_not_permitted() && matches!(error, NftError::Refused { .. }) => {
            Err(LeftoverError::Owned { table: name, source: error })
        }
        Err(error) => Err(LeftoverError::Table { table: name, source: error }),
    }
}

fn try_delete(table: TableId, progress: &mut Progress) -> Result<(), NftError> {
    let mut tables = NetlinkTables::open()?;
    if !tables.list()?.iter().any(|(id, _)| *id == table) {
        return Ok(());
    }
    progress.found = true;
    let mut transaction = Transaction::new(table);
    transaction.delete_table();
    tables.commit(&transaction)?;
    progress.removed += 1;
    Ok(())
}
