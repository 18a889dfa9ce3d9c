//! How many service ports have endpoints, but none on this node that their policy admits.

use portolan_core::state::WithoutLocalEndpoints;

use super::*;

fn gauges(state: &State) -> (usize, usize) {
    let WithoutLocalEndpoints { internal, external } = state.without_local_endpoints(V4);
    (internal, external)
}

#[test]
fn port_with_remote_endpoints_only_counts_for_its_local_policy() {
    let exposed = || web().node_port(30080);
    let policies = [
        ("both Cluster", exposed(), (0, 0)),
        ("internal Local", exposed().internal_local(), (1, 0)),
        ("external Local", exposed().external_local(), (0, 1)),
        ("both Local", exposed().internal_local().external_local(), (1, 1)),
        ("external Local without an outside", web().external_local(), (0, 0)),
        (
            "external Local of a load balancer that has no address yet",
            web().service_type(portolan_core::event::ServiceType::LoadBalancer).external_local(),
            (0, 0),
        ),
        ("internal Local without an outside", web().internal_local(), (1, 0)),
    ];
    for (rule, web, elsewhere) in policies {
        let endpoints = [
            ("some here", "1@n1 2@n2", (0, 0)),
            ("none here", "2@n2", elsewhere),
            ("only terminating ones here", "1@n1/serving 2@n2", (0, 0)),
            ("only terminating ones elsewhere", "2@n2/serving", elsewhere),
            ("none that can be used", "1@n1/unready 2@n2/gone", (0, 0)),
            ("none at all", "", (0, 0)),
        ];
        for (where_they_are, words, expected) in endpoints {
            let state = state_of([web.clone().applied(), pods(words)]);
            assert_eq!(gauges(&state), expected, "{rule}, {where_they_are}");
        }
    }
}

#[test]
fn ports_are_counted_per_family() {
    let two = service("ns/web", "10.96.0.1,fd00::1").port("a", Tcp, 80).port("b", Udp, 80).internal_local();
    let elsewhere = with_endpoints(slice("ns/web-1", "web").port("a", Tcp, 80).port("b", Udp, 80), "2@n2");
    let state = state_of([two.applied(), elsewhere.applied()]);
    assert_eq!(gauges(&state), (2, 0));
    assert_eq!(state.without_local_endpoints(V6), WithoutLocalEndpoints::default());
}

#[test]
fn the_count_follows_endpoints_policies_and_deletion() {
    let mut state = state_of([web().internal_local().applied(), pods("2@n2")]);
    assert_eq!(gauges(&state), (1, 0));
    happen(&mut state, [pods("1@n1 2@n2")]);
    assert_eq!(gauges(&state), (0, 0));
    happen(&mut state, [pods("2@n2"), web().applied()]);
    assert_eq!(gauges(&state), (0, 0));
    happen(&mut state, [web().internal_local().applied()]);
    assert_eq!(gauges(&state), (1, 0));
    happen(&mut state, [deleted_service("ns/web")]);
    assert_eq!(gauges(&state), (0, 0));
}
