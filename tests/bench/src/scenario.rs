//! What is measured.

use std::time::Duration;

use portolan_core::event::{Change, Event};
use portolan_core::name::ObjectName;

use crate::cluster::{Node, lists, nth_service, nth_slice};
use crate::measure::{Samples, resident, timed};
use crate::progress::Progress;
use crate::report::{Row, Seen, Unit};

/// How often a change is repeated for its percentiles.
const REPETITIONS: u32 = 500;

/// The sizes that changes are measured at: services, endpoints of each.
const STEPS: [(u32, u32); 3] = [(1_000, 2), (10_000, 2), (50_000, 2)];

/// The sizes that loads are measured at.
const LOADS: [(u32, u32); 3] = [(10_000, 2), (5_000, 50), (50_000, 10)];

/// Runs everything; `quick` leaves out what takes long.
pub(crate) fn run_all(quick: bool, progress: &mut Progress) -> anyhow::Result<Vec<Row>> {
    progress.scenario("loads and changes");
    let mut rows = Vec::new();
    let sizes = |all: &[(u32, u32)]| all.iter().copied().take(if quick { 1 } else { 3 }).collect::<Vec<_>>();
    let (loads, steps, through_api) = (sizes(&LOADS), sizes(&STEPS), sizes(&LOADS[..2]));
    let of = loads.len() + steps.len() + through_api.len();
    let mut done = 0;
    let mut step = || {
        done += 1;
        progress.step(done, of);
    };
    for (services, endpoints) in loads {
        load(services, endpoints, &mut rows)?;
        step();
    }
    for (services, endpoints) in steps {
        changes(services, endpoints, &mut rows)?;
        step();
    }
    for (services, endpoints) in through_api {
        crate::through_api::run(services, endpoints, &mut rows)?;
        Node::start()?.clean()?;
        step();
    }
    Ok(rows)
}

/// A first load, and a restart of the proxy on the loaded kernel.
fn load(services: u32, endpoints: u32, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let row = |scenario: &str, measure: &str, (value, unit)| Row {
        scenario: scenario.to_owned(),
        services,
        endpoints: services * endpoints,
        measure: measure.to_owned(),
        seen: Seen::Inside,
        value,
        unit,
        target: None,
    };
    let seconds = |time: Duration| (time.as_secs_f64(), Unit::Seconds);
    let objects = lists(services, endpoints);
    let mut node = Node::start()?;
    let (time, report) = timed(|| node.apply(objects.clone()))?;
    rows.push(row("cold", "once", seconds(time)));
    rows.push(row("cold", "longest transaction", seconds(report.longest_transaction)));
    drop(node);

    let mut node = Node::start()?;
    let (time, report) = timed(|| node.apply(objects))?;
    rows.push(row("restart", "once", seconds(time)));
    rows.push(row("restart", "operations", (f64::from(u32::try_from(report.operations)?), Unit::Count)));
    let (now, _) = resident()?;
    rows.push(row("restart", "resident", (f64::from(u32::try_from(now / 1024)?) * 1024.0, Unit::Bytes)));
    node.clean()
}

/// Small changes on a loaded kernel.
fn changes(services: u32, endpoints: u32, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let mut node = Node::start()?;
    node.apply(lists(services, endpoints))?;
    let (stride, fresh) = (services / REPETITIONS, services * endpoints);
    // One endpoint of a Service replaced by a new one, the others staying.
    let replaced = |round| {
        let number = round * stride;
        let mut slice = nth_slice(number, number * endpoints, endpoints);
        slice.endpoints[0] = nth_slice(number, fresh + round, 1).endpoints[0].clone();
        vec![Event::EndpointSlice(Change::Applied(slice))]
    };
    let added = |round| {
        let number = services + round;
        let slice = nth_slice(number, fresh + 1_000, endpoints);
        let service = nth_service(number);
        vec![Event::EndpointSlice(Change::Applied(slice)), Event::Service(Change::Applied(service))]
    };
    let removed = |round| {
        let gone = ObjectName::new("bench", format!("s{}", services + round));
        vec![Event::Service(Change::Deleted(gone))]
    };
    repeat("step", (services, endpoints), &mut node, replaced, rows)?;
    repeat("add-vip", (services, endpoints), &mut node, added, rows)?;
    repeat("remove-vip", (services, endpoints), &mut node, removed, rows)?;
    node.clean()
}

/// Makes the same kind of change many times, each a sync of its own.
fn repeat(
    scenario: &'static str,
    (services, endpoints): (u32, u32),
    node: &mut Node,
    events: impl Fn(u32) -> Vec<Event>,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for round in 0..REPETITIONS {
        let events = events(round);
        let (time, _) = timed(|| node.apply(events))?;
        samples.push(time);
    }
    for (measure, percent) in [("p50", 50), ("p99", 99)] {
        let value = samples.percentile(percent);
        rows.push(Row {
            scenario: scenario.to_owned(),
            services,
            endpoints: services * endpoints,
            measure: measure.to_owned(),
            seen: Seen::Inside,
            value: value.as_secs_f64(),
            unit: Unit::Seconds,
            target: None,
        });
    }
    Ok(())
}
