//! The scenario table with real packets, one test for each scenario.

use portolan_core::Protocol;
use portolan_core::event::Event;
use portolan_testkit::every_scenario;
use portolan_testkit::netns::{Topology, isolated};
use portolan_testkit::scenario::kernel::{ServedNode, network, run};
use portolan_testkit::scenario::{Check, LeftOut, Need, Scenario, all, named};

use crate::cluster::Cluster;

/// This kernel may have no SCTP sockets; the tables are asked about SCTP without packets.
const UNMET: [Need; 1] = [Need::Sctp];

impl ServedNode for Cluster {
    fn network(&self) -> &Topology {
        &self.net
    }

    fn follow(&mut self, events: Vec<Event>) {
        self.apply(events);
    }

    fn assert_sound(&mut self) {
        Self::assert_sound(self);
    }
}

fn play(name: &str) {
    let scenario = named(name).scenario;
    let net = network(&scenario).unwrap();
    let mut node = Cluster::without_servers(net, scenario.config.clone());
    run(name, &scenario, &mut node, &UNMET);
}

macro_rules! play_each {
    ($($group:ident { $($scenario:ident)* })*) => {$(
        mod $group {
            use super::*;

            $(
                #[test]
                fn $scenario() {
                    isolated(|| play(concat!(stringify!($group), "::", stringify!($scenario))));
                }
            )*
        }
    )*};
}

every_scenario!(play_each);

#[test]
fn of_the_table_only_packets_of_sctp_are_left_out() {
    let count_sctp = |scenario: &Scenario| {
        let checks = scenario.steps.iter().flat_map(|step| &step.checks);
        checks.flat_map(Check::packets).filter(|packet| packet.protocol == Protocol::Sctp).count()
    };
    for named in all() {
        let left_out = named.scenario.left_out(&UNMET);
        let wanted = match count_sctp(&named.scenario) {
            0 => LeftOut::Nothing,
            count => LeftOut::Packets(count),
        };
        assert_eq!(left_out, wanted, "{}", named.name);
        println!("{}: {left_out:?}", named.name);
    }
}
