//! The network made ready for a scenario: servers, bystanders, further addresses.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use crate::netns::{
    EchoServer, NODE_V4, NODE_V6, NODE_WORLD_V4, NODE_WORLD_V6, Namespace, NetnsError, Pod, Program,
    Topology, associations_opened, wait_until,
};
use crate::scenario::check::Check;
use crate::scenario::expectation::Target;
use crate::scenario::packet::{Packet, SERVED_PORTS, Sender, node_addresses};
use crate::scenario::{Memory, Scenario};

/// What a bystander answers as.
pub(super) const BYSTANDER: &str = "bystander";
/// The first port that datagrams and associations come from; below those that the kernel chooses on its own.
const FIRST_SOURCE_PORT: u16 = 10_000;
/// How long the kernel may take to put an address to use.
const PATIENCE: Duration = Duration::from_secs(60);

/// A topology with everything in it that a scenario asks.
#[derive(Debug)]
pub(super) struct ScenarioNetwork {
    pub(super) client: Namespace,
    pub(super) node: Namespace,
    pub(super) pods: Vec<Pod>,
    world: Namespace,
    pub(super) node_addresses: Vec<IpAddr>,
    pub(super) memory: Memory,
    pub(super) next_source_port: AtomicU16,
    /// How many associations were answered.
    pub(super) associations: AtomicU64,
    bystanders: BTreeSet<SocketAddr>,
    servers: Vec<EchoServer>,
    /// Bystanders on the node, which may have to make room.
    on_node: Vec<EchoServer>,
}

impl ScenarioNetwork {
    /// Starts servers in the pods and on the node, each of which says its port, and gives the client its addresses.
    pub(super) fn prepare(net: &Topology, scenario: &Scenario) -> Result<Self, NetnsError> {
        let mut servers = Vec::new();
        for port in SERVED_PORTS {
            let of_node: [SocketAddr; 2] = [(NODE_V4, port).into(), (NODE_V6, port).into()];
            servers.push(EchoServer::start_at(net.node(), &format!("node:{port}"), &of_node)?);
            for pod in net.pods() {
                let name = format!("{}:{port}", pod.name());
                servers.push(EchoServer::start(&pod.namespace, &name, &[port])?);
            }
        }
        // Clients have routes to all addresses of the node, and to no host beyond it.
        net.client().ip(&format!("route add {NODE_WORLD_V4}/32 via {NODE_V4}"))?;
        net.client().ip(&format!("route add {NODE_WORLD_V6}/128 via {NODE_V6}"))?;
        let further = further_client_addresses(scenario);
        add_addresses(net.client(), further.iter().map(|address| (*address, "eth0")))?;
        Ok(Self {
            client: net.client().clone(),
            node: net.node().clone(),
            pods: net.pods().to_vec(),
            world: net.world().clone(),
            node_addresses: node_addresses(),
            memory: Memory::default(),
            next_source_port: AtomicU16::new(FIRST_SOURCE_PORT),
            associations: AtomicU64::new(0),
            bystanders: BTreeSet::new(),
            servers,
            on_node: Vec::new(),
        })
    }

    /// Gives the node further addresses: towards the client if they are of that network, else on its own.
    pub(super) fn add_node_addresses(&mut self, addresses: &[IpAddr]) -> Result<(), NetnsError> {
        let interface = |address: &IpAddr| {
            let text = address.to_string();
            let is_clients = text.starts_with("192.0.2.") || text.starts_with("2001:db8:2::");
            (*address, if is_clients { "client" } else { "lo" })
        };
        add_addresses(&self.node, addresses.iter().map(interface))?;
        self.node_addresses.extend(addresses);
        Ok(())
    }

    /// Puts a bystander at every address that these packets are sent to, unless it is a pod's.
    pub(super) fn post_bystanders(
        &mut self,
        packets: impl Iterator<Item = Packet>,
    ) -> Result<(), NetnsError> {
        let (on_node, beyond) = self.vacant(packets);
        if !on_node.is_empty() {
            self.on_node.push(EchoServer::start_at(&self.node, BYSTANDER, &on_node)?);
            self.bystanders.extend(on_node);
        }
        self.post_beyond(beyond)
    }

    /// The same, but not on the node.
    pub(super) fn post_bystanders_beyond(
        &mut self,
        packets: impl Iterator<Item = Packet>,
    ) -> Result<(), NetnsError> {
        let (_, beyond) = self.vacant(packets);
        self.post_beyond(beyond)
    }

    /// Stops those on the node, since a proxy may need their ports.
    pub(super) fn dismiss_bystanders_on_the_node(&mut self) {
        self.on_node.clear();
        let node_addresses = &self.node_addresses;
        self.bystanders.retain(|address| !is_nodes(node_addresses, address));
    }

    /// Asserts that what was answered over SCTP was opened over SCTP, by the kernel's own count.
    ///
    /// # Panics
    /// It counts less.
    pub(super) fn assert_associations_were_real(&self) -> Result<(), NetnsError> {
        let answered = self.associations.load(Ordering::Relaxed);
        if answered > 0 {
            let pods = self.pods.iter().map(|pod| &pod.namespace);
            let opened = pods.chain([&self.client, &self.node]).map(associations_opened);
            let opened = opened.sum::<Result<u64, _>>()?;
            assert!(opened >= answered, "{answered} associations were answered, and {opened} opened");
        }
        Ok(())
    }

    /// Addresses without a listener: on the node, and beyond it.
    fn vacant(&self, packets: impl Iterator<Item = Packet>) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let new: BTreeSet<_> = packets
            .map(|packet| packet.socket())
            .filter(|address| Target::at(*address).is_none() && !self.bystanders.contains(address))
            .collect();
        new.into_iter().partition(|address| is_nodes(&self.node_addresses, address))
    }

    fn post_beyond(&mut self, beyond: Vec<SocketAddr>) -> Result<(), NetnsError> {
        let known: BTreeSet<_> = self.bystanders.iter().map(SocketAddr::ip).collect();
        let unknown: BTreeSet<_> =
            beyond.iter().map(SocketAddr::ip).filter(|address| !known.contains(address)).collect();
        add_addresses(&self.world, unknown.iter().map(|address| (*address, "lo")))?;
        if !beyond.is_empty() {
            self.servers.push(EchoServer::start_at(&self.world, BYSTANDER, &beyond)?);
        }
        self.bystanders.extend(beyond);
        Ok(())
    }
}

fn is_nodes(node_addresses: &[IpAddr], address: &SocketAddr) -> bool {
    address.ip().is_loopback() || node_addresses.contains(&address.ip())
}

/// The addresses that a scenario's clients have besides the first.
fn further_client_addresses(scenario: &Scenario) -> BTreeSet<IpAddr> {
    let packets = scenario.steps.iter().flat_map(|step| &step.checks).flat_map(Check::packets);
    packets
        .filter(|packet| matches!(packet.from, Sender::Client(number) if number > 0))
        .filter_map(|packet| packet.from.address(packet.family))
        .collect()
}

/// Adds addresses of their own and waits until they answer; one program for all, which is what takes the
/// time.
fn add_addresses<'a>(
    namespace: &Namespace,
    addresses: impl Iterator<Item = (IpAddr, &'a str)>,
) -> Result<(), NetnsError> {
    let mut commands = String::new();
    let mut wanted = Vec::new();
    for (address, interface) in addresses {
        let (length, option) = if address.is_ipv4() { (32, "") } else { (128, " nodad") };
        // Writing to a string cannot fail.
        let _ = writeln!(commands, "addr add {address}/{length} dev {interface}{option}");
        // Also without a probe for duplicates, the route to an IPv6 address comes a moment later
        // (addrconf_dad_work in net/ipv6/addrconf.c), and what arrives before has nowhere to go.
        wanted.extend(address.is_ipv6().then(|| format!("local {address} dev {interface}")));
    }
    if commands.is_empty() {
        return Ok(());
    }
    namespace.run_program(&Program::new("ip").args(["-batch", "-"]).input(commands))?;
    let are_routed = || {
        let routes = namespace.ip("-6 -oneline route show table local").unwrap_or_default();
        wanted.iter().all(|route| routes.contains(route))
    };
    wait_until("further addresses are routed to", PATIENCE, are_routed)
}
