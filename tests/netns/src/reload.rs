//! A configuration file that changes while the proxy serves, in each of the ways in which files change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use portolan_testkit::netns::{
    Caller, GATEWAY_V4, POD_CIDR_V4, POD_CIDR_V6, Portolan, isolated, list_ruleset, pod_v4, wait_until,
};
use portolan_testkit::shop::{NODE, NODE_PORT, PORT};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stage::{HEALTH, METRICS, PATIENCE, Stage, Traffic, WEB, socket};

/// How a file comes to say something else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As by a shell's `>`.
    InPlace,
    /// As by careful editors.
    RenameOver,
    /// As by the kubelet with a mounted ConfigMap: a link to a folder of this version is swapped.
    LinkSwap,
}

struct ConfigFile {
    folder: TempDir,
    way: Way,
    versions: u32,
}

impl ConfigFile {
    fn new(way: Way, config: &Value) -> Self {
        let mut file = Self { folder: tempfile::tempdir().unwrap(), way, versions: 0 };
        if way == Way::LinkSwap {
            symlink("..data/config.conf", file.path()).unwrap();
        }
        file.write(&config.to_string());
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("config.conf")
    }

    fn write(&mut self, text: &str) {
        let folder = self.folder.path();
        match self.way {
            Way::InPlace => fs::write(self.path(), text).unwrap(),
            Way::RenameOver => {
                fs::write(folder.join("draft"), text).unwrap();
                fs::rename(folder.join("draft"), self.path()).unwrap();
            }
            Way::LinkSwap => {
                let version = |number| folder.join(format!("..version-{number}"));
                fs::create_dir(version(self.versions + 1)).unwrap();
                fs::write(version(self.versions + 1).join("config.conf"), text).unwrap();
                symlink(version(self.versions + 1), folder.join("..data_tmp")).unwrap();
                fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
                if self.versions > 0 {
                    fs::remove_dir_all(version(self.versions)).unwrap();
                }
            }
        }
        self.versions += 1;
    }
}

/// A proxy that runs by a file, with traffic.
struct Scene {
    stage: Stage,
    file: ConfigFile,
    config: Value,
    proxy: Portolan,
    traffic: Traffic,
}

impl Scene {
    fn new(way: Way) -> Self {
        let stage = Stage::new(3);
        stage.serve_web_by(&[1, 2]);
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "mode": "nftables", "hostnameOverride": NODE,
            "clientConnection": {"kubeconfig": stage.api.kubeconfig_file()},
            "clusterCIDR": format!("{POD_CIDR_V4},{POD_CIDR_V6}"),
            "nodePortAddresses": ["0.0.0.0/0", "::/0"],
            "metricsBindAddress": METRICS, "healthzBindAddress": HEALTH,
        });
        let file = ConfigFile::new(way, &config);
        let flag = format!("--config={}", file.path().display());
        let mut proxy = Portolan::start(stage.net.node(), [flag]).unwrap();
        proxy.wait_synced(PATIENCE).unwrap();
        let traffic = stage.probe_web();
        traffic.wait_for_attempts(10);
        Self { stage, file, config, proxy, traffic }
    }

    /// Sets one field of the file, by its JSON pointer.
    fn set(&mut self, section: &str, field: &str, value: Value) {
        let section = if section.is_empty() { &mut self.config } else { &mut self.config[section] };
        section[field] = value;
        self.file.write(&self.config.to_string());
    }

    fn configz(&self) -> Value {
        let page = self.proxy.get(METRICS, "/configz").unwrap().body;
        serde_json::from_str::<Value>(&page).unwrap()["kubeproxy.config.k8s.io"].take()
    }

    fn wait_for_configz(&mut self, pointer: &str, value: &Value) {
        wait_until(&format!("{pointer} is {value}"), PATIENCE, || {
            self.configz().pointer(pointer) == Some(value)
        })
        .unwrap_or_else(|error| panic!("{error}: {:#}", self.configz()));
    }

    fn wait_for_log(&mut self, text: &str) {
        let is_there = |proxy: &Portolan| proxy.log().unwrap().contains(text);
        self.proxy.wait_until(text, PATIENCE, is_there).unwrap();
    }

    fn wait_for_rules(&self, text: &str) {
        let is_there = || list_ruleset(self.stage.net.node()).unwrap().contains(text);
        wait_until(&format!("the rules have {text}"), PATIENCE, is_there).unwrap();
    }

    /// Whether the last change of the file was taken up, and how many were and were not.
    fn reloads(&self) -> [Option<f64>; 3] {
        let total = |result| format!("portolan_config_reloads_total{{result=\"{result}\"}}");
        let series =
            ["portolan_config_last_reload_successful".to_owned(), total("success"), total("failure")];
        series.map(|series| self.proxy.metric(&series).unwrap())
    }
}

/// What may change under running rules does, and each is seen where it has its effect.
fn follow(way: Way) {
    let mut scene = Scene::new(way);
    let seen_as = |scene: &Scene| {
        // It is behind no Service, and so never its own endpoint, whose traffic is always masqueraded.
        let pod = Caller::from(&scene.stage.net.pod(3).namespace);
        pod.connect_tcp(socket(WEB[0], PORT)).unwrap().peer.ip()
    };
    assert_eq!(seen_as(&scene), pod_v4(3));
    scene.set("nftables", "masqueradeAll", json!(true));
    wait_until("pods' traffic is masqueraded", PATIENCE, || seen_as(&scene) == GATEWAY_V4).unwrap();
    scene.wait_for_configz("/nftables/masqueradeAll", &json!(true));

    let gateway = (GATEWAY_V4, NODE_PORT).into();
    scene.stage.client().connect_tcp(gateway).unwrap();
    scene.set("", "nodePortAddresses", json!(["192.0.2.0/24", "2001:db8:2::/64"]));
    let is_closed = || scene.stage.client().connect_tcp(gateway).is_err();
    wait_until("node ports are closed elsewhere", PATIENCE, is_closed).unwrap();

    scene.set("", "clusterCIDR", json!("10.245.0.0/16,fd00:10:245::/64"));
    scene.set("nftables", "masqueradeAll", json!(false));
    scene.wait_for_rules("ip saddr != 10.245.0.0/16");
    scene.wait_for_rules("ip6 saddr != fd00:10:245::/64");

    scene.set("nftables", "syncPeriod", json!("20s"));
    scene.wait_for_configz("/nftables/syncPeriod", &json!("20s"));

    let close_wait =
        || fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait").unwrap();
    let close_wait = |scene: &Scene| scene.stage.net.node().run(close_wait).unwrap();
    assert_eq!(close_wait(&scene), "3600\n");
    scene.set("conntrack", "tcpCloseWaitTimeout", json!("30m"));
    wait_until("the sysctl follows", PATIENCE, || close_wait(&scene) == "1800\n").unwrap();

    let line = "\"Synced rules\"";
    assert!(!scene.proxy.log().unwrap().contains(line), "that is said at -v 2");
    scene.set("logging", "verbosity", json!(2));
    scene.wait_for_configz("/logging/verbosity", &json!(2));
    scene.stage.serve_web_by(&[1]);
    scene.wait_for_log(line);

    assert_eq!(scene.reloads()[0], Some(1.0));
    assert!(scene.reloads()[1].is_some_and(|taken_up| taken_up >= 6.0), "{:?}", scene.reloads());
    // A file that is written in place may be met half written, by an unlucky reader.
    let never_refused = scene.reloads()[2].is_none_or(|refused| refused == 0.0);
    assert!(never_refused || way == Way::InPlace, "{:?}", scene.reloads());
    scene.traffic.wait_for_attempts(20);
    scene.traffic.assert_nothing_lost();
}

#[test]
fn a_file_that_is_written_in_place_is_followed_without_losing_a_connection() {
    isolated(|| follow(Way::InPlace));
}

#[test]
fn a_file_that_another_is_renamed_over_is_followed_without_losing_a_connection() {
    isolated(|| follow(Way::RenameOver));
}

#[test]
fn a_config_map_whose_link_is_swapped_is_followed_without_losing_a_connection() {
    isolated(|| follow(Way::LinkSwap));
}

#[test]
fn what_needs_a_restart_is_named_and_a_broken_file_changes_nothing() {
    isolated(|| {
        let mut scene = Scene::new(Way::RenameOver);
        let before = list_ruleset(scene.stage.net.node()).unwrap();
        scene.set("", "metricsBindAddress", json!("127.0.0.1:11249"));
        scene.wait_for_log("these settings need a restart\" fields=\"metricsBindAddress\"");
        assert_eq!(
            scene.configz()["metricsBindAddress"],
            METRICS.to_string(),
            "the effective value is shown"
        );

        for broken in ["apiVersion: [", "", "{\"kind\": \"KubeProxyConfiguration\"}"] {
            let rejected = scene.reloads()[2].unwrap_or(0.0);
            scene.file.write(broken);
            wait_until("it is rejected", PATIENCE, || scene.reloads()[2] > Some(rejected)).unwrap();
            assert_eq!(scene.reloads()[0], Some(0.0));
        }
        scene.wait_for_log("the configuration has changed and is not valid; the old one holds");
        scene.set("", "nodePortAddresses", json!(["no CIDR"]));
        scene.wait_for_log("KubeProxyConfiguration.NodePortAddresses[0]");
        assert!(list_ruleset(scene.stage.net.node()).unwrap() == before, "nothing has changed");

        scene.set("", "nodePortAddresses", json!(["0.0.0.0/0", "::/0"]));
        wait_until("it is taken up", PATIENCE, || scene.reloads()[0] == Some(1.0)).unwrap();
        scene.traffic.wait_for_attempts(20);
        scene.traffic.assert_nothing_lost();
    });
}
