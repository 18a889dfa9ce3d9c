//! What becomes of packets, rule by rule: one table for every backend and every level of test.
//!
//! A [`Scenario`] is data: a node's configuration, objects that come and go in steps, and after each step
//! what must become of packets from here to there. Nothing in it knows how a backend works, so the same
//! table runs against pretended tables, the kernel's tables, and backends that are not ours:
//!
//! ```
//! use portolan_testkit::scenario::{Scenario, external, from, here, pods, web, CLIENT};
//!
//! let scenario = Scenario::new()
//!     .given(web().external_local())
//!     .given(pods("web", [here(1), here(2)]))
//!     .expect(from([CLIENT]).to(external()).reaches([1, 2]).as_themselves());
//! assert_eq!(scenario.steps.len(), 1);
//! ```
//!
//! The addresses are those of [`netns::Topology`](crate::netns::Topology): clients outside, pods of this
//! node, the node. A pod that its slice places on another node answers on this one all the same; only what
//! is said of it differs.
//!
//! The table itself is [`every_scenario!`](crate::every_scenario): a scenario's name there, with its group,
//! is stable and reads as the rule. Each level makes a test of each name from that list, so a scenario
//! cannot be forgotten. What a level or a backend cannot do it declares as [`Need`]s that it does not meet,
//! and [`Scenario::left_out`] says what that costs.

mod affinity;
mod catalogue;
mod check;
mod expectation;
pub mod kernel;
mod need;
mod objects;
mod packet;
mod table;
#[cfg(test)]
mod tests;

pub use affinity::{Memory, ReturningClients};
pub use catalogue::{Named, all, named};
pub use check::{Check, Reaching, Senders, Traffic, from};
pub use expectation::{Expected, Found, Mismatch, Target};
pub use need::{LeftOut, Need};
pub use objects::{
    Member, NODE, Objects, POD_PORT, anywhere, away, gone, here, pods, pods_on, service_at, this_node, web,
};
pub use packet::{
    CLIENT, Destination, HOST, NODE_ITSELF, POD, Packet, Seen, Sender, WEB, cluster_ip, everywhere, external,
    external_ip, load_balancer_ip, node_addresses, node_port, pod_addresses, vip,
};

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use portolan_core::event::Event;
use portolan_core::node::{DetectLocal, NodeConfig, NodePortSelection};

use crate::netns::{POD_CIDR_V4, POD_CIDR_V6};

/// A configuration, objects in steps, and what must become of packets after each.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// How the node is configured.
    pub config: NodeConfig,
    /// How its pods hang on it.
    pub network: Network,
    /// What it takes to run the whole of it; single packets may need more.
    pub needs: BTreeSet<Need>,
    /// What happens, one after the other.
    pub steps: Vec<Step>,
}

/// How pods hang on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Each on its own cable, named like the pod (`pod1`).
    Routed,
    /// All on the bridge `cni0`.
    Bridged,
}

/// Something happens, and then packets are sent.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Addresses that the node has from now on.
    pub node_addresses: Vec<IpAddr>,
    /// The proxy's input.
    pub events: Vec<Event>,
    /// How long to wait after the proxy has applied it.
    pub wait: Duration,
    /// What must hold then, in this order.
    pub checks: Vec<Check>,
}

impl Scenario {
    /// An empty cluster around a node that takes all addresses of the pod network for local pods', and
    /// answers on node ports at all its addresses.
    pub fn new() -> Self {
        let pods = [POD_CIDR_V4, POD_CIDR_V6].into_iter().map(objects::net).collect();
        let config = NodeConfig {
            detect_local: DetectLocal::ClusterCidr(pods),
            node_port_addresses: NodePortSelection::Cidrs(Vec::new()),
            ..NodeConfig::new(NODE)
        };
        Self { config, network: Network::Routed, needs: BTreeSet::new(), steps: vec![Step::default()] }
    }

    /// Changes the configuration.
    #[must_use]
    pub fn configured(mut self, change: impl FnOnce(&mut NodeConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Puts the pods on a bridge.
    #[must_use]
    pub fn bridged(mut self) -> Self {
        self.network = Network::Bridged;
        self.needs.insert(Need::Bridge);
        self
    }

    /// Declares a need that nothing else in the scenario shows.
    #[must_use]
    pub fn needing(mut self, need: Need) -> Self {
        self.needs.insert(need);
        self
    }

    /// These objects come. After an expectation, that begins the next step.
    #[must_use]
    pub fn given(mut self, objects: impl Objects) -> Self {
        self.open_step().events.extend(objects.events());
        self
    }

    /// The node has this address from now on, which begins a step like [`given`](Self::given).
    #[must_use]
    pub fn given_node_address(mut self, address: &str) -> Self {
        let address = crate::objects::ip(address);
        self.open_step().node_addresses.push(address);
        self
    }

    /// This much time passes, which begins a step like [`given`](Self::given).
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.open_step().wait += wait;
        self.needs.insert(Need::RealTime);
        self
    }

    /// After all of the step, this must hold.
    #[must_use]
    pub fn expect(mut self, check: impl Into<Check>) -> Self {
        self.last_step().checks.push(check.into());
        self
    }

    /// All of these must hold.
    #[must_use]
    pub fn expect_all(self, checks: impl IntoIterator<Item = Check>) -> Self {
        checks.into_iter().fold(self, Self::expect)
    }

    /// What is left out where `unmet` needs cannot be met: the whole scenario, or single packets.
    pub fn left_out(&self, unmet: &[Need]) -> LeftOut {
        if self.needs.iter().any(|need| unmet.contains(need)) {
            return LeftOut::Everything;
        }
        let checks = self.steps.iter().flat_map(|step| &step.checks);
        let lacking = |check: &Check| check.packets().filter(|packet| check.lacks(packet, unmet)).count();
        match checks.map(lacking).sum() {
            0 => LeftOut::Nothing,
            count => LeftOut::Packets(count),
        }
    }

    fn open_step(&mut self) -> &mut Step {
        if self.steps.last().is_none_or(|step| !step.checks.is_empty()) {
            self.steps.push(Step::default());
        }
        self.last_step()
    }

    fn last_step(&mut self) -> &mut Step {
        let last = self.steps.len().saturating_sub(1);
        if self.steps.is_empty() {
            self.steps.push(Step::default());
        }
        &mut self.steps[last]
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}
