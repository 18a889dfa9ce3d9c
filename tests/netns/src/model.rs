//! Random clusters in the real kernel: every incremental step is one the kernel takes, and ends
//! where a load from scratch ends.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use portolan_core::IpFamily;
use portolan_core::event::Event;
use portolan_nft::TableDump;
use portolan_testkit::netns::{Topology, isolated};
use portolan_testkit::random;
use portolan_testkit::shop::config;
use portolan_testkit::view::View;
use portolan_testkit::world::{self, World};
use proptest::test_runner::{Config, TestRunner};

use crate::cluster::Cluster;

#[test]
fn random_events_lead_the_kernel_to_what_a_fresh_load_makes() {
    isolated(|| {
        let cluster = RefCell::new(Some(Cluster::with_config(Topology::routed(0).unwrap(), config())));
        let few = Config { max_shrink_iters: 60, ..random::cases(12) };
        let outcome = TestRunner::new(few).run(&world::events(40), |events| {
            // A case that fails leaves its node in any state, so the next has one that is made anew.
            let held = cluster.take();
            let held = held.unwrap_or_else(|| Cluster::with_config(Topology::routed(0).unwrap(), config()));
            cluster.replace(Some(play(held, events)));
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    });
}

fn play(mut cluster: Cluster, events: Vec<Event>) -> Cluster {
    cluster.apply(World::default().lists());
    for event in events {
        cluster.apply([event]);
        for family in IpFamily::ALL {
            let view = View::of(&cluster.dump(family).unwrap()).unwrap_or_else(|flaw| panic!("{flaw}"));
            assert_eq!(view, View::wanted(cluster.state.plan(family)));
        }
    }
    let incremental = IpFamily::ALL.map(|family| View::of(&cluster.dump(family).unwrap()));
    cluster = cluster.restart();
    let claims_and_sweeps = cluster.apply([]);
    assert!(claims_and_sweeps <= 2 + 64, "{claims_and_sweeps}");
    let swept = IpFamily::ALL.map(|family| cluster.dump(family).unwrap());

    cluster.clean();
    cluster.apply([]);
    for ((family, incremental), swept) in IpFamily::ALL.iter().zip(incremental).zip(swept) {
        let fresh = cluster.dump(*family).unwrap();
        assert_eq!(incremental, View::of(&fresh));
        assert_eq!(chain_names(&swept), chain_names(&fresh));
    }
    cluster.assert_sound();
    cluster
}

fn chain_names(dump: &TableDump) -> BTreeSet<Arc<str>> {
    dump.chains.iter().map(|chain| Arc::clone(&chain.chain.name)).collect()
}
