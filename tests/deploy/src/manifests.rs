//! Every object, read strictly: what the API does not know of is an error, not passed over.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use portolan_testkit::netns::{Portolan, Program};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::{documents, list, string, text};
use crate::kustomize::{daemon_set, overlay, overlays};

/// What the Prometheus Operator's ServiceMonitor has, as far as ours uses it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceMonitor {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: ServiceMonitorSpec,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceMonitorSpec {
    job_label: String,
    selector: LabelSelector,
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Endpoint {
    port: String,
    interval: String,
    relabelings: Vec<Relabeling>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Relabeling {
    source_labels: Vec<String>,
    target_label: String,
}

/// The Prometheus Operator's PrometheusRule; promtool checks what is in the groups.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PrometheusRule {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: PrometheusRuleSpec,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PrometheusRuleSpec {
    groups: Vec<Value>,
}

/// What of `object` its type does not know, or would write otherwise, as a path.
fn unknown(object: &Value) -> Option<String> {
    let read = match (string(object, "/apiVersion"), string(object, "/kind")) {
        ("v1", "ServiceAccount") => through::<ServiceAccount>,
        ("v1", "ConfigMap") => through::<ConfigMap>,
        ("v1", "Service") => through::<Service>,
        ("apps/v1", "DaemonSet") => through::<DaemonSet>,
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => through::<ClusterRole>,
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => through::<ClusterRoleBinding>,
        ("rbac.authorization.k8s.io/v1", "Role") => through::<Role>,
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => through::<RoleBinding>,
        ("monitoring.coreos.com/v1", "ServiceMonitor") => through::<ServiceMonitor>,
        ("monitoring.coreos.com/v1", "PrometheusRule") => through::<PrometheusRule>,
        other => panic!("no type for {other:?}"),
    };
    difference("", object, &read(object))
}

/// `object` as its type writes it again.
fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"));
    serde_json::to_value(typed).unwrap()
}

/// The first place where `after` lacks something of `before` or has another value.
fn difference(path: &str, before: &Value, after: &Value) -> Option<String> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => before.iter().find_map(|(key, value)| {
            let path = format!("{path}/{key}");
            difference(&path, value, after.get(key).unwrap_or(&Value::Null))
        }),
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            (before.iter().zip(after))
                .enumerate()
                .find_map(|(index, (before, after))| difference(&format!("{path}/{index}"), before, after))
        }
        _ => (before != after).then(|| path.to_owned()),
    }
}

#[test]
fn the_api_knows_every_field_of_every_object() {
    for name in overlays() {
        for object in overlay(name) {
            assert_eq!(unknown(&object), None, "{name}: {object}");
        }
    }
}

#[test]
fn a_field_that_the_api_does_not_know_is_found() {
    let base = text("deploy/kubernetes/base/daemon-set.yaml");
    let misspelt = base.replace("imagePullPolicy", "imagePullPolice");
    assert_ne!(base, misspelt);

    let found = unknown(&documents(&misspelt)[0]);

    assert_eq!(found.unwrap(), "/spec/template/spec/containers/0/imagePullPolice");
}

#[test]
fn everything_is_in_the_namespace_of_the_system_or_in_none() {
    let of_the_cluster = ["ClusterRole", "ClusterRoleBinding"];
    for object in overlays().flat_map(overlay) {
        let expected = if of_the_cluster.contains(&string(&object, "/kind")) {
            Value::Null
        } else {
            "kube-system".into()
        };
        assert_eq!(object["metadata"]["namespace"], expected, "{object}");
    }
}

#[test]
fn the_metrics_service_and_its_monitor_select_the_proxies() {
    let objects = overlay("servicemonitor");
    let find = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
    let (service, monitor) = (find("Service"), find("ServiceMonitor"));

    assert_eq!(service["spec"]["selector"], daemon_set(&objects)["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"]);
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    // The label that names the job, and with it the job that rules and dashboards ask for.
    let label = string(monitor, "/spec/jobLabel");
    assert_eq!(service["metadata"]["labels"][label], "kube-proxy");
}

#[test]
fn the_proxy_takes_the_command_lines_of_all_containers() {
    let configuration = documents(&text("deploy/kubernetes/components/config-map/config-map.yaml")).remove(0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.conf");
    std::fs::write(&file, string(&configuration["data"], "/config.conf")).unwrap();
    let init = documents(&text("deploy/kubernetes/components/privileged-init/daemon-set.yaml")).remove(0);
    let base = documents(&text("deploy/kubernetes/base/daemon-set.yaml")).remove(0);
    let commands = [
        list(&base, "/spec/template/spec/containers/0/command"),
        list(&init, "/spec/template/spec/initContainers/0/command"),
    ];
    for command in commands {
        assert_eq!(command[0], "/usr/local/bin/kube-proxy");
        let flags = command[1..].iter().map(|flag| {
            let flag = flag.as_str().unwrap();
            flag.replace("/var/lib/kube-proxy/config.conf", file.to_str().unwrap())
                .replace("$(NODE_NAME)", "node1")
        });
        let written = folder.path().join("written.yaml");
        let binary = Program::new(Portolan::binary().unwrap()).args(flags);
        binary.args(["--write-config-to"]).args([&written]).run().unwrap();
        let written = std::fs::read_to_string(written).unwrap();
        assert!(written.contains("hostnameOverride: node1"), "{written}");
    }
}
