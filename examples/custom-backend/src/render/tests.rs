use super::*;
use portolan_core::State;
use portolan_core::node::{NodeConfig, NodePortSelection};
use portolan_testkit::golden::assert_golden;
use portolan_testkit::objects::empty_lists;
use portolan_testkit::scenario::{CLIENT, Scenario, away, here, pods, web};
use std::path::Path;
use std::time::Duration;

/// All files for a cluster with `web` as given and pods here and there.
fn rendered(web: portolan_testkit::objects::ServiceBuilder) -> String {
    let config =
        NodeConfig { node_port_addresses: NodePortSelection::Cidrs(Vec::new()), ..Scenario::new().config };
    let mut state = State::new(config);
    let events = empty_lists().into_iter().chain([web.applied()]).chain(pods("web", [here(1), away(2)]));
    for event in events {
        state.handle(event);
    }
    state.prepare();
    let own = [vec!["192.0.2.1".parse().unwrap()], vec!["2001:db8:2::1".parse().unwrap()]];
    let mut text = String::new();
    for (family, own) in IpFamily::ALL.into_iter().zip(&own) {
        let plan = state.plan(family);
        let site = NodeContext { family, node: &plan.node, addresses: own, claimed: &BTreeSet::new() };
        for name in plan.names_by_importance() {
            if let Some(block) = block(&site, name, &plan.service_ports[name]) {
                let _ = write!(text, "# {family}: {name}\n{}", block.text());
            }
        }
    }
    text
}

fn golden(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    assert_golden(&folder.join(name), text);
}

#[test]
fn a_service_with_addresses_of_every_kind() {
    golden("every-kind.cfg", &rendered(web()));
}

#[test]
fn local_policies_ranges_and_affinity() {
    let address = CLIENT.address(IpFamily::V4).unwrap();
    let web = web()
        .external_local()
        .internal_local()
        .source_range(&format!("{address}/32"))
        .source_range("2001:db8:2::2/128")
        .affinity(Duration::from_hours(3));
    golden("policies.cfg", &rendered(web));
}

#[test]
fn names_cannot_write_configuration() {
    let name = |port: &str| ServicePortName {
        service: portolan_testkit::objects::object_name("shop/web"),
        port: port.into(),
        protocol: Protocol::Tcp,
    };
    assert_eq!(identifier(&name("http")), "shop.web.http");
    assert_eq!(identifier(&name("")), "shop.web.");
    assert_eq!(identifier(&name("a\n  bind")), "shop.web.a_0a_20_20bind");
}

#[test]
fn a_block_whose_servers_change_needs_no_reload() {
    let server = |text: &str| text.parse().unwrap();
    let farm = |servers| Farm { name: "f".into(), settings: String::new(), servers };
    let block = |servers| Block { frontends: "frontend a\n".into(), farms: vec![farm(servers)] };
    let one = block(vec![server("10.0.0.1:80")]);
    let two = block(vec![server("10.0.0.2:80")]);
    assert_eq!(one.digest(), two.digest());
    assert_ne!(one.text(), two.text());
    assert_ne!(one.digest(), Block { farms: Vec::new(), ..one.clone() }.digest());
}
