//! Hosts that have only one family, and addresses that mean something on one interface only.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddrV6, TcpStream};
use std::time::Duration;

use portolan_testkit::netns::{Caller, Namespace, Topology, isolated, wait_until};
use portolan_testkit::scenario::{POD_PORT, here, pods, web};

use crate::node::Node;

const PATIENCE: Duration = Duration::from_secs(60);

fn serving(net: Topology) -> Node {
    let mut node = Node::new(net);
    node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));
    node
}

#[test]
fn with_ipv6_disabled_ipv4_is_served_and_ipv6_once_it_is_enabled() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        let switch =
            |net: &Topology, to| net.node().sysctl(&[("net/ipv6/conf/lo/disable_ipv6", to)]).unwrap();
        switch(&net, "1");
        let node = serving(net);
        let caller = Caller::from(node.net.client());
        for vip in ["10.96.0.80:80", "192.0.2.1:30080"] {
            assert_eq!(caller.connect_tcp(vip.parse().unwrap()).unwrap().pod, "pod1");
        }
        // Cluster IP, load-balancer address and external IP, by two protocols.
        assert_eq!(node.counters.unserved.get(), 6);
        switch(&node.net, "0");
        wait_until("IPv6 is served", PATIENCE, || node.counters.unserved.get() == 0).unwrap();
        let vip = "[fd00:10:96::80]:80".parse().unwrap();
        assert_eq!(caller.connect_tcp(vip).unwrap().pod, "pod1");
    });
}

/// An address that network plug-ins like to give to every interface that leads to a pod.
const SHARED: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);

/// Interfaces that lead elsewhere, with their numbers, names and link-local addresses.
fn links(namespace: &Namespace) -> Vec<(u32, String, Ipv6Addr)> {
    // 2: eth0    inet6 fe80::1/64 scope link \ …
    let list = namespace.ip("-6 -oneline addr show scope link").unwrap();
    let link = |line: &str| {
        let mut words = line.split_whitespace();
        let number = words.next()?.strip_suffix(':')?.parse().ok()?;
        let name = words.next()?.to_owned();
        Some((number, name, words.nth(1)?.split('/').next()?.parse().ok()?))
    };
    list.lines().filter_map(link).collect()
}

/// Whether a connection to the node port at a link-local address, through the only interface, is greeted.
fn is_greeted(from: &Namespace, address: Ipv6Addr) -> bool {
    let (interface, ..) = links(from)[0];
    let to = SocketAddrV6::new(address, 30_080, 0, interface);
    let greeting = || {
        let mut stream = TcpStream::connect_timeout(&to.into(), Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"\n").ok()?;
        stream.read(&mut [0; 16]).ok().filter(|count| *count > 0)
    };
    from.run(greeting).unwrap().is_some()
}

#[test]
fn node_ports_answer_on_link_local_addresses_also_where_several_interfaces_have_the_same() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        let own = links(net.node());
        for (_, name, _) in &own {
            net.node().ip(&format!("addr add {SHARED}/64 dev {name} nodad")).unwrap();
        }
        let node = serving(net);
        assert!(own.len() > 1, "one towards the client and one towards the pod");
        for from in [node.net.client(), &node.net.pod(1).namespace] {
            let reached = own.iter().filter(|(.., address)| is_greeted(from, *address));
            assert_eq!(reached.count(), 1, "the node's address on the link that both are on");
            assert!(is_greeted(from, SHARED));
        }
    });
}
