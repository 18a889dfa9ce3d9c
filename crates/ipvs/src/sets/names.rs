//! What kube-proxy's sets are called, and of what type they are.

use portolan_core::IpFamily;

/// The longest name, in bytes: `IPSET_MAXNAMELEN` (linux/netfilter/ipset/ip_set.h) less the zero at its end.
const LONGEST: usize = 31;

/// Of what a set consists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// Addresses.
    Ip,
    /// Addresses, each with a protocol and a port.
    IpPort,
    /// The same, each with a further address.
    IpPortIp,
    /// The same, each with a range of addresses.
    IpPortNet,
    /// Ports.
    Port,
}

impl SetKind {
    /// The type's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "hash:ip",
            Self::IpPort => "hash:ip,port",
            Self::IpPortIp => "hash:ip,port,ip",
            Self::IpPortNet => "hash:ip,port,net",
            Self::Port => "bitmap:port",
        }
    }
}

macro_rules! sets {
    ($($(#[$doc:meta])* $set:ident = $name:literal, $kind:ident;)*) => {
        /// One of the sets of the ipvs mode, under kube-proxy's names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Set {
            $($(#[$doc])* $set,)*
        }

        impl Set {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$set,)*];

            /// The name without its beginning.
            fn suffix(self) -> &'static str {
                match self {
                    $(Self::$set => $name,)*
                }
            }

            /// Of what it consists.
            pub fn kind(self) -> SetKind {
                match self {
                    $(Self::$set => SetKind::$kind,)*
                }
            }
        }
    };
}

sets! {
    /// Endpoints that may be on this node, each with its own address as source.
    LoopBack = "LOOP-BACK", IpPortIp;
    /// Cluster IPs.
    ClusterIp = "CLUSTER-IP", IpPort;
    /// External IPs under the Cluster policy.
    ExternalIp = "EXTERNAL-IP", IpPort;
    /// External IPs under the Local policy.
    ExternalIpLocal = "EXTERNAL-IP-LOCAL", IpPort;
    /// Load-balancer addresses.
    LoadBalancer = "LOAD-BALANCER", IpPort;
    /// Those that are not open to everybody.
    LoadBalancerFirewall = "LOAD-BALANCER-FW", IpPort;
    /// Load-balancer addresses under the Local policy.
    LoadBalancerLocal = "LOAD-BALANCER-LOCAL", IpPort;
    /// Load-balancer addresses that are open to themselves, which is what this node sends from.
    LoadBalancerSourceIp = "LOAD-BALANCER-SOURCE-IP", IpPortIp;
    /// Load-balancer addresses with whom they are open to.
    LoadBalancerSourceCidr = "LOAD-BALANCER-SOURCE-CIDR", IpPortNet;
    /// Node ports by TCP.
    NodePortTcp = "NODE-PORT-TCP", Port;
    /// Those under the Local policy.
    NodePortLocalTcp = "NODE-PORT-LOCAL-TCP", Port;
    /// Node ports by UDP.
    NodePortUdp = "NODE-PORT-UDP", Port;
    /// Those under the Local policy.
    NodePortLocalUdp = "NODE-PORT-LOCAL-UDP", Port;
    /// Node ports by SCTP, at each of the node's addresses.
    NodePortSctp = "NODE-PORT-SCTP-HASH", IpPort;
    /// Those under the Local policy.
    NodePortLocalSctp = "NODE-PORT-LOCAL-SCTP-HASH", IpPort;
    /// Where load balancers ask whether a Service is here.
    HealthCheckNodePort = "HEALTH-CHECK-NODE-PORT", Port;
    /// All addresses of the device.
    IpvsIps = "IPVS-IPS", Ip;
}

impl Set {
    /// The whole name, truncated to the longest name that the kernel accepts.
    pub fn name(self, family: IpFamily) -> String {
        let beginning = match family {
            IpFamily::V4 => "KUBE-",
            IpFamily::V6 => "KUBE-6-",
        };
        let mut name = format!("{beginning}{}", self.suffix());
        name.truncate(LONGEST);
        name
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_of_both_families_differ_even_where_they_are_cut_off() {
        let names: HashSet<_> =
            IpFamily::ALL.iter().flat_map(|family| Set::ALL.iter().map(|set| set.name(*family))).collect();
        assert_eq!(names.len(), 34);
        assert!(names.contains("KUBE-6-LOAD-BALANCER-SOURCE-CID"));
        assert!(names.contains("KUBE-6-NODE-PORT-LOCAL-SCTP-HAS"));
        assert!(names.contains("KUBE-LOAD-BALANCER-SOURCE-CIDR"));
    }
}
