//! Which chains are kube-proxy's, by table and name.
//!
//! The names are those of kube-proxy 1.36, and `KUBE-XLB-` of versions before 1.24; our own iptables and ipvs
//! modes use the same. Not among them, though
//! they begin the same way, are the kubelet's `KUBE-FIREWALL`, `KUBE-MARK-DROP`, `KUBE-KUBELET-CANARY` and
//! `KUBE-IPTABLES-HINT`.

use crate::Part;

/// Sets a mark that asks for masquerading; portmap and others call it, too.
pub(super) const MARK: &str = "KUBE-MARK-MASQ";
/// Masquerades what has that mark, without which the mark means nothing.
pub(super) const MASQUERADE: &str = "KUBE-POSTROUTING";

/// A chain of fixed name.
struct Named {
    table: &'static str,
    name: &'static str,
    of: Owner,
    way: Way,
}

/// Which modes have a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Iptables,
    Ipvs,
    /// Kube-proxy's ipvs mode and not ours.
    KubeProxysIpvs,
    Both,
}

impl Owner {
    /// Whether it goes with what this mode left. What both have is counted with the iptables mode.
    fn is_left_by(self, part: Part) -> bool {
        match self {
            Self::Iptables | Self::Both => part == Part::Iptables,
            Self::Ipvs | Self::KubeProxysIpvs => part == Part::Ipvs,
        }
    }

    /// Whether our mode that goes by these names has it.
    fn is_used_by(self, mode: Part) -> bool {
        match self {
            Self::Iptables => mode == Part::Iptables,
            Self::Ipvs => mode == Part::Ipvs,
            Self::KubeProxysIpvs => false,
            Self::Both => mode == Part::Iptables || mode == Part::Ipvs,
        }
    }
}

/// How packets come into a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By kube-proxy's rules in built-in chains, which go with it.
    Hooked,
    /// Only from kube-proxy's other chains: whoever else leads there does it for a reason of their own.
    Called,
}

/// The tables that have chains of kube-proxy, in the order in which they are emptied: as long as connections
/// may still be translated by the old rules, the old filter lets them pass.
pub(super) const TABLES: [&str; 3] = ["nat", "filter", "mangle"];

/// Beginnings of names in the table nat, each followed by a hash.
const PER_SERVICE: [&str; 6] = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-"];

const NAMED: [Named; 20] = {
    use Owner::{Both, Iptables, Ipvs, KubeProxysIpvs};
    use Way::{Called, Hooked};
    const fn chain(table: &'static str, name: &'static str, of: Owner, way: Way) -> Named {
        Named { table, name, of, way }
    }
    [
        chain("nat", "KUBE-SERVICES", Both, Hooked),
        chain("nat", "KUBE-NODEPORTS", Iptables, Called),
        chain("nat", MASQUERADE, Both, Hooked),
        chain("nat", MARK, Both, Called),
        chain("nat", "KUBE-PROXY-CANARY", Iptables, Called),
        chain("filter", "KUBE-SERVICES", Iptables, Hooked),
        chain("filter", "KUBE-EXTERNAL-SERVICES", Iptables, Hooked),
        chain("filter", "KUBE-FORWARD", Both, Hooked),
        chain("filter", "KUBE-NODEPORTS", Iptables, Hooked),
        chain("filter", "KUBE-PROXY-FIREWALL", Both, Hooked),
        chain("filter", "KUBE-PROXY-CANARY", Iptables, Called),
        chain("mangle", "KUBE-PROXY-CANARY", Iptables, Called),
        chain("nat", "KUBE-NODE-PORT", Ipvs, Called),
        chain("nat", "KUBE-LOAD-BALANCER", Ipvs, Called),
        chain("filter", "KUBE-NODE-PORT", Ipvs, Hooked),
        chain("filter", "KUBE-SOURCE-RANGES-FIREWALL", Ipvs, Called),
        chain("filter", "KUBE-IPVS-FILTER", Ipvs, Hooked),
        chain("filter", "KUBE-IPVS-OUT-FILTER", KubeProxysIpvs, Hooked),
        // Where our own ipvs mode guards load balancers' addresses against the node itself.
        chain("mangle", "KUBE-IPVS-OUT-FILTER", Ipvs, Hooked),
        chain("mangle", "KUBE-SOURCE-RANGES-FIREWALL", Ipvs, Called),
    ]
};

/// The chains of some parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) parts: &'a [Part],
    /// Our mode that goes by the same names and is in force, whose chains stay.
    pub(super) beside: Option<Part>,
}

impl Wanted<'_> {
    /// Whether a chain of this table is to go.
    pub(super) fn holds(&self, table: &str, chain: &str) -> bool {
        let per_service = table == "nat" && PER_SERVICE.iter().any(|prefix| chain.starts_with(prefix));
        let owner =
            if per_service { Some(Owner::Iptables) } else { named(table, chain).map(|named| named.of) };
        owner.is_some_and(|owner| {
            self.parts.iter().any(|part| owner.is_left_by(*part))
                && !self.beside.is_some_and(|mode| owner.is_used_by(mode))
        })
    }
}

/// Whether kube-proxy's own rules in built-in chains lead to this chain.
pub(super) fn is_hooked(table: &str, chain: &str) -> bool {
    named(table, chain).is_some_and(|named| named.way == Way::Hooked)
}

fn named(table: &str, chain: &str) -> Option<&'static Named> {
    NAMED.iter().find(|named| named.table == table && named.name == chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Wanted<'_> = Wanted { parts: &[Part::Iptables, Part::Ipvs], beside: None };

    #[test]
    fn chains_of_services_are_known_by_how_their_names_begin_and_only_in_nat() {
        assert!(ALL.holds("nat", "KUBE-SVC-XPGD46QRK7WJZT7O"));
        assert!(!ALL.holds("filter", "KUBE-SVC-XPGD46QRK7WJZT7O"));
        assert!(!ALL.holds("nat", "CNI-KUBE-SVC-XPGD46QRK7WJZT7O"));
    }

    #[test]
    fn the_kubelets_chains_are_nobodys_leftovers() {
        for chain in ["KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT", "KUBE-MARK-DROP"] {
            for table in TABLES {
                assert!(!ALL.holds(table, chain), "{table} {chain}");
            }
        }
    }

    #[test]
    fn each_part_has_its_chains_and_what_both_modes_use_is_iptables() {
        let of = |parts| Wanted { parts, beside: None };
        let (iptables, ipvs) = (of(&[Part::Iptables]), of(&[Part::Ipvs]));
        assert!(iptables.holds("nat", "KUBE-SERVICES") && !ipvs.holds("nat", "KUBE-SERVICES"));
        assert!(!iptables.holds("filter", "KUBE-IPVS-FILTER") && ipvs.holds("filter", "KUBE-IPVS-FILTER"));
        assert!(!ipvs.holds("nat", "KUBE-SEP-SXIVWICOYRO3J4NJ"));
    }

    #[test]
    fn beside_a_mode_of_ours_what_it_has_stays_and_what_the_other_has_goes() {
        let iptables = Wanted { beside: Some(Part::Iptables), ..ALL };
        let ipvs = Wanted { beside: Some(Part::Ipvs), ..ALL };
        for (table, chain) in
            [("nat", "KUBE-SERVICES"), ("nat", MASQUERADE), ("nat", MARK), ("filter", "KUBE-PROXY-FIREWALL")]
        {
            assert!(!iptables.holds(table, chain) && !ipvs.holds(table, chain), "{table} {chain}");
        }
        for (table, chain) in [
            ("nat", "KUBE-SVC-XPGD46QRK7WJZT7O"),
            ("nat", "KUBE-NODEPORTS"),
            ("filter", "KUBE-SERVICES"),
            ("filter", "KUBE-EXTERNAL-SERVICES"),
            ("mangle", "KUBE-PROXY-CANARY"),
        ] {
            assert!(!iptables.holds(table, chain) && ipvs.holds(table, chain), "{table} {chain}");
        }
        for (table, chain) in [
            ("nat", "KUBE-LOAD-BALANCER"),
            ("filter", "KUBE-IPVS-FILTER"),
            ("mangle", "KUBE-IPVS-OUT-FILTER"),
        ] {
            assert!(iptables.holds(table, chain) && !ipvs.holds(table, chain), "{table} {chain}");
        }
        // Kube-proxy's guards one address a rule, ours asks a set elsewhere.
        assert!(ipvs.holds("filter", "KUBE-IPVS-OUT-FILTER"));
    }

    #[test]
    fn node_ports_are_hooked_in_filter_alone() {
        assert!(is_hooked("filter", "KUBE-NODEPORTS"));
        assert!(!is_hooked("nat", "KUBE-NODEPORTS"));
        assert!(!is_hooked("nat", MARK));
        assert!(
            !is_hooked("nat", "KUBE-SVC-XPGD46QRK7WJZT7O"),
            "whoever goes there from a hook is not kube-proxy"
        );
    }
}
