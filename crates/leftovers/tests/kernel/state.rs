//! What tests find in the kernel and leave there.

use portolan_core::IpFamily;
use portolan_core::backend::error_chain;
use portolan_leftovers::{Outcome, Part, remove};
use portolan_testkit::netns::Program;
use portolan_testkit::upstream::{Service, Xtables, iptables, ipvs, kubelet};

/// Services of both families, with and without endpoints.
pub(crate) fn services() -> [Service; 3] {
    [
        Service::new("default/web", "10.96.0.10:80")
            .node_port(30080)
            .endpoint("10.244.0.11:8080")
            .endpoint("10.244.0.12:8080"),
        Service::new("default/web", "[fd00:10:96::10]:80").endpoint("[fd00:10:244::11]:8080"),
        Service::new("default/none", "10.96.0.11:80"),
    ]
}

/// Loads the iptables mode's chains and the kubelet's.
pub(crate) fn load_iptables(kind: Xtables) {
    for family in IpFamily::ALL {
        kind.restore(family, &kubelet::ruleset(family)).unwrap();
        kind.restore(family, &iptables::ruleset(family, &services())).unwrap();
    }
}

/// Loads the ipvs mode's sets and chains.
pub(crate) fn load_ipvs(kind: Xtables) {
    for family in IpFamily::ALL {
        ipvs::load_sets(family, &services()).unwrap();
        kind.restore(family, &ipvs::ruleset(family)).unwrap();
    }
}

/// Tables of somebody else, with counters, policies, odd comments and every built-in chain that kube-proxy
/// uses; and the kubelet's.
pub(crate) fn load_foreign(kind: Xtables) {
    for family in IpFamily::ALL {
        kind.restore(family, FOREIGN).unwrap();
        kind.restore(family, &kubelet::ruleset(family)).unwrap();
    }
}

const FOREIGN: &str = r#"*filter
:INPUT ACCEPT [11:1100]
:FORWARD DROP [12:1200]
:OUTPUT ACCEPT [13:1300]
:DOCKER - [0:0]
:KUBE-ROUTER-INPUT - [0:0]
[1:100] -A INPUT -m comment --comment "a \"KUBE-SERVICES\" of one's own -j KUBE-SERVICES" -j KUBE-ROUTER-INPUT
[2:200] -A FORWARD -o docker0 -j DOCKER
[3:300] -A FORWARD -m comment --comment "kubernetes forwarding rules" -j ACCEPT
[4:400] -A DOCKER -p tcp -m tcp --dport 80 -j ACCEPT
[5:500] -A KUBE-ROUTER-INPUT -m conntrack --ctstate NEW -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-ROUTER-SVC-X - [0:0]
[6:600] -A PREROUTING -m addrtype --dst-type LOCAL -j KUBE-ROUTER-SVC-X
[7:700] -A POSTROUTING -o eth7 -j MASQUERADE
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
[8:800] -A PREROUTING -m mark --mark 0x1 -j ACCEPT
COMMIT
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
[9:900] -A OUTPUT -p udp -j KUBE-SERVICES
[9:900] -A KUBE-SERVICES -j RETURN
COMMIT
"#;

/// All rules of both families, with counters.
pub(crate) fn saved(kind: Xtables) -> String {
    IpFamily::ALL.map(|family| kind.save(family).unwrap()).concat()
}

/// All that nft sees.
pub(crate) fn ruleset() -> String {
    Program::new("nft").args(["list", "ruleset"]).run().unwrap()
}

/// The names of all address sets, in their order.
pub(crate) fn set_names() -> Vec<String> {
    let list = Program::new("ipset").args(["list", "-name"]).run().unwrap();
    list.lines().map(str::to_owned).collect()
}

/// Removes parts of both families, and gives how many objects went and what was kept, if all went well.
pub(crate) fn removed(parts: &[Part]) -> (usize, Vec<String>) {
    let outcomes = remove(parts, &IpFamily::ALL);
    for outcome in &outcomes {
        outcome.result.as_ref().unwrap_or_else(|error| panic!("{}: {}", outcome.part, error_chain(error)));
    }
    (count(&outcomes), outcomes.into_iter().flat_map(|outcome| outcome.kept).collect())
}

/// How many objects went.
pub(crate) fn count(outcomes: &[Outcome]) -> usize {
    outcomes.iter().map(|outcome| outcome.removed).sum()
}
