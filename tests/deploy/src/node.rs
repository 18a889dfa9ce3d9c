//! A node for the real binary: an API server on its loopback, some Services, and the proxy.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use portolan_iptables::find;
use portolan_testkit::api_server::ApiServer;
use portolan_testkit::netns::{Namespace, Portolan, Program, wait_until};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How long anything here may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Where the proxy shows its metrics.
pub(crate) const METRICS: &str = "127.0.0.1:10249";
/// The name of the node.
const NAME: &str = "node1";
/// Addresses of pods; nothing needs to answer there.
const PODS: &str = "10.244.0.0/16";

/// A network namespace in which a proxy runs; everything ends with it.
pub(crate) struct Node {
    pub(crate) namespace: Namespace,
    pub(crate) api: ApiServer,
    pub(crate) proxy: Portolan,
    /// Runs `api`, so it goes last.
    runtime: Runtime,
}

/// The proxy as a program with these words in front, such as `setpriv --no-new-privs`.
pub(crate) struct Confinement<'a>(pub(crate) &'a [&'a str]);

impl Node {
    /// A node whose proxy has the rights that the test has, and these flags besides the usual ones.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_confined(&Confinement(&[]), flags, |_| ())
    }

    /// A node whose API server is prepared by `prepare` before the proxy starts.
    pub(crate) fn start_confined(confinement: &Confinement, flags: &[&str], prepare: fn(&ApiServer)) -> Self {
        let namespace = Namespace::create(NAME).unwrap();
        namespace.ip("link set lo up").unwrap();
        // A VIP must have a way out, or the kernel refuses before the rules are asked.
        namespace.ip("link add uplink type veth peer name world").unwrap();
        namespace.ip("addr add 192.0.2.1/24 dev uplink").unwrap();
        namespace.ip("link set uplink up").unwrap();
        namespace.ip("link set world up").unwrap();
        // Its threads are started in the node, and so are their sockets.
        let runtime = namespace.run(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
        });
        let runtime = runtime.unwrap();
        let api = namespace.run(|| runtime.block_on(ApiServer::start())).unwrap().unwrap();
        api.apply_all([node(), service(), slice(1)]);
        prepare(&api);
        let proxy = start_proxy(&namespace, &api, confinement, flags);
        Self { namespace, api, proxy, runtime }
    }

    /// Waits until the proxy has written its rules and follows all that it needs.
    pub(crate) fn wait_ready(&mut self) {
        self.proxy.wait_synced(PATIENCE).unwrap();
        let watched = self.api.wait_for_watchers(&["services", "endpointslices", "nodes", "servicecidrs"]);
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, watched).await }).unwrap();
    }

    /// Gives the Service `endpoints` endpoints, as a change of pods that happens now, and waits until it is programmed.
    pub(crate) fn scale_to(&mut self, endpoints: usize) {
        self.api.apply(slice(endpoints)).unwrap();
        wait_until("the endpoints are programmed", PATIENCE, || {
            self.table().matches(" . 8080").count() == endpoints
        })
        .unwrap();
    }

    /// The IPv4 table as `nft` lists it.
    fn table(&self) -> String {
        let list = Program::new("nft").args(["list", "map", "ip", "portolan", "endpoints"]);
        self.namespace.run_program(&list).unwrap()
    }

    /// The page of metrics.
    pub(crate) fn metrics(&self) -> String {
        let server: SocketAddr = METRICS.parse().unwrap();
        let page = self.proxy.get(server, "/metrics").unwrap();
        assert_eq!(page.status, 200);
        page.body
    }
}

fn start_proxy(
    namespace: &Namespace,
    api: &ApiServer,
    confinement: &Confinement,
    flags: &[&str],
) -> Portolan {
    let kubeconfig = api.kubeconfig_file().to_str().unwrap();
    let usual = [
        ["--kubeconfig", kubeconfig],
        ["--mode", "nftables"],
        ["--hostname-override", NAME],
        ["--cluster-cidr", PODS],
        ["-v", "2"],
    ];
    let flags = usual.iter().flatten().chain(flags).map(OsString::from);
    let binary = Portolan::binary().unwrap();
    match confinement.0 {
        [] => Portolan::start(namespace, flags).unwrap(),
        [program, words @ ..] => {
            let program = find(program).unwrap_or_else(|| panic!("{program} is not in PATH"));
            let words = words.iter().map(OsString::from).chain([binary.into_os_string()]);
            Portolan::start_binary(program.as_ref(), namespace, words.chain(flags)).unwrap()
        }
    }
}

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.80", "clusterIPs": ["10.96.0.80"], "ipFamilies": ["IPv4"],
            "externalTrafficPolicy": "Local",
            "ports": [
                {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080},
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353, "nodePort": 30053},
            ],
        },
    })
}

/// The Service's slice with this many endpoints, each of another node, changed now.
fn slice(endpoints: usize) -> Value {
    let endpoint = |number| json!({"addresses": [format!("10.244.0.{number}")], "nodeName": "node2", "conditions": {"ready": true}});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": now()},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 5353, "protocol": "UDP"}],
        "endpoints": (1..=endpoints).map(endpoint).collect::<Vec<_>>(),
    })
}

/// The time of day as the API writes it.
fn now() -> String {
    let date = Program::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%6NZ"]).run().unwrap();
    date.trim_end().to_owned()
}
