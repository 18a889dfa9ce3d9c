//! Where a connection is set up: namespaces of the benchmark's own, and the ways between them.
//!
//! The endpoints' and clients' ranges are local to whole namespaces, so one listener answers for every
//! endpoint.

use std::net::TcpListener;

use portolan_testkit::netns::{Namespace, NetnsError, Program};

/// The gateway that both ends of a forwarding node see, and the ends as the node sees them.
const GATEWAY: &str = "169.254.1.1";
const END: &str = "169.254.1.2";
/// Locally administered addresses of the two ends of a wire (IEEE 802, the second bit of the first byte).
const NODE_MAC: &str = "02:00:00:00:00:01";
const END_MAC: &str = "02:00:00:00:00:02";

/// Where clients, node and endpoints are; all ends at one place or each at its own.
pub(super) struct Place {
    scenario: &'static str,
    node: Owned,
    /// Clients' and endpoints' own; without them the node is all in one.
    ends: Option<[Owned; 2]>,
    listener: TcpListener,
}

impl Place {
    /// Everything within one namespace, as a process on the node connects: through the hooks of output
    /// and of `lo`.
    pub(super) fn one_namespace() -> anyhow::Result<Self> {
        let node = Owned::create("one")?;
        for command in [
            "route add local 10.128.0.0/16 dev lo",
            "route add local 10.200.0.0/16 dev lo",
            // Something must route the VIPs out of the host before they are translated.
            "route add default dev lo",
        ] {
            node.0.ip(command)?;
        }
        let listener = node.0.run(listen)??;
        Ok(Self { scenario: "connect", node, ends: None, listener })
    }

    /// A node that forwards from the clients' to the endpoints' namespace over veth pairs, as a pod's or
    /// an outer client's traffic goes.
    pub(super) fn forwarded() -> anyhow::Result<Self> {
        let node = Owned::create("node")?;
        node.0.sysctl(&[("net/ipv4/ip_forward", "1")])?;
        // What a proxy that relays connects from.
        node.0.ip("addr add 192.0.2.1/32 dev lo")?;
        let ends = [wire(&node.0, "client", "10.200.0.0/16")?, wire(&node.0, "server", "10.128.0.0/16")?];
        let listener = ends[1].0.run(listen)??;
        Ok(Self { scenario: "connect-veth", node, ends: Some(ends), listener })
    }

    /// What the figures taken here are called.
    pub(super) fn scenario(&self) -> &'static str {
        self.scenario
    }

    /// What answers for every endpoint; it does not block.
    pub(super) fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// Where the proxy is.
    pub(super) fn node(&self) -> &Namespace {
        &self.node.0
    }

    /// Runs `work` where the clients are.
    pub(super) fn in_client<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        let [client, _] = self.ends.as_ref().map_or([&self.node; 2], |[client, server]| [client, server]);
        client.0.run(work)
    }
}

/// Makes an end that has `range` and joins it to the node.
fn wire(node: &Namespace, name: &str, range: &str) -> anyhow::Result<Owned> {
    let end = Owned::create(name)?;
    let peer = end.0.name().to_owned();
    node.ip(&format!(
        "link add {name} address {NODE_MAC} type veth peer name eth0 address {END_MAC} netns {peer}"
    ))?;
    node.ip(&format!("link set {name} up"))?;
    end.0.ip("link set eth0 up")?;
    end.0.ip(&format!("route add local {range} dev lo"))?;
    // Neighbours are written down, so that no question of who has an address is part of a figure.
    end.0.ip(&format!("neighbour add {GATEWAY} lladdr {NODE_MAC} dev eth0"))?;
    end.0.ip(&format!("route add default via {GATEWAY} dev eth0 onlink"))?;
    node.ip(&format!("neighbour add {END} lladdr {END_MAC} dev {name}"))?;
    node.ip(&format!("route add {range} via {END} dev {name} onlink"))?;
    Ok(end)
}

/// Listens for every address; what it serves is accepted by the thread that connects.
fn listen() -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind("0.0.0.0:8080")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A namespace with `lo` up, which loses its name when this goes.
struct Owned(Namespace);

impl Owned {
    fn create(name: &str) -> anyhow::Result<Self> {
        let name = format!("portolan-bench-{}-{name}", std::process::id());
        let owned = Self(Namespace::create(&name)?);
        owned.0.ip("link set lo up")?;
        Ok(owned)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // It goes with its last handle, too; only the name would stay, and a drop cannot return an error.
        let _ = Program::new("ip").args(["netns", "del", self.0.name()]).run();
    }
}
