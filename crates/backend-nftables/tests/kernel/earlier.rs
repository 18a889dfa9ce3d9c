//! Taking over from a version with another layout, under traffic.
//!
//! `testdata/earlier` holds what such versions wrote for the objects below, each file named for what was
//! different: these were programmed when a node's proxy was replaced.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portolan_backend_nftables::NftablesBackend;
use portolan_backend_nftables::layout::nft_family;
use portolan_core::Protocol::{Tcp, Udp};
use portolan_core::event::Event;
use portolan_core::node::{DetectLocal, NodeConfig, NodePortSelection};
use portolan_core::{IpFamily, ProxyBackend, State};
use portolan_nft::{NetlinkTables, TableDump, TableId, Tables};
use portolan_testkit::block_on;
use portolan_testkit::netns::{
    Caller, LongConnection, NODE_V4, POD_CIDR_V4, POD_CIDR_V6, Prober, Topology, Transport,
    assert_ruleset_reloads, isolated, load_ruleset, pod_v4, pod_v6,
};
use portolan_testkit::objects::{empty_lists, service, slice};
use portolan_testkit::view::View;

const PATIENCE: Duration = Duration::from_secs(30);

/// Written by the version that looked refusals up in sets of their own and learned in filter chains.
const REFUSALS_IN_SETS: &str = include_str!("../../testdata/earlier/refusals-in-sets.nft");

fn at(ip: &str, port: u16) -> SocketAddr {
    (ip.parse::<IpAddr>().unwrap(), port).into()
}

/// What was served, and is.
fn objects() -> Vec<Event> {
    let mut events = empty_lists().to_vec();
    events.extend([
        service("shop/web", "10.96.0.80,fd00:10:96::80")
            .port("http", Tcp, 80)
            .node_port(30080)
            .port("quic", Udp, 80)
            .node_port(30080)
            .load_balancer_ip("203.0.113.80")
            .load_balancer_ip("2001:db8:113::80")
            .source_range("192.0.2.0/24")
            .source_range("2001:db8:2::/64")
            .external_ip("203.0.113.81")
            .external_ip("2001:db8:113::81")
            .applied(),
        service("shop/cart", "10.96.0.81,fd00:10:96::81")
            .port("http", Tcp, 80)
            .affinity(Duration::from_secs(10_800))
            .applied(),
        service("shop/none", "10.96.0.82,fd00:10:96::82").port("http", Tcp, 80).node_port(30082).applied(),
        service("shop/far", "10.96.0.83,fd00:10:96::83").port("http", Tcp, 80).internal_local().applied(),
        slice("shop/far-4", "far").port("http", Tcp, 8080).on("node2", "10.244.9.9").applied(),
        slice("shop/far-6", "far").port("http", Tcp, 8080).on("node2", "fd00:10:244:9::9").applied(),
    ]);
    for name in ["web", "cart"] {
        let pods = |family: &str, addresses: [IpAddr; 2]| {
            let ports = slice(&format!("shop/{name}-{family}"), name);
            let ports = ports.port("http", Tcp, 8080).port("quic", Udp, 8080);
            addresses.iter().fold(ports, |pods, ip| pods.on("node1", &ip.to_string())).applied()
        };
        events.push(pods("4", [1, 2].map(|number| pod_v4(number).into())));
        events.push(pods("6", [1, 2].map(|number| pod_v6(number).into())));
    }
    events
}

/// A proxy of this version, started on a node.
struct Proxy {
    state: State,
    tables: Arc<Mutex<NetlinkTables>>,
    backends: Vec<(IpFamily, NftablesBackend<NetlinkTables>)>,
}

impl Proxy {
    fn start(net: &Topology) -> Self {
        let cidrs = [POD_CIDR_V4, POD_CIDR_V6].map(|text| text.parse().unwrap()).to_vec();
        let mut state = State::new(NodeConfig {
            detect_local: DetectLocal::ClusterCidr(cidrs),
            node_port_addresses: NodePortSelection::Cidrs(Vec::new()),
            ..NodeConfig::new("node1")
        });
        for event in objects() {
            state.handle(event);
        }
        let tables = Arc::new(Mutex::new(net.node().run(NetlinkTables::open).unwrap().unwrap()));
        let backend = |family| (family, NftablesBackend::new(family, Arc::clone(&tables)));
        Self { state, backends: IpFamily::ALL.map(backend).into(), tables }
    }

    /// Makes the node follow the objects; returns how many operations that took.
    fn apply(&mut self) -> usize {
        self.state.prepare();
        let mut operations = 0;
        for (family, backend) in &mut self.backends {
            let apply = backend.apply(self.state.plan(*family), self.state.changes(*family));
            operations += block_on(apply).unwrap().operations;
            self.state.committed(*family);
        }
        operations
    }

    fn dump(&self, family: IpFamily) -> TableDump {
        let id = TableId::new(nft_family(family), "portolan");
        self.tables.lock().unwrap().dump(&id).unwrap().expect("no table")
    }
}

/// Asks for connections without end wherever something is served.
fn probe(net: &Topology) -> Vec<(SocketAddr, Prober)> {
    let client = Caller::from(net.client());
    let tcp = [
        at("10.96.0.80", 80),
        at("fd00:10:96::80", 80),
        at("10.96.0.81", 80),
        at("203.0.113.80", 80),
        at("2001:db8:113::81", 80),
        (NODE_V4, 30080).into(),
    ];
    let start = |transport, to| (to, Prober::start(&client, transport, to).unwrap());
    let mut probers: Vec<_> = tcp.map(|to| start(Transport::Tcp, to)).into();
    probers.push(start(Transport::Udp, at("10.96.0.80", 80)));
    probers
}

fn wait(probers: &[(SocketAddr, Prober)]) {
    for (_, prober) in probers {
        prober.wait_for_attempts(50, PATIENCE).unwrap();
    }
}

/// Who may not get through does not; who had an endpoint has it still.
#[track_caller]
fn assert_refusals(net: &Topology) {
    let client = Caller::from(net.client());
    for refused in [at("10.96.0.82", 80), at("fd00:10:96::82", 80), (NODE_V4, 30082).into()] {
        let error = client.connect_tcp(refused).expect_err("it has no endpoint");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{refused}");
    }
    client.connect_tcp(at("10.96.0.83", 80)).expect_err("only another node serves it");
    let stranger = Caller::from(net.world());
    stranger.connect_tcp(at("203.0.113.80", 80)).expect_err("it is not open to all clients");
    assert!(stranger.connect_tcp(at("203.0.113.81", 80)).is_ok(), "it is open to all clients");
}

#[test]
fn a_table_with_refusals_in_sets_of_their_own_is_taken_over_without_a_gap() {
    isolated(|| {
        let net = Topology::routed(2).unwrap();
        let _servers = net.serve(&[8080]).unwrap();
        load_ruleset(net.node(), REFUSALS_IN_SETS).unwrap();
        assert_refusals(&net);
        let client = Caller::from(net.client());
        let had = client.connect_tcp(at("10.96.0.81", 80)).unwrap().pod;
        let long = LongConnection::open(&client, at("10.96.0.80", 80)).unwrap();
        let probers = probe(&net);
        wait(&probers);

        let mut proxy = Proxy::start(&net);
        assert!(proxy.apply() > 0);

        wait(&probers);
        for (to, prober) in probers {
            let report = prober.stop();
            assert!(report.tally.attempts() >= 100, "{to}: {}", report.tally);
            assert_eq!(report.tally.failed(), 0, "{to}: {}; {:?}", report.tally, report.first_failures);
        }
        long.wait_for_lines(5, PATIENCE).unwrap();
        assert_eq!(long.close().broken, None);
        assert_refusals(&net);
        for _ in 0..10 {
            assert_eq!(client.connect_tcp(at("10.96.0.81", 80)).unwrap().pod, had, "clients are remembered");
        }
        for family in IpFamily::ALL {
            let dump = proxy.dump(family);
            assert_eq!(View::of(&dump), Ok(View::wanted(proxy.state.plan(family))), "{family}");
            for (gone, is_there) in [
                ("learn-prerouting", dump.chain("learn-prerouting").is_some()),
                ("filter-input", dump.chain("filter-input").is_some()),
                ("no-endpoint-services", dump.set("no-endpoint-services").is_some()),
            ] {
                assert!(!is_there, "{family}: {gone}");
            }
        }
        assert_eq!(proxy.apply(), 0, "the same plan once more");
        assert_ruleset_reloads(net.node());
    });
}
