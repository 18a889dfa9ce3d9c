//! UDP clients that keep their source port, and the real binary: whatever happens to the Service,
//! they reach an endpoint that is there, and never leave one that still is.
//!
//! To connection tracking all datagrams of such a client are one flow, which it would send to the
//! first endpoint for as long as they come.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use portolan_testkit::netns::{
    Answer, Caller, EchoServer, ManifestFolder, NODE_V4, NODE_V6, Portolan, Topology, TrafficError,
};
use portolan_testkit::shop::{POD_PORT, PORT};

use crate::modes::{Mode, in_each_mode};

/// Far longer than it should take, and no way out for a client that is stuck: its datagrams keep
/// its flow alive.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pods' other port.
const OTHER_PORT: u16 = 9090;

/// One pod in the slices: its number and the port it serves on; whether it is ready, and serves.
#[derive(Clone, Copy)]
struct Pod(usize, u16, Condition);

#[derive(Clone, Copy, PartialEq)]
enum Condition {
    Ready,
    NotReady,
    Draining,
}

use Condition::{Draining, NotReady, Ready};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: shop}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.53
  clusterIPs: [10.96.0.53, 'fd00:10:96::53']
  ipFamilies: [IPv4, IPv6]
  externalIPs: [203.0.113.53, '2001:db8:113::53']
  ports:
  - {name: dns, port: 80, protocol: UDP, nodePort: 30053}
";

fn slices(net: &Topology, pods: &[Pod]) -> String {
    let slice = |family: &str, Pod(number, port, condition): Pod| {
        let pod = net.pod(number);
        let ip = if family == "IPv4" { pod.ipv4.to_string() } else { pod.ipv6.to_string() };
        let (ready, serving, terminating) =
            (condition == Ready, condition != NotReady, condition == Draining);
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: dns-{}-{number}\n  \
             namespace: shop\n  labels: {{kubernetes.io/service-name: dns}}\naddressType: {family}\n\
             ports:\n- {{name: dns, port: {port}, protocol: UDP}}\nendpoints:\n- addresses: ['{ip}']\n  \
             nodeName: node1\n  \
             conditions: {{ready: {ready}, serving: {serving}, terminating: {terminating}}}\n",
            family.to_lowercase()
        )
    };
    ["IPv4", "IPv6"].iter().flat_map(|family| pods.iter().map(|pod| slice(family, *pod))).collect()
}

/// A network, a proxy on a folder, and clients that have asked through every address before there was
/// a proxy: each has an untranslated flow.
struct Scene {
    mode: Mode,
    net: Topology,
    _servers: Vec<EchoServer>,
    folder: ManifestFolder,
    clients: Vec<(String, Caller, SocketAddr)>,
}

impl Scene {
    fn new(mode: Mode) -> Self {
        let net = Topology::routed(3).unwrap();
        let mut servers = net.serve(&[POD_PORT]).unwrap();
        for pod in net.pods() {
            let name = format!("{}-other", pod.name());
            servers.push(EchoServer::start(&pod.namespace, &name, &[OTHER_PORT]).unwrap());
        }
        let addresses = [
            ("cluster IP", "10.96.0.53".parse().unwrap(), PORT),
            ("cluster IP, IPv6", "fd00:10:96::53".parse().unwrap(), PORT),
            ("external IP", "203.0.113.53".parse().unwrap(), PORT),
            ("external IP, IPv6", "2001:db8:113::53".parse().unwrap(), PORT),
            ("node port", NODE_V4.into(), 30053),
            ("node port, IPv6", NODE_V6.into(), 30053),
        ];
        let pod = &net.pod(3).namespace;
        let senders = [("client", net.client()), ("pod", pod), ("node", net.node())];
        let mut clients = Vec::new();
        for (from, namespace) in senders {
            for (to, ip, port) in addresses {
                let source_port = 40_000 + u16::try_from(clients.len()).unwrap();
                let caller = Caller::from(namespace)
                    .with_source_port(source_port)
                    .with_patience(Duration::from_millis(150));
                clients.push((format!("{from} to {to}"), caller, SocketAddr::new(ip, port)));
            }
        }
        Self { mode, net, _servers: servers, folder: ManifestFolder::create().unwrap(), clients }
    }

    fn put(&self, pods: &[Pod]) {
        self.folder.write("slices.yaml", &slices(&self.net, pods)).unwrap();
    }

    fn start(&self) -> Portolan {
        let mut proxy =
            Portolan::start(self.net.node(), Portolan::flags_in(self.mode.name(), &self.folder)).unwrap();
        proxy.wait_synced(PATIENCE).unwrap();
        proxy
    }

    fn ask(&self) -> Vec<(&str, Result<Answer, TrafficError>)> {
        self.clients.iter().map(|(name, caller, to)| (name.as_str(), caller.query_udp(*to))).collect()
    }

    /// Asks on and on until every client is answered by this server.
    #[track_caller]
    fn assert_followed(&self, what: &str, pod: &str) {
        let began = Instant::now();
        for (name, caller, to) in &self.clients {
            loop {
                match caller.query_udp(*to) {
                    Ok(answer) if answer.pod == pod => break,
                    other => assert!(began.elapsed() < PATIENCE, "{what}: {name}: {other:?}"),
                }
            }
        }
        println!("{what}: all {} clients followed after {:?}", self.clients.len(), began.elapsed());
    }

    /// Who answers each client now; everybody must be answered.
    #[track_caller]
    fn answering(&self) -> Vec<String> {
        let answers = self.ask().into_iter();
        answers
            .map(|(name, answer)| answer.unwrap_or_else(|e| panic!("{name}: {}", e.reason())).pod)
            .collect()
    }

    #[track_caller]
    fn assert_unanswered(&self, what: &str) {
        let began = Instant::now();
        while self.ask().iter().any(|(_, answer)| answer.is_ok()) {
            assert!(began.elapsed() < PATIENCE, "{what}");
        }
    }
}

in_each_mode!(
    clients_with_a_fixed_source_port_follow_the_endpoints_of_their_service,
    flows_to_endpoints_that_still_answer_stay_where_they_are,
);

fn clients_with_a_fixed_source_port_follow_the_endpoints_of_their_service(mode: Mode) {
    let scene = Scene::new(mode);
    let _proxy = scene.start();
    // Before there is anything to translate, flows begin that go nowhere.
    scene.assert_unanswered("before the Service");
    scene.put(&[Pod(1, POD_PORT, Ready)]);
    scene.folder.write("service.yaml", SERVICE).unwrap();
    scene.assert_followed("a Service that comes after its clients", "pod1");
    scene.put(&[Pod(2, POD_PORT, Ready)]);
    scene.assert_followed("another endpoint", "pod2");
    scene.put(&[Pod(1, OTHER_PORT, Ready), Pod(2, POD_PORT, NotReady)]);
    scene.assert_followed("an endpoint that is not ready any more", "pod1-other");
    scene.put(&[Pod(1, POD_PORT, Ready)]);
    scene.assert_followed("another target port", "pod1");
    scene.put(&[]);
    scene.assert_unanswered("no endpoints");
    scene.put(&[Pod(2, POD_PORT, Ready)]);
    scene.assert_followed("endpoints again", "pod2");
    scene.folder.remove("service.yaml").unwrap();
    scene.assert_unanswered("no Service");
    scene.put(&[Pod(1, POD_PORT, Ready)]);
    scene.folder.write("service.yaml", SERVICE).unwrap();
    scene.assert_followed("a Service that comes back", "pod1");
}

fn flows_to_endpoints_that_still_answer_stay_where_they_are(mode: Mode) {
    let scene = Scene::new(mode);
    scene.folder.write("service.yaml", SERVICE).unwrap();
    scene.put(&[Pod(1, POD_PORT, Ready), Pod(2, POD_PORT, Ready)]);
    let proxy = scene.start();
    let first = scene.answering();
    assert!(first.contains(&"pod1".into()) && first.contains(&"pod2".into()), "{first:?}");

    // A restart, by force, looks through all flows.
    proxy.kill().unwrap();
    assert_eq!(scene.answering(), first, "no endpoint is there");
    let mut proxy = scene.start();
    let looked = |proxy: &Portolan, family| {
        let series = "kubeproxy_conntrack_reconciler_sync_duration_seconds_count";
        proxy.metric(&format!("{series}{{ip_family=\"{family}\"}}")).ok().flatten() >= Some(1.0)
    };
    let both = |proxy: &Portolan| looked(proxy, "IPv4") && looked(proxy, "IPv6");
    proxy.wait_until("the flows were looked through", PATIENCE, both).unwrap();
    assert_eq!(scene.answering(), first, "a restart");

    // An endpoint that is being drained keeps the flows it has. The third pod has none of them.
    scene.put(&[Pod(1, POD_PORT, Draining), Pod(2, POD_PORT, Draining), Pod(3, POD_PORT, Ready)]);
    let fresh = Caller::from(scene.net.client());
    let to = scene.clients[0].2;
    let began = Instant::now();
    let mut in_a_row = 0;
    while in_a_row < 20 {
        let is_third = fresh.query_udp(to).is_ok_and(|answer| answer.pod == "pod3");
        in_a_row = if is_third { in_a_row + 1 } else { 0 };
        assert!(began.elapsed() < PATIENCE, "new flows go to the third pod");
    }
    assert_eq!(scene.answering(), first, "draining");
    drop(proxy);
}
