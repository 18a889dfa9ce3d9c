//! What the scenario table does not ask: shares, flows that go on, and restarts with another configuration.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use portolan_core::State;
use portolan_core::event::{Change, Event};
use portolan_core::node::{DetectLocal, NodeConfig, NodePortSelection};
use portolan_testkit::netns::{CLIENT_V4, Caller, NODE_V4, Topology, isolated};
use portolan_testkit::objects::empty_lists;
use portolan_testkit::shop::{NODE_PORT, PORT, config, web, web_pods};

use crate::cluster::Cluster;

const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 80);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// The process ends, and one with another configuration starts that knows the same objects.
fn restart(mut cluster: Cluster, config: NodeConfig) -> Cluster {
    cluster.state = State::new(config);
    for event in empty_lists() {
        cluster.state.handle(event);
    }
    let mut cluster = cluster.restart();
    let pods = web_pods(&cluster.net, &[1]);
    cluster.apply([web()].into_iter().chain(pods));
    cluster
}

#[test]
fn a_restart_with_another_configuration_changes_what_is_there() {
    isolated(|| {
        let net = Topology::routed(2).unwrap();
        let mut cluster = Cluster::with_config(net, NodeConfig { masquerade_all: true, ..config() });
        let pods = web_pods(&cluster.net, &[1]);
        cluster.apply([web()].into_iter().chain(pods));
        let pod = Caller::from(&cluster.net.pod(2).namespace);
        let client = Caller::from(cluster.net.client());
        let address = IpAddr::from(cluster.net.pod(2).ipv4);
        assert_eq!(pod.connect_tcp((CLUSTER_IP, PORT).into()).unwrap().peer.ip(), IpAddr::from(GATEWAY));
        assert_eq!(client.connect_tcp((GATEWAY, NODE_PORT).into()).unwrap().pod, "pod1");

        let mut cluster = restart(cluster, config());
        assert_eq!(pod.connect_tcp((CLUSTER_IP, PORT).into()).unwrap().peer.ip(), address);
        cluster.assert_sound();

        let range = NodePortSelection::Cidrs(vec!["192.0.2.0/24".parse().unwrap()]);
        let mut cluster = restart(cluster, NodeConfig { node_port_addresses: range, ..config() });
        assert_eq!(client.connect_tcp((NODE_V4, NODE_PORT).into()).unwrap().pod, "pod1");
        let outside = client.connect_tcp((GATEWAY, NODE_PORT).into());
        assert_eq!(outside.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        cluster.assert_sound();

        let no_detection = DetectLocal::ClusterCidr(Vec::new());
        let mut cluster = restart(cluster, NodeConfig { detect_local: no_detection, ..config() });
        assert_eq!(client.connect_tcp((CLUSTER_IP, PORT).into()).unwrap().peer.ip(), IpAddr::from(CLIENT_V4));
        cluster.assert_sound();
    });
}

#[test]
fn connections_spread_evenly_over_three_endpoints() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(3).unwrap());
        let pods = web_pods(&cluster.net, &[1, 2, 3]);
        cluster.apply([web()].into_iter().chain(pods));
        let client = Caller::from(cluster.net.client());
        for address in ["10.96.0.80", "fd00:10:96::80"] {
            let tally = client.many_tcp((address.parse::<IpAddr>().unwrap(), PORT).into(), 3_000).unwrap();
            assert_eq!(tally.attempts(), tally.successes(), "{tally}");
            for pod in ["pod1", "pod2", "pod3"] {
                let percent = tally.answers_of(pod) * 100 / tally.successes();
                assert!(
                    (28..=38).contains(&percent),
                    "{pod} got {percent} %, not 33 give or take 5: {tally}"
                );
            }
            assert!(tally.is_even_over(&["pod1", "pod2", "pod3"], 5), "{tally}");
        }
        cluster.assert_sound();
    });
}

#[test]
fn a_one_way_flow_to_a_living_pod_goes_on_when_its_service_has_no_endpoints_left() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(1).unwrap());
        let (pods, none) = (web_pods(&cluster.net, &[1]), web_pods(&cluster.net, &[]));
        // No process answers on this port: to conntrack the flow stays new.
        let sink = cluster.net.pod(1).namespace.run(|| UdpSocket::bind("0.0.0.0:7000")).unwrap().unwrap();
        sink.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let silent = |slice: Event| match slice {
            Event::EndpointSlice(Change::Applied(mut slice)) => {
                slice.ports.iter_mut().for_each(|port| port.port = 7000);
                Event::EndpointSlice(Change::Applied(slice))
            }
            other => other,
        };
        cluster.apply([web()].into_iter().chain(pods.map(silent)));
        let sender = cluster.net.client().run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        sender.connect(("10.96.0.80", PORT)).unwrap();
        let mut buffer = [0; 16];
        for round in 0..20 {
            if round == 5 {
                cluster.apply(none.clone());
            }
            sender.send(b"metric").unwrap_or_else(|error| panic!("datagram {round}: {error}"));
            assert_eq!(sink.recv(&mut buffer).unwrap(), 6, "datagram {round}");
        }
        cluster.assert_sound();
    });
}
