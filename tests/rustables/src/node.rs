//! A backend whose tables are written to the kernel and to memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use portolan_backend_nftables::NftablesBackend;
use portolan_core::event::{Change, Event};
use portolan_core::{IpFamily, Protocol, ProxyBackend as _, State};
use portolan_nft::{
    Commit, DumpedSet, Features, NetlinkTables, NftError, Table, TableDump, TableId, Tables, Transaction,
};
use portolan_testkit::fake::FakeTables;
use portolan_testkit::objects::{empty_lists, node, service, slice};
use portolan_testkit::world::{THIS_NODE, config};

/// The kernel's tables, and what was written to them.
pub(crate) struct Both {
    kernel: NetlinkTables,
    pub(crate) written: FakeTables,
}

impl Tables for Both {
    fn commit(&mut self, transaction: &Transaction) -> Result<Commit, NftError> {
        self.written.commit(transaction)?;
        self.kernel.commit(transaction)
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError> {
        self.kernel.dump(table)
    }

    fn dump_set(&mut self, table: &TableId, set: &str) -> Result<Option<DumpedSet>, NftError> {
        self.kernel.dump_set(table, set)
    }

    fn list(&mut self) -> Result<Vec<(TableId, Table)>, NftError> {
        self.kernel.list()
    }

    fn features(&mut self) -> Result<Features, NftError> {
        self.kernel.features()
    }
}

/// Programs the cluster. The kernel's tables stay as long as the result.
pub(crate) fn program(family: IpFamily) -> Arc<Mutex<Both>> {
    let mut kernel = NetlinkTables::open().unwrap();
    let written = FakeTables::new().with_features(kernel.features().unwrap());
    let tables = Arc::new(Mutex::new(Both { kernel, written }));
    let mut state = State::new(config());
    empty_lists().into_iter().chain(cluster(family)).for_each(|event| state.handle(event));
    state.prepare();
    let mut backend = NftablesBackend::new(family, Arc::clone(&tables));
    backend.apply(state.plan(family), state.changes(family)).now_or_never().unwrap().unwrap();
    tables
}

fn cluster(family: IpFamily) -> Vec<Event> {
    let at = |last: &str| match family {
        IpFamily::V4 => format!("10.96.0.{last}"),
        IpFamily::V6 => format!("fd00:10:96::{last}"),
    };
    let (pod, host) = match family {
        IpFamily::V4 => ("10.244.1.", "192.0.2.1"),
        IpFamily::V6 => ("fd00:10:244::", "2001:db8::1"),
    };
    let endpoints = |of: &str| {
        let local = format!("{pod}1");
        let slice =
            slice(&format!("shop/{of}-1"), of).port("http", Protocol::Tcp, 8080).on(THIS_NODE, &local);
        (2..5).fold(slice, |slice, last| slice.on("elsewhere", &format!("{pod}{last}"))).applied()
    };
    let range = match family {
        IpFamily::V4 => "203.0.113.0/24",
        IpFamily::V6 => "2001:db8:113::/48",
    };
    let hour = Duration::from_secs(3600);
    let of =
        |name: &str, last: &str| service(&format!("shop/{name}"), &at(last)).port("http", Protocol::Tcp, 80);
    vec![
        Event::Node(Change::Applied(node(THIS_NODE, &[host]))),
        of("plain", "10").applied(),
        of("none", "11").applied(),
        of("ports", "12").node_port(30_080).applied(),
        of("local", "13").node_port(30_081).external_local().load_balancer_ip(&at("113")).applied(),
        of("ranges", "14").node_port(30_082).load_balancer_ip(&at("114")).source_range(range).applied(),
        of("affinity", "15").affinity(hour).applied(),
        of("internal", "16").internal_local().applied(),
        endpoints("plain"),
        endpoints("ports"),
        endpoints("local"),
        endpoints("ranges"),
        endpoints("affinity"),
        endpoints("internal"),
    ]
}
