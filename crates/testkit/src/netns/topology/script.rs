//! The `ip` commands and sysctls that make a topology.

use std::fmt::Write;

use super::addresses::{
    CLIENT_V4, CLIENT_V6, GATEWAY_V4, GATEWAY_V6, NODE_V4, NODE_V6, NODE_WORLD_V4, NODE_WORLD_V6,
    POD_CIDR_V4, POD_CIDR_V6, SERVICES_V4, SERVICES_V6, WORLD_V4, WORLD_V6, pod_v4, pod_v6,
};
use super::{Namespace, NetnsError, Pod};

/// Addresses work at once, without a probe for duplicates; errors and replies are not held back.
pub(super) const EVERYWHERE: &[(&str, &str)] = &[
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    // Refusals are ICMP errors, of which a host sends its peer six and then one each second.
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
    // These two are copied from the machine, where either value is common.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
];

/// Besides its limit for each peer a host has one for all ICMP errors together: fifty in a row, of which
/// each may count as two. Newer kernels have these limits for each namespace; on others, the one of the
/// machine holds, and is not a test's to change.
pub(super) const WHERE_KNOWN: &[(&str, &str)] =
    &[("net/ipv4/icmp_msgs_burst", "10000"), ("net/ipv4/icmp_msgs_per_sec", "10000")];

/// Many short connections to one address need more ports than the usual 28,000.
pub(super) const ON_CLIENT: &[(&str, &str)] = &[("net/ipv4/ip_local_port_range", "1024 65535")];

/// The node is a router; this is the part of a node's set-up that Kubernetes leaves to its owner.
pub(super) const ON_NODE: &[(&str, &str)] =
    &[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];

/// See [`Topology::bridged`](super::Topology::bridged).
pub(super) const ON_BRIDGE_NODE: &[(&str, &str)] =
    &[("net/bridge/bridge-nf-call-iptables", "1"), ("net/bridge/bridge-nf-call-ip6tables", "1")];

/// How pods hang on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// A cable and a host route for each.
    Routed,
    /// All on `cni0`.
    Bridged,
}

/// Writes the commands for so many pods in such a layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pods: u8,
    layout: Layout,
}

impl Script {
    /// # Panics
    /// Past 200 pods, where their addresses would run out of the last byte.
    pub(super) fn new(pods: u8, layout: Layout) -> Self {
        assert!(pods <= 200, "a topology has room for 200 pods, not {pods}");
        Self { pods, layout }
    }

    fn pod_names(self) -> impl Iterator<Item = (u8, String)> {
        (1..=self.pods).map(|number| (number, format!("pod{number}")))
    }

    /// Everybody that the node has a cable to.
    fn leaves(self) -> impl Iterator<Item = String> {
        ["client", "world"].map(String::from).into_iter().chain(self.pod_names().map(|(_, name)| name))
    }

    /// Makes the namespaces.
    pub(super) fn namespaces(self) -> String {
        let add = |name: String| format!("netns add {name}\n");
        add("node".into()) + &self.leaves().map(add).collect::<Vec<_>>().concat()
    }

    /// Opens the pods' namespaces once they exist.
    pub(super) fn pods(self) -> Result<Vec<Pod>, NetnsError> {
        let pod = |(number, name): (u8, String)| {
            Ok(Pod { namespace: Namespace::open(&name)?, ipv4: pod_v4(number), ipv6: pod_v6(number) })
        };
        self.pod_names().map(pod).collect()
    }

    /// Lays a cable from the node to every other namespace.
    pub(super) fn cables(self) -> String {
        let cable = |end| format!("link add {end} netns node type veth peer name eth0 netns {end}\n");
        self.leaves().map(cable).collect::<Vec<_>>().concat()
    }

    /// The commands to run inside each namespace.
    pub(super) fn addresses(self) -> Vec<(String, String)> {
        let mut scripts = vec![
            ("node".into(), self.node()),
            ("client".into(), client()),
            ("world".into(), leaf(&format!("{WORLD_V4}/24"), &format!("{WORLD_V6}/64"), world_gateway())),
        ];
        scripts.extend(self.pod_names().map(|(number, name)| (name, self.pod(number))));
        scripts
    }

    fn node(self) -> String {
        let (world_v4, world_v6) = world_gateway();
        let mut script = "link set lo up\n".to_owned();
        for (interface, v4, v6) in [
            ("client", NODE_V4.to_string(), NODE_V6.to_string()),
            ("world", world_v4.clone(), world_v6.clone()),
        ] {
            script += &interface_up(interface, &format!("{v4}/24"), &format!("{v6}/64"));
        }
        script += &default_route((WORLD_V4.to_string(), WORLD_V6.to_string()), "world");
        if self.layout == Layout::Bridged {
            script += "link add cni0 type bridge forward_delay 0 mcast_snooping 0\n";
            script += &interface_up("cni0", &format!("{GATEWAY_V4}/24"), &format!("{GATEWAY_V6}/64"));
        }
        script.extend(self.pod_names().map(|(number, name)| self.node_end(number, &name)));
        script
    }

    /// The node's end of a pod's cable.
    fn node_end(self, number: u8, name: &str) -> String {
        match self.layout {
            Layout::Routed => {
                let up = interface_up(name, &format!("{GATEWAY_V4}/32"), &format!("{GATEWAY_V6}/128"));
                let (v4, v6) = (pod_v4(number), pod_v6(number));
                format!("{up}route add {v4}/32 dev {name}\nroute add {v6}/128 dev {name}\n")
            }
            Layout::Bridged => format!(
                "link set {name} master cni0\nlink set {name} type bridge_slave hairpin on\nlink set {name} up\n"
            ),
        }
    }

    fn pod(self, number: u8) -> String {
        let (v4, v6) = (pod_v4(number), pod_v6(number));
        let gateway = (GATEWAY_V4.to_string(), GATEWAY_V6.to_string());
        match self.layout {
            Layout::Routed => leaf(&format!("{v4}/32"), &format!("{v6}/128"), gateway),
            Layout::Bridged => leaf(&format!("{v4}/24"), &format!("{v6}/64"), gateway),
        }
    }
}

fn client() -> String {
    let mut script = "link set lo up\n".to_owned();
    script += &interface_up("eth0", &format!("{CLIENT_V4}/24"), &format!("{CLIENT_V6}/64"));
    for network in SERVICES_V4.iter().chain([&POD_CIDR_V4]) {
        let _ = writeln!(script, "route add {network} via {NODE_V4}");
    }
    for network in SERVICES_V6.iter().chain([&POD_CIDR_V6]) {
        let _ = writeln!(script, "route add {network} via {NODE_V6}");
    }
    script
}

fn world_gateway() -> (String, String) {
    (NODE_WORLD_V4.to_string(), NODE_WORLD_V6.to_string())
}

/// A namespace with one interface and all routes through it.
fn leaf(v4: &str, v6: &str, gateway: (String, String)) -> String {
    format!("link set lo up\n{}{}", interface_up("eth0", v4, v6), default_route(gateway, "eth0"))
}

fn interface_up(interface: &str, v4: &str, v6: &str) -> String {
    format!("link set {interface} up\naddr add {v4} dev {interface}\naddr add {v6} dev {interface} nodad\n")
}

fn default_route((v4, v6): (String, String), interface: &str) -> String {
    format!(
        "route add default via {v4} dev {interface} onlink\nroute add ::/0 via {v6} dev {interface} onlink\n"
    )
}
