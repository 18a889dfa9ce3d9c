//! The state of the kernel before and after tests.

use portolan_core::IpFamily;
use portolan_core::backend::{CleanupReport, error_chain};
use portolan_iptables::stale::{self, Mode, Running};
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

/// Tables of another program, with counters, policies, odd comments and every built-in chain that kube-proxy
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

/// Both modes whose chains have kube-proxy's names.
pub(crate) const BOTH: &[Mode] = &[Mode::Iptables, Mode::Ipvs];

/// Removes chains of both families beside a running mode, and gives one report for all.
pub(crate) fn remove(modes: &[Mode], running: Running) -> CleanupReport {
    let mut report = CleanupReport::default();
    for family in IpFamily::ALL {
        report.merge(stale::remove(modes, running, family));
    }
    report
}

/// Removes chains of both families, and gives how many objects were removed and what was kept.
pub(crate) fn removed(modes: &[Mode]) -> (usize, Vec<String>) {
    let report = remove(modes, None);
    let errors: Vec<_> = report.failures.iter().map(|failure| error_chain(&*failure.error)).collect();
    assert_eq!(errors, [""; 0]);
    (report.removed, report.kept)
}
