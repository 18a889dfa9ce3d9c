//! Other programs that take our rules away.

use std::sync::{Arc, Mutex};

use portolan_backend_nftables::{NftablesBackend, NftablesFactory};
use portolan_core::node::NodeConfig;
use portolan_core::{BackendFactory, ChangeSet, IpFamily, ProxyBackend, State};
use portolan_nft::NetlinkTables;
use portolan_testkit::block_on;
use portolan_testkit::netns::{Program, isolated};

fn nft(words: &str) {
    Program::new("nft").args(words.split(' ')).run().unwrap();
}

/// On kernels that know owners nobody else can do this to a table of ours; on others anybody can.
#[test]
fn a_table_without_an_owner_that_others_delete_or_flush_is_missed() {
    isolated(|| {
        let tables = Arc::new(Mutex::new(NetlinkTables::open().unwrap()));
        let mut state = State::new(NodeConfig::new("node1"));
        state.prepare();
        let mut backend = NftablesBackend::new(IpFamily::V4, tables);
        for damage in ["delete table ip portolan", "flush table ip portolan", "flush ruleset"] {
            // A table that has no owner gets none: only new ones do.
            nft("add table ip portolan");
            let everything = ChangeSet::complete();
            block_on(backend.apply(state.plan(IpFamily::V4), &everything)).unwrap();
            assert!(block_on(backend.is_intact()).unwrap());
            nft(damage);
            assert!(!block_on(backend.is_intact()).unwrap(), "{damage}");
            let _ = Program::new("nft").args(["delete", "table", "ip", "portolan"]).run();
        }
    });
}

#[test]
fn rules_that_outlast_their_process_are_found_by_the_next_one() {
    isolated(|| {
        let mut state = State::new(NodeConfig::new("node1"));
        state.prepare();
        let is_forwarding = || {
            let factory = NftablesFactory::new();
            IpFamily::ALL.map(|family| block_on(factory.is_forwarding(family)).unwrap())
        };
        assert_eq!(is_forwarding(), [false; 2]);
        let mut backend = NftablesFactory::new().create(IpFamily::V6).unwrap();
        block_on(backend.apply(state.plan(IpFamily::V6), &ChangeSet::complete())).unwrap();
        assert_eq!(is_forwarding(), [false, true]);
        block_on(backend.cleanup()).unwrap();
        assert_eq!(is_forwarding(), [false; 2]);
    });
}
