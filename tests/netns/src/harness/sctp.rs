//! The same over SCTP, in kernels that have it; elsewhere each test asserts that the network says so.
//!
//! `tests/vm/run.sh` brings such kernels, and a variable (`PORTOLAN_SCTP=required`) without which these tests would
//! pass in one whose module does not load.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use portolan_testkit::netns::{
    CLIENT_V4, CLIENT_V6, Caller, Namespace, Topology, associations_opened, isolated, load_ruleset,
    speaks_sctp,
};

/// An answer is awaited for long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Silence is believed soon.
const SILENCE: Duration = Duration::from_millis(300);
/// The kernel sends again after a second: what was refused before that was refused at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A network without rules, if its kernel has SCTP.
fn network(pods: u8) -> Option<Topology> {
    let net = Topology::routed(pods).unwrap();
    if speaks_sctp().unwrap() {
        return Some(net);
    }
    let error = Caller::from(net.client()).connect_sctp(net.pod(1).socket_v4(8080)).unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(source.contains("not supported"), "{error}: {source}");
    None
}

fn assert_reaches(from: &Namespace, to: SocketAddr, pod: &str, as_whom: impl Into<IpAddr>) {
    let answer = Caller::from(from).with_patience(PATIENCE).connect_sctp(to);
    let answer = answer.unwrap_or_else(|error| panic!("from {} to {to}: {error:?}", from.name()));
    assert_eq!(
        (answer.pod.as_str(), answer.peer.ip()),
        (pod, as_whom.into()),
        "from {} to {to}",
        from.name()
    );
}

fn assert_refused(from: &Namespace, to: SocketAddr) {
    let start = Instant::now();
    let error = Caller::from(from).with_patience(PATIENCE).connect_sctp(to).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "from {} to {to}", from.name());
    assert!(start.elapsed() < AT_ONCE, "from {} to {to} only after {:?}", from.name(), start.elapsed());
}

fn assert_silent(from: &Namespace, to: SocketAddr) {
    let error = Caller::from(from).with_patience(SILENCE).connect_sctp(to).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "from {} to {to}", from.name());
}

#[test]
fn associations_reach_every_pod_untranslated_and_are_counted_by_the_kernel() {
    isolated(|| {
        let Some(net) = network(2) else { return };
        let _servers = net.serve(&[8080]).unwrap();
        for pod in net.pods() {
            let (v4, v6) = (pod.socket_v4(8080), pod.socket_v6(8080));
            assert_reaches(net.client(), v4, pod.name(), CLIENT_V4);
            assert_reaches(net.client(), v6, pod.name(), CLIENT_V6);
            assert_reaches(net.node(), v4, pod.name(), [10, 244, 0, 1]);
            assert_reaches(net.node(), v6, pod.name(), "fd00:10:244::1".parse::<IpAddr>().unwrap());
            for other in net.pods() {
                assert_reaches(&other.namespace, v4, pod.name(), other.ipv4);
                assert_reaches(&other.namespace, v6, pod.name(), other.ipv6);
            }
        }
        assert_eq!(associations_opened(net.client()).unwrap(), 4);
        assert_eq!(associations_opened(net.node()).unwrap(), 4);
    });
}

#[test]
fn translated_associations_go_on_by_the_address_they_were_opened_to() {
    isolated(|| {
        let Some(net) = network(2) else { return };
        let rules = "table inet test {
            chain prerouting { type nat hook prerouting priority dstnat
                ip daddr 10.96.0.10 sctp dport 80 dnat ip to 10.244.0.11:8080
                ip6 daddr fd00:10:96::a sctp dport 80 dnat ip6 to [fd00:10:244::11]:8080
            }
            chain postrouting { type nat hook postrouting priority srcnat
                meta l4proto sctp ct original proto-src 10000 masquerade
            }
        }";
        load_ruleset(net.node(), rules).unwrap();
        let _servers = net.serve(&[8080]).unwrap();
        let vips: [SocketAddr; 2] = ["10.96.0.10:80".parse().unwrap(), "[fd00:10:96::a]:80".parse().unwrap()];
        assert_reaches(net.client(), vips[0], "pod1", CLIENT_V4);
        assert_reaches(net.client(), vips[1], "pod1", CLIENT_V6);

        let hidden = Caller::from(&net.pod(2).namespace).with_patience(PATIENCE).with_source_port(10_000);
        let seen = vips.map(|vip| hidden.connect_sctp(vip).unwrap().peer.ip().to_string());
        assert_eq!(seen, ["10.244.0.1", "fd00:10:244::1"]);
    });
}

#[test]
fn closed_ports_and_rejected_associations_are_refused_at_once() {
    isolated(|| {
        let Some(net) = network(1) else { return };
        let rules = "table inet test {
            chain forward { type filter hook forward priority 0
                sctp dport 81 reject
                sctp dport 82 drop
            }
            chain output { type filter hook output priority 0
                sctp dport 81 reject
                sctp dport 82 drop
            }
        }";
        let pod = net.pod(1);
        for to in [pod.socket_v4(83), pod.socket_v6(83)] {
            assert_refused(net.client(), to);
        }
        load_ruleset(net.node(), rules).unwrap();
        for to in [pod.socket_v4(81), pod.socket_v6(81)].repeat(5) {
            assert_refused(net.client(), to);
            assert_refused(net.node(), to);
        }
        for from in [net.client(), net.node()] {
            assert_silent(from, pod.socket_v4(82));
            assert_silent(from, pod.socket_v6(82));
        }
    });
}
