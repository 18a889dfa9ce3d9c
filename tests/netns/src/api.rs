//! The real binary on an API server, with faults of every kind while traffic flows.
//!
//! What the source makes of each fault is tested beside it; here it is the kernel that must
//! keep serving, and must follow once the fault is over.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portolan_testkit::api_server::{ApiServer, Refusal};
use portolan_testkit::netns::{
    Caller, EchoServer, POD_CIDR_V4, POD_CIDR_V6, Portolan, Prober, Topology, Transport,
};
use portolan_testkit::shop::{POD_PORT, PORT};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::modes::{Mode, in_each_mode};

const PATIENCE: Duration = Duration::from_secs(30);
const HEALTH: &str = "127.0.0.1:10256";
const RESOURCES: [&str; 3] = ["services", "endpointslices", "nodes"];

/// A node with the proxy, an API server on its loopback, and pods.
struct Cluster {
    mode: Mode,
    net: Topology,
    api: ApiServer,
    proxy: Portolan,
    runtime: Runtime,
    #[expect(dead_code, reason = "serve as long as they are held")]
    servers: Vec<EchoServer>,
}

impl Cluster {
    /// Everything running, the Service served by pods 1 and 2.
    fn start(mode: Mode) -> Self {
        let net = Topology::routed(3).unwrap();
        let servers = net.serve(&[POD_PORT]).unwrap();
        // Its threads are started in the node, and so are their sockets.
        let runtime = net.node().run(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
        });
        let runtime = runtime.unwrap();
        let api = net.node().run(|| runtime.block_on(ApiServer::start())).unwrap().unwrap();
        api.apply_all([node(), service(), slice(&net, &[1, 2])]);
        let proxy = start_proxy(mode, &net, &api);
        let mut cluster = Self { mode, net, api, proxy, runtime, servers };
        cluster.proxy.wait_synced(PATIENCE).unwrap();
        cluster.runtime.block_on(cluster.api.wait_for_watchers(&RESOURCES));
        cluster
    }

    fn cut(&self) {
        self.runtime.block_on(self.api.cut_connections());
    }

    fn serve_by(&self, pods: &[usize]) {
        self.api.apply(slice(&self.net, pods)).unwrap();
    }

    fn probe(&self) -> Prober {
        Prober::start(&Caller::from(self.net.client()), Transport::Tcp, vip()).unwrap()
    }

    fn restart_proxy(&mut self) {
        let next = start_proxy(self.mode, &self.net, &self.api);
        std::mem::replace(&mut self.proxy, next).kill().unwrap();
    }
}

fn start_proxy(mode: Mode, net: &Topology, api: &ApiServer) -> Portolan {
    let kubeconfig = api.kubeconfig_file().display().to_string();
    let cidrs = format!("{POD_CIDR_V4},{POD_CIDR_V6}");
    let flags = [
        ("--kubeconfig", kubeconfig.as_str()),
        ("--mode", mode.name()),
        ("--hostname-override", "node1"),
        ("--cluster-cidr", &cidrs),
        ("--metrics-bind-address", "127.0.0.1:10249"),
        ("--healthz-bind-address", HEALTH),
        ("-v", "2"),
    ];
    Portolan::start(net.node(), flags.iter().flat_map(|(flag, value)| [*flag, *value])).unwrap()
}

fn vip() -> SocketAddr {
    ("10.96.0.80".parse::<IpAddr>().unwrap(), PORT).into()
}

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.80", "clusterIPs": ["10.96.0.80"], "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": POD_PORT, "nodePort": 30080}],
        },
    })
}

fn slice(net: &Topology, pods: &[usize]) -> Value {
    let endpoints: Vec<_> = pods
        .iter()
        .map(|number| {
            let address = net.pod(*number).ipv4.to_string();
            json!({"addresses": [address], "nodeName": "node1", "conditions": {"ready": true}})
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": POD_PORT, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

/// Something that goes wrong.
type Fault = fn(&mut Cluster);

in_each_mode!(
    services_of_an_api_server_are_served_through_cuts_expiry_and_restarts,
    a_proxy_that_is_refused_says_so_and_serves_what_was_there,
    while_the_api_server_is_away_traffic_goes_on_and_afterwards_changes_arrive,
);

fn services_of_an_api_server_are_served_through_cuts_expiry_and_restarts(mode: Mode) {
    let mut cluster = Cluster::start(mode);
    let prober = cluster.probe();
    prober.wait_for_pod("pod1", PATIENCE).unwrap();
    prober.wait_for_pod("pod2", PATIENCE).unwrap();
    let primary = SocketAddr::new("192.0.2.1".parse().unwrap(), 30080);
    Caller::from(cluster.net.client()).connect_tcp(primary).unwrap();

    let faults: [(&str, Fault); 6] = [
        ("nothing", |_| {}),
        ("connections cut", |cluster| cluster.cut()),
        ("watches expired", |cluster| cluster.api.expire_watches()),
        ("history compacted and cut", |cluster| {
            cluster.api.compact();
            cluster.cut();
        }),
        ("a malformed object", |cluster| {
            let mut broken = slice(&cluster.net, &[3]);
            broken["metadata"]["name"] = json!("web-broken");
            broken["ports"][0]["port"] = json!("eighty");
            cluster.api.apply(broken).unwrap();
        }),
        ("the proxy killed", Cluster::restart_proxy),
    ];
    for (round, (fault, inflict)) in faults.into_iter().enumerate() {
        inflict(&mut cluster);
        let pods: [usize; 2] = if round % 2 == 0 { [2, 3] } else { [1, 2] };
        cluster.serve_by(&pods);
        let new = if round % 2 == 0 { "pod3" } else { "pod1" };
        prober.wait_for_pod(new, PATIENCE).unwrap_or_else(|error| panic!("{fault}: {error}"));
    }
    let log = cluster.proxy.log().unwrap();
    assert!(log.contains("web-broken"), "a malformed object is named: {log}");
    let report = prober.stop();
    assert_eq!(report.tally.failed(), 0, "{} {:?}", report.tally, report.first_failures);
    // The prober has seen IPv4's rules; the proxy started anew may still be busy with IPv6's.
    let is_healthy = |proxy: &Portolan| proxy.get(HEALTH.parse().unwrap(), "/healthz").unwrap().status == 200;
    cluster.proxy.wait_until("it is healthy", PATIENCE, is_healthy).unwrap();
    mode.assert_reloads(cluster.net.node());
}

/// The elements of a set come in any order.
fn sorted(listing: &str) -> Vec<&str> {
    let mut lines: Vec<_> = listing.lines().map(|line| line.trim().trim_end_matches(',')).collect();
    lines.sort_unstable();
    lines
}

fn a_proxy_that_is_refused_says_so_and_serves_what_was_there(mode: Mode) {
    let mut cluster = Cluster::start(mode);
    let before = mode.listed(cluster.net.node());
    let prober = cluster.probe();
    for (status, word) in [(401, "Unauthorized"), (403, "orbidden"), (500, "500")] {
        cluster.api.refuse(Some(Refusal { status, resource: "" }));
        cluster.cut();
        cluster.restart_proxy();
        cluster
            .proxy
            .wait_until("the refusal is logged", PATIENCE, |proxy| {
                let log = proxy.log().unwrap();
                log.contains(word) && log.contains("Service")
            })
            .unwrap();
        let health = cluster.proxy.get(HEALTH.parse().unwrap(), "/healthz").unwrap();
        assert_eq!(health.status, 503, "{}", health.body);
        prober.wait_for_attempts(50, PATIENCE).unwrap();
    }
    assert_eq!(sorted(&mode.listed(cluster.net.node())), sorted(&before));

    cluster.serve_by(&[3]);
    cluster.api.refuse(None);
    cluster.proxy.wait_synced(PATIENCE).unwrap();
    prober.wait_for_pod("pod3", PATIENCE).unwrap();
    let report = prober.stop();
    assert_eq!(report.tally.failed(), 0, "{} {:?}", report.tally, report.first_failures);
}

fn while_the_api_server_is_away_traffic_goes_on_and_afterwards_changes_arrive(mode: Mode) {
    let cluster = Cluster::start(mode);
    let prober = cluster.probe();
    cluster.runtime.block_on(cluster.api.set_down(true));
    prober.wait_for_attempts(200, PATIENCE).unwrap();
    cluster.serve_by(&[3]);
    cluster.runtime.block_on(cluster.api.set_down(false));
    prober.wait_for_pod("pod3", PATIENCE).unwrap();
    let report = prober.stop();
    assert_eq!(report.tally.failed(), 0, "{} {:?}", report.tally, report.first_failures);
}
