//! The overlays, as `kubectl kustomize` puts them together.

use std::collections::BTreeSet;
use std::path::Path;

use portolan_testkit::netns::Program;
use serde_json::{Value, json};

use crate::files::{all_files, deployed, documents, list, string, text};

/// What each overlay must consist of, by kind and name.
const OVERLAYS: [(&str, &[&str]); 5] = [
    (
        "kubeadm",
        &["ServiceAccount kube-proxy", "ClusterRoleBinding kubeadm:node-proxier", "DaemonSet kube-proxy"],
    ),
    (
        "fresh",
        &[
            "ServiceAccount kube-proxy",
            "Role kube-proxy",
            "RoleBinding kube-proxy",
            "ClusterRoleBinding kubeadm:node-proxier",
            "ConfigMap kube-proxy",
            "DaemonSet kube-proxy",
        ],
    ),
    (
        "hardened",
        &[
            "ServiceAccount kube-proxy",
            "ClusterRole portolan",
            "ClusterRoleBinding portolan",
            "DaemonSet kube-proxy",
        ],
    ),
    (
        "userspace",
        &[
            "ServiceAccount kube-proxy",
            "ClusterRole portolan",
            "ClusterRoleBinding portolan",
            "DaemonSet kube-proxy",
        ],
    ),
    (
        "servicemonitor",
        &[
            "ServiceAccount kube-proxy",
            "ClusterRoleBinding kubeadm:node-proxier",
            "ConfigMap portolan-dashboard",
            "Service kube-proxy-metrics",
            "DaemonSet kube-proxy",
            "PrometheusRule portolan",
            "ServiceMonitor kube-proxy",
        ],
    ),
];

/// The objects of a folder with a kustomization.
pub(crate) fn build(folder: &Path) -> Vec<Value> {
    let built = Program::new("kubectl").args(["kustomize"]).args([folder]).run();
    documents(&built.unwrap_or_else(|error| panic!("{}: {error:?}", folder.display())))
}

/// The objects of one of our overlays.
pub(crate) fn overlay(name: &str) -> Vec<Value> {
    build(&deployed("kubernetes/overlays").join(name))
}

/// All names of overlays.
pub(crate) fn overlays() -> impl Iterator<Item = &'static str> {
    OVERLAYS.iter().map(|(name, _)| *name)
}

/// The DaemonSet among these objects.
pub(crate) fn daemon_set(objects: &[Value]) -> &Value {
    objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap()
}

fn names(objects: &[Value]) -> BTreeSet<String> {
    objects
        .iter()
        .map(|object| format!("{} {}", string(object, "/kind"), string(object, "/metadata/name")))
        .collect()
}

#[test]
fn each_overlay_is_the_objects_that_it_should_be() {
    for (overlay_name, expected) in OVERLAYS {
        let expected = expected.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(names(&overlay(overlay_name)), expected, "{overlay_name}");
    }
    let folders: BTreeSet<_> = all_files("kubernetes/overlays")
        .iter()
        .filter_map(|file| file.split_once('/').map(|(folder, _)| folder.to_owned()))
        .collect();
    assert_eq!(folders, overlays().map(str::to_owned).collect());
}

#[test]
fn every_file_belongs_to_a_kustomization() {
    // What Prometheus reads itself, and what is for people.
    let others = ["monitoring/rules.yaml", "monitoring/rules-test.yaml", "monitoring/README.md"];
    for folder in ["kubernetes", "monitoring"] {
        for file in all_files(folder).iter().map(|file| format!("{folder}/{file}")) {
            let (place, name) = file.rsplit_once('/').unwrap();
            if name != "kustomization.yaml" && !others.contains(&file.as_str()) {
                let kustomization = text(&format!("deploy/{place}/kustomization.yaml"));
                assert!(kustomization.contains(name), "{file} is in no kustomization");
            }
        }
    }
}

#[test]
fn the_kubeadm_overlay_is_what_kubeadm_applies_but_for_the_image() {
    let mut kubeadm = documents(&text("tests/deploy/testdata/kubeadm.yaml"));
    for object in &mut kubeadm {
        if object["kind"] == "DaemonSet" {
            assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["image"], "kube-proxy:v1.36.2");
            object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("portolan:0.1.0");
        }
    }
    let fresh = overlay("fresh");
    assert_eq!(names(&fresh), names(&kubeadm));
    for object in &kubeadm {
        let same = |other: &&Value| other["kind"] == object["kind"];
        let ours = fresh.iter().find(same).unwrap();
        if object["kind"] == "ConfigMap" {
            assert_config_map_has_the_shape_of(object, ours);
        } else {
            assert_eq!(ours, object);
        }
    }
    let existing = overlay("kubeadm");
    assert_eq!(daemon_set(&existing), daemon_set(&fresh));
}

/// Two ConfigMaps are alike but for the addresses of the cluster.
fn assert_config_map_has_the_shape_of(expected: &Value, ours: &Value) {
    assert_eq!(ours["metadata"], expected["metadata"]);
    let part = |object: &Value, key: &str, address: &str| {
        let mut document = documents(string(&object["data"], &format!("/{key}"))).remove(0);
        *document.pointer_mut(address).unwrap() = json!("ADDRESS");
        document
    };
    for (key, address) in [("config.conf", "/clusterCIDR"), ("kubeconfig.conf", "/clusters/0/cluster/server")]
    {
        assert_eq!(part(ours, key, address), part(expected, key, address), "{key}");
    }
}

#[test]
fn the_hardened_pod_has_one_capability_and_nothing_of_the_host() {
    let objects = overlay("hardened");
    let pod = &daemon_set(&objects)["spec"]["template"]["spec"];

    let [container] = list(pod, "/containers") else { panic!("{pod}") };
    assert_eq!(
        container["securityContext"],
        json!({
            "privileged": false, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "runAsUser": 0, "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        })
    );
    assert_eq!(pod["securityContext"], json!({"seccompProfile": {"type": "RuntimeDefault"}}));
    assert_eq!(pod["volumes"], json!([{"name": "kube-proxy", "configMap": {"name": "kube-proxy"}}]));
    assert_eq!(
        container["volumeMounts"],
        json!([{"name": "kube-proxy", "mountPath": "/var/lib/kube-proxy"}])
    );
    assert_eq!(pod["initContainers"], Value::Null);
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], 10256, "{probe}");
    }
}

/// A node that the autoscaler is about to delete answers 503 on `/healthz`, and must not stall a rollout; a restart
/// does not help a proxy whose API server is away.
#[test]
fn every_readiness_probe_asks_readyz_and_every_liveness_probe_livez() {
    let sets: Vec<Value> = overlays().map(|name| daemon_set(&overlay(name)).clone()).collect();
    let containers = || sets.iter().flat_map(|set| list(set, "/spec/template/spec/containers"));
    for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
        let paths: Vec<_> = containers().filter_map(|one| one[probe]["httpGet"]["path"].as_str()).collect();
        assert_eq!(paths, [path; 2], "{probe}: the hardened overlay and its variant have probes");
    }
}

#[test]
fn the_relaying_pod_is_the_hardened_one_with_another_capability_and_more_memory() {
    let (hardened, relaying) = (overlay("hardened"), overlay("userspace"));
    let mut expected = daemon_set(&hardened).clone();
    let container = expected.pointer_mut("/spec/template/spec/containers/0").unwrap();
    container["securityContext"]["capabilities"]["add"] = json!(["NET_ADMIN", "NET_BIND_SERVICE"]);
    container["resources"]["limits"]["memory"] = json!("1Gi");
    assert_eq!(daemon_set(&relaying), &expected);
}

#[test]
fn components_go_with_the_hardened_overlay_and_share_its_image() {
    // In a copy: other tests look at the tree at the same time.
    let copy = tempfile::tempdir().unwrap();
    Program::new("cp").args(["-r"]).args([&deployed("."), copy.path()]).run().unwrap();
    let folder = copy.path().join("kubernetes/overlays/everything");
    std::fs::create_dir(&folder).unwrap();
    let kustomization = "resources: [../hardened]\n\
        components: [../../components/config-map, ../../components/privileged-init, ../../../monitoring]\n\
        images: [{name: portolan, newName: mirror.example/portolan, newTag: '7'}]\n";
    std::fs::write(folder.join("kustomization.yaml"), kustomization).unwrap();

    let objects = build(&folder);

    let pod = &daemon_set(&objects)["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "mirror.example/portolan:7");
    let [init] = list(pod, "/initContainers") else { panic!("{pod}") };
    assert_eq!(init["image"], "mirror.example/portolan:7");
    assert_eq!(init["securityContext"]["privileged"], true);
    let flags = list(init, "/command").iter().filter_map(Value::as_str).collect::<Vec<_>>();
    assert!(flags.contains(&"--init-only"), "{flags:?}");
    assert!(names(&objects).contains("ConfigMap kube-proxy"));
    assert!(names(&objects).contains("PrometheusRule portolan"));
}
