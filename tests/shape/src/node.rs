//! A node without a kernel: the real state and backend over tables in memory, and a count of what they allocate.

use std::sync::{Arc, Mutex};

use allocation_counter::{measure, opt_out};
use futures::FutureExt as _;
use portolan_backend_nftables::NftablesBackend;
use portolan_core::event::Event;
use portolan_core::{ApplyReport, IpFamily, NodeConfig, ProxyBackend as _, State};
use portolan_nft::{Commit, DumpedSet, Features, NftError, Table, TableDump, TableId, Tables, Transaction};
use portolan_testkit::fake::FakeTables;

use crate::cluster::lists;
use crate::cost::Cost;

/// How often each kind of change is made.
const ROUNDS: u32 = 9;

/// Tables whose own allocations do not count: a kernel's would not either.
struct Uncounted(FakeTables);

impl Uncounted {
    fn call<T>(&mut self, work: impl FnOnce(&mut FakeTables) -> T) -> T {
        let mut result = None;
        opt_out(|| result = Some(work(&mut self.0)));
        result.unwrap()
    }
}

impl Tables for Uncounted {
    fn commit(&mut self, transaction: &Transaction) -> Result<Commit, NftError> {
        self.call(|tables| tables.commit(transaction))
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError> {
        self.call(|tables| tables.dump(table))
    }

    fn dump_set(&mut self, table: &TableId, set: &str) -> Result<Option<DumpedSet>, NftError> {
        self.call(|tables| tables.dump_set(table, set))
    }

    fn list(&mut self) -> Result<Vec<(TableId, Table)>, NftError> {
        self.call(FakeTables::list)
    }

    fn features(&mut self) -> Result<Features, NftError> {
        self.call(FakeTables::features)
    }
}

/// State and backend of one family.
pub(crate) struct Node {
    pub(crate) state: State,
    backend: NftablesBackend<Uncounted>,
}

impl Node {
    /// A proxy that has just started.
    pub(crate) fn start() -> Self {
        let tables = Arc::new(Mutex::new(Uncounted(FakeTables::new())));
        let state = State::new(NodeConfig::new("node1"));
        Self { state, backend: NftablesBackend::new(IpFamily::V4, tables) }
    }

    /// One that has loaded so many Services with so many endpoints each.
    pub(crate) fn loaded(services: u32, endpoints: u32) -> Self {
        let mut node = Self::start();
        node.apply(lists(services, endpoints));
        node
    }

    /// From events to the commit.
    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Cost {
        self.apply_with(events, |_| {})
    }

    /// The same with something else done to the state in between, whose cost counts too.
    pub(crate) fn apply_with(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        also: impl FnOnce(&State),
    ) -> Cost {
        let mut report = ApplyReport::default();
        let mut events = events.into_iter().collect::<Vec<_>>().into_iter();
        let memory = measure(|| {
            events.by_ref().for_each(|event| self.state.handle(event));
            self.state.prepare();
            also(&self.state);
            report = self.program();
        });
        Cost::new(memory, &report)
    }

    /// As the sync does it: a change set that is empty is not applied.
    fn program(&mut self) -> ApplyReport {
        let family = IpFamily::V4;
        let (plan, changes) = (self.state.plan(family), self.state.changes(family));
        let report = if changes.is_empty() {
            ApplyReport::default()
        } else {
            self.backend.apply(plan, changes).now_or_never().unwrap().unwrap()
        };
        self.state.committed(family);
        report
    }

    /// The median cost of several such changes, each its own apply. The first one, which pays for what the
    /// later ones find ready, is left out.
    pub(crate) fn repeat<E: IntoIterator<Item = Event>>(&mut self, change: impl Fn(u32) -> E) -> Cost {
        let costs: Vec<Cost> = (0..=ROUNDS).map(|round| self.apply(change(round))).collect();
        Cost::median(&costs[1..])
    }
}
