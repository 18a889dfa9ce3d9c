//! The programs, and what tells that others changed the tables meanwhile.
//!
//! | tables of | what tells |
//! |---|---|
//! | iptables-nft | The kernel's notices, as changes happen: which chain, and by which netlink port. Those by the programs that are started here are told by their process ids, which iptables has as ports. |
//! | iptables-legacy | How many entries a table has and how long they are, asked before and after each change of ours. |
//!
//! Nothing here reads rules, but for the few of the kernel's own chains where one of them was removed.

use std::fmt;
use std::io::{self, Write};
use std::task::{Context, Poll};

use portolan_core::backend::error_chain;
use portolan_core::{BackendError, IpFamily};
use portolan_netlink::xtables::{LegacyTables, TableInfo};
use portolan_netlink::{Heard, route};
use portolan_nft::{Expr, Family, NetlinkTables, NftError, Noticed, TableId, Watch};

use crate::names::{BuiltIn, Chain, Fixed, Table};
use crate::programs::{ProgramError, Programs, Variant};
use crate::tables::{Interference, Jump, Tables};

/// The programs with what watches the tables that they write.
#[derive(Debug)]
pub struct Watched {
    programs: Programs,
    watcher: Watcher,
}

#[derive(Debug)]
enum Watcher {
    Nft(Box<NftWatcher>),
    Legacy(Box<LegacyWatcher>),
    /// Nothing tells, so that it takes reading.
    None,
}

impl Watched {
    /// Begins to watch, in the network namespace of this thread. Where that cannot be, all tables are read in each
    /// sync period.
    pub fn new(programs: Programs) -> Self {
        let family = programs.family();
        let watcher = match programs.variant() {
            Variant::Nft => {
                NftWatcher::open(family).map(|watcher| Watcher::Nft(Box::new(watcher))).map_err(unwatched)
            }
            Variant::Legacy => LegacyWatcher::open(family)
                .map(|watcher| Watcher::Legacy(Box::new(watcher)))
                .map_err(unwatched),
        };
        let watcher = watcher.unwrap_or_else(|error| {
            tracing::warn!(
                ipFamily = %family,
                err = error,
                "Cannot watch the tables of iptables; they are read in each sync period"
            );
            Watcher::None
        });
        Self { programs, watcher }
    }
}

fn unwatched(error: impl std::error::Error) -> String {
    error_chain(&error)
}

impl Tables for Watched {
    fn save(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        match &mut self.watcher {
            Watcher::Nft(watcher) => watcher.begin_reading(),
            Watcher::Legacy(watcher) => watcher.begin_reading(),
            Watcher::None => {}
        }
        let result = self.programs.save(each_line);
        if result.is_err() {
            // What was told before is not known to be settled.
            match &mut self.watcher {
                Watcher::Nft(watcher) => watcher.seen.lost = true,
                Watcher::Legacy(watcher) => watcher.has_changed = true,
                Watcher::None => {}
            }
        }
        result
    }

    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        match &mut self.watcher {
            Watcher::Nft(watcher) => {
                watcher.listen(None);
            }
            Watcher::Legacy(watcher) => watcher.begin_writing(),
            Watcher::None => {}
        }
        let (result, process) = self.programs.restore_by(write);
        match &mut self.watcher {
            Watcher::Nft(watcher) => watcher.end_writing(process),
            Watcher::Legacy(watcher) => watcher.end_writing(),
            Watcher::None => {}
        }
        result
    }

    fn clean(&mut self) -> Result<(), BackendError> {
        self.programs.clean()
    }

    fn chains_at_once(&self) -> usize {
        self.programs.chains_at_once()
    }

    fn interference(&mut self, jumps: &[Jump]) -> Interference {
        match &mut self.watcher {
            Watcher::Nft(watcher) => watcher.interference(jumps),
            Watcher::Legacy(watcher) => watcher.interference(),
            Watcher::None => Interference::Possible,
        }
    }

    fn poll_interference(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.watcher {
            Watcher::Nft(watcher) => watcher.poll(context),
            Watcher::Legacy(_) | Watcher::None => Poll::Pending,
        }
    }
}

/// Follows the notices of nf_tables.
struct NftWatcher {
    family: Family,
    tables: NetlinkTables,
    watch: Watch,
    seen: Seen,
    /// The socket is of no more use.
    is_deaf: bool,
}

/// What foreign notices have told since all was last read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// Rules of ours changed, or chains of ours went.
    ours: bool,
    /// A rule of a chain of the kernel went, which may have been a jump of ours.
    jumps: bool,
    /// Notices were lost.
    lost: bool,
}

impl Seen {
    /// Takes in a notice of another process about tables of our family.
    fn add(&mut self, table: Table, object: Noticed<'_>) {
        match object {
            Noticed::TableGone => self.ours = true,
            Noticed::Rule(chain) | Noticed::RuleGone(chain) | Noticed::ChainGone(chain) => {
                match Chain::parse(chain) {
                    Some(Chain::BuiltIn(_)) => self.jumps |= !matches!(object, Noticed::Rule(_)),
                    // What others add to it is theirs.
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
        Ok(Self { family, tables, watch, seen: Seen::default(), is_deaf: false })
    }

    /// Takes in what was told so far, and says whether anything of that is by `own`, which is left out.
    fn listen(&mut self, own: Option<u32>) -> bool {
        let Self { family, watch, seen, is_deaf, .. } = self;
        let mut has_own = false;
        let heard = watch.listen(|notice| {
            if Some(notice.port) == own {
                has_own = true;
            } else if notice.family == *family
                && let Some(table) = Table::parse(notice.table)
            {
                seen.add(table, notice.object);
            }
        });
        match heard {
            Ok(heard) => seen.lost |= heard == Heard::Part,
            Err(error) => {
                *is_deaf = true;
                warn_deaf(&error);
            }
        }
        has_own
    }

    /// All is read from here on, so what was told before has no more meaning.
    fn begin_reading(&mut self) {
        self.listen(None);
        self.seen = Seen::default();
    }

    /// A program of ours has ended, and all that it did has been told.
    fn end_writing(&mut self, process: Option<u32>) {
        let before = self.seen;
        let has_own = self.listen(process);
        // The port is another than the process id where that was taken. Then nothing tells ours from others'.
        if !has_own && !self.seen.lost {
            self.seen = before;
        }
    }

    fn interference(&mut self, jumps: &[Jump]) -> Interference {
        self.listen(None);
        if self.seen.ours {
            return Interference::Certain;
        }
        if self.seen.lost || self.is_deaf {
            return Interference::Possible;
        }
        if self.seen.jumps {
            match self.has_jumps(jumps) {
                Ok(true) => self.seen.jumps = false,
                Ok(false) => return Interference::Certain,
                Err(error) => {
                    tracing::debug!(err = error_chain(&error), "Cannot read the jumps; reading all tables");
                    return Interference::Possible;
                }
            }
        }
        Interference::None
    }

    /// Whether the kernel's chains still lead to ours.
    fn has_jumps(&mut self, jumps: &[Jump]) -> Result<bool, NftError> {
        let mut read: Option<((Table, BuiltIn), Vec<String>)> = None;
        let mut sorted = jumps.to_vec();
        sorted.sort_unstable();
        for Jump { table, from, to } in sorted {
            if read.as_ref().is_none_or(|(chain, _)| *chain != (table, from)) {
                let id = TableId::new(self.family, table.as_str());
                let rules = self.tables.chain_rules(&id, from.as_str())?;
                let targets = rules.iter().flat_map(|rule| &rule.expressions).filter_map(target);
                read = Some(((table, from), targets.collect()));
            }
            if !read.iter().any(|(_, targets)| targets.iter().any(|target| *target == to.as_str())) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.is_deaf {
            match self.watch.poll_readable(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    self.is_deaf = true;
                    warn_deaf(&error);
                }
                Poll::Ready(Ok(())) => {
                    let before = self.seen;
                    self.listen(None);
                    // What was lost is made up for in the next sync period: it takes reading all.
                    let (Seen { ours, jumps, .. }, was) = (self.seen, before);
                    if (ours && !was.ours) || (jumps && !was.jumps) {
                        return Poll::Ready(());
                    }
                }
            }
        }
        Poll::Pending
    }
}

fn warn_deaf(error: &io::Error) {
    tracing::warn!(err = %error, "Cannot listen to changes of nf_tables any more; tables are read in each sync period");
}

fn target(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Verdict(verdict) => verdict.target().map(ToString::to_string),
        _ => None,
    }
}

impl fmt::Debug for NftWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NftWatcher")
            .field("family", &self.family)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

/// Compares what the tables look like from outside with what they did after the last change of ours.
#[derive(Debug)]
struct LegacyWatcher {
    tables: LegacyTables,
    /// As they were then; unknown before all was read.
    known: Option<Infos>,
    /// They looked differently at some time since all was last read.
    has_changed: bool,
}

/// Nothing for a table that the kernel does not show.
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

    fn begin_reading(&mut self) {
        self.known = Some(self.infos());
        self.has_changed = false;
    }

    fn begin_writing(&mut self) {
        self.has_changed |= self.known.is_some_and(|known| known != self.infos());
    }

    fn end_writing(&mut self) {
        if self.known.is_some() {
            self.known = Some(self.infos());
        }
    }

    fn interference(&mut self) -> Interference {
        let infos = self.infos();
        let is_as_known = self.known == Some(infos) && infos.iter().all(Option::is_some);
        if is_as_known && !self.has_changed { Interference::None } else { Interference::Possible }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(table: Table, object: Noticed<'_>) -> Seen {
        let mut seen = Seen::default();
        seen.add(table, object);
        seen
    }

    #[test]
    fn foreign_changes_of_our_chains_and_removals_from_the_kernels_chains_count() {
        let ours = Seen { ours: true, ..Seen::default() };
        let jumps = Seen { jumps: true, ..Seen::default() };
        for (table, object, expected) in [
            (Table::Nat, Noticed::RuleGone("KUBE-SERVICES"), ours),
            (Table::Nat, Noticed::Rule("KUBE-SVC-XPGD46QRK7WJZT7O"), ours),
            (Table::Nat, Noticed::ChainGone("KUBE-SEP-SXIVWICOYRO3J4NJ"), ours),
            (Table::Mangle, Noticed::ChainGone("KUBE-PROXY-CANARY"), ours),
            (Table::Filter, Noticed::TableGone, ours),
            (Table::Nat, Noticed::RuleGone("PREROUTING"), jumps),
        ] {
            assert_eq!(seen(table, object), expected, "{table} {object:?}");
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
            assert_eq!(seen(table, object), Seen::default(), "{table} {object:?}");
        }
    }
}
