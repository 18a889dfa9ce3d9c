//! Addresses without endpoints: which clients are rejected, and which packets are dropped.

use portolan_core::event::{Change, Event};

use super::{all_are_refused, all_reach};
use crate::objects::service_cidr;
use crate::scenario::Scenario;
use crate::scenario::check::from;
use crate::scenario::need::Need;
use crate::scenario::objects::{gone, here, pods, web};
use crate::scenario::packet::{
    CLIENT, Destination, NODE_ITSELF, POD, WEB, cluster_ip, everywhere, external_ip, load_balancer_ip,
    node_port,
};

/// An address that Services may get, and none has.
fn unallocated() -> [Destination; 1] {
    [Destination::new("unallocated address", "10.96.0.200", "fd00:10:96::200", 80)]
}

fn service_cidrs() -> Event {
    service_cidr("kubernetes", &["10.96.0.0/16", "fd00:10:96::/112"])
}

pub(in crate::scenario) fn service_without_endpoints_rejects_all_clients() -> Scenario {
    Scenario::new().given(web()).given(pods("web", [])).expect(all_are_refused())
}

pub(in crate::scenario) fn service_without_slices_rejects_all_clients() -> Scenario {
    Scenario::new().given(web()).expect(all_are_refused())
}

pub(in crate::scenario) fn refusals_end_with_the_first_endpoint_and_begin_after_the_last() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1).unready()]))
        .expect(all_are_refused())
        .given(pods("web", [here(1)]))
        .expect_all(all_reach(&[1]))
        .given(pods("web", []))
        .expect(all_are_refused())
        .given(pods("web", [here(2)]))
        .expect_all(all_reach(&[2]))
}

pub(in crate::scenario) fn another_port_of_a_cluster_ip_is_refused() -> Scenario {
    Scenario::new()
        .needing(Need::UndefinedPorts)
        .given(web())
        .given(pods("web", [here(1)]))
        .expect(
            from([CLIENT, POD, NODE_ITSELF])
                .to([cluster_ip(WEB).at(81), cluster_ip(WEB).at(8080)])
                .is_refused(),
        )
        .expect_all(all_reach(&[1]))
}

pub(in crate::scenario) fn another_port_of_a_cluster_ip_without_endpoints_is_refused() -> Scenario {
    Scenario::new()
        .needing(Need::UndefinedPorts)
        .given(web())
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([cluster_ip(WEB).at(81)]).is_refused())
}

pub(in crate::scenario) fn another_port_of_an_external_address_is_left_alone() -> Scenario {
    let others = [load_balancer_ip(WEB).at(81), external_ip(WEB).at(81), node_port(WEB).at(30_081)];
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to(others).passes_untouched())
        .needing(Need::OpenExternalPorts)
}

pub(in crate::scenario) fn an_unallocated_service_address_is_dropped() -> Scenario {
    Scenario::new()
        .needing(Need::ServiceCidrs)
        .given(service_cidrs())
        .given(web())
        .given(pods("web", [here(1)]))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to(unallocated()).is_dropped())
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([cluster_ip(WEB).at(81)]).is_refused())
        .expect_all(all_reach(&[1]))
}

pub(in crate::scenario) fn an_unallocated_address_is_left_alone_while_no_service_cidr_is_known() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to(unallocated()).passes_untouched())
}

pub(in crate::scenario) fn drops_follow_the_service_cidrs() -> Scenario {
    let others = || from([CLIENT, POD, NODE_ITSELF]).to(unallocated());
    let further = || {
        let address = Destination::new("address of the second range", "203.0.113.7", "2001:db8:113::7", 80);
        from([CLIENT, POD, NODE_ITSELF]).to([address])
    };
    Scenario::new()
        .needing(Need::ServiceCidrs)
        .given(web())
        .given(pods("web", [here(1)]))
        .expect(others().passes_untouched())
        .given(service_cidrs())
        .expect(others().is_dropped())
        .expect(further().passes_untouched())
        .given(service_cidr("more", &["203.0.113.0/28", "2001:db8:113::/124"]))
        .expect(others().is_dropped())
        .expect(further().is_dropped())
        .given(Event::ServiceCidr(Change::Deleted("kubernetes".into())))
        .expect(others().passes_untouched())
        .expect(further().is_dropped())
        .expect_all(all_reach(&[1]))
}

pub(in crate::scenario) fn a_deleted_service_leaves_its_addresses_alone() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .expect_all(all_reach(&[1]))
        .given(gone("web"))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to(everywhere()).passes_untouched())
}

pub(in crate::scenario) fn a_deleted_service_gives_its_cluster_ip_back_to_the_service_cidr() -> Scenario {
    Scenario::new()
        .needing(Need::ServiceCidrs)
        .given(service_cidrs())
        .given(web())
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([cluster_ip(WEB)]).is_refused())
        .given(gone("web"))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([cluster_ip(WEB)]).is_dropped())
}
