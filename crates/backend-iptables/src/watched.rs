//! The programs, and watchers that detect changes of the tables by other processes.
//!
//! | tables of | source |
//! |---|---|
//! | iptables-nft | Notifications of nf_tables: which chain, and by which netlink port. Those that the programs started here cause are recognized by their process ids, which iptables uses as ports. |
//! | iptables-legacy | The number and the size of a table's entries, read before and after each change of ours. |
//!
//! No rules are read, except those of built-in chains where another process deleted a rule.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Debug};
use std::io::{self, Write};
use std::task::{Context, Poll};

use portolan_core::backend::error_chain;
use portolan_core::{BackendError, IpFamily};
use portolan_netlink::xtables::{LegacyTables, TableInfo};
use portolan_netlink::{Heard, route};
use portolan_nft::{Family, NetlinkTables, NftError, Noticed, TableId, Watch};

use crate::names::{Chain, Fixed, Table};
use crate::programs::{ProgramError, Programs, Variant};
use crate::tables::{Interference, Jump, Tables};

/// The programs, and the watcher of the tables that they write.
#[derive(Debug)]
pub struct Watched {
    programs: Programs,
    watcher: Box<dyn Watcher>,
}

/// Detects changes by other processes.
trait Watcher: Debug + Send {
    /// All tables are read from here on.
    fn begin_reading(&mut self) {}

    /// The tables could not be read.
    fn reading_failed(&mut self) {}

    /// A program of ours is about to change the tables.
    fn begin_writing(&mut self) {}

    /// The program ended; its process id, if it is known.
    fn end_writing(&mut self, _process: Option<u32>) {}

    /// See [`Tables::interference`].
    fn interference(&mut self, _jumps: &[Jump]) -> Interference {
        Interference::Possible
    }

    /// See [`Tables::poll_interference`].
    fn poll(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Detects nothing, so that every integrity check reads the tables.
#[derive(Debug)]
struct Unwatched;

impl Watcher for Unwatched {}

impl Watched {
    /// Starts to watch in the network namespace of this thread. If that fails, the tables are read in every sync
    /// period.
    pub fn new(programs: Programs) -> Self {
        let watcher = open(&programs).unwrap_or_else(|error| {
            tracing::warn!(
                ipFamily = %programs.family(),
                err = error_chain(&*error),
                "Cannot watch the tables of iptables; they are read in every sync period"
            );
            Box::new(Unwatched)
        });
        Self { programs, watcher }
    }
}

fn open(programs: &Programs) -> Result<Box<dyn Watcher>, Box<dyn Error>> {
    let family = programs.family();
    Ok(match programs.variant() {
        Variant::Nft => Box::new(NftWatcher::open(family)?),
        Variant::Legacy => Box::new(LegacyWatcher::open(family)?),
    })
}

impl Tables for Watched {
    fn save(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        self.watcher.begin_reading();
        self.programs.save(each_line).inspect_err(|_| self.watcher.reading_failed())
    }

    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        self.watcher.begin_writing();
        let (result, process) = self.programs.restore_by(write);
        self.watcher.end_writing(process);
        result
    }

    fn clean(&mut self) -> Result<(), BackendError> {
        self.programs.clean()
    }

    fn chains_at_once(&self) -> usize {
        self.programs.chains_at_once()
    }

    fn interference(&mut self, jumps: &[Jump]) -> Interference {
        self.watcher.interference(jumps)
    }

    fn poll_interference(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.watcher.poll(context)
    }
}

/// Reads the notifications of nf_tables.
struct NftWatcher {
    family: Family,
    tables: NetlinkTables,
    watch: Watch,
    foreign: ForeignChanges,
    /// The socket failed.
    is_broken: bool,
}

/// Changes by other processes since all tables were last read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ForeignChanges {
    /// Our rules changed, or our chains were deleted.
    ours: bool,
    /// A rule of a built-in chain was deleted, which may have been a jump of ours.
    jumps: bool,
    /// Notifications were lost.
    lost: bool,
}

impl ForeignChanges {
    /// Adds a notification about a table of our family.
    fn add(&mut self, table: Table, object: Noticed<'_>) {
        match object {
            Noticed::TableGone => self.ours = true,
            Noticed::Rule(chain) | Noticed::RuleGone(chain) | Noticed::ChainGone(chain) => {
                match Chain::parse(chain) {
                    Some(Chain::BuiltIn(_)) => self.jumps |= !matches!(object, Noticed::Rule(_)),
                    // Others may add rules to it.
                    Some(Chain::Fixed(Fixed::Firewall)) if matches!(object, Noticed::Rule(_)) => {}
                    Some(Chain::Fixed(chain)) => self.ours |= chain.is_in(table),
                    Some(Chain::Own(..)) => self.ours |= table == Table::Nat,
                    None => {}
                }
            }
            Noticed::Table | Noticed::Chain(_) | Noticed::Other => {}
        }
    }
}

impl NftWatcher {
    fn open(family: IpFamily) -> Result<Self, NftError> {
        let family = match family {
            IpFamily::V4 => Family::Ip,
            IpFamily::V6 => Family::Ip6,
        };
        let (tables, watch) = (NetlinkTables::open()?, Watch::open()?);
        Ok(Self { family, tables, watch, foreign: ForeignChanges::default(), is_broken: false })
    }

    /// Reads the pending notifications. Those from the port `own` are not foreign; returns whether there were any.
    fn read(&mut self, own: Option<u32>) -> bool {
        let Self { family, watch, foreign, .. } = self;
        let mut has_own = false;
        let heard = watch.listen(|notice| {
            if Some(notice.port) == own {
                has_own = true;
            } else if notice.family == *family
                && let Some(table) = Table::parse(notice.table)
            {
                foreign.add(table, notice.object);
            }
        });
        match heard {
            Ok(heard) => foreign.lost |= heard == Heard::Part,
            Err(error) => self.set_broken(&error),
        }
        has_own
    }

    fn set_broken(&mut self, error: &io::Error) {
        self.is_broken = true;
        tracing::warn!(err = %error, "Lost notifications of nf_tables; tables are read in every sync period");
    }

    /// Whether the built-in chains still have these jumps.
    fn has_jumps(&mut self, jumps: &[Jump]) -> Result<bool, NftError> {
        let mut wanted = BTreeMap::<_, Vec<Fixed>>::new();
        for Jump { table, from, to } in jumps {
            wanted.entry((*table, *from)).or_default().push(*to);
        }
        for ((table, from), targets) in wanted {
            let rules = self.tables.chain_rules(&TableId::new(self.family, table.as_str()), from.as_str())?;
            let verdicts =
                rules.iter().flat_map(|rule| rule.expressions.iter()).filter_map(|expr| expr.verdict());
            let found: Vec<_> = verdicts.filter_map(|verdict| verdict.target().cloned()).collect();
            if !targets.iter().all(|target| found.iter().any(|found| **found == *target.as_str())) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Watcher for NftWatcher {
    fn begin_reading(&mut self) {
        self.read(None);
        self.foreign = ForeignChanges::default();
    }

    fn reading_failed(&mut self) {
        // Changes before are unknown.
        self.foreign.lost = true;
    }

    fn begin_writing(&mut self) {
        self.read(None);
    }

    fn end_writing(&mut self, process: Option<u32>) {
        let before = self.foreign;
        let has_own = self.read(process);
        // The kernel assigns another port if the process id is taken. Then our changes cannot be recognized.
        if !has_own && !self.foreign.lost {
            self.foreign = before;
        }
    }

    fn interference(&mut self, jumps: &[Jump]) -> Interference {
        self.read(None);
        if self.foreign.ours {
            return Interference::Certain;
        }
        if self.foreign.lost || self.is_broken {
            return Interference::Possible;
        }
        if self.foreign.jumps {
            match self.has_jumps(jumps) {
                Ok(true) => self.foreign.jumps = false,
                Ok(false) => return Interference::Certain,
                Err(error) => {
                    tracing::debug!(err = error_chain(&error), "Cannot read the jumps; reading all tables");
                    return Interference::Possible;
                }
            }
        }
        Interference::None
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.is_broken {
            match self.watch.poll_readable(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => self.set_broken(&error),
                Poll::Ready(Ok(())) => {
                    let before = self.foreign;
                    self.read(None);
                    // Lost notifications are left to the next sync period, since all tables must be read then.
                    let ForeignChanges { ours, jumps, .. } = self.foreign;
                    if (ours && !before.ours) || (jumps && !before.jumps) {
                        return Poll::Ready(());
                    }
                }
            }
        }
        Poll::Pending
    }
}

impl Debug for NftWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NftWatcher")
            .field("family", &self.family)
            .field("foreign", &self.foreign)
            .finish_non_exhaustive()
    }
}

/// Compares the number and the size of entries with those after the last change of ours.
#[derive(Debug)]
struct LegacyWatcher {
    tables: LegacyTables,
    /// Unknown before all tables were read.
    known: Option<Infos>,
    /// They differed at some time since all tables were last read.
    has_changed: bool,
}

/// Nothing for a table that the kernel does not have.
type Infos = [Option<TableInfo>; Table::ALL.len()];

impl LegacyWatcher {
    fn open(family: IpFamily) -> io::Result<Self> {
        let family = match family {
            IpFamily::V4 => route::Family::V4,
            IpFamily::V6 => route::Family::V6,
        };
        let tables = LegacyTables::open(family)?;
        Ok(Self { tables, known: None, has_changed: false })
    }

    fn infos(&self) -> Infos {
        Table::ALL.map(|table| self.tables.info(table.as_str()).ok())
    }
}

impl Watcher for LegacyWatcher {
    fn begin_reading(&mut self) {
        self.known = Some(self.infos());
        self.has_changed = false;
    }

    fn reading_failed(&mut self) {
        self.has_changed = true;
    }

    fn begin_writing(&mut self) {
        self.has_changed |= self.known.is_some_and(|known| known != self.infos());
    }

    fn end_writing(&mut self, _process: Option<u32>) {
        if self.known.is_some() {
            self.known = Some(self.infos());
        }
    }

    fn interference(&mut self, _jumps: &[Jump]) -> Interference {
        let infos = self.infos();
        let is_as_known = self.known == Some(infos) && infos.iter().all(Option::is_some);
        if is_as_known && !self.has_changed { Interference::None } else { Interference::Possible }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(table: Table, object: Noticed<'_>) -> ForeignChanges {
        let mut changes = ForeignChanges::default();
        changes.add(table, object);
        changes
    }

    #[test]
    fn foreign_changes_of_our_chains_and_removals_from_the_kernels_chains_count() {
        let ours = ForeignChanges { ours: true, ..ForeignChanges::default() };
        let jumps = ForeignChanges { jumps: true, ..ForeignChanges::default() };
        for (table, object, expected) in [
            (Table::Nat, Noticed::RuleGone("KUBE-SERVICES"), ours),
            (Table::Nat, Noticed::Rule("KUBE-SVC-XPGD46QRK7WJZT7O"), ours),
            (Table::Nat, Noticed::ChainGone("KUBE-SEP-SXIVWICOYRO3J4NJ"), ours),
            (Table::Mangle, Noticed::ChainGone("KUBE-PROXY-CANARY"), ours),
            (Table::Filter, Noticed::TableGone, ours),
            (Table::Nat, Noticed::RuleGone("PREROUTING"), jumps),
        ] {
            assert_eq!(changes(table, object), expected, "{table} {object:?}");
        }
    }

    #[test]
    fn foreign_changes_of_foreign_chains_do_not_count() {
        for (table, object) in [
            (Table::Nat, Noticed::RuleGone("DOCKER")),
            (Table::Nat, Noticed::Rule("PREROUTING")),
            (Table::Nat, Noticed::Chain("KUBE-SERVICES")),
            (Table::Nat, Noticed::Rule("KUBE-FORWARD")),
            (Table::Filter, Noticed::RuleGone("KUBE-SVC-XPGD46QRK7WJZT7O")),
            (Table::Filter, Noticed::Rule("KUBE-FIREWALL")),
            (Table::Filter, Noticed::RuleGone("CILIUM_INPUT")),
            (Table::Mangle, Noticed::ChainGone("KUBE-KUBELET-CANARY")),
            (Table::Nat, Noticed::Table),
            (Table::Nat, Noticed::Other),
        ] {
            assert_eq!(changes(table, object), ForeignChanges::default(), "{table} {object:?}");
        }
    }
}
