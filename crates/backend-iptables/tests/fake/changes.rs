//! What single changes write.

use portolan_core::Protocol::{Tcp, Udp};
use portolan_core::backend::{MetricValue, Scope};
use portolan_testkit::objects::{service, slice};

use super::*;

/// So many Services with two endpoints each.
fn cluster(services: u8) -> Vec<Event> {
    (0..services).flat_map(|number| [web(number).applied(), pods(number, &[1, 2])]).collect()
}

fn web(number: u8) -> portolan_testkit::objects::ServiceBuilder {
    service(&format!("shop/web-{number}"), &format!("10.96.1.{number}")).port("http", Tcp, 80)
}

fn pods(number: u8, pods: &[u8]) -> Event {
    let builder = slice(&format!("shop/web-{number}"), &format!("web-{number}")).port("http", Tcp, 8080);
    pods.iter().fold(builder, |slice, pod| slice.on("n2", &format!("10.244.{number}.{pod}"))).applied()
}

fn last_input(node: &mut Node) -> String {
    node.fake(IpFamily::V4).kernel().inputs.last().unwrap().clone()
}

#[test]
fn a_replaced_endpoint_writes_two_chains_and_deletes_one_in_clusters_of_any_size() {
    let sizes = [2, 200].map(|services| {
        let mut node = Node::new(cluster(services));
        node.apply();
        let report = node.handle([pods(1, &[1, 3])]).apply();
        assert_eq!((report.scope, report.transactions), (Scope::Partial, 1));
        let input = last_input(&mut node);
        assert_eq!(input.matches("\n:KUBE-").count(), 3, "{input}");
        assert_eq!(input.matches("\n-X KUBE-SEP-").count(), 1, "{input}");
        assert_eq!(input.matches("\n-A KUBE-SVC-").count(), 3, "{input}");
        assert_eq!(input.matches("\n-A KUBE-SEP-").count(), 2, "{input}");
        assert!(!input.contains("KUBE-SERVICES"), "{input}");
        (report.operations, report.messages)
    });
    assert_eq!(sizes[0], sizes[1]);
}

#[test]
fn a_new_service_inserts_one_line_and_a_deleted_one_removes_it() {
    let mut node = Node::new(cluster(3));
    node.apply();
    node.handle([web(9).applied(), pods(9, &[1])]).apply();
    let input = last_input(&mut node);
    assert_eq!(input.matches("-I KUBE-SERVICES ").count(), 1, "{input}");
    assert!(!input.contains("-D ") && !input.contains("-A KUBE-SERVICES"), "{input}");
    node.handle([Event::Service(Change::Deleted(portolan_core::ObjectName::new("shop", "web-9")))]).apply();
    let input = last_input(&mut node);
    assert_eq!(input.matches("-D KUBE-SERVICES ").count(), 1, "{input}");
    assert_eq!(input.matches("-X KUBE-").count(), 2, "{input}");
    assert!(!input.contains("-I ") && !input.contains("-A "), "{input}");
    node.assert_as_from_scratch(cluster(3));
}

#[test]
fn rejecting_rules_are_inserted_before_nat_changes_and_deleted_after() {
    let mut node = Node::new(cluster(2));
    node.apply();
    node.fake(IpFamily::V4).kernel().inputs.clear();
    node.handle([pods(1, &[])]).apply();
    let tables = |node: &mut Node| -> Vec<String> {
        let fake = node.fake(IpFamily::V4);
        let inputs = std::mem::take(&mut fake.kernel().inputs);
        inputs.iter().map(|input| input.lines().next().unwrap().to_owned()).collect()
    };
    assert_eq!(tables(&mut node), ["*filter", "*nat"]);
    node.handle([pods(1, &[2])]).apply();
    assert_eq!(tables(&mut node), ["*nat", "*filter"]);
}

#[test]
fn reports_count_rules_by_table() {
    let mut node = Node::new(cluster(2));
    let report = node.apply();
    let held = |report: &ApplyReport| {
        let rules = |kind: &str, table: &str| {
            let name = format!("kubeproxy_sync_proxy_rules_iptables_{kind}");
            let mut metrics = report.metrics.iter();
            let metric = metrics.find(|metric| metric.name == name && metric.labels[0].1 == table).unwrap();
            let MetricValue::Gauge(value) = metric.value else { panic!("{metric:?}") };
            value
        };
        ["filter", "nat"].map(|table| (table, rules("total", table), rules("last", table)))
    };
    // Besides Services, nat holds 3 + 1 rules of masquerading and the end of the list; filter 3 of
    // KUBE-FORWARD and 1 of KUBE-FIREWALL. A Service has one line, 3 rules that choose, 2 for each endpoint.
    assert_eq!(held(&report), [("filter", 4, 4), ("nat", 5 + 2 * 8, 5 + 2 * 8)]);
    let report = node.handle([pods(1, &[1, 3])]).apply();
    assert_eq!(held(&report), [("filter", 4, 0), ("nat", 21, 5)]);
    let report = node.handle([pods(1, &[])]).apply();
    assert_eq!(held(&report), [("filter", 5, 1), ("nat", 13, 0)]);
}

#[test]
fn growing_large_rewrites_no_rule() {
    let mut node = Node::new(cluster(2));
    node.apply();
    let many = (0..5_u8).fold(slice("shop/many", "many").port("dns", Udp, 53), |slice, net| {
        (0..250_u8).fold(slice, |slice, pod| slice.on("n2", &format!("10.245.{net}.{pod}")))
    });
    node.handle([service("shop/many", "10.96.2.1").port("dns", Udp, 53).applied(), many.applied()]).apply();
    let input = last_input(&mut node);
    assert!(!input.contains("shop/web"), "{input}");
    assert!(!input.contains("shop/many:dns -> "), "comments are left out");
    assert_eq!(node.restart().apply().operations, 0);
}

#[test]
fn many_deletions_rewrite_the_whole_list() {
    let mut node = Node::new((0..3).flat_map(cluster_of_250).collect::<Vec<_>>());
    node.apply();
    let gone = (0..250_u8)
        .flat_map(|number| {
            (0..3).map(move |net| portolan_core::ObjectName::new("shop", format!("web-{net}-{number}")))
        })
        .map(|name| Event::Service(Change::Deleted(name)));
    node.fake(IpFamily::V4).kernel().inputs.clear();
    let report = node.handle(gone).apply();
    assert_eq!(report.scope, Scope::Full);
    let inputs = node.fake(IpFamily::V4).kernel().inputs.concat();
    assert!(inputs.contains("\n:KUBE-SERVICES - [0:0]\n"), "{inputs}");
    assert!(!inputs.contains("-D KUBE-SERVICES"), "{inputs}");
    node.assert_as_from_scratch([]);
}

fn cluster_of_250(net: u8) -> Vec<Event> {
    let service = |number: u8| {
        let name = format!("shop/web-{net}-{number}");
        let endpoints = slice(&name, &format!("web-{net}-{number}")).port("", Tcp, 80);
        [
            service(&name, &format!("10.96.{net}.{number}")).port("", Tcp, 80).applied(),
            endpoints.on("n2", &format!("10.244.{net}.{number}")).applied(),
        ]
    };
    (0..250).flat_map(service).collect()
}

#[test]
fn cluster_services_are_at_the_top_of_a_long_list() {
    let dns = service("kube-system/kube-dns", "10.96.0.10").port("dns", Udp, 53);
    let pod = slice("kube-system/kube-dns-1", "kube-dns").port("dns", Udp, 53).on("n2", "10.244.0.10");
    let mut node = Node::new(cluster(150).into_iter().chain([dns.applied(), pod.applied()]));
    node.apply();
    let fake = node.fake(IpFamily::V4);
    let first = fake.kernel().tables["nat"]["KUBE-SERVICES"][0].clone();
    assert!(first.contains("kube-system/kube-dns:dns cluster IP"), "{first}");
    assert_eq!(fake.kernel().tables["nat"]["KUBE-SERVICES"].len(), 152);
    assert_eq!(node.restart().apply().operations, 0);
}

#[test]
fn a_counting_rule_is_above_the_rule_that_takes_the_packets() {
    use portolan_backend_iptables::options::{Counters, Options};

    let counters = Counters { invalid_dropped: true, localhost_accepted: true };
    let options = Options { counters, ..Options::default() };
    let config = portolan_core::NodeConfig {
        node_port_addresses: portolan_core::node::NodePortSelection::Cidrs(Vec::new()),
        ..world::config()
    };
    let mut node = Node::on(Fake::default, config, cluster(2));
    let fake = node.fake(IpFamily::V4);
    *node.backend(IpFamily::V4) = IptablesBackend::new(IpFamily::V4, fake.clone(), options);
    node.apply();
    node.handle([web(1).node_port(30080).applied()]).apply();
    let kernel = fake.kernel();
    let rules = &kernel.tables["nat"]["KUBE-NODEPORTS"];
    assert_eq!(rules.len(), 2, "{rules:#?}");
    assert!(rules[0].contains("--nfacct-name") && !rules[1].contains("--nfacct-name"), "{rules:#?}");
}
