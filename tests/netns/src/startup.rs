//! From the start of the process to its first rules, and from the request to end to its end.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use portolan_testkit::api_server::Refusal;
use portolan_testkit::netns::{Caller, Portolan, Program, pod_v4, wait_until};
use portolan_testkit::shop::PORT;
use serde_json::{Value, json};

use crate::modes::{Mode, in_each_mode};
use crate::stage::{HEALTH, METRICS, PATIENCE, Stage, WEB, node, prober, socket, start_by};

in_each_mode!(
    until_the_node_has_an_address_ports_are_open_health_is_503_and_there_are_no_rules,
    in_node_cidr_mode_rules_wait_for_pod_cidrs_and_follow_them,
    systemd_is_told_of_readiness_when_rules_are_in_force_and_of_the_end,
    rules_stay_and_serve_after_every_signal_that_asks_for_the_end,
);

const RESOURCES: [&str; 3] = ["services", "endpointslices", "nodes"];

/// The proxy has all lists, all its ports are open, and there is not one rule.
fn assert_waits(stage: &Stage, proxy: &mut Portolan) {
    proxy
        .wait_until("its ports are open", PATIENCE, |proxy| proxy.get(METRICS, "/proxyMode").is_ok())
        .unwrap();
    stage.runtime.block_on(stage.api.wait_for_watchers(&RESOURCES));
    let had_rules = stage.mode.has_rules(stage.net.node());
    // A change that would be programmed within milliseconds, had anything been applied before.
    stage.serve_web_by(&[2]);
    stage.serve_web_by(&[1, 2]);
    let client = prober(&stage.client(), socket(WEB[0], PORT));
    client.wait_for_attempts(1, PATIENCE).unwrap();
    assert_eq!(client.stop().tally.successes(), 0);
    assert!(!had_rules && !stage.mode.has_rules(stage.net.node()));
}

fn health(proxy: &Portolan) -> u16 {
    proxy.get(HEALTH, "/healthz").unwrap().status
}

fn with_pod_cidrs(mut node: Value, cidrs: &[&str]) -> Value {
    node["spec"] = json!({"podCIDR": cidrs[0], "podCIDRs": cidrs});
    node
}

fn until_the_node_has_an_address_ports_are_open_health_is_503_and_there_are_no_rules(mode: Mode) {
    let stage = Stage::without_node(mode, 2);
    stage.serve_web_by(&[1, 2]);
    let mut proxy = stage.start(&[&mode.flag()]);
    assert_waits(&stage, &mut proxy);
    assert_eq!(health(&proxy), 503, "the Node was not seen yet");
    assert_eq!(proxy.get(HEALTH, "/livez").unwrap().status, 200);

    let mut without_address = node();
    without_address["status"] = json!({});
    stage.put(without_address);
    let is_seen =
        |proxy: &Portolan| proxy.get(HEALTH, "/healthz").unwrap().body.contains("\"nodeEligible\":true");
    proxy.wait_until("the Node is seen", PATIENCE, is_seen).unwrap();
    assert_waits(&stage, &mut proxy);
    assert_eq!(health(&proxy), 503, "there are no rules yet");

    stage.put(node());
    proxy.wait_synced(PATIENCE).unwrap();
    let pod = stage.client().connect_tcp(socket(WEB[0], PORT)).unwrap().pod;
    assert!(["pod1", "pod2"].contains(&pod.as_str()));
    assert_eq!(health(&proxy), 200);
}

fn in_node_cidr_mode_rules_wait_for_pod_cidrs_and_follow_them(mode: Mode) {
    let stage = Stage::in_mode(mode, 3);
    stage.serve_web_by(&[1, 2]);
    let mut proxy = stage.start(&[&mode.flag(), "--detect-local-mode=NodeCIDR"]);
    assert_waits(&stage, &mut proxy);

    let seen_as = || {
        let pod = Caller::from(&stage.net.pod(3).namespace);
        pod.connect_tcp(socket(WEB[0], PORT)).unwrap().peer.ip()
    };
    stage.put(with_pod_cidrs(node(), &["10.244.0.0/24", "fd00:10:244::/80"]));
    proxy.wait_synced(PATIENCE).unwrap();
    assert_eq!(seen_as(), pod_v4(3), "a pod of this node keeps its address");

    // kube-proxy would end here.
    stage.put(with_pod_cidrs(node(), &["10.245.0.0/24", "fd00:10:245::/80"]));
    wait_until("a pod of other nodes gets the node's", PATIENCE, || seen_as() != pod_v4(3)).unwrap();
}

/// Where systemd would listen.
struct ServiceManager(UnixDatagram);

impl ServiceManager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn was_told_nothing(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let told = self.0.recv(&mut [0; 256]);
        self.0.set_nonblocking(false).unwrap();
        told.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn next(&self) -> String {
        let mut message = [0; 256];
        let length = self.0.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    }
}

fn systemd_is_told_of_readiness_when_rules_are_in_force_and_of_the_end(mode: Mode) {
    let stage = Stage::in_mode(mode, 2);
    stage.serve_web_by(&[1, 2]);
    stage.api.refuse(Some(Refusal { status: 403, resource: "services" }));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = ServiceManager::listen(&path);
    let mut words = vec![format!("NOTIFY_SOCKET={}", path.display())];
    words.push(Portolan::binary().unwrap().display().to_string());
    words.extend(stage.flags());
    words.push(mode.flag());
    let mut proxy = start_by(&stage, "env", &words);
    let refused = |proxy: &Portolan| proxy.log().unwrap().contains("orbidden");
    proxy.wait_until("the refusal is logged", PATIENCE, refused).unwrap();
    assert!(proxy.get(METRICS, "/proxyMode").is_ok(), "it runs");
    assert!(manager.was_told_nothing());

    stage.api.refuse(None);
    assert!(manager.next().lines().any(|line| line == "READY=1"));
    let rules = mode.listed(stage.net.node());
    assert!(WEB.iter().all(|ip| rules.contains(ip)), "{rules}");

    assert!(manager.was_told_nothing());
    assert!(proxy.terminate(PATIENCE).unwrap().success());
    assert_eq!(manager.next().trim(), "STOPPING=1");
}

fn rules_stay_and_serve_after_every_signal_that_asks_for_the_end(mode: Mode) {
    let stage = Stage::in_mode(mode, 2);
    stage.serve_web_by(&[1, 2]);
    let mut proxy = stage.start_synced();
    let traffic = stage.probe_web();
    for signal in ["TERM", "INT"] {
        let before = mode.listed(stage.net.node());
        let (id, send) = (proxy.id().to_string(), format!("-{signal}"));
        Program::new("kill").args([&send, &id]).run().unwrap();
        assert_eq!(crate::stage::exit_code(&mut proxy), Some(0), "SIG{signal} asks for a clean end");
        assert!(proxy.log().unwrap().contains(&format!("SIG{signal}")));
        let after = mode.listed(stage.net.node());
        assert!(after == before, "{before}\n{after}");
        traffic.wait_for_attempts(30);
        proxy = stage.start_synced();
    }
    traffic.assert_nothing_lost();
}
