//! The tables of iptables-nft, which are tables of nf_tables by the same names.
//!
//! Rules are told apart by their handles, so nothing has to be understood of them but where they lead, and no
//! program is needed: tables that iptables-nft itself cannot read, for somebody added rules with `nft`, are
//! cleaned all the same.
//!
//! All changes to a family's tables are one transaction. If somebody changed a table since it was read, the
//! kernel refuses the whole, by name: a chain is in use, or an object is gone. Then all is read and decided
//! anew.

use std::collections::{BTreeSet, HashMap};
use std::io;

use portolan_core::IpFamily;
use portolan_netlink::{NetlinkError, NetlinkSocket, Protocol};

use super::chains::Wanted;
use super::plan::{Removal, plan};
use crate::LeftoverError;
use crate::netfilter::{is_absent, nft_family};
use crate::outcome::Progress;

mod batch;
mod reading;
mod wire;

use batch::Step;

/// How often all is read and decided anew because somebody changed it meanwhile.
const ATTEMPTS: usize = 10;

/// Removes the wanted chains from the tables of one family.
pub(super) fn remove(
    family: IpFamily,
    wanted: Wanted<'_>,
    progress: &mut Progress,
) -> Result<(), LeftoverError> {
    let mut tables = NfTables::open(family)?;
    let mut busy = Busy::default();
    for _ in 0..ATTEMPTS {
        let read = tables.read(wanted)?;
        let removals: Vec<_> = read.iter().map(|table| plan(table, wanted, busy.of(&table.name))).collect();
        progress.found |= removals.iter().any(|removal| !removal.is_empty());
        if tables.commit(&removals, &mut busy)? == Commit::Done {
            report(family, &removals, progress);
            return Ok(());
        }
    }
    Err(LeftoverError::Unsteady { what: format!("the iptables-nft tables of {family}") })
}

fn report(family: IpFamily, removals: &[Removal<u64>], progress: &mut Progress) {
    let family = nft_family(family);
    for removal in removals {
        progress.removed += removal.len();
        let table = format!("table {family} {}", removal.table);
        progress
            .kept
            .extend(removal.kept.iter().map(|(chain, why)| format!("chain {chain} of {table}: {why}")));
    }
}

/// Chains that the kernel called busy though no rule shows why; elements of a map can lead to them.
#[derive(Default)]
struct Busy(HashMap<String, BTreeSet<String>>);

impl Busy {
    fn of(&self, table: &str) -> &BTreeSet<String> {
        const NONE: &BTreeSet<String> = &BTreeSet::new();
        self.0.get(table).unwrap_or(NONE)
    }

    fn insert(&mut self, table: &str, chain: &str) {
        self.0.entry(table.to_owned()).or_default().insert(chain.to_owned());
    }
}

/// How a transaction went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commit {
    Done,
    /// Somebody changed the tables meanwhile.
    Outdated,
}

/// The tables of one family.
struct NfTables {
    socket: NetlinkSocket,
    family: IpFamily,
}

impl NfTables {
    fn open(family: IpFamily) -> Result<Self, LeftoverError> {
        let socket = NetlinkSocket::open(Protocol::Netfilter)
            .map_err(|source| LeftoverError::Read { what: "the iptables-nft tables".to_owned(), source })?;
        Ok(Self { socket, family })
    }

    /// Carries the removals out, all or none, and takes note of what the kernel calls busy.
    fn commit(&mut self, removals: &[Removal<u64>], busy: &mut Busy) -> Result<Commit, LeftoverError> {
        if removals.iter().all(Removal::is_empty) {
            return Ok(Commit::Done);
        }
        let failed = |source| LeftoverError::Delete { what: self.everything(), source };
        let written = batch::write(self.family, removals, self.socket.new_batch());
        let written =
            written.map_err(|long| failed(NetlinkError::Send { source: io::Error::other(long) }))?;
        let refusals = self.socket.send_batch(&written.batch, written.asked);
        let refusals =
            refusals.map_err(|source| LeftoverError::Delete { what: self.everything(), source })?;
        let outcome = if refusals.is_empty() { Commit::Done } else { Commit::Outdated };
        for refusal in refusals {
            // Gone since it was read, or the kernel wants it repeated.
            if matches!(refusal.errno, libc::ENOENT | libc::EAGAIN | libc::EINTR | libc::ERESTART) {
                continue;
            }
            match (refusal.errno, written.step(removals, refusal.sequence)) {
                (libc::EBUSY, Some(Step::Chain { table, chain })) => busy.insert(table, chain),
                (_, step) => {
                    let what = step.map_or_else(|| self.everything(), |step| self.object(step));
                    return Err(LeftoverError::Delete { what, source: refusal.into() });
                }
            }
        }
        Ok(outcome)
    }

    fn everything(&self) -> String {
        format!("kube-proxy's chains of {} tables", nft_family(self.family))
    }

    fn object(&self, step: Step<'_>) -> String {
        let family = nft_family(self.family);
        match step {
            Step::Rule { table, chain, .. } => format!("a rule of chain {chain} of table {family} {table}"),
            Step::Rules { table, chain } => format!("the rules of chain {chain} of table {family} {table}"),
            Step::Chain { table, chain } => format!("chain {chain} of table {family} {table}"),
        }
    }
}
