//! A small cluster whose node is served by the backend, inside this process.

use std::sync::{Arc, Mutex, PoisonError};

use portolan_backend_nftables::NftablesBackend;
use portolan_backend_nftables::layout::nft_family;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, BackendError, IpFamily, ProxyBackend, State};
use portolan_nft::{NetlinkTables, TableDump, TableId, Tables};
use portolan_testkit::block_on;
use portolan_testkit::netns::{EchoServer, Topology, assert_ruleset_reloads};
use portolan_testkit::objects::empty_lists;
use portolan_testkit::shop::{POD_PORT, config};
use portolan_testkit::view::View;

/// A network, its objects, and what makes its node serve them.
pub(crate) struct Cluster {
    pub(crate) net: Topology,
    pub(crate) state: State,
    backends: Vec<(IpFamily, NftablesBackend<NetlinkTables>)>,
    tables: Arc<Mutex<NetlinkTables>>,
    servers: Vec<EchoServer>,
}

impl Cluster {
    /// The network with echo servers in its pods, and a node that has the whole configuration.
    pub(crate) fn new(net: Topology) -> Self {
        Self::with_config(net, config())
    }

    pub(crate) fn with_config(net: Topology, config: NodeConfig) -> Self {
        let servers = net.serve(&[POD_PORT, 9090]).unwrap();
        let mut state = State::new(config);
        for event in empty_lists() {
            state.handle(event);
        }
        let (tables, backends) = connect(&net);
        Self { net, state, backends, tables, servers }
    }

    /// The proxy's process ends and a new one starts; its socket is gone before the next is there.
    pub(crate) fn restart(self) -> Self {
        let Self { net, mut state, backends, tables, servers } = self;
        drop((backends, tables));
        for family in IpFamily::ALL {
            state.forget_applied(family);
        }
        let (tables, backends) = connect(&net);
        Self { net, state, backends, tables, servers }
    }

    /// A second proxy beside this one, which knows the same objects.
    pub(crate) fn rival(&self) -> NftablesBackend<NetlinkTables> {
        connect(&self.net).1.remove(0).1
    }

    /// Takes events in and makes the node follow them; returns how many operations that took.
    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        for event in events {
            self.state.handle(event);
        }
        self.state.prepare();
        IpFamily::ALL.map(|family| self.try_apply(family).unwrap().operations).iter().sum()
    }

    pub(crate) fn try_apply(&mut self, family: IpFamily) -> Result<ApplyReport, BackendError> {
        let (_, backend) = self.backends.iter_mut().find(|(f, _)| *f == family).unwrap();
        let report = block_on(backend.apply(self.state.plan(family), self.state.changes(family)))?;
        self.state.committed(family);
        Ok(report)
    }

    /// Removes our tables; the next apply starts from nothing.
    pub(crate) fn clean(&mut self) {
        for (family, backend) in &mut self.backends {
            block_on(backend.cleanup()).unwrap();
            self.state.forget_applied(*family);
        }
    }

    pub(crate) fn dump(&self, family: IpFamily) -> Option<TableDump> {
        let id = TableId::new(nft_family(family), "portolan");
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).dump(&id).unwrap()
    }

    /// Asserts what must hold after every scenario: the tables serve the plan and nothing else,
    /// a second apply sends nothing, and `nft list ruleset` prints what loads again.
    #[track_caller]
    pub(crate) fn assert_sound(&mut self) {
        for family in IpFamily::ALL {
            let dump = self.dump(family).expect("no table");
            let view = View::of(&dump).unwrap_or_else(|flaw| panic!("{family}: {flaw}"));
            assert_eq!(view, View::wanted(self.state.plan(family)), "{family}");
        }
        assert_eq!(self.apply([]), 0, "the same plan once more");
        assert_ruleset_reloads(self.net.node());
    }
}

type Backends = Vec<(IpFamily, NftablesBackend<NetlinkTables>)>;

/// Opens the netlink socket in the node; it stays there, whichever thread uses it.
fn connect(net: &Topology) -> (Arc<Mutex<NetlinkTables>>, Backends) {
    let tables = net.node().run(NetlinkTables::open).unwrap().unwrap();
    let tables = Arc::new(Mutex::new(tables));
    let backend = |family| (family, NftablesBackend::new(family, Arc::clone(&tables)));
    let backends = IpFamily::ALL.map(backend).into();
    (tables, backends)
}
