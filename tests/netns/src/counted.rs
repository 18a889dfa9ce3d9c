//! Packets that rules of the iptables mode count in the kernel, as the metrics show them.
//!
//! A kernel without nfacct has no such metrics, which is then what the tests assert.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use portolan_netlink::{NetlinkSocket, Protocol};
use portolan_testkit::netns::{Caller, Namespace, Portolan, isolated};
use portolan_testkit::shop::{NODE_PORT, POD_PORT};
use socket2::{Domain, Socket, Type};

use crate::modes::Mode;
use crate::stage::{PATIENCE, Stage};

const INVALID_DROPPED: &str = "kubeproxy_iptables_ct_state_invalid_dropped_packets_total";
const LOCALHOST_ACCEPTED: &str = "kubeproxy_iptables_localhost_nodeports_accepted_packets_total";

/// `NFNL_MSG_ACCT_GET` (linux/netfilter/nfnetlink_acct.h) of `NFNL_SUBSYS_ACCT`, the upper byte.
const GET: u16 = 7 << 8 | 1;

/// Whether this kernel has nfacct, whatever the proxy makes of it: whether it lists its objects.
fn has_nfacct(node: &Namespace) -> bool {
    let list = || {
        let mut socket = NetlinkSocket::open(Protocol::Netfilter).unwrap();
        socket.dump(GET, |request| _ = request.bytes(&[0; 4]), |(), _| {}).is_ok()
    };
    node.run(list).unwrap()
}

/// Sends the end of a connection that was never opened, which connection tracking ignores.
fn send_stray_reset(from: &Namespace, to: SocketAddr) {
    const LENGTH: u8 = 5 << 4;
    const RST: u8 = 1 << 2;
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&40_000_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&to.port().to_be_bytes());
    segment[12..14].copy_from_slice(&[LENGTH, RST]);
    let send = || {
        let socket = Socket::new(Domain::for_address(to), Type::RAW, Some(socket2::Protocol::TCP)).unwrap();
        // Raw sockets have no ports.
        socket.send_to(&segment, &SocketAddr::new(to.ip(), 0).into()).unwrap();
    };
    from.run(send).unwrap();
}

/// Both metrics: packets that were dropped, and accepted.
fn counted(proxy: &Portolan) -> [Option<f64>; 2] {
    [INVALID_DROPPED, LOCALHOST_ACCEPTED].map(|series| proxy.metric(series).unwrap())
}

fn serve(mode: Mode) -> (Stage, Portolan) {
    let stage = Stage::in_mode(mode, 1);
    stage.serve_web_by(&[1]);
    let proxy = stage.start_synced();
    (stage, proxy)
}

/// One packet of each family that is to be dropped.
fn send_invalid(stage: &Stage) {
    for to in [stage.net.pod(1).socket_v4(POD_PORT), stage.net.pod(1).socket_v6(POD_PORT)] {
        send_stray_reset(stage.net.client(), to);
    }
}

#[test]
fn packets_that_the_iptables_mode_drops_and_accepts_are_counted_also_for_the_next_process() {
    isolated(|| {
        let (stage, mut proxy) = serve(Mode::Iptables);
        let node = stage.net.node();
        let loopback = SocketAddr::new(IpAddr::from(Ipv4Addr::LOCALHOST), NODE_PORT);
        let connect = || assert_eq!(Caller::from(node).connect_tcp(loopback).unwrap().pod, "pod1");
        if !has_nfacct(node) {
            send_invalid(&stage);
            connect();
            assert_eq!(counted(&proxy), [None, None]);
            return;
        }
        assert_eq!(counted(&proxy), [Some(0.0), Some(0.0)], "{}", Mode::Iptables.listed(node));
        connect();
        assert_eq!(counted(&proxy), [Some(0.0), Some(1.0)]);
        send_invalid(&stage);
        let are_dropped = |proxy: &Portolan| counted(proxy) == [Some(2.0), Some(1.0)];
        proxy.wait_until("both packets are counted", PATIENCE, are_dropped).unwrap();
        // Connections to other addresses of the node are no matter of loopback.
        let other = SocketAddr::from((portolan_testkit::netns::NODE_V4, NODE_PORT));
        assert_eq!(stage.client().connect_tcp(other).unwrap().pod, "pod1");
        assert_eq!(counted(&proxy), [Some(2.0), Some(1.0)]);
        let page = proxy.get(crate::stage::METRICS, "/metrics").unwrap().body;
        assert!(!page.contains("portolan_mode_total"), "shown once, by kube-proxy's names: {page}");

        assert!(proxy.terminate(PATIENCE).unwrap().success());
        let proxy = stage.start_synced();
        assert_eq!(counted(&proxy), [Some(2.0), Some(1.0)]);
    });
}

#[test]
fn the_nftables_mode_counts_no_such_packets() {
    isolated(|| {
        let (stage, proxy) = serve(Mode::Nftables);
        send_invalid(&stage);
        assert_eq!(counted(&proxy), [None, None]);
    });
}
