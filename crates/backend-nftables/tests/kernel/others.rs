//! Other programs that take our rules away.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use portolan_backend_nftables::{NftablesBackend, NftablesFactory};
use portolan_core::node::NodeConfig;
use portolan_core::{BackendFactory, ChangeSet, IpFamily, Protocol, ProxyBackend, State};
use portolan_nft::NetlinkTables;
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::objects::service;
use portolan_testkit::{Process, block_on};

fn nft(words: &str) {
    Program::new("nft").args(words.split(' ')).run().unwrap();
}

/// On kernels with table owners no other process can do this to our table; on others every process can.
#[test]
fn deletion_or_flush_of_a_table_without_owner_is_detected() {
    isolated(|| {
        let tables = Arc::new(Mutex::new(NetlinkTables::open().unwrap()));
        let mut state = State::new(NodeConfig::new("node1"));
        state.prepare();
        let mut backend = NftablesBackend::new(IpFamily::V4, tables);
        for damage in [
            "delete table ip portolan",
            "flush table ip portolan",
            "flush ruleset",
            "flush chain ip portolan filter-forward",
            "flush chain ip portolan nat-postrouting",
            "add element ip portolan services { 10.96.0.1 . tcp . 80 : drop }",
        ] {
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
fn rules_that_outlive_their_process_are_adopted_by_the_next_one() {
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

/// Without an owner of the table, the waiting runtime gets a notice of the change from the kernel.
#[test]
fn foreign_changes_are_notified_and_our_own_ignored() {
    isolated(|| {
        let tables = Arc::new(Mutex::new(NetlinkTables::open().unwrap()));
        let mut process = Process::start(NodeConfig::new("node1"), [], |family| {
            NftablesBackend::new(family, Arc::clone(&tables))
        });
        for family in ["ip", "ip6"] {
            nft(&format!("add table {family} portolan"));
        }
        process.handle([]);
        for family in IpFamily::ALL {
            process.try_apply(family).unwrap();
        }
        let dns = service("kube-system/dns", "10.96.0.10").port("", Protocol::Udp, 53);
        process.handle([dns.applied()]);
        assert!(process.try_apply(IpFamily::V4).unwrap().operations > 0);
        nft("add table ip other");
        nft("add chain ip other forward");
        nft("flush table ip6 portolan");
        let backend = process.backend(IpFamily::V4);
        block_on(async {
            let told = poll_fn(|context| Poll::Ready(backend.poll_foreign_change(context))).await;
            assert!(told.is_pending());
            assert!(backend.is_intact().await.unwrap());
            nft("flush map ip portolan services");
            poll_fn(|context| backend.poll_foreign_change(context)).await;
            assert!(!backend.is_intact().await.unwrap());
        });
    });
}
