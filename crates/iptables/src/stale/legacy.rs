//! The tables of iptables-legacy, which only its own programs can change.
//!
//! One run of `iptables-restore` changes them, each table at once, one after the other. It is given each rule
//! to delete just as `iptables-save` showed it, so if another process changed a rule meanwhile it fails and
//! changes nothing of that table; then all is read and planned again.
//!
//! Asked for a table that does not exist, the programs would create it and load its module. So the kernel's own
//! list of tables is read first, and then the names of their chains. Without stale chains no program is started, and
//! whether there are any is known without the programs and the capability that they need.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use portolan_core::IpFamily;
use portolan_core::backend::CleanupReport;
use portolan_netlink::route;
use portolan_netlink::xtables::{LegacyTables, TableInfo};

use super::StaleError;
use super::chains::{StaleChains, TABLES};
use super::plan::{Chain, Removal, Table, plan};
use crate::names::{self, BuiltIn};
use crate::programs::{ProgramError, Programs};
use crate::saved::{self, Saved};

/// How often all is read and planned again because another process changed it meanwhile.
const ATTEMPTS: usize = 3;

/// Removes the stale chains from the tables of one family.
pub(super) fn remove(
    family: IpFamily,
    stale: StaleChains<'_>,
    found: &mut bool,
    report: &mut CleanupReport,
) -> Result<(), StaleError> {
    let present = tables(family)?;
    if present.is_empty() {
        return Ok(());
    }
    match chains(family, &present) {
        Ok(chains) if !chains.iter().any(|(table, chain)| stale.contains(table, chain)) => return Ok(()),
        Ok(_) => *found = true,
        // The programs may be able to tell.
        Err(_) => {}
    }
    let programs = Programs::legacy(family).map_err(|source| {
        let tables = present.join(", ");
        StaleError::NoProgram { family, tables, source }
    })?;
    let mut failed: Option<(String, ProgramError)> = None;
    for _ in 0..ATTEMPTS {
        let removals = removals(&programs, stale)?;
        *found |= removals.iter().any(|removal| !removal.is_empty());
        let input = input(&removals);
        if let Some((_, error)) = failed.take_if(|(before, _)| *before == input) {
            // Nothing has changed, so the same error would result.
            return Err(quoting(error, &input));
        }
        let restored = match &*input {
            "" => Ok(()),
            text => programs.restore(&mut |program| program.write_all(text.as_bytes())),
        };
        match restored {
            Ok(()) => {
                for removal in removals {
                    removal.report(&format!("legacy table {} of {family}", removal.table), report);
                }
                return Ok(());
            }
            Err(error) if error.is_of_input() => failed = Some((input, error)),
            Err(error) => return Err(error.into()),
        }
    }
    let unsteady = || StaleError::Unsteady { what: format!("the iptables-legacy tables of {family}") };
    Err(failed.map_or_else(unsteady, |(input, error)| quoting(error, &input)))
}

fn removals(programs: &Programs, stale: StaleChains<'_>) -> Result<Vec<Removal<String>>, ProgramError> {
    let mut reader = Reader::default();
    programs.save(&mut |line| reader.line(line))?;
    let mut tables = reader.tables;
    tables.sort_by_key(|table| TABLES.iter().position(|name| *name == table.name));
    Ok(tables.iter().map(|table| plan(table, stale, &BTreeSet::new())).collect())
}

/// Reads what `iptables-save` prints; a rule is identified by its text after `-A`.
#[derive(Default)]
struct Reader {
    tables: Vec<Table<String>>,
    is_in_table: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        match (saved::read(line), self.tables.last_mut().filter(|_| self.is_in_table)) {
            (Saved::Table(table), _) => {
                self.is_in_table = table.is_some();
                self.tables.extend(table.map(|table| Table::new(table.as_str(), [])));
            }
            (Saved::Chain(name), Some(table)) => table.add(Chain::new(name, BuiltIn::parse(name).is_some())),
            (Saved::Rule { chain, rule }, Some(table)) => {
                if let Some(target) = saved::target(rule).filter(|target| target.starts_with(names::PREFIX)) {
                    table.add_jump(chain, format!("{chain} {rule}"), target);
                }
            }
            _ => {}
        }
    }
}

/// The input that carries removals out; tables of which nothing is to go are left out.
///
/// A declared chain is emptied, and created if it is gone by now, so that deleting it cannot fail for that.
fn input(removals: &[Removal<String>]) -> String {
    let mut input = String::new();
    for removal in removals.iter().filter(|removal| !removal.is_empty()) {
        // Writing to a String cannot fail.
        let _ = writeln!(input, "*{}", removal.table);
        for chain in &removal.chains {
            let _ = writeln!(input, ":{chain} - [0:0]");
        }
        for (_, rule) in &removal.jumps {
            let _ = writeln!(input, "-D {rule}");
        }
        for chain in &removal.chains {
            let _ = writeln!(input, "-X {chain}");
        }
        input.push_str("COMMIT\n");
    }
    input
}

/// The error with the text of the line of `input` that it names.
fn quoting(error: ProgramError, input: &str) -> StaleError {
    match error {
        ProgramError::Failed { program, line: Some(number), complaint } => match line(input, number) {
            Some(line) => StaleError::Rejected { program, line, complaint },
            None => ProgramError::Failed { program, line: None, complaint }.into(),
        },
        error => error.into(),
    }
}

/// A line of the input, counted from one. The line that ends a table stands for all of it, and is given with its name.
fn line(input: &str, number: u64) -> Option<String> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    let line = input.lines().nth(index)?;
    if line != "COMMIT" {
        return Some(line.to_owned());
    }
    let table = input.lines().take(index).filter(|line| line.starts_with('*')).last()?;
    Some(format!("{line} of {table}"))
}

/// Those of kube-proxy's tables that exist.
pub(super) fn tables(family: IpFamily) -> Result<Vec<&'static str>, StaleError> {
    // Of the thread, for network namespaces belong to threads. The file is root's alone (mode 0440).
    let path = PathBuf::from(match family {
        IpFamily::V4 => "/proc/thread-self/net/ip_tables_names",
        IpFamily::V6 => "/proc/thread-self/net/ip6_tables_names",
    });
    listed(fs::read_to_string(&path)).map_err(|source| StaleError::List { path, source })
}

/// The tables in the kernel's list.
fn listed(list: io::Result<String>) -> io::Result<Vec<&'static str>> {
    match list {
        Ok(names) => {
            Ok(TABLES.into_iter().filter(|table| names.lines().any(|name| name == *table)).collect())
        }
        // A kernel without iptables-legacy, or with its module not loaded.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What the kernel says of some tables that exist. It needs less than the programs, which
/// need `CAP_NET_RAW` only to ask.
pub(super) fn infos(family: IpFamily, tables: &[&str]) -> io::Result<Vec<TableInfo>> {
    let kernel = open(family)?;
    tables.iter().map(|table| kernel.info(table)).collect()
}

/// The chains of some tables that exist, except for the kernel's, each with its table's name.
pub(super) fn chains(family: IpFamily, tables: &[&'static str]) -> io::Result<Vec<(&'static str, String)>> {
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
mod tests;
