//! The whole of a check and of a removal.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::IpAddr;

use portolan_core::flows::{FlowError, StaleFlow};
use portolan_core::{FlowCheck, FlowCleaner, IpFamily};
use portolan_netlink::{Message, NetlinkError, NetlinkSocket, Protocol, route};

use crate::entry::Entry;
use crate::error::ConntrackError;
use crate::filter::{Filter, narrow_lists};
use crate::table::Table;

/// Removes stale UDP flows from the connection tracking of one network namespace.
///
/// The namespace is that of the thread which calls first after [`Conntrack::new`] or after a failure,
/// so all calls belong in one namespace. Needs `CAP_NET_ADMIN` there.
///
/// ```no_run
/// use portolan_conntrack::Conntrack;
/// use portolan_core::{ChangeSet, FlowCheck, FlowCleaner, NodePlan};
///
/// fn after_an_apply(plan: &NodePlan, changes: &ChangeSet, conntrack: &mut Conntrack) {
///     match conntrack.remove_stale(plan.family, &FlowCheck::after(plan, changes)) {
///         Ok(removed) => println!("{removed} stale flows removed"),
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Conntrack {
    /// Opened when needed. Closed after a failure: a list that was not read to its end would delay
    /// the next one on the same socket.
    table: Option<Table>,
    filtering: Filtering,
    flows_read: u64,
}

/// What is known of the kernel's filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filtering {
    /// No known problem.
    Trusted,
    /// The kernel ignores them, or gets them wrong.
    Useless,
}

/// What one list brought.
#[derive(Debug, Default)]
struct Listed {
    /// Those by node port only if they were sent to a local address.
    stale: Vec<StaleFlow>,
    /// The kernel listed an entry that the filter does not admit.
    is_unfiltered: bool,
}

impl Conntrack {
    /// A cleaner that has opened no socket yet.
    pub fn new() -> Self {
        Self { table: None, filtering: Filtering::Trusted, flows_read: 0 }
    }

    /// How many entries the kernel has listed since the start, stale or not: what checks have cost.
    pub fn flows_read(&self) -> u64 {
        self.flows_read
    }

    fn find(&mut self, family: IpFamily, check: &FlowCheck) -> Result<Vec<StaleFlow>, FlowError> {
        let entries = self.count()?;
        let mut stale = Vec::new();
        if entries == 0 {
            return Ok(stale);
        }
        if self.filtering == Filtering::Trusted {
            for filter in Filter::covering(check, family, narrow_lists(entries)) {
                let Some(listed) = self.list_filtered(family, check, filter)? else {
                    self.filtering = Filtering::Useless;
                    break;
                };
                stale.extend(listed.stale);
            }
        }
        if self.filtering == Filtering::Useless {
            let listed = self.list(family, check, Filter::Nothing).map_err(failed_list(Filter::Nothing))?;
            stale = listed.stale;
        }
        local_only(stale)
    }

    fn count(&mut self) -> Result<u32, FlowError> {
        let count = |this: &mut Self| this.table()?.count();
        count(self).map_err(|error| failed("count tracked flows", ConntrackError::of_plain(error)))
    }

    /// Lists what `filter` admits; nothing when the kernel does not filter.
    fn list_filtered(
        &mut self,
        family: IpFamily,
        check: &FlowCheck,
        filter: Filter,
    ) -> Result<Option<Listed>, FlowError> {
        match self.list(family, check, filter) {
            Ok(listed) => Ok((!listed.is_unfiltered).then_some(listed)),
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(None),
            Err(error) => Err(failed_list(filter)(error)),
        }
    }

    fn list(&mut self, family: IpFamily, check: &FlowCheck, filter: Filter) -> Result<Listed, NetlinkError> {
        let mut flows_read = 0;
        let each = |listed: &mut Listed, message: &Message<'_>| {
            flows_read += 1;
            listed.take(message, check, filter);
        };
        let listed = self.table()?.list(family, filter, each);
        self.flows_read += flows_read;
        listed
    }

    fn delete(&mut self, family: IpFamily, flows: &[StaleFlow]) -> Result<usize, FlowError> {
        let handles: Vec<_> = flows.iter().map(|flow| &*flow.handle).collect();
        let action = || format!("remove {} stale UDP flows", flows.len());
        let table = self.table().map_err(|error| failed(action(), error.into()))?;
        let nacks = table.delete(family, &handles).map_err(|error| failed(action(), error.into()))?;
        match ConntrackError::of_nacks(&nacks) {
            Some(left) => Err(failed(action(), left)),
            None => Ok(flows.len().saturating_sub(nacks.len())),
        }
    }

    fn table(&mut self) -> Result<&mut Table, NetlinkError> {
        match &mut self.table {
            Some(table) => Ok(table),
            closed => Ok(closed.insert(Table::open()?)),
        }
    }

    /// Closes the socket after a failure.
    fn close_if_failed<T>(&mut self, result: Result<T, FlowError>) -> Result<T, FlowError> {
        if result.is_err() {
            self.table = None;
        }
        result
    }
}

impl Default for Conntrack {
    fn default() -> Self {
        Self::new()
    }
}

impl FlowCleaner for Conntrack {
    fn find_stale(&mut self, family: IpFamily, check: &FlowCheck) -> Result<Vec<StaleFlow>, FlowError> {
        if check.is_empty() {
            return Ok(Vec::new());
        }
        let result = self.find(family, check);
        self.close_if_failed(result)
    }

    fn remove(&mut self, family: IpFamily, flows: &[StaleFlow]) -> Result<usize, FlowError> {
        if flows.is_empty() {
            return Ok(0);
        }
        let result = self.delete(family, flows);
        self.close_if_failed(result)
    }
}

impl Listed {
    fn take(&mut self, message: &Message<'_>, check: &FlowCheck, filter: Filter) {
        let entry = Entry::parse(message);
        let is_admitted = entry.as_ref().is_some_and(|entry| filter.admits(&entry.flow));
        self.is_unfiltered |= !is_admitted && filter != Filter::Nothing;
        let Some(entry) = entry.filter(|entry| check.is_stale(&entry.flow)) else { return };
        let is_by_node_port = check.is_by_node_port(&entry.flow);
        self.stale.push(StaleFlow { flow: entry.flow, is_by_node_port, handle: entry.handle() });
    }
}

/// Leaves out the flows of other hosts that pass with the number of one of our node ports.
fn local_only(flows: Vec<StaleFlow>) -> Result<Vec<StaleFlow>, FlowError> {
    if !flows.iter().any(|stale| stale.is_by_node_port) {
        return Ok(flows);
    }
    let unknown = |error: NetlinkError| failed("ask routing for this node's addresses", error.into());
    let mut local = LocalAddresses::open().map_err(unknown)?;
    let mut kept = Vec::with_capacity(flows.len());
    for stale in flows {
        if !stale.is_by_node_port || local.has(stale.flow.destination.ip()).map_err(unknown)? {
            kept.push(stale);
        }
    }
    Ok(kept)
}

/// Which addresses are local to this node, as routing sees it. Valid for one check: addresses come and go.
///
/// The rules for node ports match `fib daddr type local`. That is more than the addresses of interfaces: a
/// local route makes any address local. So routing is asked, one address at a time, which costs some
/// microseconds and needs no privilege.
struct LocalAddresses {
    socket: NetlinkSocket,
    known: HashMap<IpAddr, bool>,
}

impl LocalAddresses {
    fn open() -> Result<Self, NetlinkError> {
        Ok(Self { socket: NetlinkSocket::open(Protocol::Route)?, known: HashMap::new() })
    }

    /// Whether packets to `address` end on this node.
    fn has(&mut self, address: IpAddr) -> Result<bool, NetlinkError> {
        if let Some(known) = self.known.get(&address) {
            return Ok(*known);
        }
        let is_local = match route::lookup(&mut self.socket, address) {
            Ok(route) => route.is_some_and(|route| route.is_local),
            // There is no route, or one that rejects packets.
            Err(NetlinkError::Rejected { .. }) => false,
            Err(error) => return Err(error),
        };
        self.known.insert(address, is_local);
        Ok(is_local)
    }
}

fn failed_list(filter: Filter) -> impl FnOnce(NetlinkError) -> FlowError {
    move |error| failed(format!("list {filter}"), error.into())
}

fn failed(action: impl Display, source: ConntrackError) -> FlowError {
    FlowError { action: action.to_string(), source: Box::new(source) }
}

#[cfg(test)]
mod tests;
