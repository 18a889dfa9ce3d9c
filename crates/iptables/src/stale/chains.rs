//! Which chains are kube-proxy's, by table and name.
//!
//! The names are those of kube-proxy 1.36, and `KUBE-XLB-` of versions before 1.24; Portolan's iptables and ipvs
//! modes use the same. The kubelet's `KUBE-FIREWALL`, `KUBE-MARK-DROP`, `KUBE-KUBELET-CANARY` and
//! `KUBE-IPTABLES-HINT` begin the same way and are not among them.

use super::Mode;

/// Sets a mark that asks for masquerading; portmap and others call it, too.
pub(super) const MARK: &str = "KUBE-MARK-MASQ";
/// Masquerades packets with that mark, without which the mark means nothing.
pub(super) const MASQUERADE: &str = "KUBE-POSTROUTING";

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
    /// Whether it is stale when this mode is. Chains of both modes count as those of the iptables mode.
    fn is_left_by(self, mode: Mode) -> bool {
        match self {
            Self::Iptables | Self::Both => mode == Mode::Iptables,
            Self::Ipvs | Self::KubeProxysIpvs => mode == Mode::Ipvs,
        }
    }

    /// Whether our mode has it.
    fn is_used_by(self, mode: Mode) -> bool {
        match self {
            Self::Iptables => mode == Mode::Iptables,
            Self::Ipvs => mode == Mode::Ipvs,
            Self::KubeProxysIpvs => false,
            Self::Both => true,
        }
    }
}

/// How packets come into a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By kube-proxy's rules in built-in chains, which are removed with it.
    Hooked,
    /// Only from kube-proxy's other chains: other rules that lead there are another program's.
    Called,
}

/// The tables that have chains of kube-proxy, in the order in which they are emptied: as long as connections
/// may still be translated by the old rules, the old filter accepts them.
pub(super) const TABLES: [&str; 3] = ["nat", "filter", "mangle"];

/// How names in the table nat begin that end with a hash.
const PER_SERVICE: [&str; 6] = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-"];

/// Chains of fixed names, by table.
const FIXED: [(&str, &str, Owner, Way); 20] = {
    use Owner::{Both, Iptables, Ipvs, KubeProxysIpvs};
    use Way::{Called, Hooked};
    [
        ("nat", "KUBE-SERVICES", Both, Hooked),
        ("nat", "KUBE-NODEPORTS", Iptables, Called),
        ("nat", MASQUERADE, Both, Hooked),
        ("nat", MARK, Both, Called),
        ("nat", "KUBE-PROXY-CANARY", Iptables, Called),
        ("filter", "KUBE-SERVICES", Iptables, Hooked),
        ("filter", "KUBE-EXTERNAL-SERVICES", Iptables, Hooked),
        ("filter", "KUBE-FORWARD", Both, Hooked),
        ("filter", "KUBE-NODEPORTS", Iptables, Hooked),
        ("filter", "KUBE-PROXY-FIREWALL", Both, Hooked),
        ("filter", "KUBE-PROXY-CANARY", Iptables, Called),
        ("mangle", "KUBE-PROXY-CANARY", Iptables, Called),
        ("nat", "KUBE-NODE-PORT", Ipvs, Called),
        ("nat", "KUBE-LOAD-BALANCER", Ipvs, Called),
        ("filter", "KUBE-NODE-PORT", Ipvs, Hooked),
        ("filter", "KUBE-SOURCE-RANGES-FIREWALL", Ipvs, Called),
        ("filter", "KUBE-IPVS-FILTER", Ipvs, Hooked),
        ("filter", "KUBE-IPVS-OUT-FILTER", KubeProxysIpvs, Hooked),
        // Where our own ipvs mode guards load balancers' addresses against the node itself.
        ("mangle", "KUBE-IPVS-OUT-FILTER", Ipvs, Hooked),
        ("mangle", "KUBE-SOURCE-RANGES-FIREWALL", Ipvs, Called),
    ]
};

/// The chains of some modes, except for those of a running one.
#[derive(Debug, Clone, Copy)]
pub(super) struct StaleChains<'a> {
    pub(super) modes: &'a [Mode],
    /// Our mode of the same names that is running, whose chains stay.
    pub(super) beside: Option<Mode>,
}

impl StaleChains<'_> {
    /// Whether a chain of this table is among them.
    pub(super) fn contains(&self, table: &str, chain: &str) -> bool {
        let is_per_service = table == "nat" && PER_SERVICE.iter().any(|prefix| chain.starts_with(prefix));
        let owner =
            if is_per_service { Some(Owner::Iptables) } else { fixed(table, chain).map(|found| found.0) };
        owner.is_some_and(|owner| {
            self.modes.iter().any(|mode| owner.is_left_by(*mode))
                && !self.beside.is_some_and(|mode| owner.is_used_by(mode))
        })
    }
}

/// Whether kube-proxy's own rules in built-in chains lead to this chain.
pub(super) fn is_hooked(table: &str, chain: &str) -> bool {
    fixed(table, chain).is_some_and(|(_, way)| way == Way::Hooked)
}

fn fixed(table: &str, chain: &str) -> Option<(Owner, Way)> {
    let found = FIXED.iter().find(|(in_table, name, ..)| (*in_table, *name) == (table, chain));
    found.map(|(_, _, owner, way)| (*owner, *way))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: StaleChains<'_> = StaleChains { modes: &[Mode::Iptables, Mode::Ipvs], beside: None };

    #[test]
    fn chains_of_services_are_recognized_by_prefix_in_nat_only() {
        assert!(ALL.contains("nat", "KUBE-SVC-XPGD46QRK7WJZT7O"));
        assert!(!ALL.contains("filter", "KUBE-SVC-XPGD46QRK7WJZT7O"));
        assert!(!ALL.contains("nat", "CNI-KUBE-SVC-XPGD46QRK7WJZT7O"));
    }

    #[test]
    fn chains_of_the_kubelet_are_not_stale() {
        for chain in ["KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT", "KUBE-MARK-DROP"] {
            for table in TABLES {
                assert!(!ALL.contains(table, chain), "{table} {chain}");
            }
        }
    }

    #[test]
    fn each_mode_has_its_chains_and_those_of_both_are_iptables() {
        let of = |modes| StaleChains { modes, beside: None };
        let (iptables, ipvs) = (of(&[Mode::Iptables]), of(&[Mode::Ipvs]));
        assert!(iptables.contains("nat", "KUBE-SERVICES") && !ipvs.contains("nat", "KUBE-SERVICES"));
        assert!(
            !iptables.contains("filter", "KUBE-IPVS-FILTER") && ipvs.contains("filter", "KUBE-IPVS-FILTER")
        );
        assert!(!ipvs.contains("nat", "KUBE-SEP-SXIVWICOYRO3J4NJ"));
    }

    #[test]
    fn chains_of_a_running_mode_are_kept_and_those_of_the_other_are_stale() {
        let iptables = StaleChains { beside: Some(Mode::Iptables), ..ALL };
        let ipvs = StaleChains { beside: Some(Mode::Ipvs), ..ALL };
        for (table, chain) in
            [("nat", "KUBE-SERVICES"), ("nat", MASQUERADE), ("nat", MARK), ("filter", "KUBE-PROXY-FIREWALL")]
        {
            assert!(!iptables.contains(table, chain) && !ipvs.contains(table, chain), "{table} {chain}");
        }
        for (table, chain) in [
            ("nat", "KUBE-SVC-XPGD46QRK7WJZT7O"),
            ("nat", "KUBE-NODEPORTS"),
            ("filter", "KUBE-SERVICES"),
            ("filter", "KUBE-EXTERNAL-SERVICES"),
            ("mangle", "KUBE-PROXY-CANARY"),
        ] {
            assert!(!iptables.contains(table, chain) && ipvs.contains(table, chain), "{table} {chain}");
        }
        for (table, chain) in [
            ("nat", "KUBE-LOAD-BALANCER"),
            ("filter", "KUBE-IPVS-FILTER"),
            ("mangle", "KUBE-IPVS-OUT-FILTER"),
        ] {
            assert!(iptables.contains(table, chain) && !ipvs.contains(table, chain), "{table} {chain}");
        }
        // Kube-proxy's guards one address a rule, ours asks a set elsewhere.
        assert!(ipvs.contains("filter", "KUBE-IPVS-OUT-FILTER"));
    }

    #[test]
    fn node_ports_are_hooked_in_filter_alone() {
        assert!(is_hooked("filter", "KUBE-NODEPORTS"));
        assert!(!is_hooked("nat", "KUBE-NODEPORTS"));
        assert!(!is_hooked("nat", MARK));
        assert!(!is_hooked("nat", "KUBE-SVC-XPGD46QRK7WJZT7O"), "kube-proxy never goes there from a hook");
    }
}
