//! The sets and maps whose elements follow the plan's services.

use portolan_nft::{Selector, Set};

/// A set or map whose elements follow the plan's services.
///
/// In the order in which a change of several transactions adds elements; it removes them in reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceSet {
    /// `endpoints`: endpoint of each slot of a VIP.
    Endpoints,
    /// `nodeport-endpoints`: the same for node ports.
    NodePortEndpoints,
    /// `local-endpoints`: slots of VIPs for clients on other hosts, which use this node's endpoints.
    LocalEndpoints,
    /// `nodeport-local-endpoints`: the same for node ports.
    NodePortLocalEndpoints,
    /// `source-ranges`: the source ranges of VIPs.
    SourceRanges,
    /// `hairpin`: endpoints that may connect to themselves.
    Hairpin,
    /// `restricted-services`: VIPs with source ranges.
    Restricted,
    /// `affinity-services`: the chain that learns the endpoints of a VIP's clients.
    Affinity,
    /// `affinity-nodeports`: the same for node ports.
    NodePortAffinity,
    /// `services`: the class of each VIP, or how it is rejected.
    Services,
    /// `nodeports`: the same for node ports.
    NodePorts,
    /// `cluster-ips`: addresses whose other ports are rejected.
    ClusterIps,
}

/// A map from addresses to endpoints, as rules name it.
pub const ENDPOINTS: &str = "endpoints";
/// As [`ENDPOINTS`], for node ports.
pub const NODEPORT_ENDPOINTS: &str = "nodeport-endpoints";
/// As [`ENDPOINTS`], with endpoints of this node alone.
pub const LOCAL_ENDPOINTS: &str = "local-endpoints";
/// As [`LOCAL_ENDPOINTS`], for node ports.
pub const NODEPORT_LOCAL_ENDPOINTS: &str = "nodeport-local-endpoints";

impl ServiceSet {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Endpoints,
        Self::NodePortEndpoints,
        Self::LocalEndpoints,
        Self::NodePortLocalEndpoints,
        Self::SourceRanges,
        Self::Hairpin,
        Self::Restricted,
        Self::Affinity,
        Self::NodePortAffinity,
        Self::Services,
        Self::NodePorts,
        Self::ClusterIps,
    ];

    /// Whether its elements decide where a packet goes, so that their targets must be added before
    /// them and removed after them.
    pub fn dispatches(self) -> bool {
        self >= Self::Restricted
    }

    /// Its name. Never a keyword of nft, which it rejects as a name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Endpoints => ENDPOINTS,
            Self::NodePortEndpoints => NODEPORT_ENDPOINTS,
            Self::LocalEndpoints => LOCAL_ENDPOINTS,
            Self::NodePortLocalEndpoints => NODEPORT_LOCAL_ENDPOINTS,
            Self::SourceRanges => "source-ranges",
            Self::Hairpin => "hairpin",
            Self::Restricted => "restricted-services",
            Self::Affinity => "affinity-services",
            Self::NodePortAffinity => "affinity-nodeports",
            Self::Services => "services",
            Self::NodePorts => "nodeports",
            Self::ClusterIps => "cluster-ips",
        }
    }

    /// What is looked up in it.
    pub fn key(self) -> Vec<Selector> {
        // Any modulus will do: the type of a slot is the same for all.
        let slot = Selector::NumgenRandom { modulus: 2 };
        let vip = [Selector::Daddr, Selector::L4Proto, Selector::ThDport];
        let port = [Selector::L4Proto, Selector::ThDport];
        match self {
            Self::Endpoints | Self::LocalEndpoints => [&vip[..], &[slot]].concat(),
            Self::NodePortEndpoints | Self::NodePortLocalEndpoints => [&port[..], &[slot]].concat(),
            Self::SourceRanges => [&vip[..], &[Selector::Saddr]].concat(),
            Self::Hairpin => vec![Selector::Saddr, Selector::Daddr],
            Self::Services | Self::Affinity | Self::Restricted => vip.into(),
            Self::NodePorts | Self::NodePortAffinity => port.into(),
            Self::ClusterIps => vec![Selector::Daddr],
        }
    }

    /// Its set in nft's terms.
    pub(super) fn set(self) -> Set {
        let (name, key) = (self.name(), self.key());
        match self {
            Self::Endpoints
            | Self::NodePortEndpoints
            | Self::LocalEndpoints
            | Self::NodePortLocalEndpoints => Set::map(name, key, [Selector::Daddr, Selector::ThDport]),
            Self::SourceRanges => Set::intervals(name, key),
            Self::Services | Self::NodePorts | Self::Affinity | Self::NodePortAffinity => {
                Set::verdict_map(name, key)
            }
            Self::Hairpin | Self::Restricted | Self::ClusterIps => Set::new(name, key),
        }
    }
}
