//! What a connection costs on which nothing happens.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use portolan_testkit::netns::{Topology, isolated, wait_until};
use portolan_testkit::scenario::{POD_PORT, here, pods, web};

use crate::node::Node;

const VIP: &str = "10.96.0.80:80";
const PATIENCE: Duration = Duration::from_secs(60);

/// Ten thousand connections are to take less than 100 MB together, so 10 KB each. Half of that is let pass here, twice
/// what they take, which is 2.5 KB whether the build is optimised or not. Sockets are the kernel's and not counted.
#[test]
fn an_idle_connection_takes_less_than_five_kilobytes() {
    const MOST: usize = 5_000;
    const WARM: usize = 200;
    const COUNT: usize = 1_000;
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let endpoint =
            net.pod(1).namespace.run(|| TcpListener::bind(("0.0.0.0", POD_PORT)).unwrap()).unwrap();
        let mut node = Node::new(net);
        node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));
        let mut ends = Vec::with_capacity(2 * (WARM + COUNT));
        // What is made once, and what grows in leaps, is there before it is measured.
        open(&node, &endpoint, &mut ends, WARM);
        let before = anonymous();
        open(&node, &endpoint, &mut ends, COUNT);
        let each = anonymous().saturating_sub(before) / COUNT;
        assert_eq!(node.counters.tcp_sessions.get(), WARM + COUNT);
        // A task and two registered sockets cannot be had for less than this; it would be the measure that is wrong.
        assert!((500..MOST).contains(&each), "{each} bytes each");
        drop(ends);
        wait_until("all have ended", PATIENCE, || node.counters.tcp_sessions.get() == 0).unwrap();
    });
}

/// Opens connections one after the other, by each of which the endpoint says something and nothing more happens.
fn open(node: &Node, endpoint: &TcpListener, ends: &mut Vec<TcpStream>, count: usize) {
    let connect = || {
        for _ in 0..count {
            let mut client = TcpStream::connect(VIP).unwrap();
            let (mut accepted, _) = endpoint.accept().unwrap();
            accepted.write_all(b".").unwrap();
            client.read_exact(&mut [0]).unwrap();
            ends.extend([client, accepted]);
        }
    };
    node.net.client().run(connect).unwrap();
}

/// Memory of this process that no file is behind, in bytes, as the kernel counts it page by page.
fn anonymous() -> usize {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}
