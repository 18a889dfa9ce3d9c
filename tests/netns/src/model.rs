//! Random clusters in the real kernel: every incremental step is one the kernel takes, and ends
//! where a load from scratch ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use portolan_core::IpFamily;
use portolan_nft::TableDump;
use portolan_testkit::netns::{Topology, isolated};
use portolan_testkit::shop::config;
use portolan_testkit::view::View;
use portolan_testkit::world::{self, World};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::cluster::Cluster;

/// Chosen anew for every run unless given, and printed when the test fails.
fn seed() -> u64 {
    match std::env::var("PORTOLAN_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_secs(),
    }
}

#[test]
fn random_events_lead_the_kernel_to_what_a_fresh_load_makes() {
    isolated(|| {
        let seed = seed();
        println!("PORTOLAN_SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let mut cluster = Cluster::with_config(Topology::routed(0).unwrap(), config());
        for _ in 0..12 {
            let mut world = World::default();
            let lists = World::default().lists();
            cluster.apply(lists);
            for event in world::events(40).new_tree(&mut runner).unwrap().current() {
                world.handle(&event);
                cluster.apply([event]);
                for family in IpFamily::ALL {
                    let view =
                        View::of(&cluster.dump(family).unwrap()).unwrap_or_else(|flaw| panic!("{flaw}"));
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
        }
    });
}

fn chain_names(dump: &TableDump) -> BTreeSet<Arc<str>> {
    dump.chains.iter().map(|chain| Arc::clone(&chain.chain.name)).collect()
}
