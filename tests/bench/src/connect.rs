//! What it costs to set up a connection by VIP, against the same directly.
//!
//! Both ways are taken in turn through the same rules, so that whatever else the machine does falls on
//! both alike, and "directly" differs by the translation alone. One thread connects and accepts: no
//! wake-up of a server is part of a figure. VIPs are taken from all services, for one VIP alone would
//! stay in the processor's caches.
//!
//! Measured within one namespace, as a process of the node connects (`connect`), and over a node that
//! forwards between two others, as a pod or a client does (`connect-veth`). In the former the kernel
//! routes a translated packet a second time, which costs about a microsecond with every translator.
//!
//! The minimum cost of a translation is measured beside that (`connect-floor`): one VIP in one rule written
//! by hand. No proxy that leaves translation to the kernel comes below it.

mod dial;
mod place;

use std::net::SocketAddr;

use portolan_testkit::netns::load_ruleset;

use crate::findings::{Findings, Sheet};
use crate::manifests;
use crate::measure::Samples;
use crate::objects::{POD_PORT, PORT, Size, pod, vip, with_affinity};
use crate::progress::Progress;
use crate::proxy::{From, Proxy};
use crate::report::{Seen, Unit};
use crate::scenario::Bench;
use dial::Dial;
use place::Place;

/// The one VIP of the rule written by hand, and its endpoint.
const FLOOR: Size = Size::new(1, 1);
/// What a VIP may cost at most, in seconds: the target of the whole project.
const TARGET: f64 = 1e-6;

/// Services that are programmed together, all alike.
#[derive(Clone, Copy)]
struct Shape {
    size: Size,
    affinity: bool,
}

impl Shape {
    const fn new(services: u32, endpoints: u32) -> Self {
        Self { size: Size::new(services, endpoints), affinity: false }
    }

    /// What figures are called, so that one name never has two figures for as many services.
    fn scenario(self, place: &str) -> String {
        let many = if self.size.each > 3 { "-many" } else { "" };
        let affinity = if self.affinity { "-affinity" } else { "" };
        format!("{place}{many}{affinity}")
    }
}

const SHAPES: [Shape; 7] = [
    Shape::new(10, 3),
    Shape::new(100, 3),
    Shape::new(1_000, 3),
    Shape::new(10_000, 3),
    Shape::new(10, 300),
    Shape { affinity: true, ..Shape::new(10, 3) },
    Shape { affinity: true, ..Shape::new(10, 300) },
];

/// Makes connections at both places, to clusters of every shape.
pub(crate) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let shapes = bench.choose(&SHAPES[..], &SHAPES[..2], &SHAPES[..1]);
    let places = [Place::one_namespace, Place::forwarded];
    let steps = places.len() * (shapes.len() + 1);
    let pairs = places.into_iter().flat_map(|place| shapes.iter().map(move |shape| (place, *shape)));
    for (done, (place, shape)) in (1..).zip(pairs) {
        // Of each its own, because the proxy leaves its rules behind.
        let place = place()?;
        measure(bench, &place, shape, &mut findings.sheet(&shape.scenario(place.scenario()), shape.size))?;
        progress.step(done, steps);
    }
    for (done, place) in (1 + steps - places.len()..).zip(places) {
        let place = place()?;
        measure_floor(bench, &place, &mut findings.sheet(&format!("{}-floor", place.scenario()), FLOOR))?;
        progress.step(done, steps);
    }
    Ok(())
}

/// Has the node programmed, and connects.
fn measure(bench: &Bench, place: &Place, shape: Shape, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    let objects = shape.size.objects().map(|object| {
        let is_changed = shape.affinity && object["kind"] == "Service";
        if is_changed { with_affinity(object) } else { object }
    });
    let folder = manifests::folder(objects)?;
    let mut proxy = Proxy::start(place.node(), &bench.mode, From::Manifests(&folder.path()))?;
    proxy.wait_loaded()?;
    connect(bench, place, shape.size, Some(TARGET), sheet)?;
    proxy.end()?;
    Ok(())
}

/// Connects through one rule of no proxy's.
fn measure_floor(bench: &Bench, place: &Place, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    let (vip, pod) = (vip(0), pod(0));
    let rule = format!("ip daddr {vip} tcp dport {PORT} dnat to {pod}:{POD_PORT}");
    let chain = |hook| format!("chain {hook} {{ type nat hook {hook} priority -100; {rule}; }}");
    let table = format!("table ip floor {{ {}; {}; }}", chain("prerouting"), chain("output"));
    load_ruleset(place.node(), &table)?;
    connect(bench, place, FLOOR, None, sheet)
}

/// Takes the figures.
fn connect(
    bench: &Bench,
    place: &Place,
    size: Size,
    target: Option<f64>,
    sheet: &mut Sheet<'_>,
) -> anyhow::Result<()> {
    let connections = bench.choose(4_000, 1_000, 100);
    let [direct, vip] = place.in_client(|| alternate(place, size, connections))??;
    for (way, samples) in [("direct", &direct), ("VIP", &vip)] {
        sheet.outside(&format!("{way} p50"), samples.percentile(50), None);
        sheet.outside(&format!("{way} p99"), samples.percentile(99), None);
    }
    let difference = vip.median() - direct.median();
    let within = vip.median_within().hypot(direct.median_within());
    sheet.figure("difference p50", Seen::Outside, difference, Unit::Seconds, target);
    sheet.figure("difference p50, 95 % within", Seen::Outside, within, Unit::Seconds, None);
    Ok(())
}

/// Connects directly and by VIP in turn; the one that is first in a pair changes.
fn alternate(place: &Place, size: Size, connections: u32) -> anyhow::Result<[Samples; 2]> {
    let dial = Dial::new(place.listener());
    let mut samples = [Samples::default(), Samples::default()];
    for round in 0..connections {
        // A prime, so that neighbours in the tables are no neighbours in time.
        let pick = round.wrapping_mul(7_919);
        let ways = [
            SocketAddr::from((pod(pick % size.endpoints()), POD_PORT)),
            SocketAddr::from((vip(pick % size.services), PORT)),
        ];
        for turn in [round % 2, (round + 1) % 2] {
            let way = usize::try_from(turn)?;
            samples[way].push(dial.connect(round, ways[way])?);
        }
    }
    Ok(samples)
}
