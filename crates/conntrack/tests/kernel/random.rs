//! Any flows, any checks: what goes is what the decision says, in either kind of listing.

use std::cell::Cell;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use portolan_core::flows::Flow;
use portolan_core::{FlowCheck, FlowCleaner, IpFamily};
use portolan_testkit::netns::isolated;
use portolan_testkit::{random, world};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::cluster::{Cluster, NODE, become_node};
use crate::flows::{TCP, Tracked, UDP, forget_all, track_where_free, tracked};

/// Addresses of the random clusters, this node's, and another host's.
fn destinations(family: IpFamily) -> Vec<IpAddr> {
    let texts = match family {
        IpFamily::V4 => {
            vec!["10.96.0.1", "10.96.0.2", "10.96.0.3", "203.0.113.1", "203.0.113.2", NODE[0], "198.51.100.7"]
        }
        IpFamily::V6 => {
            vec![
                "fd00:10:96::1",
                "fd00:10:96::2",
                "fd00:10:96::3",
                "2001:db8:113::1",
                "2001:db8:113::2",
                NODE[1],
                "2001:db8:7::1",
            ]
        }
    };
    texts.into_iter().map(|text| text.parse().unwrap()).collect()
}

fn pod(family: IpFamily, last: u8) -> IpAddr {
    let text = match family {
        IpFamily::V4 => format!("10.244.0.{last}"),
        IpFamily::V6 => format!("fd00:10:244::{last:x}"),
    };
    text.parse().unwrap()
}

fn client(family: IpFamily) -> IpAddr {
    if family == IpFamily::V4 { "10.1.1.1" } else { "2001:db8:1::1" }.parse().unwrap()
}

fn flow() -> impl Strategy<Value = Tracked> {
    let family = prop::sample::select(IpFamily::ALL.to_vec());
    let port = prop_oneof![4 => 80_u16..83, 3 => 30080_u16..30083, 1 => Just(99)];
    let endpoint = proptest::option::weighted(0.8, (1_u8..12, 8080_u16..8083));
    let rest = (
        1_u16..5000,
        any::<bool>(),
        prop::sample::select(vec![UDP, UDP, UDP, TCP]),
        prop_oneof![4 => Just(0_u16), 1 => Just(7)],
    );
    (family, 0_usize..7, port, endpoint, rest).prop_map(
        |(family, destination, port, endpoint, (source, is_masqueraded, protocol, zone))| {
            let source = SocketAddr::new(client(family), source);
            let destination = SocketAddr::new(destinations(family)[destination], port);
            let reply_source =
                endpoint.map_or(destination, |(last, port)| SocketAddr::new(pod(family, last), port));
            let node = NODE[usize::from(family == IpFamily::V6)].parse().unwrap();
            let reply_destination =
                if is_masqueraded { SocketAddr::new(node, source.port()) } else { source };
            Tracked { protocol, zone, flow: Flow { source, destination, reply_source, reply_destination } }
        },
    )
}

/// The decision, and nothing but: node ports count on this node's addresses only.
fn is_to_go(tracked: &Tracked, family: IpFamily, check: &FlowCheck) -> bool {
    let to = tracked.flow.destination.ip();
    let is_own = NODE.iter().any(|own| own.parse() == Ok(to));
    tracked.protocol == UDP
        && IpFamily::of(to) == family
        && check.is_stale(&tracked.flow)
        && (is_own || !check.is_by_node_port(&tracked.flow))
}

fn expect_the_stale_to_go(cluster: &mut Cluster, checks: &[(IpFamily, FlowCheck)]) -> usize {
    let mut all = 0;
    for (family, check) in checks {
        let (stale, good): (HashSet<_>, HashSet<_>) =
            tracked().into_iter().partition(|flow| is_to_go(flow, *family, check));
        assert_eq!(cluster.conntrack.remove_stale(*family, check).unwrap(), stale.len(), "{check:?}");
        assert_eq!(tracked(), good, "{check:?}");
        all += stale.len();
    }
    all
}

#[test]
fn what_goes_is_what_the_decision_says() {
    isolated(|| {
        become_node();
        let removed = [Cell::new(0), Cell::new(0)];
        let flows = proptest::collection::vec(flow(), 1..200);
        let events = (
            proptest::collection::vec(world::event(), 10..40),
            proptest::collection::vec(world::event(), 3..15),
        );
        TestRunner::new(random::cases(64))
            .run(&(flows, events), |(flows, (before, then))| {
                forget_all();
                let mut cluster = Cluster::new();
                cluster.checks(before);
                track_where_free(&flows);
                let checks = cluster.checks(then);
                removed[0].update(|all| all + expect_the_stale_to_go(&mut cluster, &checks));
                let checks = cluster.checks_of_a_restart();
                removed[1].update(|all| all + expect_the_stale_to_go(&mut cluster, &checks));
                Ok(())
            })
            .unwrap();
        // Far fewer are stale after a few changes than after a start that knows nothing.
        let [after_changes, after_restart] = removed.map(Cell::into_inner);
        assert!(after_changes > 5 && after_restart > 20, "too few: {after_changes}, {after_restart}");
    });
}
