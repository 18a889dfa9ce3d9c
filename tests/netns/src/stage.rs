//! A node of a cluster with an API server, its pods serving, and room for a proxy of any kind.
//!
//! Always there: the Node `node1`, and the Service `shop/web` with a cluster IP and a node port in both
//! families. Which pods are behind it, each test says.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use portolan_testkit::api_server::ApiServer;
use portolan_testkit::netns::{
    Caller, EchoServer, NODE_V4, NODE_V6, NetnsError, POD_CIDR_V4, POD_CIDR_V6, Portolan, ProbeReport,
    Prober, Topology, Transport, wait_until,
};
use portolan_testkit::shop::{NODE, NODE_PORT, POD_PORT, PORT};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::modes::Mode;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Where the proxy answers for its health.
pub(crate) const HEALTH: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 10256);
/// Where it shows its metrics and all else.
pub(crate) const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 10249);

/// The cluster IPs of `shop/web`.
pub(crate) const WEB: [&str; 2] = ["10.96.0.80", "fd00:10:96::80"];

/// The network and the API server.
pub(crate) struct Stage {
    /// How the node is to be served.
    pub(crate) mode: Mode,
    pub(crate) net: Topology,
    pub(crate) api: ApiServer,
    /// Its threads were started in the node, and so its sockets are there.
    pub(crate) runtime: Runtime,
    #[expect(dead_code, reason = "serve as long as they are held")]
    servers: Vec<EchoServer>,
}

impl Stage {
    /// A network of so many pods, with a Node that has addresses, to be served in nftables mode.
    pub(crate) fn new(pods: u8) -> Self {
        Self::in_mode(Mode::Nftables, pods)
    }

    /// The same in any mode.
    pub(crate) fn in_mode(mode: Mode, pods: u8) -> Self {
        let stage = Self::without_node(mode, pods);
        stage.put(node());
        stage
    }

    /// The same, before the kubelet has registered the Node.
    pub(crate) fn without_node(mode: Mode, pods: u8) -> Self {
        let net = Topology::routed(pods).unwrap();
        let servers = net.serve(&[POD_PORT]).unwrap();
        let runtime = net.node().run(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
        });
        let runtime = runtime.unwrap();
        let api = net.node().run(|| runtime.block_on(ApiServer::start())).unwrap().unwrap();
        api.apply_all([web()]);
        Self { mode, net, api, runtime, servers }
    }

    pub(crate) fn put(&self, object: Value) {
        self.api.apply(object).expect("a kind that the server has");
    }

    /// Puts these pods, and no others, behind `shop/web`.
    pub(crate) fn serve_web_by(&self, pods: &[usize]) {
        self.api.apply_all([0, 1].map(|family| self.slice("web", family, pods)));
    }

    /// The EndpointSlice of a Service in IPv4 (0) or IPv6 (1), with these pods in it.
    pub(crate) fn slice(&self, service: &str, family: usize, pods: &[usize]) -> Value {
        let address = |number: &usize| {
            let pod = self.net.pod(*number);
            [pod.ipv4.to_string(), pod.ipv6.to_string()][family].clone()
        };
        let endpoint =
            |address| json!({"addresses": [address], "nodeName": NODE, "conditions": {"ready": true}});
        let kind = ["IPv4", "IPv6"][family];
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{service}-{}", kind.to_lowercase()), "namespace": "shop",
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": kind, "ports": [{"name": "http", "port": POD_PORT, "protocol": "TCP"}],
            "endpoints": pods.iter().map(address).map(endpoint).collect::<Vec<_>>(),
        })
    }

    /// Flags that suit the network, but for the mode.
    pub(crate) fn flags(&self) -> Vec<String> {
        let flags = [
            format!("--kubeconfig={}", self.api.kubeconfig_file().display()),
            format!("--hostname-override={NODE}"),
            format!("--cluster-cidr={POD_CIDR_V4},{POD_CIDR_V6}"),
            "--nodeport-addresses=0.0.0.0/0,::/0".to_owned(),
            format!("--metrics-bind-address={METRICS}"),
            format!("--healthz-bind-address={HEALTH}"),
            "-v=2".to_owned(),
        ];
        flags.into()
    }

    /// Starts the proxy with these flags besides [those that suit](Self::flags).
    pub(crate) fn start(&self, more: &[&str]) -> Portolan {
        let more = more.iter().map(|flag| (*flag).to_owned());
        Portolan::start(self.net.node(), self.flags().into_iter().chain(more)).unwrap()
    }

    /// Starts the proxy in its mode and waits until both families are served.
    pub(crate) fn start_synced(&self) -> Portolan {
        let mut proxy = self.start(&[&self.mode.flag()]);
        proxy.wait_synced(PATIENCE).unwrap();
        proxy
    }

    /// Waits for an Event with this reason.
    pub(crate) fn wait_for_event(&self, reason: &str) -> Value {
        let mut found = None;
        let look = || {
            found = self.events(reason).pop();
            found.is_some()
        };
        wait_until(&format!("there is an Event {reason}"), PATIENCE, look)
            .unwrap_or_else(|error| panic!("{error}; there are {:#?}", self.api.events()));
        found.unwrap_or_default()
    }

    /// All Events with this reason.
    pub(crate) fn events(&self, reason: &str) -> Vec<Value> {
        let mut events = self.api.events();
        events.retain(|event| event["reason"] == reason);
        events
    }

    /// Asks again and again for `shop/web`, by every kind of address, from a client, a pod and the node.
    pub(crate) fn probe_web(&self) -> Traffic {
        let pod = &self.net.pod(2).namespace;
        let [v4, v6] = WEB.map(|ip| socket(ip, PORT));
        let ports = [SocketAddr::from((NODE_V4, NODE_PORT)), SocketAddr::from((NODE_V6, NODE_PORT))];
        let senders = [
            ("client to cluster IP, IPv4", self.net.client(), v4),
            ("client to cluster IP, IPv6", self.net.client(), v6),
            ("client to node port, IPv4", self.net.client(), ports[0]),
            ("client to node port, IPv6", self.net.client(), ports[1]),
            ("pod to cluster IP, IPv4", pod, v4),
            ("pod to node port, IPv6", pod, ports[1]),
            ("node to cluster IP, IPv4", self.net.node(), v4),
            ("node to cluster IP, IPv6", self.net.node(), v6),
        ];
        Traffic(senders.map(|(what, from, to)| (what, prober(&Caller::from(from), to))).into())
    }

    /// A caller outside of the cluster.
    pub(crate) fn client(&self) -> Caller {
        Caller::from(self.net.client())
    }
}

pub(crate) fn prober(caller: &Caller, to: SocketAddr) -> Prober {
    Prober::start(caller, Transport::Tcp, to).unwrap()
}

pub(crate) fn socket(ip: &str, port: u16) -> SocketAddr {
    (ip.parse::<IpAddr>().unwrap(), port).into()
}

/// Probers, each with what it does.
pub(crate) struct Traffic(Vec<(&'static str, Prober)>);

impl Traffic {
    pub(crate) fn wait_for_attempts(&self, more: u64) {
        for (what, prober) in &self.0 {
            prober.wait_for_attempts(more, PATIENCE).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }

    pub(crate) fn wait_for_pod(&self, pod: &str) {
        for (what, prober) in &self.0 {
            prober.wait_for_pod(pod, PATIENCE).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }

    /// What each of them has seen so far.
    pub(crate) fn so_far(&self) -> Vec<(&'static str, ProbeReport)> {
        self.0.iter().map(|(what, prober)| (*what, prober.so_far())).collect()
    }

    /// Waits until each of them has an answer; how many failures each had until then.
    pub(crate) fn failures_when_first_answered(&self) -> Vec<(&'static str, u64)> {
        let count = |(what, prober): &(&'static str, Prober)| {
            let mut failures = 0;
            let is_answered = || {
                let tally = prober.so_far().tally;
                failures = tally.failed();
                tally.successes() > 0
            };
            wait_until(what, PATIENCE, is_answered).unwrap();
            (*what, failures)
        };
        self.0.iter().map(count).collect()
    }

    /// None may have failed since each of them had so many failures.
    #[track_caller]
    pub(crate) fn assert_nothing_lost_since(&self, before: &[(&'static str, u64)]) {
        for ((what, report), (_, failures)) in self.so_far().into_iter().zip(before) {
            assert_eq!(report.tally.failed(), *failures, "{what}: {:?}", report.first_failures);
        }
    }

    /// Stops all of them; not one attempt may have failed.
    #[track_caller]
    pub(crate) fn assert_nothing_lost(self) {
        for (what, prober) in self.0 {
            let ProbeReport { tally, first_failures, .. } = prober.stop();
            assert!(tally.attempts() > 100, "{what}: {tally}");
            assert_eq!(tally.failed(), 0, "{what}: {tally}; {first_failures:?}");
        }
    }
}

/// The Node as the kubelet registers it, with addresses in both families.
pub(crate) fn node() -> Value {
    let addresses = [IpAddr::from(NODE_V4), IpAddr::from(NODE_V6)];
    let addresses = addresses.map(|ip| json!({"type": "InternalIP", "address": ip.to_string()}));
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE},
        "status": {"addresses": addresses},
    })
}

/// The Service `shop/web`.
pub(crate) fn web() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "type": "NodePort", "clusterIP": WEB[0], "clusterIPs": WEB, "ipFamilies": ["IPv4", "IPv6"],
            "ports": [{
                "name": "http", "port": PORT, "protocol": "TCP", "targetPort": POD_PORT, "nodePort": NODE_PORT,
            }],
        },
    })
}

/// A Service `shop/NAME` that has only a cluster IP.
pub(crate) fn plain_service(name: &str, ip: &str) -> Value {
    let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": [family],
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": POD_PORT}],
        },
    })
}

/// Waits for a process that ends by itself.
pub(crate) fn exit_code(process: &mut Portolan) -> Option<i32> {
    match process.wait_until("it ends", PATIENCE, |_| false).unwrap_err() {
        NetnsError::Ended { status, .. } => status.code(),
        other => panic!("{other}"),
    }
}

/// Starts the proxy by way of another program, such as `env`, with all words after its name.
pub(crate) fn start_by(stage: &Stage, name: &str, words: &[String]) -> Portolan {
    Portolan::start_binary(&program(name), stage.net.node(), words).unwrap()
}

/// Where a program is, by `PATH`.
pub(crate) fn program(name: &str) -> PathBuf {
    portolan_iptables::find(name).unwrap_or_else(|| panic!("{name} is not in PATH"))
}
