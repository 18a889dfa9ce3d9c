//! What the mode finds out before it begins, and what it sets.

use std::fs;
use std::time::Duration;

use portolan_backend_ipvs::{IpvsFactory, Options, Timeouts};
use portolan_core::node::NodeConfig;
use portolan_core::{BackendFactory, IpFamily, Protocol};
use portolan_ipvs::{ServerSettings, Servers, server_flag};
use portolan_testkit::block_on;
use portolan_testkit::conformance::Node;
use portolan_testkit::netns::{Topology, isolated};
use portolan_testkit::objects::service;

use crate::candidate::Ipvs;

fn with_scheduler(scheduler: &str) -> Options {
    Options { scheduler: scheduler.to_owned(), ..Options::default() }
}

#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn a_host_that_has_everything_passes_and_a_scheduler_that_it_lacks_is_named() {
    isolated(|| {
        let probe = |scheduler| block_on(IpvsFactory::new(with_scheduler(scheduler)).probe());
        assert_eq!(probe(""), Ok(()));
        assert_eq!(probe("mh"), Ok(()));
        let missing = probe("no-such").unwrap_err().missing;
        assert_eq!(missing, "the IPVS scheduler no-such (module ip_vs_no-such)");
        let links = fs::read_to_string("/proc/net/dev").unwrap();
        assert!(!links.contains("trial") && !links.contains("kube-ipvs0"), "{links}");
    });
}

#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn schedulers_sysctls_and_timeouts_are_as_configured() {
    isolated(|| {
        let start = |_: &str| {
            let timeouts = Timeouts { udp: Duration::from_secs(77), ..Timeouts::default() };
            Ipvs(Options { strict_arp: true, timeouts, ..with_scheduler("mh") })
        };
        let net = Topology::routed(1).unwrap();
        let mut node = Node::new("node", net.node(), start, NodeConfig::new("node1"));
        let web = service("shop/web", "10.96.0.80").port("http", Protocol::Tcp, 80);
        node.apply([web.affinity(Duration::from_secs(60)).applied()]);
        let list = || Servers::load().unwrap().unwrap().list(IpFamily::V4).unwrap();
        let servers = net.node().run(list).unwrap();
        let wanted = ServerSettings {
            scheduler: "mh".into(),
            flags: server_flag::PERSISTENT | server_flag::HASH_PORT,
            timeout: Duration::from_secs(60),
        };
        assert_eq!(servers.iter().map(|server| &server.settings).collect::<Vec<_>>(), [&wanted]);
        let read =
            |name: &str| fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap().trim().to_owned();
        let on_node = |name: &str| net.node().run(|| read(name)).unwrap();
        for name in ["conntrack", "expire_nodest_conn", "expire_quiescent_template", "conn_reuse_mode"] {
            assert_eq!(on_node(&format!("ipv4/vs/{name}")), "1", "{name}");
        }
        assert_eq!(on_node("ipv4/ip_forward"), "1");
        assert_eq!(
            (on_node("ipv4/conf/all/arp_ignore"), on_node("ipv4/conf/all/arp_announce")),
            ("1".into(), "2".into())
        );
        let udp = || Servers::load().unwrap().unwrap().timeouts().unwrap().udp;
        assert_eq!(net.node().run(udp).unwrap(), Duration::from_secs(77));
    });
}
