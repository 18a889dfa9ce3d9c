//! The tables of iptables-nft, which are tables of nf_tables by the same names.
//!
//! Rules are identified by their handles, so only where they lead has to be understood, and no program is needed:
//! tables that iptables-nft itself cannot read, since another process added rules with `nft`, are cleaned as well.
//!
//! All changes to a table are one transaction. If another process changed the table since it was read, the kernel
//! rejects the whole, by name: a chain is in use, or an object is gone. Then the table is read and planned again.

use std::collections::BTreeSet;

use portolan_core::IpFamily;
use portolan_core::backend::CleanupReport;
use portolan_nft::{
    DumpedChain, Family, JumpRule, NetlinkTables, NftError, TableId, Tables as _, Transaction,
};

use super::StaleError;
use super::chains::{StaleChains, TABLES};
use super::plan::{Chain, Removal, Table, plan};

/// How often a table is read and planned again because another process changed it meanwhile.
const ATTEMPTS: usize = 10;

/// Removes the stale chains from the tables of one family.
pub(super) fn remove(
    family: IpFamily,
    stale: StaleChains<'_>,
    found: &mut bool,
    report: &mut CleanupReport,
) -> Result<(), StaleError> {
    let mut tables = NetlinkTables::open().map_err(|source| StaleError::Read { family, source })?;
    for name in TABLES {
        let table = TableId::new(nft_family(family), name);
        let mut busy = BTreeSet::new();
        let mut attempts = 0;
        loop {
            let present = read(&mut tables, &table, stale);
            let Some(present) = present.map_err(|source| StaleError::Read { family, source })? else { break };
            let removal = plan(&present, stale, &busy);
            *found |= !removal.is_empty();
            match commit(&mut tables, &table, &removal) {
                Ok(()) => {
                    removal.report(&format!("table {table}"), report);
                    break;
                }
                // An element of a map can lead to a chain; no rule shows that.
                Err(error) => match busy_chain(&error, &table) {
                    Some(chain) => _ = busy.insert(chain),
                    None if error.is_not_found() && attempts < ATTEMPTS => attempts += 1,
                    None if error.is_not_found() => {
                        return Err(StaleError::Unsteady { what: format!("table {table}") });
                    }
                    None => return Err(StaleError::Remove { table: table.to_string(), source: error }),
                },
            }
        }
    }
    Ok(())
}

/// The table, if it has stale chains. Without these the rules are not read.
fn read(
    tables: &mut NetlinkTables,
    table: &TableId,
    stale: StaleChains<'_>,
) -> Result<Option<Table<u64>>, NftError> {
    let chains = match tables.chains(table) {
        Err(error) if is_absent(&error) => return Ok(None),
        chains => chains?,
    };
    if !chains.iter().any(|found| stale.contains(&table.name, &found.chain.name)) {
        return Ok(None);
    }
    let chain = |found: DumpedChain| Chain::new(found.chain.name.as_ref(), found.is_base());
    let mut read = Table::new(&table.name, chains.into_iter().map(chain));
    for JumpRule { chain, handle, target } in tables.jumps(table)? {
        read.add_jump(&chain, handle, &target);
    }
    Ok(Some(read))
}

/// A chain can be deleted once nothing leads to it. So the rules that lead into kube-proxy's chains go first,
/// then the rules of all those chains, which lead to each other, and then the chains.
fn commit(tables: &mut NetlinkTables, table: &TableId, removal: &Removal<u64>) -> Result<(), NftError> {
    let mut transaction = Transaction::new(table.clone());
    for (chain, handle) in &removal.jumps {
        transaction.delete_rule(chain.as_str(), *handle);
    }
    for chain in &removal.chains {
        transaction.flush_chain(chain.as_str());
    }
    for chain in &removal.chains {
        transaction.delete_chain(chain.as_str());
    }
    tables.commit(&transaction).map(drop)
}

/// The chain that the kernel did not delete because something leads to it.
fn busy_chain(error: &NftError, table: &TableId) -> Option<String> {
    match error {
        NftError::Rejected { object, .. } if error.is_busy() => {
            object.strip_prefix(&format!("chain {table} ")).map(str::to_owned)
        }
        _ => None,
    }
}

pub(super) fn nft_family(family: IpFamily) -> Family {
    match family {
        IpFamily::V4 => Family::Ip,
        IpFamily::V6 => Family::Ip6,
    }
}

/// Whether the kernel has no nf_tables, and cannot load it (`nfnetlink_rcv_msg`).
fn is_absent(error: &NftError) -> bool {
    matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}
