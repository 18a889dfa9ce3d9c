//! What loads and changes cost with many services: messages are counted, times are printed.

use std::net::Ipv4Addr;
use std::time::Instant;

use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, IpFamily, Protocol};
use portolan_testkit::conformance::Node;
use portolan_testkit::netns::{Topology, isolated};
use portolan_testkit::objects::{service, slice};

use crate::candidate::Ipvs;

const SERVICES: u32 = 5000;

fn pod(number: u32) -> String {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 0)) + number).to_string()
}

/// Service `number` with two endpoints.
fn objects(number: u32, pods: [u32; 2]) -> [Event; 2] {
    let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 10)) + number);
    let name = format!("shop/s{number}");
    let bare = slice(&format!("{name}-4"), &format!("s{number}")).port("http", Protocol::Tcp, 8080);
    let slice = pods.iter().fold(bare, |slice, number| slice.on("node2", &pod(*number)));
    [service(&name, &ip.to_string()).port("http", Protocol::Tcp, 80).applied(), slice.applied()]
}

/// Takes events in and makes the node follow them; all of them are about one family.
fn apply(node: &mut Node<Ipvs>, events: impl IntoIterator<Item = Event>) -> ApplyReport {
    node.handle(events);
    node.try_apply(IpFamily::V4).unwrap()
}

#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn a_change_of_one_endpoint_is_a_message_for_each_that_comes_or_goes_however_many_services_there_are() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let mut node = Node::new("node", net.node(), |_node| Ipvs::default(), NodeConfig::new("node1"));
        let all = (0..SERVICES).flat_map(|number| objects(number, [2 * number, 2 * number + 1]));
        let began = Instant::now();
        let report = apply(&mut node, all);
        println!("{SERVICES} services x 2, cold: {:?}, {} messages", began.elapsed(), report.messages);
        // The server, its two endpoints, the address, and what two sets say of it; and the lines of the rules.
        assert!(report.messages <= 6 * SERVICES as usize + 100, "{report:?}");

        let [_, changed] = objects(77, [154, 20_000]);
        let began = Instant::now();
        let report = apply(&mut node, [changed]);
        println!(
            "one endpoint: {:?}, {} messages in {} calls",
            began.elapsed(),
            report.messages,
            report.transactions
        );
        assert_eq!(report.messages, 2);

        let began = Instant::now();
        let report = apply(&mut node, objects(SERVICES, [20_001, 20_002]));
        println!("one service: {:?}, {} messages", began.elapsed(), report.messages);
        // The server, its endpoints, the address, and what two sets say of it.
        assert_eq!(report.messages, 6);

        node.restart();
        let began = Instant::now();
        let report = apply(&mut node, []);
        println!("restart: {:?}, {} messages", began.elapsed(), report.messages);
        // Everything is there, and the endpoint that was replaced may go.
        assert!(report.messages <= 1, "{report:?}");
    });
}
