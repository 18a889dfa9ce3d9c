//! Other programs that take our rules away.

use std::sync::{Arc, Mutex};

use portolan_backend_nftables::NftablesBackend;
use portolan_core::node::NodeConfig;
use portolan_core::{ChangeSet, IpFamily, ProxyBackend, State};
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
