//! The tables of iptables-legacy, which only its own programs can change.
//!
//! One run of `iptables-restore` changes them, each table at once, one after the other. It is given each rule
//! to delete just as `iptables-save` showed it, so a rule that somebody changed meanwhile makes it fail and
//! change nothing of that table; then all is read and decided anew.
//!
//! Asked for a table that does not exist, the programs would make it and load its module. So the kernel's own
//! list of tables is read first and their chains' names are asked for, and without any of kube-proxy's nothing is
//! started. So without the programs, or the capability that they need, it is known whether there is anything.

use std::fs;
use std::io;
use std::path::PathBuf;

use portolan_core::IpFamily;
use portolan_netlink::route;
use portolan_netlink::xtables::{LegacyTables, TableInfo};

use super::chains::{TABLES, Wanted};
use super::plan::{Removal, plan};
use crate::LeftoverError;
use crate::outcome::Progress;

mod programs;
mod restore;
mod save;

use programs::Programs;

/// How often all is read and decided anew because somebody changed it meanwhile.
const ATTEMPTS: usize = 3;

/// Removes the wanted chains from the tables of one family.
pub(super) fn remove(
    family: IpFamily,
    wanted: Wanted<'_>,
    progress: &mut Progress,
) -> Result<(), LeftoverError> {
    let present = tables(family)?;
    if present.is_empty() {
        return Ok(());
    }
    match chains(family, &present) {
        Ok(chains) if !chains.iter().any(|(table, chain)| wanted.holds(table, chain)) => return Ok(()),
        Ok(_) => progress.found = true,
        // The programs may be able to tell.
        Err(_) => {}
    }
    let programs = Programs::find(family, &present)?;
    let mut failure: Option<(String, LeftoverError)> = None;
    for _ in 0..ATTEMPTS {
        let removals = removals(&programs.save()?, wanted);
        progress.found |= removals.iter().any(|removal| !removal.is_empty());
        let input = restore::input(&removals);
        let error = match failure {
            // Nothing has changed, so the same would come of it.
            Some((failed, error)) if failed == input => return Err(error),
            _ => match programs.restore(&input) {
                Ok(()) => {
                    report(family, &removals, progress);
                    return Ok(());
                }
                Err(error @ LeftoverError::Failed { .. }) => error,
                Err(error) => return Err(error),
            },
        };
        failure = Some((input, error));
    }
    Err(failure.map_or_else(|| unsteady(family), |(_, error)| error))
}

fn unsteady(family: IpFamily) -> LeftoverError {
    LeftoverError::Unsteady { what: format!("the iptables-legacy tables of {family}") }
}

fn removals(saved: &str, wanted: Wanted<'_>) -> Vec<Removal<String>> {
    let mut tables = save::parse(saved);
    tables.retain(|table| TABLES.contains(&table.name.as_str()));
    tables.sort_by_key(|table| TABLES.iter().position(|name| *name == table.name));
    tables.iter().map(|table| plan(table, wanted, &std::collections::BTreeSet::new())).collect()
}

fn report(family: IpFamily, removals: &[Removal<String>], progress: &mut Progress) {
    for removal in removals {
        progress.removed += removal.len();
        let table = format!("legacy table {} of {family}", removal.table);
        progress
            .kept
            .extend(removal.kept.iter().map(|(chain, why)| format!("chain {chain} of {table}: {why}")));
    }
}

/// Those of kube-proxy's tables that exist.
pub(crate) fn tables(family: IpFamily) -> Result<Vec<&'static str>, LeftoverError> {
    // Of the thread, for network namespaces belong to threads. The file is root's alone (mode 0440).
    let path = PathBuf::from(match family {
        IpFamily::V4 => "/proc/thread-self/net/ip_tables_names",
        IpFamily::V6 => "/proc/thread-self/net/ip6_tables_names",
    });
    named(fs::read_to_string(&path)).map_err(|source| LeftoverError::File { path, source })
}

/// What the kernel's list of tables says.
fn named(list: io::Result<String>) -> io::Result<Vec<&'static str>> {
    match list {
        Ok(names) => {
            Ok(TABLES.into_iter().filter(|table| names.lines().any(|name| name == *table)).collect())
        }
        // A kernel without iptables-legacy, or with its module not loaded.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What the kernel says of some tables that exist. It takes less than the programs, which
/// need `CAP_NET_RAW` only to ask.
pub(crate) fn infos(family: IpFamily, tables: &[&str]) -> io::Result<Vec<TableInfo>> {
    let kernel = open(family)?;
    tables.iter().map(|table| kernel.info(table)).collect()
}

/// The chains of some tables that exist, but for the kernel's, each with its table's name.
pub(crate) fn chains(family: IpFamily, tables: &[&'static str]) -> io::Result<Vec<(&'static str, String)>> {
    let kernel = open(family)?;
    let mut chains = Vec::new();
    for table in tables {
        chains.extend(kernel.chains(table)?.into_iter().map(|chain| (*table, chain)));
    }
    Ok(chains)
}

fn open(family: IpFamily) -> io::Result<LegacyTables> {
    LegacyTables::open(match family {
        IpFamily::V4 => route::Family::V4,
        IpFamily::V6 => route::Family::V6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_there_or_not_or_hidden() {
        assert_eq!(named(Ok("nat\nraw\nfilter\n".into())).unwrap(), ["nat", "filter"]);
        let refused = |kind| named(Err(io::Error::from(kind)));
        assert_eq!(refused(io::ErrorKind::NotFound).unwrap(), [""; 0]);
        assert!(refused(io::ErrorKind::PermissionDenied).is_err());
        assert!(refused(io::ErrorKind::OutOfMemory).is_err());
    }
}
