//! The command lines and the files that kube-proxy is started with, given to the real binary.

use std::fs;
use std::path::Path;

use portolan_testkit::netns::{
    CLIENT_V4, Caller, GATEWAY_V4, NODE_V4, Portolan, Program, isolated, list_ruleset, pod_v4,
};
use portolan_testkit::shop::{NODE, NODE_PORT, PORT};

use crate::stage::{HEALTH, METRICS, PATIENCE, Stage, WEB, exit_code, socket};

/// What kubeadm writes into the ConfigMap `kube-proxy`, null fields and all.
const KUBEADM: &str = include_str!("../../../crates/config/testdata/kubeadm.yaml");
/// Where its DaemonSet mounts that.
const FOLDER: &str = "/var/lib/kube-proxy";

/// A node as kubeadm makes it: the file and the kubeconfig where they belong.
fn kubeadm_node() -> Stage {
    let stage = Stage::new(3);
    stage.serve_web_by(&[1, 2]);
    // In the mounts of this test alone.
    Program::new("mount").args(["-t", "tmpfs", "portolan-test", "/var/lib"]).run().unwrap();
    fs::create_dir(FOLDER).unwrap();
    fs::copy(stage.api.kubeconfig_file(), format!("{FOLDER}/kubeconfig.conf")).unwrap();
    fs::write(format!("{FOLDER}/config.conf"), KUBEADM).unwrap();
    stage
}

/// Starts it by the file of this name in the folder, as the DaemonSet does.
fn start(stage: &Stage, file: &str, more: &[&str]) -> Portolan {
    let flags = [format!("--config={FOLDER}/{file}"), format!("--hostname-override={NODE}")];
    let more = more.iter().map(|flag| (*flag).to_owned());
    Portolan::start(stage.net.node(), flags.into_iter().chain(more)).unwrap()
}

#[test]
fn the_configuration_of_kubeadm_serves_as_it_is() {
    isolated(|| {
        let stage = kubeadm_node();
        stage.api.allow_only_what_a_proxy_may();
        let mut proxy = start(&stage, "config.conf", &[]);
        proxy.wait_synced(PATIENCE).unwrap();
        assert_eq!(proxy.get(METRICS, "/proxyMode").unwrap().body, "nftables");
        let health = portolan_testkit::netns::http_get(
            stage.net.client(),
            (NODE_V4, HEALTH.port()).into(),
            "/healthz",
        );
        assert_eq!(health.unwrap().status, 200, "asked from outside, as load balancers do");

        let traffic = stage.probe_web();
        traffic.wait_for_pod("pod1");
        traffic.wait_for_pod("pod2");
        traffic.wait_for_attempts(50);
        traffic.assert_nothing_lost();
        let seen_by = |caller: &Caller| caller.connect_tcp(socket(WEB[0], PORT)).unwrap().peer.ip();
        assert_eq!(seen_by(&Caller::from(&stage.net.pod(3).namespace)), pod_v4(3));
        assert_ne!(
            seen_by(&stage.client()),
            CLIENT_V4,
            "it is not from the cluster, whose range the file has"
        );
        // In kube-proxy's default mode node ports answer on all addresses, and a configuration without a mode
        // keeps that.
        stage.client().connect_tcp((GATEWAY_V4, NODE_PORT).into()).unwrap();
        assert!(proxy.terminate(PATIENCE).unwrap().success());
        assert_eq!(stage.api.forbidden(), []);
    });
}

#[test]
fn written_configuration_equals_the_current_one_and_serves_the_same() {
    isolated(|| {
        let stage = kubeadm_node();
        let write = |from: &str, to: &str| {
            let mut proxy = start(&stage, from, &[&format!("--write-config-to={FOLDER}/{to}")]);
            assert_eq!(exit_code(&mut proxy), Some(0), "{}", proxy.log().unwrap());
            fs::read_to_string(Path::new(FOLDER).join(to)).unwrap()
        };
        let written = write("config.conf", "written.conf");
        assert_eq!(write("written.conf", "again.conf"), written);
        assert!(
            !list_ruleset(stage.net.node()).unwrap().contains("portolan"),
            "it wrote a file and nothing else"
        );

        let [given, written] = ["config.conf", "written.conf"].map(|file| {
            let mut proxy = start(&stage, file, &[]);
            proxy.wait_synced(PATIENCE).unwrap();
            let configz = proxy.get(METRICS, "/configz").unwrap().body;
            assert!(proxy.terminate(PATIENCE).unwrap().success());
            let rules = list_ruleset(stage.net.node()).unwrap();
            let elements = rules.lines().filter(|line| line.contains(" : ")).count();
            (configz, elements)
        });
        assert_eq!(given, written);
    });
}

/// The init container of a hardened DaemonSet.
#[test]
fn init_only_sets_sysctls_writes_no_rules_and_ends() {
    isolated(|| {
        let stage = kubeadm_node();
        // How many flows there may be is the whole host's to say.
        let file = KUBEADM.replace("maxPerCore: null", "maxPerCore: 0");
        fs::write(format!("{FOLDER}/config.conf"), file).unwrap();
        let setting = "net/netfilter/nf_conntrack_tcp_timeout_established";
        stage.net.node().sysctl(&[(setting, "7")]).unwrap();
        let mut proxy = start(&stage, "config.conf", &["--init-only"]);
        assert_eq!(exit_code(&mut proxy), Some(0), "{}", proxy.log().unwrap());
        assert_eq!(list_ruleset(stage.net.node()).unwrap(), "");
        let read = || fs::read_to_string(format!("/proc/sys/{setting}")).unwrap();
        assert_eq!(stage.net.node().run(read).unwrap(), "86400\n");
        assert_eq!(stage.api.events().len(), 0);
    });
}
