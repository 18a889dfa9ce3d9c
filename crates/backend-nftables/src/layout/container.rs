//! The sets and maps whose elements follow the plan's services.

use portolan_nft::{Selector, Set};

/// A set or map whose elements follow the plan's services.
///
/// Sorted so that what comes first must be there first when a change takes several
/// transactions, and must go last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Container {
    /// `endpoints`: endpoint of each slot of a VIP.
    Endpoints,
    /// `nodeport-endpoints`: the same for node ports.
    NodePortEndpoints,
    /// `local-endpoints`: slots of VIPs that lead those from outside to this node's endpoints.
    LocalEndpoints,
    /// `nodeport-local-endpoints`: the same for node ports.
    NodePortLocalEndpoints,
    /// `source-ranges`: which sources a VIP is open to.
    SourceRanges,
    /// `hairpin`: endpoints that may reach themselves.
    Hairpin,
    /// `restricted-services`: VIPs that are not open to everybody.
    Restricted,
    /// `affinity-services`: where is learned which endpoint a VIP's client got.
    Affinity,
    /// `affinity-nodeports`: the same for node ports.
    NodePortAffinity,
    /// `services`: the class of each VIP, or how it is refused.
    Services,
    /// `nodeports`: the same for node ports.
    NodePorts,
    /// `cluster-ips`: addresses whose other ports nobody serves.
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

impl Container {
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

    /// Whether rules decide by it what becomes of a packet, so that what it leads to
    /// must be there before it and go after it.
    pub fn dispatches(self) -> bool {
        self >= Self::Restricted
    }

    /// Its name. Never plainly a word of nft's: nft takes its own keywords for no names.
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
