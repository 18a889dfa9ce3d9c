//! Changes too large for one transaction: where packets go between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use portolan_core::name::ServicePortName;
use portolan_core::plan::{NodePlan, ServicePort};
use portolan_nft::TableDump;
use portolan_testkit::random;
use proptest::prelude::*;

use super::intercepted::Intercepted;
use super::*;

/// Empty tables, and what they hold after every commit.
fn witnessed() -> (Arc<Mutex<Intercepted>>, Arc<Mutex<Vec<TableDump>>>) {
    let mut tables = Intercepted::new(FakeTables::new().with_features(Features::default()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let witness = Arc::clone(&seen);
    tables.after_commit = Box::new(move |tables, transaction| {
        witness.lock().unwrap().extend(tables.dump(transaction.table()).unwrap());
    });
    (Arc::new(Mutex::new(tables)), seen)
}

/// The owners of addresses that lead to a chain of the service port's own, by frontend as a [`View`] names it.
fn own_chains(plan: &NodePlan) -> BTreeMap<String, ServicePortName> {
    let has_own = |port: &ServicePort| {
        port.session_affinity.is_some() || port.load_balancer_ips.len() + port.external_ips.len() > 4
    };
    let ports = plan.service_ports.iter().filter(|(_, port)| has_own(port));
    let keys = ports.flat_map(|(name, port)| {
        let key = move |ip| (format!("{ip} {}/{}", port.port, name.protocol.number()), name.clone());
        port.cluster_ip.into_iter().chain(port.external_addresses()).map(key)
    });
    keys.collect()
}

/// A frontend that both plans serve must be served throughout, by endpoints of either.
///
/// A chain of a service port's own changes as a whole. An address that `passes` to it, or from it, in the same change may
/// meet it as it was, or as it will be.
fn assert_between(seen: &View, old: &View, new: &View, passes: &BTreeSet<String>) {
    for (frontend, after) in new.served.iter().filter(|(frontend, _)| !passes.contains(*frontend)) {
        let Some(before) = old.served.get(frontend) else { continue };
        let now = seen.served.get(frontend).unwrap_or_else(|| panic!("{frontend} is not served"));
        let unserved = seen.rejected.contains(frontend) || seen.dropped.contains(frontend);
        assert!(!unserved, "{frontend} is rejected or dropped");
        let strangers = |now: &BTreeSet<SocketAddr>, lists: [&BTreeSet<SocketAddr>; 2]| {
            let is_strange = |e: &&SocketAddr| !lists.iter().any(|list| list.contains(*e));
            now.iter().filter(is_strange).copied().collect::<Vec<_>>()
        };
        let all = strangers(&now.endpoints, [&before.endpoints, &after.endpoints]);
        assert!(all.is_empty(), "{frontend} leads to {all:?}");
        assert!(!now.endpoints.is_empty(), "{frontend} leads nowhere");
        // Those from outside are led by either policy's list, the old one or the new one; while the
        // policy changes, possibly by one policy to the endpoints of the other. A chain for affinity
        // changes as a whole, for addresses that are on their way to another service too.
        let stays_local = [before, after].iter().all(|s| s.outside.is_some() && s.affinity.is_none());
        let [mut was, mut is] = [before, after].map(|s| s.outside.as_ref().unwrap_or(&s.endpoints).clone());
        if !stays_local {
            was.extend(&before.endpoints);
            is.extend(&after.endpoints);
        }
        let outside = strangers(now.outside.as_ref().unwrap_or(&now.endpoints), [&was, &is]);
        assert!(outside.is_empty(), "{frontend} leads clients outside to {outside:?}");
    }
    for (frontend, after) in &new.restricted {
        let Some(before) = old.restricted.get(frontend) else { continue };
        let now = seen.restricted.get(frontend).unwrap_or_else(|| panic!("{frontend} is open to all"));
        assert!(now.iter().all(|range| before.contains(range) || after.contains(range)), "{frontend}");
    }
    // An address that is added or removed with its ranges is not open to other sources in between.
    for (frontend, ranges) in old.restricted.iter().chain(&new.restricted) {
        let is_open =
            |view: &View| view.served.contains_key(frontend) && !view.restricted.contains_key(frontend);
        if !(is_open(old) || is_open(new) || passes.contains(frontend)) {
            assert!(!is_open(seen), "{frontend} is open to all besides {ranges:?}");
        }
    }
    for frontend in new.rejected.intersection(&old.rejected).filter(|frontend| !passes.contains(*frontend)) {
        assert!(!seen.served.contains_key(frontend), "{frontend} leads to no endpoint");
    }
}

proptest! {
    #![proptest_config(random::cases(150))]

    #[test]
    fn between_two_transactions_of_one_change_every_packet_has_an_endpoint(
        changes in proptest::collection::vec((world::events(1..12), any::<bool>()), 1..6),
        limit in 2_usize..7,
    ) {
        let (tables, seen) = witnessed();
        let start = || NftablesBackend::new(IpFamily::V4, Arc::clone(&tables)).with_transaction_limit(limit);
        let mut backend = start();
        let mut state = State::new(config());
        let (mut old, mut owned) = (View::default(), BTreeMap::<String, ServicePortName>::new());
        for (events, restart) in changes {
            if restart {
                state.forget_applied(IpFamily::V4);
                backend = start();
            }
            for event in events {
                state.handle(event);
            }
            state.prepare();
            let plan = state.plan(IpFamily::V4);
            block_on(backend.apply(plan, state.changes(IpFamily::V4))).unwrap();
            let new = View::wanted(plan);
            let owners = own_chains(plan);
            let frontends = owned.keys().chain(owners.keys());
            let passes = frontends.filter(|frontend| owned.get(*frontend) != owners.get(*frontend));
            let passes = passes.cloned().collect::<BTreeSet<_>>();
            owned = owners;
            for dump in std::mem::take(&mut *seen.lock().unwrap()) {
                let seen = View::in_between(&dump).unwrap_or_else(|flaw| panic!("{flaw}"));
                assert_between(&seen, &old, &new, &passes);
            }
            let dump = tables.lock().unwrap().dump(&table(IpFamily::V4)).unwrap().unwrap();
            prop_assert_eq!(View::of(&dump).unwrap(), new.clone());
            state.committed(IpFamily::V4);
            old = new;
        }
    }
}

#[test]
fn no_transaction_exceeds_its_limit() {
    use portolan_core::Protocol::Tcp;
    use portolan_testkit::objects::{service, slice};

    let pods = slice("ns/web-1", "web").port("", Tcp, 80);
    let pods = (1..=40).fold(pods, |pods, i| pods.on("n2", &format!("10.244.1.{i}")));
    let web = service("ns/web", "10.96.0.1").port("", Tcp, 80);
    let mut state = State::new(config());
    for event in World::default().lists().into_iter().chain([pods.applied(), web.applied()]) {
        state.handle(event);
    }
    state.prepare();
    let tables = Arc::new(Mutex::new(FakeTables::new().with_features(Features::default())));
    let mut backend = NftablesBackend::new(IpFamily::V4, tables).with_transaction_limit(10);
    let report = block_on(backend.apply(state.plan(IpFamily::V4), state.changes(IpFamily::V4))).unwrap();
    // 41 elements; new ones may take half of what room there is, as a replaced one would take two.
    assert!((5..=12).contains(&report.transactions), "{report:?}");
}

#[test]
fn the_first_transaction_of_a_full_sync_has_the_most_important_services() {
    use portolan_core::Protocol::{Tcp, Udp};
    use portolan_testkit::objects::{service, slice};

    let mut objects = portolan_testkit::objects::empty_lists().to_vec();
    for i in 0..700 {
        let (a, b) = (i / 250, i % 250 + 1);
        objects.push(service(&format!("aaa/s{i}"), &format!("10.96.{a}.{b}")).port("", Tcp, 80).applied());
        let pods = slice(&format!("aaa/s{i}-1"), &format!("s{i}")).port("", Tcp, 8080);
        objects.push(pods.on("n2", &format!("10.128.{a}.{b}")).applied());
    }
    // Neither their names nor their addresses put them in front.
    objects.push(service("default/kubernetes", "10.96.9.1").port("https", Tcp, 443).applied());
    let server = slice("default/kubernetes", "kubernetes").port("https", Tcp, 6443);
    objects.push(server.anywhere("192.0.2.100").applied());
    objects.push(service("kube-system/kube-dns", "10.96.9.10").port("dns", Udp, 53).applied());
    let dns = slice("kube-system/kube-dns-1", "kube-dns").port("dns", Udp, 53);
    objects.push(dns.on("n2", "10.244.1.53").applied());

    let (tables, seen) = witnessed();
    let mut state = State::new(config());
    for event in objects {
        state.handle(event);
    }
    state.prepare();
    let mut backend = NftablesBackend::new(IpFamily::V4, tables);
    let report = block_on(backend.apply(state.plan(IpFamily::V4), state.changes(IpFamily::V4))).unwrap();

    assert_eq!(report.transactions, 2, "one for those, one for the rest");
    let first = View::in_between(&seen.lock().unwrap()[0]).unwrap();
    for frontend in ["10.96.9.1", "10.96.9.10"] {
        assert!(first.served.keys().any(|served| served.contains(frontend)), "{frontend} is not served");
    }
    assert!(first.served.len() < 700, "{} are served at once", first.served.len());
}

/// What IPv4's table held after each transaction on the way from some objects to others, two elements each.
fn on_the_way(before: &[Event], then: &[Event], restart: bool) -> Vec<View> {
    let (tables, seen) = witnessed();
    let start = || NftablesBackend::new(IpFamily::V4, Arc::clone(&tables)).with_transaction_limit(2);
    let (mut backend, mut state) = (start(), State::new(config()));
    for events in [&[&portolan_testkit::objects::empty_lists()[..], before].concat(), then] {
        seen.lock().unwrap().clear();
        for event in events {
            state.handle(event.clone());
        }
        state.prepare();
        block_on(backend.apply(state.plan(IpFamily::V4), state.changes(IpFamily::V4))).unwrap();
        state.committed(IpFamily::V4);
        if restart {
            backend = start();
            state.forget_applied(IpFamily::V4);
        }
    }
    let seen = seen.lock().unwrap();
    seen.iter().map(|dump| View::in_between(dump).unwrap_or_else(|flaw| panic!("{flaw}"))).collect()
}

/// Their verdicts lead to the chain that they share before it has an endpoint.
#[test]
fn many_addresses_that_get_ranges_with_their_first_endpoint_are_never_open_to_others() {
    use portolan_core::Protocol::Tcp;
    use portolan_testkit::objects::{service, slice};

    let web = (1..=5).fold(service("ns/web", "10.96.0.1").port("", Tcp, 80), |web, last| {
        web.load_balancer_ip(&format!("203.0.113.{last}"))
    });
    let pods = slice("ns/web-1", "web").port("", Tcp, 8080).on("n2", "10.244.1.1").applied();
    let guarded = web.clone().source_range("198.51.100.0/26").applied();
    for restart in [false, true] {
        for view in on_the_way(&[web.clone().applied()], &[pods.clone(), guarded.clone()], restart) {
            for frontend in view.served.keys().filter(|frontend| frontend.starts_with("203.0.113.")) {
                assert!(view.restricted.contains_key(frontend), "{frontend} is open");
            }
        }
    }
}

#[test]
fn a_restricted_address_is_never_open_to_others_nor_closed_to_its_ranges() {
    use portolan_core::Protocol::Tcp;
    use portolan_testkit::objects::{object_name, service, slice};

    let guarded = |ranges: &[&str]| {
        let web = service("ns/web", "10.96.0.1").port("a", Tcp, 80).port("b", Tcp, 81);
        let web = web.load_balancer_ip("203.0.113.80").load_balancer_ip("203.0.113.81");
        ranges.iter().fold(web, |web, range| web.source_range(range)).applied()
    };
    let pods =
        slice("ns/web-1", "web").port("a", Tcp, 80).port("b", Tcp, 81).on("n2", "10.244.1.1").applied();
    let some = ["198.51.100.0/26", "198.51.100.128/26"];
    let gone = Event::Service(Change::Deleted(object_name("ns/web")));
    let ways: [(&str, Vec<Event>, Event); 4] = [
        ("made", vec![pods.clone()], guarded(&some)),
        ("deleted", vec![pods.clone(), guarded(&some)], gone),
        ("opened", vec![pods.clone(), guarded(&some)], guarded(&[])),
        ("given other ranges", vec![pods, guarded(&some)], guarded(&["198.51.100.128/26", "203.0.113.0/26"])),
    ];
    for (way, before, then) in ways {
        for restart in [false, true] {
            let seen = on_the_way(&before, std::slice::from_ref(&then), restart);
            assert!(seen.len() >= 4, "{way}: {}", seen.len());
            for view in &seen {
                for frontend in view.served.keys().filter(|frontend| frontend.starts_with("203.0.113.")) {
                    let ranges = view.restricted.get(frontend);
                    assert!(way == "opened" || ranges.is_some(), "{way}: {frontend} is open");
                    assert!(ranges.is_none_or(|ranges| ranges.len() == 2), "{way}: {frontend} is closed");
                }
            }
        }
    }
}
