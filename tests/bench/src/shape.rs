//! What a change costs in requests and operations, which no machine's speed can alter.
//!
//! Every change is made at two sizes of cluster. What it writes must be what arithmetic says where that is
//! known, and the same at both sizes: code that walks the whole cluster for one change shows here.

#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use portolan_testkit::api_server::Verb;
use serde_json::{Value, json};

use crate::findings::{Findings, Sheet};
use crate::mode::Mode;
use crate::objects::{NAMESPACE, Size, name, service, slice};
use crate::progress::Progress;
use crate::proxy::Proxy;
use crate::report::{Seen, Unit};
use crate::scenario::Bench;
use crate::seen::Generation;
use crate::stage::{Stage, on_stage};

/// The sizes that must not differ.
const SIZES: [Size; 2] = [Size::new(100, 2), Size::new(400, 2)];
/// How often each change is made.
const TIMES: u32 = 5;
/// Ends of attempts to write, by family.
const SYNCS: &str = "kubeproxy_sync_proxy_rules_duration_seconds_count";

/// What some changes of one kind wrote, all together.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    syncs: f64,
    commits: f64,
    operations: f64,
    messages: f64,
    bytes: f64,
}

/// A kind of change.
struct Kind {
    name: &'static str,
    /// Makes one such change.
    make: fn(&Stage, Size, u32),
    /// Elements that one writes and removes with nftables, where that is known.
    operations: Option<f64>,
    /// Whether the kernel is told in every mode. A proxy that relays keeps endpoints to itself.
    is_of_vips: bool,
}

const KINDS: [Kind; 4] = [
    Kind { name: "an endpoint replaced", make: replace, operations: Some(2.0), is_of_vips: false },
    Kind { name: "a Service added", make: add, operations: None, is_of_vips: true },
    Kind { name: "a Service removed", make: remove, operations: None, is_of_vips: true },
    // Its cost is that of the replacement that follows it, which shows that it was taken in.
    Kind { name: "nothing changed, then an endpoint", make: touch, operations: Some(2.0), is_of_vips: false },
];

/// Makes every kind of change at both sizes.
pub(crate) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let mut costs: Vec<Vec<Cost>> = Vec::new();
    for (done, size) in (1..).zip(SIZES) {
        let mut sheet = findings.sheet("shape", size);
        costs.push(on_stage(&bench.mode, |stage| at(bench, stage, size, &mut sheet))?);
        progress.step(done, SIZES.len());
    }
    let [few, many] = &costs[..] else { return Ok(()) };
    let mut sheet = findings.sheet("shape", SIZES[1]);
    for (kind, (few, many)) in KINDS.iter().zip(few.iter().zip(many)) {
        sheet.expect(few == many, || {
            format!("{} cost {many:?}, and {few:?} among {} Services", kind.name, SIZES[0].services)
        });
    }
    Ok(())
}

fn at(bench: &Bench, stage: &Stage, size: Size, sheet: &mut Sheet<'_>) -> anyhow::Result<Vec<Cost>> {
    stage.fill(size.objects());
    let (mut proxy, _) = stage.start_loaded()?;
    requests(stage, sheet);
    let before = proxy.page()?;
    // Slices come by a watch of their own. They are there first, so that a Service is one change.
    stage.fill((0..TIMES).map(|round| slice(added(round), 0, [fresh(added(round))].into_iter())));
    proxy.wait_slices(&before, TIMES)?;
    let mut costs = Vec::new();
    for (kind, first) in KINDS.iter().zip((10_000..).step_by(1_000)) {
        let cost = cost(bench, &mut proxy, |round| (kind.make)(stage, size, first + round))?;
        take(sheet, kind, &cost);
        judge_sent(&bench.mode, sheet, kind, &cost);
        if bench.mode.has_elements() {
            judge(sheet, kind, &cost);
        }
        costs.push(cost);
    }
    proxy.end()?;
    Ok(costs)
}

/// One list and one watch of each kind, or one watch that begins with the list.
fn requests(stage: &Stage, sheet: &mut Sheet<'_>) {
    for resource in ["services", "endpointslices"] {
        let (lists, watches) =
            (stage.api.count(Verb::List, resource), stage.api.count(Verb::Watch, resource));
        sheet.expect(lists <= 1 && watches == 1, || {
            format!("{lists} lists and {watches} watches of {resource}, where one of each is enough")
        });
    }
}

/// What changes cost that are made one after the other, each when the one before is programmed.
fn cost(bench: &Bench, proxy: &mut Proxy, make: impl Fn(u32)) -> anyhow::Result<Cost> {
    let before = proxy.page()?;
    let generation = bench.mode.has_elements().then(Generation::follow).transpose()?;
    let mut after = before.clone();
    for round in 0..TIMES {
        make(round);
        let known = after.synced_at_of("IPv4");
        proxy.wait_for("the change is programmed", |page| page.synced_at_of("IPv4") > known)?;
        // That is set when everything else about the change has been counted, but metrics are put on a page one
        // after the other: the next page has all of them.
        after = proxy.page()?;
    }
    let commits =
        generation.map(Generation::end).transpose()?.map_or(0.0, |commits| f64::from(commits.count));
    Ok(Cost {
        commits,
        syncs: after.growth(&before, SYNCS),
        operations: after.growth(&before, "portolan_sync_operations_sum"),
        messages: after.growth(&before, "portolan_sync_messages_total"),
        bytes: after.growth(&before, "portolan_sync_bytes_total"),
    })
}

fn take(sheet: &mut Sheet<'_>, kind: &Kind, cost: &Cost) {
    for (what, value, unit) in [
        ("operations", cost.operations, Unit::Count),
        ("messages", cost.messages, Unit::Count),
        ("bytes", cost.bytes, Unit::Bytes),
    ] {
        sheet.figure(&format!("{}: {what}", kind.name), Seen::Inside, value / f64::from(TIMES), unit, None);
    }
}

/// What must hold in every mode. Two sizes that cost nothing alike would show nothing.
fn judge_sent(mode: &Mode, sheet: &mut Sheet<'_>, kind: &Kind, cost: &Cost) {
    let name = kind.name;
    let times = f64::from(TIMES);
    sheet.expect(cost.syncs >= times && cost.operations >= times, || {
        format!("{name}: too little was done for {TIMES} changes: {cost:?}")
    });
    if kind.is_of_vips || !mode.relays() {
        sheet.expect(cost.messages >= times && cost.bytes > 0.0, || {
            format!("{name}: too little was sent for {TIMES} changes: {cost:?}")
        });
    }
}

/// What must hold in a mode that writes with netlink.
fn judge(sheet: &mut Sheet<'_>, kind: &Kind, cost: &Cost) {
    let times = f64::from(TIMES);
    let name = kind.name;
    let is = |one: f64, other: f64| (one - other).abs() < 1e-9;
    sheet.expect(is(cost.syncs, times), || format!("{name}: {} syncs for {TIMES} changes", cost.syncs));
    sheet.expect(is(cost.commits, times), || format!("{name}: {} commits for {TIMES} changes", cost.commits));
    if let Some(operations) = kind.operations {
        sheet.expect(is(cost.operations, operations * times), || {
            format!("{name}: {} operations for {TIMES} changes, not {operations} each", cost.operations)
        });
    }
}

/// Numbers of Services that every size has, and as many digits, so that bytes can be compared.
fn existing(round: u32) -> u32 {
    20 + round % TIMES
}

fn replace(stage: &Stage, size: Size, round: u32) {
    stage.api.apply(size.replaced(existing(round), fresh(round)));
}

/// An address that no endpoint of either size has.
fn fresh(round: u32) -> Ipv4Addr {
    SIZES[1].fresh(round)
}

/// Beyond both sizes, and with as many digits.
fn added(round: u32) -> u32 {
    1_000 + round % TIMES
}

fn add(stage: &Stage, _: Size, round: u32) {
    stage.api.apply(service(added(round)));
}

fn remove(stage: &Stage, _: Size, round: u32) {
    stage.api.delete("Service", NAMESPACE, &name(added(round)));
}

/// Objects that say nothing new, and then one that does.
fn touch(stage: &Stage, size: Size, round: u32) {
    let touched = |mut object: Value| {
        object["metadata"]["annotations"] = json!({"touched": round.to_string()});
        object
    };
    let number = existing(round);
    stage.api.apply(touched(service(number + 10)));
    for slice in size.slices(number + 10) {
        stage.api.apply(touched(slice));
    }
    replace(stage, size, round);
}
