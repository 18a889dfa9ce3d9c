//! Connections that last while their endpoint goes, and what survives a restart.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use portolan_core::node::{DetectLocal, NodeConfig};
use portolan_core::{IpFamily, Protocol};
use portolan_testkit::conformance::Node;
use portolan_testkit::netns::{EchoServer, Namespace, POD_CIDR_V4, Topology, isolated};
use portolan_testkit::objects::{service, slice};
use socket2::SockRef;

use crate::candidate::{Ipvs, listed};

pub(crate) const VIP: &str = "10.96.0.80:80";

/// A Service on a node with two pods.
pub(crate) struct Web {
    pub(crate) net: Topology,
    pub(crate) node: Node<Ipvs>,
}

impl Web {
    pub(crate) fn new() -> Self {
        let config = NodeConfig {
            detect_local: DetectLocal::ClusterCidr(vec![POD_CIDR_V4.parse().unwrap()]),
            ..NodeConfig::new("node1")
        };
        let net = Topology::routed(2).unwrap();
        let mut node = Node::new("node", net.node(), |_node| Ipvs::default(), config);
        node.apply([service("shop/web", "10.96.0.80").port("http", Protocol::Tcp, 80).applied()]);
        Self { net, node }
    }

    pub(crate) fn serve_by(&mut self, pods: &[usize]) -> usize {
        let bare = slice("shop/web-4", "web").port("http", Protocol::Tcp, 8080);
        let slice = pods.iter().fold(bare, |s, pod| s.on("node1", &self.net.pod(*pod).ipv4.to_string()));
        self.node.apply([slice.applied()])
    }

    /// A connection to the only endpoint.
    fn connect(&self, pod: usize) -> Connection {
        Connection::open(self.net.client(), &self.net.pod(pod).namespace)
    }

    fn servers(&self) -> String {
        listed(self.net.node())
    }

    /// The line of a pod in the kernel's list: `-> 0AF4000B:1F90 Masq 0 1 0`, weight, active, inactive.
    fn weight(&self, pod: usize) -> Option<String> {
        let address = self.net.pod(pod).ipv4.octets().map(|octet| format!("{octet:02X}")).concat();
        let servers = self.servers();
        let line = servers.lines().find(|line| line.contains(&format!("{address}:1F90")))?;
        line.split_whitespace().nth(3).map(str::to_owned)
    }

    fn wait_until_gone(&mut self, pod: usize) {
        for _ in 0..60 {
            sleep(Duration::from_secs(1));
            self.node.apply([]);
            if self.weight(pod).is_none() {
                return;
            }
        }
        panic!("pod{pod} is still there:\n{}", self.servers());
    }
}

/// Both ends of one connection.
pub(crate) struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    fn open(client: &Namespace, pod: &Namespace) -> Self {
        Self::open_by(client, pod, || TcpStream::connect(VIP).unwrap())
    }

    pub(crate) fn open_by(
        client: &Namespace,
        pod: &Namespace,
        connect: impl FnOnce() -> TcpStream + Send,
    ) -> Self {
        let at: SocketAddr = "0.0.0.0:8080".parse().unwrap();
        let listener = pod.run(|| TcpListener::bind(at).unwrap()).unwrap();
        let client = client.run(connect).unwrap();
        let (server, _) = listener.accept().unwrap();
        for end in [&client, &server] {
            end.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        Self { client, server }
    }

    pub(crate) fn assert_alive(&mut self) {
        self.exchange().unwrap();
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.exchange().is_ok()
    }

    fn exchange(&mut self) -> std::io::Result<()> {
        let mut byte = [0];
        self.client.write_all(b"x")?;
        self.server.read_exact(&mut byte)?;
        self.server.write_all(b"y")?;
        self.client.read_exact(&mut byte)
    }

    /// The client has had enough, and its port is free at once.
    pub(crate) fn reset(self) {
        SockRef::from(&self.client).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// A reset, which is what comes of unread data, is forgotten after ten seconds; two minutes are what an
    /// orderly end takes.
    fn break_off(mut self) {
        self.client.write_all(b"unread").unwrap();
        sleep(Duration::from_millis(100));
        drop(self.server);
    }
}

#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn a_connection_outlives_its_endpoint_and_a_restart_and_then_the_endpoint_goes() {
    isolated(|| {
        let mut web = Web::new();
        web.serve_by(&[1]);
        let mut connection = web.connect(1);
        connection.assert_alive();
        let _other = EchoServer::start(&web.net.pod(2).namespace, "pod2", &[8080]).unwrap();

        // An addition, a weight, an element of LOOP-BACK each for the one that comes and the one that goes.
        assert_eq!(web.serve_by(&[2]), 4);
        assert_eq!(web.weight(1).as_deref(), Some("0"));
        connection.assert_alive();
        // New ones go to the other.
        let mut fresh = web.net.client().run(|| TcpStream::connect(VIP).unwrap()).unwrap();
        fresh.write_all(b"?").unwrap();

        web.node.restart();
        assert_eq!(web.weight(1).as_deref(), Some("0"));
        web.node.apply([]);
        assert_eq!(web.weight(1).as_deref(), Some("0"), "{}", web.servers());
        connection.assert_alive();
        sleep(Duration::from_secs(2));
        web.node.apply([]);
        connection.assert_alive();

        connection.break_off();
        web.wait_until_gone(1);
        assert_eq!(web.weight(2).as_deref(), Some("1"));
    });
}

#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn an_endpoint_that_is_wanted_again_is_used_at_once_and_keeps_its_connections() {
    isolated(|| {
        let mut web = Web::new();
        web.serve_by(&[1]);
        let mut connection = web.connect(1);
        web.serve_by(&[]);
        assert_eq!(web.weight(1).as_deref(), Some("0"));
        connection.assert_alive();
        web.serve_by(&[1]);
        assert_eq!(web.weight(1).as_deref(), Some("1"));
        connection.assert_alive();
    });
}

#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn servers_of_others_stay_and_what_others_remove_is_made_again() {
    isolated(|| {
        let mut web = Web::new();
        web.serve_by(&[1]);
        web.net.node().run(make_foreign_server).unwrap();
        assert_eq!(web.node.compare_all(), 0);
        assert!(web.servers().contains("C6336463:01BB"), "{}", web.servers());

        web.net.node().ip("link delete kube-ipvs0").unwrap();
        assert!(!web.node.is_intact(IpFamily::V4));
        assert!(web.node.end_sync_period() > 0);
        assert!(web.node.is_intact(IpFamily::V4));
        let _server = EchoServer::start(&web.net.pod(1).namespace, "pod1", &[8080]).unwrap();
        web.net.client().run(|| TcpStream::connect(VIP).unwrap()).unwrap();

        web.node.clean();
        assert!(web.servers().contains("C6336463:01BB"), "{}", web.servers());
        // Three lines of headings: ours is gone, though its connection is remembered.
        assert_eq!(web.servers().lines().count(), 4, "{}", web.servers());
    });
}

/// At 198.51.100.99:443, which no host has.
fn make_foreign_server() {
    use portolan_ipvs::{ServerChange, ServerKey, ServerSettings};
    let address = "198.51.100.99".parse().unwrap();
    let key = ServerKey { protocol: Protocol::Tcp, address, port: 443 };
    let settings = ServerSettings { scheduler: "rr".into(), flags: 0, timeout: Duration::ZERO };
    let mut servers = portolan_ipvs::Servers::load().unwrap().unwrap();
    servers.change(&[ServerChange::Add(key, settings)]).unwrap();
}
