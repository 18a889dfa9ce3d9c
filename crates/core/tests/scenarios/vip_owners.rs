//! Owners of addresses that several Services name, and the addresses of one Service.

use portolan_testkit::objects::ip;

use super::*;

#[test]
fn external_ip_cannot_take_over_a_cluster_ip() {
    let thief =
        service("evil/web", "10.96.0.66").port("", Tcp, 443).created(1).external_ip("10.96.0.1").applied();
    let owner = service("default/kubernetes", "10.96.0.1").port("https", Tcp, 443).created(9).applied();
    for events in [[thief.clone(), owner.clone()], [owner, thief]] {
        let mut state = state_of(events);
        let kubernetes = planned(&state, V4, "default/kubernetes", "https").unwrap();
        assert_eq!(kubernetes.cluster_ip, Some(ip("10.96.0.1")));
        let thief = planned(&state, V4, "evil/web", "").unwrap();
        assert!(thief.external_ips.is_empty());
        let conflicts = state.take_conflicts();
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].ignored.to_string(), "evil/web");
    }
}

#[test]
fn address_passes_to_the_next_owner_when_its_owner_is_deleted() {
    let claim = |name: &str, own: &str, created| {
        service(name, own).port("", Tcp, 80).created(created).external_ip("203.0.113.1").applied()
    };
    let mut state = state_of([claim("ns/old", "10.96.0.1", 1), claim("ns/new", "10.96.0.2", 2)]);
    assert!(planned(&state, V4, "ns/new", "").unwrap().external_ips.is_empty());
    for family in IpFamily::ALL {
        state.committed(family);
    }
    state.handle(Event::Service(Change::Deleted(object_name("ns/old"))));
    state.prepare();
    assert_eq!(*planned(&state, V4, "ns/new", "").unwrap().external_ips, [ip("203.0.113.1")]);
    let mut changed: Vec<_> = state.changes(V4).service_ports().map(|(name, _)| name.to_string()).collect();
    changed.sort();
    assert_eq!(changed, ["ns/new", "ns/old"]);
}

#[test]
fn port_listed_twice_in_a_manifest_counts_once() {
    let twice = service("ns/web", "10.96.0.1").port("a", Tcp, 80).port("a", Tcp, 80).applied();
    let other = service("ns/zz", "10.96.0.9").port("", Tcp, 80).external_ip("10.96.0.1").applied();
    let mut state = state_of([twice, other]);
    assert!(planned(&state, V4, "ns/zz", "").unwrap().external_ips.is_empty());
    state.handle(Event::Service(Change::Deleted(object_name("ns/web"))));
    state.prepare();
    assert_eq!(*planned(&state, V4, "ns/zz", "").unwrap().external_ips, [ip("10.96.0.1")]);
}

#[test]
fn services_exchange_an_address_within_one_batch() {
    let with = |name: &str, ip: &str, external: Option<&str>| {
        let bare = service(name, ip).port("", Tcp, 80);
        external.into_iter().fold(bare, ServiceBuilder::external_ip).applied()
    };
    let mut state =
        state_of([with("ns/a", "10.96.0.1", Some("203.0.113.1")), with("ns/b", "10.96.0.2", None)]);
    commit(&mut state);
    // The taker is named first, as an unlucky order of events has it.
    happen(&mut state, [with("ns/b", "10.96.0.2", Some("203.0.113.1")), with("ns/a", "10.96.0.1", None)]);
    assert!(planned(&state, V4, "ns/a", "").unwrap().external_ips.is_empty());
    assert_eq!(*planned(&state, V4, "ns/b", "").unwrap().external_ips, [ip("203.0.113.1")]);
}

#[test]
fn address_named_in_two_roles_is_served_once() {
    let web = web().load_balancer_ip("203.0.113.1").external_ip("203.0.113.1").external_ip("203.0.113.1");
    let state = state_of([web.applied()]);
    assert_eq!(shown(&state, V4, "ns/web", ""), "port 80 cluster 10.96.0.1 lb 203.0.113.1 → []");
}

#[test]
fn service_without_external_address_needs_no_external_list() {
    let claim = |name: &str, own: &str, created| {
        service(name, own)
            .port("", Tcp, 80)
            .created(created)
            .external_ip("203.0.113.1")
            .external_local()
            .internal_local()
    };
    let mut state = state_of([
        claim("ns/web", "10.96.0.1", 2).applied(),
        claim("ns/first", "10.96.0.2", 1).applied(),
        pods("1@n1 2@n2"),
    ]);
    assert_eq!(lists(planned(&state, V4, "ns/web", "")), (String::new(), "1".to_owned(), Unserved::Drop));
    happen(&mut state, [deleted_service("ns/first")]);
    assert_eq!(lists(planned(&state, V4, "ns/web", "")).0, "1 2", "it leads in again");
}
