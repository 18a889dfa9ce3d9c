//! Who reaches whom without any rule, and from which address.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portolan_testkit::netns::{
    CLIENT_V4, CLIENT_V6, Caller, NODE_V4, NODE_V6, Namespace, Pod, Topology, WORLD_V4, WORLD_V6, isolated,
};

/// A busy machine loses a SYN now and then, and the next comes after a second. Whether anybody is reached
/// at all is the question here.
const PATIENCE: Duration = Duration::from_secs(60);

fn assert_reaches(from: &Namespace, pod: &Pod, to: SocketAddr, as_whom: impl Into<IpAddr>) {
    let caller = Caller::from(from).with_patience(PATIENCE);
    let as_whom = as_whom.into();
    let told = format!("from {} to {to}", from.name());
    for answer in [caller.connect_tcp(to).expect(&told), caller.query_udp(to).expect(&told)] {
        assert_eq!((answer.pod.as_str(), answer.peer.ip()), (pod.name(), as_whom), "{told}");
    }
}

fn assert_all_reach_all_pods(net: &Topology) {
    let _servers = net.serve(&[8080]).unwrap();
    for pod in net.pods() {
        let (v4, v6) = (pod.socket_v4(8080), pod.socket_v6(8080));
        assert_reaches(net.client(), pod, v4, CLIENT_V4);
        assert_reaches(net.client(), pod, v6, CLIENT_V6);
        assert_reaches(net.world(), pod, v4, WORLD_V4);
        assert_reaches(net.world(), pod, v6, WORLD_V6);
        assert_reaches(net.node(), pod, v4, [10, 244, 0, 1]);
        assert_reaches(net.node(), pod, v6, "fd00:10:244::1".parse::<IpAddr>().unwrap());
        for other in net.pods() {
            assert_reaches(&other.namespace, pod, v4, other.ipv4);
            assert_reaches(&other.namespace, pod, v6, other.ipv6);
        }
    }
}

#[test]
fn all_clients_reach_every_routed_pod_untranslated() {
    isolated(|| assert_all_reach_all_pods(&Topology::routed(3).unwrap()));
}

#[test]
fn all_clients_reach_every_bridged_pod_untranslated() {
    isolated(|| assert_all_reach_all_pods(&Topology::bridged(3).unwrap()));
}

#[test]
fn pods_reach_a_server_on_the_node() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let pod = net.pod(1);
        let _server = portolan_testkit::netns::EchoServer::start(net.node(), "node", &[9000]).unwrap();
        let caller = Caller::from(&pod.namespace).with_patience(PATIENCE);

        let v4 = caller.connect_tcp((NODE_V4, 9000).into()).unwrap();
        let v6 = caller.connect_tcp((NODE_V6, 9000).into()).unwrap();

        assert_eq!((v4.pod.as_str(), v4.peer.ip()), ("node", pod.ipv4.into()));
        assert_eq!((v6.pod.as_str(), v6.peer.ip()), ("node", pod.ipv6.into()));
    });
}

#[test]
fn caller_asks_from_the_address_it_was_given() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let _servers = net.serve(&[8080]).unwrap();
        net.client().ip("addr add 192.0.2.77/24 dev eth0").unwrap();
        let source: IpAddr = [192, 0, 2, 77].into();
        let caller = Caller::from(net.client()).with_patience(PATIENCE).with_source(source);

        let to = net.pod(1).socket_v4(8080);

        assert_eq!(caller.connect_tcp(to).unwrap().peer.ip(), source);
        assert_eq!(caller.query_udp(to).unwrap().peer.ip(), source);
    });
}
