//! That the checks can fail.

use portolan_core::IpFamily;

use crate::changes::{SIZES, endpoint_replaced};
use crate::cost::Cost;
use crate::node::Node;

#[test]
fn a_walk_over_all_services_for_each_event_is_found_out() {
    let [small, large]: [Cost; 2] = SIZES.map(|services| {
        let mut node = Node::loaded(services, 2);
        node.apply_with(endpoint_replaced(1), |state| {
            // What a careless line would do.
            drop(std::hint::black_box(state.plan(IpFamily::V4).service_ports.keys().collect::<Vec<_>>()));
        })
    });
    assert!(large.growth_since(&small).is_some(), "{small:?} {large:?}");
}
