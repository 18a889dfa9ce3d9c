//! The scenario table with real packets, one test for each scenario and kind of iptables.

use portolan_backend_iptables::programs::{Programs, Variant};
use portolan_core::event::Event;
use portolan_testkit::netns::Topology;
use portolan_testkit::scenario::kernel::{ServedNode, network, run};
use portolan_testkit::scenario::{LeftOut, Need, Scenario, all, named};

use crate::node::Node;

/// What kube-proxy's rules do otherwise, besides SCTP, which this kernel may have no sockets for.
const UNMET: [Need; 6] = [
    Need::Sctp,
    Need::UndefinedPorts,
    Need::ServiceCidrs,
    Need::RefusalsToTheNode,
    Need::RangesWithoutEndpoints,
    Need::RefusalsWithinRanges,
];

/// The scenarios that are about nothing but these; [`crate::differences`] has what becomes of their packets.
const DIFFERENT: [&str; 9] = [
    "unserved::another_port_of_a_cluster_ip_is_refused",
    "unserved::another_port_of_a_cluster_ip_without_endpoints_is_refused",
    "unserved::an_unallocated_service_address_is_dropped",
    "unserved::drops_follow_the_service_cidrs",
    "unserved::a_deleted_service_gives_its_cluster_ip_back_to_the_service_cidr",
    "ranges::outsiders_are_dropped_also_where_others_are_refused",
    "node_ports::a_node_port_without_endpoints_is_refused_only_where_it_would_answer",
    "node_ports::a_local_policy_drops_only_where_the_node_port_would_answer",
    "ports::a_port_of_one_protocol_is_no_port_of_another",
];

struct Served {
    net: Topology,
    node: Node<Programs>,
}

impl ServedNode for Served {
    fn network(&self) -> &Topology {
        &self.net
    }

    fn follow(&mut self, events: Vec<Event>) {
        self.node.apply(events);
    }

    fn assert_sound(&mut self) {
        self.node.assert_sound();
    }
}

fn play(name: &str, variant: Variant) {
    // These are left out as a whole; a test below says which they are.
    if DIFFERENT.contains(&name) {
        return;
    }
    let scenario = named(name).scenario;
    let net = network(&scenario).unwrap();
    let node = Node::new(net.node(), variant, scenario.config.clone());
    run(name, &scenario, &mut Served { net, node }, &UNMET);
}

macro_rules! play_group {
    ($attribute:tt $group:ident { $($scenario:ident)* }) => {
        mod $group {
            $(
                #[test]
                #$attribute
                fn $scenario() {
                    let name = concat!(stringify!($group), "::", stringify!($scenario));
                    portolan_testkit::netns::isolated(|| crate::scenarios::play(name, super::VARIANT));
                }
            )*
        }
    };
}

macro_rules! play_each {
    ($($group:ident $scenarios:tt)*) => {
        $(play_group! { [cfg(test)] $group $scenarios })*
    };
}

/// What the kinds could do differently: matches by range, type and state, masquerading, and refusals.
macro_rules! play_some {
    (external_policy $scenarios:tt) => { play_group! { [cfg(test)] external_policy $scenarios } };
    (hairpin $scenarios:tt) => { play_group! { [cfg(test)] hairpin $scenarios } };
    (masquerade $scenarios:tt) => { play_group! { [cfg(test)] masquerade $scenarios } };
    (node_ports $scenarios:tt) => { play_group! { [cfg(test)] node_ports $scenarios } };
    (ranges $scenarios:tt) => { play_group! { [cfg(test)] ranges $scenarios } };
    (unserved $scenarios:tt) => { play_group! { [cfg(test)] unserved $scenarios } };
    ($group:ident $scenarios:tt) => {
        play_group! {
            [ignore = "half a minute, and as with iptables-nft: cargo nextest run -p portolan-backend-iptables --run-ignored all"]
            $group $scenarios
        }
    };
}

macro_rules! play_some_of_each {
    ($($group:ident $scenarios:tt)*) => {
        $(play_some! { $group $scenarios })*
    };
}

mod nft {
    const VARIANT: portolan_backend_iptables::programs::Variant =
        portolan_backend_iptables::programs::Variant::Nft;
    portolan_testkit::every_scenario!(play_each);
}

mod legacy {
    const VARIANT: portolan_backend_iptables::programs::Variant =
        portolan_backend_iptables::programs::Variant::Legacy;
    portolan_testkit::every_scenario!(play_some_of_each);
}

#[test]
fn of_the_table_these_scenarios_are_left_out_and_no_others() {
    let is_left_out = |scenario: &Scenario| scenario.left_out(&UNMET) == LeftOut::Everything;
    let mut names: Vec<_> =
        all().into_iter().filter(|named| is_left_out(&named.scenario)).map(|named| named.name).collect();
    let mut different = DIFFERENT.to_vec();
    names.sort_unstable();
    different.sort_unstable();
    assert_eq!(names, different);
}
