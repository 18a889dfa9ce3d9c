//! Node ports on loopback addresses, which this mode alone can serve.

use std::net::{Ipv4Addr, Ipv6Addr};

use portolan_backend_iptables::options::Options;
use portolan_backend_iptables::programs::Variant;
use portolan_testkit::netns::{Caller, Topology};
use portolan_testkit::shop::{NODE_PORT, POD_PORT, config, web, web_pods};

use crate::node::Node;

fn node_ports_answer_on_loopback_if_configured(variant: Variant) {
    let net = Topology::routed(1).unwrap();
    let _servers = net.serve(&[POD_PORT]).unwrap();
    // What the backend sets itself when it is given the host.
    net.node().sysctl(&[("net/ipv4/conf/all/route_localnet", "1")]).unwrap();
    let mut node = Node::with(net.node(), variant, config(), Options::default(), |programs| programs);
    node.apply([web()].into_iter().chain(web_pods(&net, &[1])));
    let itself = Caller::from(net.node());
    assert!(itself.connect_tcp((Ipv4Addr::LOCALHOST, NODE_PORT).into()).is_ok());
    assert!(itself.connect_tcp((Ipv6Addr::LOCALHOST, NODE_PORT).into()).is_err());
    node.assert_sound();
    let mut node = Node::new(net.node(), variant, config());
    node.apply([web()].into_iter().chain(web_pods(&net, &[1])));
    assert!(itself.connect_tcp((Ipv4Addr::LOCALHOST, NODE_PORT).into()).is_err());
}

crate::with_both_kinds! { node_ports_answer_on_loopback_if_configured }
