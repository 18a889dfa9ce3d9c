//! What goes wrong shows as what it is.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use portolan_testkit::netns::{Caller, EchoServer, Namespace, Topology, isolated, load_ruleset};

/// The kinds of failure of TCP and UDP, for a caller that waits this long.
fn failures(from: &Namespace, to: SocketAddr, patience: Duration) -> [ErrorKind; 2] {
    let caller = Caller::from(from).with_patience(patience);
    [caller.connect_tcp(to).unwrap_err().kind(), caller.query_udp(to).unwrap_err().kind()]
}

/// An answer is awaited for long, however busy the machine.
fn assert_refused(from: &Namespace, to: SocketAddr) {
    let kinds = failures(from, to, Duration::from_secs(60));
    assert_eq!(kinds, [ErrorKind::ConnectionRefused; 2], "from {} to {to}", from.name());
}

/// Silence is believed soon.
fn assert_silent(from: &Namespace, to: SocketAddr) {
    let kinds = failures(from, to, Duration::from_millis(300));
    assert_eq!(kinds, [ErrorKind::TimedOut; 2], "from {} to {to}", from.name());
}

#[test]
fn a_closed_port_refuses() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let pod = net.pod(1);

        assert_refused(net.client(), pod.socket_v4(81));
        assert_refused(net.client(), pod.socket_v6(81));
    });
}

#[test]
fn untranslated_service_address_times_out_for_all_clients() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let addresses = ["10.96.0.10:80", "203.0.113.7:80", "[fd00:10:96::a]:80", "[2001:db8:113::7]:80"];
        // All at once: each takes its whole patience.
        thread::scope(|scope| {
            for from in [net.client(), net.node(), &net.pod(1).namespace] {
                for to in addresses {
                    scope.spawn(move || assert_silent(from, to.parse().unwrap()));
                }
            }
        });
    });
}

#[test]
fn rejected_packets_refuse_and_dropped_packets_time_out() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let rules = "table inet test { chain forward { type filter hook forward priority 0
            meta l4proto { tcp, udp } th dport 81 reject
            th dport 82 drop
        }
        }";
        load_ruleset(net.node(), rules).unwrap();
        let pod = net.pod(1);
        // More often than the kernel's usual limit on ICMP errors would let through.
        for to in [pod.socket_v4(81), pod.socket_v6(81)].repeat(10) {
            assert_refused(net.client(), to);
        }
        assert_silent(net.client(), pod.socket_v4(82));
        assert_silent(net.client(), pod.socket_v6(82));
    });
}

/// However late it came: a busy machine makes answers late, and no rule may make a client send twice.
#[test]
fn an_answer_to_a_repeated_syn_is_a_failure() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let pod = net.pod(1);
        let _servers = net.serve(&[8080]).unwrap();
        let rules = "table inet test { chain forward { type filter hook forward priority 0
            tcp dport 8080 tcp flags syn numgen inc mod 2 0 drop
        }
        }";
        load_ruleset(net.node(), rules).unwrap();
        let caller = Caller::from(net.client());

        let error = caller.connect_tcp(pod.socket_v4(8080)).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let patient = caller.with_patience(Duration::from_secs(60));
        assert_eq!(patient.connect_tcp(pod.socket_v4(8080)).unwrap().pod, "pod1");
    });
}

#[test]
fn a_dropped_connection_costs_its_patience_and_no_more() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let caller = Caller::from(net.client()).with_patience(Duration::from_millis(200));
        let start = Instant::now();

        caller.connect_tcp("10.96.0.10:80".parse().unwrap()).unwrap_err();

        let took = start.elapsed();
        // A timer may round down by a tick; left to itself, the kernel would try for two minutes.
        assert!((Duration::from_millis(190)..Duration::from_secs(60)).contains(&took), "{took:?}");
    });
}

#[test]
fn a_server_that_is_dropped_refuses_from_then_on() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let pod = net.pod(1);
        let to = pod.socket_v4(8080);
        let server = EchoServer::start(&pod.namespace, "pod1", &[8080]).unwrap();
        Caller::from(net.client()).connect_tcp(to).unwrap();

        drop(server);

        assert_refused(net.client(), to);
    });
}

#[test]
fn a_taken_port_is_an_error() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let _first = net.serve(&[8080]).unwrap();

        let second = net.serve(&[8080]).unwrap_err();

        assert_eq!(second.to_string(), "cannot listen on port 8080");
    });
}
