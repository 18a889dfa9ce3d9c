//! Which endpoints the two traffic policies allow, and what happens to connections without endpoints.

use portolan_core::event::ServiceType;

use super::*;

use Unserved::{Drop, Reject};

type Row<'a> = (&'a str, ServiceBuilder, &'a str, (&'a str, &'a str, Unserved));

fn assert_rows(rows: Vec<Row<'_>>) {
    for (rule, web, endpoints, (cluster, local, unserved)) in rows {
        let state = state_of([web.applied(), pods(endpoints)]);
        let found = lists(planned(&state, V4, "ns/web", ""));
        assert_eq!(found, (cluster.to_owned(), local.to_owned(), unserved), "{rule}");
    }
}

/// Reachable from outside by a node port.
fn exposed() -> ServiceBuilder {
    web().node_port(30080)
}

#[test]
fn cluster_policy_uses_terminating_endpoints_only_without_ready_ones() {
    assert_rows(vec![
        ("no endpoints", web(), "", ("", "", Reject)),
        ("ready ones, wherever they are", web(), "1@n1 2@n2 3", ("1 2 3", "", Drop)),
        ("not the unready", web(), "1@n1 2@n2/unready", ("1", "", Drop)),
        ("none when all are unready", web(), "1@n1/unready 2@n2/unready", ("", "", Reject)),
        ("not those that answer without being ready", web(), "1@n1/answering", ("", "", Reject)),
        ("the ready before the terminating", web(), "1@n1/serving 2@n2", ("2", "", Drop)),
        (
            "the terminating when none is ready",
            web(),
            "1@n1/serving 2@n2/unready 3@n2/serving",
            ("1 3", "", Drop),
        ),
        ("not those that stopped serving", web(), "1@n1/gone 2@n2/serving", ("2", "", Drop)),
        ("none when all have stopped serving", web(), "1@n1/gone 2@n2/gone", ("", "", Reject)),
        ("the ready even while they terminate", web(), "1@n1/leaving 2@n2", ("1 2", "", Drop)),
    ]);
}

#[test]
fn internal_local_uses_local_endpoints_only() {
    let web = || web().internal_local();
    assert_rows(vec![
        ("no endpoints anywhere is a refusal", web(), "", ("", "", Reject)),
        ("none here is silence, others have some", web(), "2@n2 3@n3", ("", "", Drop)),
        ("all here", web(), "1@n1 2@n1", ("", "1 2", Drop)),
        ("some here", web(), "1@n1 2@n2 3@n1", ("", "1 3", Drop)),
        ("an endpoint of no known node is not here", web(), "1 2@n2", ("", "", Drop)),
        ("a node's name must be equal, not alike", web(), "1@n11 2@N1", ("", "", Drop)),
        ("terminating ones here when none here is ready", web(), "1@n1/serving 2@n2", ("", "1", Drop)),
        ("not the terminating while one here is ready", web(), "1@n1/serving 2@n1", ("", "2", Drop)),
        ("unready ones everywhere are no endpoints", web(), "1@n1/unready 2@n2/gone", ("", "", Reject)),
        ("terminating ones elsewhere still count as some", web(), "2@n2/serving", ("", "", Drop)),
    ]);
}

#[test]
fn external_local_keeps_the_cluster_list_for_local_clients() {
    let web = || exposed().external_local();
    assert_rows(vec![
        ("no endpoints", web(), "", ("", "", Reject)),
        ("all here", web(), "1@n1 2@n1", ("1 2", "1 2", Drop)),
        ("some here", web(), "1@n1 2@n2", ("1 2", "1", Drop)),
        ("none here", web(), "2@n2 3@n3", ("2 3", "", Drop)),
        ("each list falls back alone: here nothing is ready", web(), "1@n1/serving 2@n2", ("2", "1", Drop)),
        (
            "each list falls back alone: nothing is ready",
            web(),
            "1@n1/serving 2@n2/serving",
            ("1 2", "1", Drop),
        ),
        ("all terminate elsewhere", web(), "2@n2/serving 3@n3/serving", ("2 3", "", Drop)),
        ("nothing usable", web(), "1@n1/gone 2@n2/unready", ("", "", Reject)),
    ]);
}

#[test]
fn internal_and_external_policy_are_independent() {
    let words = "1@n1 2@n2";
    assert_rows(vec![
        ("both Cluster", exposed(), words, ("1 2", "", Drop)),
        ("internal Local, external Cluster", exposed().internal_local(), words, ("1 2", "1", Drop)),
        ("internal Cluster, external Local", exposed().external_local(), words, ("1 2", "1", Drop)),
        ("both Local", exposed().internal_local().external_local(), words, ("1 2", "1", Drop)),
        (
            "both Local, all elsewhere",
            exposed().internal_local().external_local(),
            "2@n2 3@n3/serving",
            ("2", "", Drop),
        ),
        (
            "both Local, all elsewhere terminate",
            exposed().internal_local().external_local(),
            "2@n2/serving 3@n3/serving",
            ("2 3", "", Drop),
        ),
    ]);
    let state = state_of([exposed().internal_local().applied(), pods(words)]);
    let port = planned(&state, V4, "ns/web", "").unwrap();
    assert_eq!((&*numbers(port.internal_endpoints()), &*numbers(port.external_endpoints())), ("1", "1 2"));
    let state = state_of([exposed().external_local().applied(), pods(words)]);
    let port = planned(&state, V4, "ns/web", "").unwrap();
    assert_eq!((&*numbers(port.internal_endpoints()), &*numbers(port.external_endpoints())), ("1 2", "1"));
}

#[test]
fn external_policy_is_ignored_without_external_address() {
    let words = "1@n1 2@n2";
    assert_rows(vec![
        ("a cluster IP alone has no outside", web().external_local(), words, ("1 2", "", Drop)),
        (
            "neither has a load balancer without address and node port",
            web().service_type(ServiceType::LoadBalancer).external_local(),
            words,
            ("1 2", "", Drop),
        ),
        ("an internal Local list needs no Cluster list", web().internal_local(), words, ("", "1", Drop)),
        (
            "an external IP is an outside",
            web().external_ip("203.0.113.1").external_local(),
            words,
            ("1 2", "1", Drop),
        ),
        (
            "so is a load-balancer address",
            web().load_balancer_ip("203.0.113.1").external_local(),
            words,
            ("1 2", "1", Drop),
        ),
        ("so is a node port", exposed().external_local(), words, ("1 2", "1", Drop)),
        (
            "a node port left behind by another type has the Cluster policy",
            exposed().service_type(ServiceType::ClusterIp).external_local(),
            words,
            ("1 2", "", Drop),
        ),
    ]);
}

#[test]
fn service_that_loses_all_endpoints_rejects_instead_of_drops() {
    let mut state = state_of([web().internal_local().applied(), pods("2@n2")]);
    assert_eq!(shown(&state, V4, "ns/web", ""), "port 80 cluster 10.96.0.1 internal local → [] or drop");
    happen(&mut state, [deleted_slice("ns/web-1")]);
    assert_eq!(shown(&state, V4, "ns/web", ""), "port 80 cluster 10.96.0.1 internal local → []");
}

#[test]
fn terminating_endpoint_serves_until_it_is_removed() {
    let mut state = state_of([exposed().external_local().applied(), pods("1@n1 2@n2")]);
    let steps = [
        ("1@n1/serving 2@n2", ("2", "1", Drop)),
        ("1@n1/gone 2@n2/serving", ("2", "", Drop)),
        ("2@n2/serving", ("2", "", Drop)),
        ("", ("", "", Reject)),
    ];
    for (words, (cluster, local, unserved)) in steps {
        happen(&mut state, [pods(words)]);
        let found = lists(planned(&state, V4, "ns/web", ""));
        assert_eq!(found, (cluster.to_owned(), local.to_owned(), unserved), "{words}");
    }
}
