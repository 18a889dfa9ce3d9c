//! Classes: what all VIPs with the same kind of traffic and number of endpoints share.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use portolan_nft::{Rule, Selector, Statement};

use crate::layout::{ENDPOINTS, MARK_CLUSTER_TRAFFIC, MARK_MASQUERADE, NODEPORT_ENDPOINTS};

/// What kind of frontend a class serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Cluster IPs: masqueraded as configured.
    Cluster,
    /// Load-balancer addresses and external IPs: always masqueraded.
    External,
    /// Node ports: always masqueraded, and looked up without an address.
    NodePort,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Cluster, Self::External, Self::NodePort];

    fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::External => "external",
            Self::NodePort => "nodeport",
        }
    }
}

/// One class; its chain is called after it, `cluster-3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class {
    /// The kind of traffic.
    pub kind: Kind,
    /// The number of endpoints, at least one.
    pub endpoints: u32,
}

impl Class {
    /// The name of its chain.
    pub fn chain(self) -> Arc<str> {
        self.to_string().into()
    }

    /// What its chain does: mark what must be masqueraded, then send to a random slot.
    ///
    /// Should the slot be gone because the VIP shrank after this packet read its
    /// verdict, the last rule sends it to slot 0, which every VIP of any class has.
    pub fn rules(self) -> Vec<Rule> {
        let mark = match self.kind {
            Kind::Cluster => MARK_CLUSTER_TRAFFIC,
            Kind::External | Kind::NodePort => MARK_MASQUERADE,
        };
        let mut rules = vec![Rule::new([Statement::Jump(mark.into())]), self.pick(self.endpoints)];
        if self.endpoints > 1 {
            rules.push(self.pick(1));
        }
        rules
    }

    fn pick(self, modulus: u32) -> Rule {
        let slot = Selector::NumgenRandom { modulus };
        let statement = match self.kind {
            Kind::Cluster | Kind::External => Statement::DnatMap {
                key: vec![Selector::Daddr, Selector::L4Proto, Selector::ThDport, slot],
                map: ENDPOINTS.into(),
            },
            Kind::NodePort => Statement::DnatMap {
                key: vec![Selector::L4Proto, Selector::ThDport, slot],
                map: NODEPORT_ENDPOINTS.into(),
            },
        };
        Rule::new([statement])
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind.as_str(), self.endpoints)
    }
}

/// The name is not that of a class chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a class chain")]
pub struct NotAClass;

impl FromStr for Class {
    type Err = NotAClass;

    fn from_str(name: &str) -> Result<Self, NotAClass> {
        let parse = || {
            let (kind, endpoints) = name.rsplit_once('-')?;
            let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
            let class = Self { kind, endpoints: endpoints.parse().ok().filter(|count| *count > 0)? };
            // `cluster-03` is somebody else's.
            (class.to_string() == name).then_some(class)
        };
        parse().ok_or(NotAClass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_read_back_from_the_name_of_its_chain() {
        for kind in Kind::ALL {
            let class = Class { kind, endpoints: 17 };
            assert_eq!(class.to_string().parse(), Ok(class));
        }
        for name in [
            "cluster-0",
            "cluster-03",
            "cluster-",
            "cluster",
            "services",
            "local-3",
            "cluster--3",
            "cluster-+3",
        ] {
            assert_eq!(name.parse::<Class>(), Err(NotAClass), "{name}");
        }
    }

    #[test]
    fn a_single_endpoint_needs_no_second_try() {
        assert_eq!(Class { kind: Kind::Cluster, endpoints: 1 }.rules().len(), 2);
        assert_eq!(Class { kind: Kind::Cluster, endpoints: 2 }.rules().len(), 3);
    }
}
