//! Classes: what all VIPs with the same kind of traffic and numbers of endpoints share.

use std::fmt;
use std::sync::Arc;

use portolan_core::plan::NodeSettings;
use portolan_nft::Rule;

use crate::delivery::{self, Counts, Kind, Remembered, SlotMaps};

/// One class; its chain is called after it, `cluster-3` or `external-3-local-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class {
    /// The kind of traffic.
    pub kind: Kind,
    /// The numbers of slots; at least one for all clients.
    pub counts: Counts,
}

impl Class {
    /// The name of its chain.
    pub fn chain(self) -> Arc<str> {
        self.to_string().into()
    }

    /// The class whose chain has this name, if it is that of one.
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, counts) = name.split_once('-')?;
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        let (all, outside) = match counts.split_once("-local-") {
            Some((all, outside)) => (all, Some(outside.parse().ok()?)),
            None => (counts, None),
        };
        let all = all.parse().ok().filter(|count| *count > 0)?;
        let class = Self { kind, counts: Counts { all, outside } };
        // `cluster-03` is not ours.
        (class.to_string() == name).then_some(class)
    }

    /// What its chain does.
    pub fn rules(self, settings: &NodeSettings) -> Vec<Rule> {
        let maps = SlotMaps::shared(self.kind);
        delivery::rules(self.kind, self.counts, &maps, &Remembered::default(), settings)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind.as_str(), self.counts.all)?;
        match self.counts.outside {
            Some(outside) => write!(f, "-local-{outside}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(kind: Kind, all: u32, outside: Option<u32>) -> Class {
        Class { kind, counts: Counts { all, outside } }
    }

    #[test]
    fn a_class_is_parsed_from_the_name_of_its_chain() {
        for kind in Kind::ALL {
            for outside in [None, Some(0), Some(3)] {
                let class = class(kind, 17, outside);
                assert_eq!(Class::parse(&class.to_string()), Some(class));
            }
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
            "external-3-local-",
            "external-3-local-01",
            "external-0-local-1",
            "cluster/shop/web/tcp/http",
        ] {
            assert_eq!(Class::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_single_endpoint_needs_no_second_try() {
        let settings = portolan_core::NodeConfig::new("n1").settings(portolan_core::IpFamily::V4, None, []);
        assert_eq!(class(Kind::Cluster, 1, None).rules(&settings).len(), 1);
        assert_eq!(class(Kind::Cluster, 2, None).rules(&settings).len(), 2);
    }
}
