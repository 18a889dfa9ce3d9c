//! The backend on pretended tables: what it writes, when, and how much.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

use portolan_backend_nftables::NftablesBackend;
use portolan_core::event::{Change, Event};
use portolan_core::node::{NodeConfig, NodePortSelection};
use portolan_core::{IpFamily, ProxyBackend, State};
use portolan_nft::{Features, TableId, Tables};
use portolan_testkit::Process;
use portolan_testkit::block_on;
use portolan_testkit::fake::FakeTables;
use portolan_testkit::view::View;
use portolan_testkit::world::{self, World};

#[path = "fake/addresses.rs"]
mod addresses;
#[path = "fake/adoption.rs"]
mod adoption;
#[path = "fake/affinity.rs"]
mod affinity;
#[path = "fake/changes.rs"]
mod changes;
#[path = "fake/comparison.rs"]
mod comparison;
#[path = "fake/golden.rs"]
mod golden;
#[path = "fake/hostile.rs"]
mod hostile;
#[path = "fake/intercepted.rs"]
mod intercepted;
#[path = "fake/model.rs"]
mod model;
#[path = "fake/scenarios.rs"]
mod scenarios;
#[path = "fake/split.rs"]
mod split;
#[path = "fake/stale_objects.rs"]
mod stale_objects;
#[path = "fake/timed.rs"]
mod timed;
#[path = "fake/work.rs"]
mod work;

/// A process and its kernel.
struct Node {
    process: Process<NftablesBackend<FakeTables>>,
    tables: Arc<Mutex<FakeTables>>,
}

impl Deref for Node {
    type Target = Process<NftablesBackend<FakeTables>>;

    fn deref(&self) -> &Self::Target {
        &self.process
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.process
    }
}

impl Node {
    /// A node that knows all objects of `events` and has applied nothing.
    fn new(config: NodeConfig, events: impl IntoIterator<Item = Event>) -> Self {
        let tables = FakeTables::new().with_features(Features::default());
        Self::on(Arc::new(Mutex::new(tables)), config, events)
    }

    /// The same on a kernel that has a past.
    fn on(
        tables: Arc<Mutex<FakeTables>>,
        config: NodeConfig,
        events: impl IntoIterator<Item = Event>,
    ) -> Self {
        let process =
            Process::start(config, events, |family| NftablesBackend::new(family, Arc::clone(&tables)));
        Self { process, tables }
    }

    /// The process dies and another one starts, knowing the same objects.
    fn restart(mut self) -> Self {
        self.process.restart(|family| NftablesBackend::new(family, Arc::clone(&self.tables)));
        self
    }

    fn tables(&self) -> MutexGuard<'_, FakeTables> {
        self.tables.lock().unwrap()
    }

    /// Asserts that the tables serve what the plans want, and nothing else.
    #[track_caller]
    fn assert_serves_the_plan(&self) {
        for family in IpFamily::ALL {
            let dump = self.tables().dump(&table(family)).unwrap().expect("no table");
            let view = View::of(&dump).unwrap_or_else(|flaw| panic!("{family}: {flaw}"));
            assert_eq!(view, View::wanted(self.state.plan(family)), "{family}");
        }
    }
}

fn table(family: IpFamily) -> TableId {
    TableId::new(portolan_backend_nftables::layout::nft_family(family), "portolan")
}

fn config() -> NodeConfig {
    world::config()
}

#[test]
fn cleanup_removes_both_tables_and_is_content_without_them() {
    let mut node = Node::new(config(), []);
    node.apply_all();
    assert_eq!(node.tables().tables().count(), 2);
    for _ in 0..2 {
        for family in IpFamily::ALL {
            block_on(node.backend(family).cleanup()).unwrap();
        }
        assert_eq!(node.tables().tables().count(), 0);
    }
    node.state.forget_applied(IpFamily::V4);
    assert!(node.apply().operations > 0, "a backend that was cleaned up can start again");
}
