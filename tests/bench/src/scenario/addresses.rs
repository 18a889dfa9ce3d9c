//! A Service with as many external IPs as fit into one object: its load, changes of its endpoint, and what other
//! Services notice of these.

use std::net::Ipv4Addr;
use std::time::Instant;

use serde_json::json;

use super::step::{probed, probed_slice};
use super::{Bench, agreement};
use crate::findings::{Findings, Sheet};
use crate::measure::Samples;
use crate::objects::{Size, service, slice, triggered_now, vip};
use crate::progress::Progress;
use crate::seen::{Sight, packet};
use crate::stage::Stage;

const SIZES: [Size; 1] = [Size::new(1_000, 2)];
/// What the load may take of the sync thread, in seconds.
const LOAD: f64 = 0.3;
/// What a change of the endpoint may take of it.
const CHANGE: f64 = 0.05;

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    bench.each_on_stage(&bench.sizes(&SIZES), progress, |stage, size| {
        at(bench, stage, *size, &mut findings.sheet("addresses", *size))
    })
}

/// The `index`th external IP, which like cluster IPs is local to the stage.
fn external_ip(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 104, 0, 1)) + index)
}

fn at(bench: &Bench, stage: &Stage, size: Size, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    stage.fill(size.objects().chain(probed(size)));
    let (mut proxy, loaded) = stage.start_loaded()?;
    let (number, addresses) = (size.services + 1, bench.choose(50_000, 50_000, 500));
    let led_to = |step| slice(number, 0, std::iter::once(size.fresh(step)));
    stage.api.apply(led_to(1));
    proxy.wait_slices(&loaded, 1)?;

    // In other modes it is iptables' program, or the kernel, that takes the time.
    let target = |seconds| bench.mode.has_elements().then_some(seconds);
    let mut large = service(number);
    // A pod's connections are masqueraded under the Cluster policy, and the stage has no address for that.
    large["spec"]["externalTrafficPolicy"] = json!("Local");
    large["spec"]["externalIPs"] = json!((0..addresses).map(external_ip).collect::<Vec<_>>());
    let (before, began) = (proxy.page()?, Instant::now());
    stage.api.apply(large);
    let last = external_ip(addresses - 1);
    let seen = packet::wait(last, Sight::Leads(size.fresh(1)), packet::LOADING)?;
    sheet.outside("load", seen.by - began, None);
    let after = proxy.wait_for("the load is in the metrics", |page| syncs(page, &before) > 0.0)?;
    sheet.inside(
        "load of the sync thread",
        after.growth(&before, &format!("{}_sum", agreement::SYNC)),
        target(LOAD),
    );

    let (mut own, mut beside) = (Samples::default(), Samples::default());
    let steps = bench.choose(100, 30, 5);
    for step in 2..2 + steps {
        let began = Instant::now();
        stage.api.apply(triggered_now(led_to(step)));
        own.push(packet::wait(last, Sight::Leads(size.fresh(step)), packet::CLOSELY)?.by - began);
    }
    let before = after;
    let after =
        proxy.wait_for("the changes are in the metrics", |page| syncs(page, &before) >= f64::from(steps))?;
    sheet.percentiles(" of a change", &own, [None, None]);
    let mean = after.mean(&before, agreement::SYNC).unwrap_or_default();
    sheet.inside("a change of the sync thread", mean, target(CHANGE));

    for step in 2 + steps..2 + 2 * steps {
        let began = Instant::now();
        stage.api.apply(led_to(step));
        stage.api.apply(probed_slice(size, size.fresh(step)));
        let seen = packet::wait(vip(size.services), Sight::Leads(size.fresh(step)), packet::CLOSELY)?;
        beside.push(seen.by - began);
    }
    sheet.percentiles(" of another Service beside it", &beside, [None, target(CHANGE)]);
    proxy.end()
}

/// How many syncs there were since `before`.
fn syncs(page: &crate::proxy::Page, before: &crate::proxy::Page) -> f64 {
    page.growth(before, &format!("{}_count", agreement::SYNC))
}
