//! What kube-proxy's sets are called.

use portolan_core::IpFamily;

/// The longest name, in bytes: `IPSET_MAXNAMELEN` (linux/netfilter/ipset/ip_set.h) less the zero at its end.
const LONGEST: usize = 31;

/// All sets, without what their names begin with.
pub(super) const SETS: [&str; 17] = [
    "LOOP-BACK",
    "CLUSTER-IP",
    "EXTERNAL-IP",
    "EXTERNAL-IP-LOCAL",
    "LOAD-BALANCER",
    "LOAD-BALANCER-FW",
    "LOAD-BALANCER-LOCAL",
    "LOAD-BALANCER-SOURCE-IP",
    "LOAD-BALANCER-SOURCE-CIDR",
    "NODE-PORT-TCP",
    "NODE-PORT-LOCAL-TCP",
    "NODE-PORT-UDP",
    "NODE-PORT-LOCAL-UDP",
    "NODE-PORT-SCTP-HASH",
    "NODE-PORT-LOCAL-SCTP-HASH",
    "HEALTH-CHECK-NODE-PORT",
    "IPVS-IPS",
];

/// Those that list node ports, with the protocol's number. The ones for Local policies list some of the same.
pub(super) const NODE_PORTS: [(&str, u16); 3] =
    [("NODE-PORT-TCP", 6), ("NODE-PORT-UDP", 17), ("NODE-PORT-SCTP-HASH", 132)];

/// A set's whole name, cut off where the kernel has no more room.
pub(super) fn name(set: &str, family: IpFamily) -> String {
    let mut name = match family {
        IpFamily::V4 => format!("KUBE-{set}"),
        IpFamily::V6 => format!("KUBE-6-{set}"),
    };
    name.truncate(LONGEST);
    name
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_of_both_families_differ_even_where_they_are_cut_off() {
        let names: HashSet<_> =
            IpFamily::ALL.iter().flat_map(|family| SETS.iter().map(|set| name(set, *family))).collect();
        assert_eq!(names.len(), 34);
        assert!(names.contains("KUBE-6-LOAD-BALANCER-SOURCE-CID"));
        assert!(names.contains("KUBE-6-NODE-PORT-LOCAL-SCTP-HAS"));
        assert!(names.contains("KUBE-LOAD-BALANCER-SOURCE-CIDR"));
    }

    #[test]
    fn sets_that_list_node_ports_are_among_the_sets() {
        assert!(NODE_PORTS.iter().all(|(set, _)| SETS.contains(set)));
    }
}
