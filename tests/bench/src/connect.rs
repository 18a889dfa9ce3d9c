//! What it costs to set up a connection by VIP, against the same directly; and what it costs when clients
//! must forget an endpoint.
//!
//! Both ways are taken in turn through the same table, so that whatever else the machine does falls on
//! both alike, and "directly" differs by the translation alone. One thread connects and accepts: no
//! wake-up of a server is part of a figure. VIPs are taken from all services, for one VIP alone would
//! stay in the processor's caches.
//!
//! Measured within one namespace, as a process of the node connects (`connect`), and over a node that
//! forwards between two others, as a pod or a client does (`connect-veth`). In the former the kernel
//! routes a translated packet a second time, which costs about a microsecond whoever translates it.

mod dial;
mod forget;
mod median;
mod place;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use portolan_core::Protocol;
use portolan_core::event::{Change, Event};
use portolan_testkit::objects::{service, slice};

use crate::cluster::Node;
use crate::report::{Row, Seen, Unit};
use dial::Dial;
use median::Median;
use place::Place;

/// Connections of each of the two ways.
const CONNECTIONS: u32 = 4_000;
/// What a VIP may cost at most, in seconds: the target of the whole project.
const TARGET: f64 = 1e-6;
/// How long a client is remembered under affinity, Kubernetes' default.
const TIMEOUT: Duration = Duration::from_secs(10_800);

/// Services that are programmed together, all alike.
#[derive(Clone, Copy)]
struct Shape {
    services: u32,
    /// Of each service.
    endpoints: u32,
    affinity: bool,
}

impl Shape {
    /// What figures are called, so that one name never has two figures for as many services.
    fn scenario(self, place: &str) -> String {
        let many = if self.endpoints > 3 { "-many" } else { "" };
        let affinity = if self.affinity { "-affinity" } else { "" };
        format!("{place}{many}{affinity}")
    }
}

const SHAPES: [Shape; 7] = [
    Shape { services: 10, endpoints: 3, affinity: false },
    Shape { services: 100, endpoints: 3, affinity: false },
    Shape { services: 1_000, endpoints: 3, affinity: false },
    Shape { services: 10_000, endpoints: 3, affinity: false },
    Shape { services: 10, endpoints: 300, affinity: false },
    Shape { services: 10, endpoints: 3, affinity: true },
    Shape { services: 10, endpoints: 300, affinity: true },
];

/// Measures setting up connections, and forgetting an endpoint.
pub(crate) fn run(rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let places = [Place::one_namespace()?, Place::forwarded()?];
    for place in &places {
        for shape in SHAPES {
            rows.extend(place.in_node(|| measure(place, shape))??);
        }
    }
    forget::run(&places[0], rows)
}

/// Programs the node, connects, and takes the table away again.
fn measure(place: &Place, shape: Shape) -> anyhow::Result<[Row; 6]> {
    let mut node = Node::start()?;
    node.apply(lists(shape))?;
    let [direct, vip] = place.in_client(|| alternate(place, shape))??;
    node.clean()?;
    let scenario = shape.scenario(place.scenario());
    let row = |measure: &str, value: f64, target| Row {
        scenario: scenario.clone(),
        services: shape.services,
        endpoints: shape.services * shape.endpoints,
        measure: measure.to_owned(),
        seen: Seen::Outside,
        value,
        unit: Unit::Seconds,
        target,
    };
    let (difference, error) = vip.minus(&direct);
    Ok([
        row("direct p50", direct.p50, None),
        row("direct p99", direct.p99, None),
        row("VIP p50", vip.p50, None),
        row("VIP p99", vip.p99, None),
        row("difference p50", difference, Some(TARGET)),
        row("difference p50, 95 % within", error, None),
    ])
}

/// Connects directly and by VIP in turn; the one that is first in a pair changes.
fn alternate(place: &Place, shape: Shape) -> anyhow::Result<[Median; 2]> {
    let dial = Dial::new(place.listener());
    let pods = shape.services * shape.endpoints;
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..CONNECTIONS {
        // A prime, so that neighbours in the tables are no neighbours in time.
        let pick = round.wrapping_mul(7_919);
        let ways = [SocketAddr::new(pod(pick % pods), 8080), SocketAddr::new(vip(pick % shape.services), 80)];
        for turn in [round % 2, (round + 1) % 2] {
            let way = usize::try_from(turn)?;
            samples[way].push(dial.connect(round, ways[way])?);
        }
    }
    Ok(samples.map(Median::of))
}

fn vip(number: u32) -> IpAddr {
    above(Ipv4Addr::new(10, 96, 0, 1), number)
}

fn pod(number: u32) -> IpAddr {
    above(Ipv4Addr::new(10, 128, 0, 1), number)
}

fn above(base: Ipv4Addr, number: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(base) + number).into()
}

/// The lists that an API server would give.
fn lists(shape: Shape) -> [Event; 3] {
    let services = (0..shape.services).map(|number| {
        let web = service(&format!("bench/c{number}"), &vip(number).to_string()).port("", Protocol::Tcp, 80);
        if shape.affinity { web.affinity(TIMEOUT).build() } else { web.build() }
    });
    let slices = (0..shape.services).map(|number| {
        let first = number * shape.endpoints;
        let pods = slice(&format!("bench/c{number}-1"), &format!("c{number}")).port("", Protocol::Tcp, 8080);
        let pods = (first..first + shape.endpoints)
            .fold(pods, |pods, index| pods.on("node2", &pod(index).to_string()));
        pods.build()
    });
    [
        Event::Service(Change::Replaced(services.collect())),
        Event::EndpointSlice(Change::Replaced(slices.collect())),
        Event::Node(Change::Replaced(Vec::new())),
    ]
}
