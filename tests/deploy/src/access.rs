//! What the proxy may do: towards the API server by its role, towards the kernel by its capability.

use std::collections::BTreeSet;

use portolan_testkit::api_server::{ApiServer, StreamedLists, Verb};
use portolan_testkit::netns::isolated;
use serde_json::Value;

use crate::files::{document, documents, list, text};
use crate::node::{Confinement, Node};

/// A verb on a resource of an API group.
type Right = (String, String, String);

/// What rules of RBAC allow, one right each.
fn rights(rules: &[Value]) -> BTreeSet<Right> {
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        list(rule, key).iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in rules {
        for group in texts(rule, "/apiGroups") {
            for resource in texts(rule, "/resources") {
                let verbs = texts(rule, "/verbs").into_iter();
                rights.extend(verbs.map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    rights
}

fn hardened_role() -> BTreeSet<Right> {
    let objects = documents(&text("deploy/kubernetes/overlays/hardened/access.yaml"));
    let role = objects.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
    rights(list(role, "/rules"))
}

/// What every API server gives its role `system:node-proxier`.
fn node_proxier() -> BTreeSet<Right> {
    rights(list(&document("tests/deploy/testdata/node-proxier.yaml"), "/rules"))
}

fn group(resource: &str) -> &'static str {
    match resource {
        "services" | "nodes" => "",
        "endpointslices" => "discovery.k8s.io",
        "servicecidrs" => "networking.k8s.io",
        "events" => "events.k8s.io",
        other => panic!("the proxy asked for {other}"),
    }
}

/// What the proxy of a node has asked its API server for.
fn asked(node: &Node) -> BTreeSet<Right> {
    let right = |verb: Verb, resource: &str| {
        (group(resource).to_owned(), resource.to_owned(), format!("{verb:?}").to_lowercase())
    };
    node.api.requests().iter().map(|request| right(request.verb, &request.resource)).collect()
}

#[test]
fn the_hardened_role_is_a_part_of_what_kubeadm_gives() {
    let (role, node_proxier) = (hardened_role(), node_proxier());
    assert_eq!(role.difference(&node_proxier).collect::<Vec<_>>(), Vec::<&Right>::new());

    let unused: Vec<_> =
        node_proxier.difference(&role).map(|(_, resource, verb)| format!("{verb} {resource}")).collect();
    let expected = [
        "list endpoints",
        "watch endpoints",
        "create events",
        "patch events",
        "update events",
        "get nodes",
        "update events",
    ];
    assert_eq!(unused, expected);
}

#[test]
fn the_proxy_asks_for_what_the_hardened_role_allows_and_for_all_of_it() {
    isolated(|| {
        // A server that does not stream lists is asked to list as well.
        let plain = |api: &ApiServer| api.set_streamed_lists(StreamedLists::Forbidden);
        let mut node = Node::start_confined(&Confinement(&[]), &[], plain);
        node.wait_ready();

        let (asked, role) = (asked(&node), hardened_role());

        assert_eq!(asked.difference(&role).collect::<Vec<_>>(), Vec::<&Right>::new());
        // An Event is patched when it comes again, minutes later.
        let later = ("events.k8s.io".to_owned(), "events".to_owned(), "patch".to_owned());
        let unused: Vec<_> = role.difference(&asked).filter(|right| **right != later).collect();
        assert_eq!(unused, Vec::<&Right>::new());
    });
}

/// The hardened container: root with one capability, which nothing it starts can exceed.
const HARDENED: [&str; 4] =
    ["setpriv", "--no-new-privs", "--bounding-set=-all,+net_admin", "--inh-caps=-all"];

/// The systemd service: a user without rights, with one ambient capability.
const SERVICE: [&str; 8] = [
    "setpriv",
    "--no-new-privs",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all,+net_admin",
    "--inh-caps=-all,+net_admin",
    "--ambient-caps=+net_admin",
];

/// The container that relays: root with another one.
const RELAYING: [&str; 4] =
    ["setpriv", "--no-new-privs", "--bounding-set=-all,+net_admin,+net_bind_service", "--inh-caps=-all"];

/// As the service with its drop-in for userspace mode.
const RELAYING_SERVICE: [&str; 8] = [
    "setpriv",
    "--no-new-privs",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all,+net_admin,+net_bind_service",
    "--inh-caps=-all,+net_admin,+net_bind_service",
    "--ambient-caps=+net_admin,+net_bind_service",
];

/// CAP_NET_ADMIN and CAP_NET_BIND_SERVICE, include/uapi/linux/capability.h.
const NET_ADMIN: u64 = 1 << 12;
const NET_BIND_SERVICE: u64 = 1 << 10;

/// A node whose proxy is ready and has been seen to have just these capabilities.
fn ready(confinement: &[&str], flags: &[&str], capabilities: u64) -> Node {
    let mut node = Node::start_confined(&Confinement(confinement), flags, |api| {
        // The user of the proxy must be able to read the files of the kubeconfig.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(api.kubeconfig_file(), readable).unwrap();
    });
    node.wait_ready();
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.proxy.id())).unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    assert_eq!(u64::from_str_radix(effective, 16).unwrap(), capabilities, "{status}");
    node
}

fn serves(confinement: &[&str]) {
    ready(confinement, &[], NET_ADMIN).scale_to(3);
}

/// The cluster IPs of TCP and UDP are listened at, ports below 1024, and nothing is missing.
fn relays(confinement: &[&str]) {
    let flags = ["--mode=userspace", "--mode-fallback=false"];
    let node = ready(confinement, &flags, NET_ADMIN | NET_BIND_SERVICE);
    let metrics = node.metrics();
    let figure = |what: &str| {
        let line = format!("portolan_mode_current{{what=\"{what}\"}} ");
        let value = metrics.lines().find_map(|text| text.strip_prefix(&line));
        value.unwrap_or_else(|| panic!("{line} in {metrics}")).parse::<f64>().unwrap()
    };
    assert!(figure("listeners") >= 2.0, "{metrics}");
    assert!(figure("unserved") < 1.0, "{metrics}");
}

#[test]
fn the_rights_of_the_relaying_container_are_enough() {
    isolated(|| relays(&RELAYING));
}

#[test]
fn the_rights_of_the_systemd_service_that_relays_are_enough() {
    isolated(|| relays(&RELAYING_SERVICE));
}

#[test]
fn the_rights_of_the_hardened_container_are_enough() {
    isolated(|| serves(&HARDENED));
}

#[test]
fn the_rights_of_the_systemd_service_are_enough() {
    isolated(|| serves(&SERVICE));
}
