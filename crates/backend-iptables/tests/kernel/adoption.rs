//! Taking over from kube-proxy, and repairing what others did.

use portolan_backend_iptables::programs::Variant;
use portolan_core::IpFamily;
use portolan_core::event::Event;
use portolan_testkit::netns::{Program, Topology};
use portolan_testkit::objects::{service, slice};
use portolan_testkit::shop::{NODE, NODE_PORT, POD_PORT, config, web, web_pods};
use portolan_testkit::upstream::{Service, iptables, kubelet};

use crate::continuity::{assert_nothing_lost, probe, wait};
use crate::node::{Node, options, xtables};

/// What kube-proxy served, as rules and as objects: two pods behind a cluster IP and a node port.
fn past(net: &Topology) -> (Vec<Service>, Vec<Event>) {
    let pods = [net.pod(1), net.pod(2)];
    let v4 = pods.iter().fold(Service::new("shop/web", "10.96.0.80:80").port_name("http"), |web, pod| {
        web.endpoint(&pod.socket_v4(POD_PORT).to_string())
    });
    let v6 =
        pods.iter().fold(Service::new("shop/web", "[fd00:10:96::80]:80").port_name("http"), |web, pod| {
            web.endpoint(&pod.socket_v6(POD_PORT).to_string())
        });
    let web = service("shop/web", "10.96.0.80,fd00:10:96::80")
        .port("http", portolan_core::Protocol::Tcp, 80)
        .node_port(NODE_PORT);
    let slices = IpFamily::ALL.map(|family| {
        let name = format!("shop/web-{family}");
        let slice = slice(&name, "web").family(family).port("http", portolan_core::Protocol::Tcp, POD_PORT);
        let address = |pod: &portolan_testkit::netns::Pod| match family {
            IpFamily::V4 => pod.ipv4.to_string(),
            IpFamily::V6 => pod.ipv6.to_string(),
        };
        pods.iter().fold(slice, |slice, pod| slice.on(NODE, &address(pod))).applied()
    });
    let services = [v4, v6].map(|service| service.node_port(NODE_PORT));
    (services.into(), [web.applied()].into_iter().chain(slices).collect())
}

fn chains_of_kube_proxy_are_adopted_and_an_unchanged_service_writes_nothing(variant: Variant) {
    let net = Topology::routed(2).unwrap();
    let _servers = net.serve(&[POD_PORT]).unwrap();
    let (services, events) = past(&net);
    for family in IpFamily::ALL {
        let rules = [kubelet::ruleset(family), iptables::ruleset(family, &services)];
        for rules in rules {
            net.node().run(|| xtables(variant).restore(family, &rules)).unwrap().unwrap();
        }
    }
    // As kube-proxy wrote them: without a firewall for loopback, which the kubelet has.
    let probers: Vec<_> = probe(&net)
        .into_iter()
        .filter(|(what, _)| !what.contains("external") && !what.contains("UDP"))
        .collect();
    wait(&probers, 20);
    let mut node = Node::with(net.node(), variant, config(), options(), |programs| programs);
    let before = IpFamily::ALL.map(|family| node.saved(family));
    let written = node.apply(events);
    for (family, before) in IpFamily::ALL.into_iter().zip(before) {
        let after = node.saved(family);
        let lines = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.contains("shop/web")).map(str::to_owned).collect()
        };
        assert!(lines(&before).len() > 5, "{before}");
        assert_eq!(lines(&before), lines(&after), "{family}");
        assert!(after.contains("KUBE-KUBELET-CANARY"), "the kubelet's stay");
    }
    // The end of the list in IPv4, which has loopback left out here.
    assert!(written <= 2, "{written}");
    wait(&probers, 20);
    assert_nothing_lost(probers);
    node.assert_sound();
}

fn a_flush_by_another_program_is_detected_and_repaired(variant: Variant) {
    let net = Topology::routed(1).unwrap();
    let mut node = Node::new(net.node(), variant, config());
    node.apply([web()].into_iter().chain(web_pods(&net, &[1])));
    let wanted = IpFamily::ALL.map(|family| node.saved(family));
    for table in ["mangle", "filter", "nat"] {
        assert!(node.is_intact());
        for arguments in [["-t", table, "-F"], ["-t", table, "-X"]] {
            let program = Program::new(format!("iptables-{variant}")).args(arguments);
            net.node().run_program(&program).unwrap();
        }
        assert!(!node.is_intact(), "{table}");
        node.forget();
        assert!(node.apply([]) > 0);
        node.assert_sound();
        assert_eq!(IpFamily::ALL.map(|family| node.saved(family)), wanted, "{table}");
    }
}

fn rules_of_others_between_ours_keep_their_place(variant: Variant) {
    let net = Topology::routed(1).unwrap();
    let mut node = Node::new(net.node(), variant, config());
    node.apply([web()].into_iter().chain(web_pods(&net, &[1])));
    let commands = [
        "-t nat -N DOCKER",
        "-t nat -I PREROUTING 1 -m addrtype --dst-type LOCAL -j DOCKER",
        "-I FORWARD 2 -s 192.0.2.0/24 -m limit --limit 5/min -j LOG --log-prefix KUBE-SERVICES",
        "-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT",
        "-A OUTPUT -j KUBE-SERVICES",
    ];
    for command in commands {
        let program = Program::new(format!("iptables-{variant}")).args(command.split(' '));
        net.node().run_program(&program).unwrap();
    }
    let before = node.saved(IpFamily::V4);
    node.assert_sound();
    assert_eq!(node.saved(IpFamily::V4), before);
    node.clean();
    let left = node.saved(IpFamily::V4);
    for what in ["DOCKER", "--log-prefix", "--dports 22,80"] {
        assert!(left.contains(what), "{left}");
    }
}

crate::with_both_kinds! {
    chains_of_kube_proxy_are_adopted_and_an_unchanged_service_writes_nothing
    a_flush_by_another_program_is_detected_and_repaired
    rules_of_others_between_ours_keep_their_place
}
