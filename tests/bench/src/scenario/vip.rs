//! A Service is added to a loaded cluster, and removed again.

use std::time::{Duration, Instant};

use super::{Bench, agreement};
use crate::findings::Findings;
use crate::measure::Samples;
use crate::objects::{NAMESPACE, Size, name, service, slice, vip};
use crate::progress::Progress;
use crate::seen::{Sight, Way};
use crate::stage::Stage;

const SIZES: [Size; 2] = [Size::new(10_000, 2), Size::new(50_000, 2)];

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    bench.each_on_stage(&bench.sizes(&SIZES), progress, |stage, size| at(bench, stage, *size, findings))
}

/// Makes a change of Service `number`; how long that took.
type Change = fn(&Stage, Size, u32, &mut Way) -> anyhow::Result<Duration>;

/// What adding should take at most, p99.
fn target(size: Size) -> Option<f64> {
    match size.services {
        10_000 => Some(0.001_5),
        50_000 => Some(0.015),
        _ => None,
    }
}

fn at(bench: &Bench, stage: &Stage, size: Size, findings: &mut Findings) -> anyhow::Result<()> {
    stage.fill(size.objects());
    let (mut proxy, before) = stage.start_loaded()?;
    let times = bench.choose(200, 50, 10);
    let numbers = size.services..size.services + times;
    // Slices come by a watch of their own. They are there first, so that a Service is one change.
    stage.fill(numbers.clone().map(|number| slice(number, 0, std::iter::once(size.fresh(number)))));
    proxy.wait_slices(&before, times)?;
    for mut way in Way::of_mode(&bench.mode)? {
        let kinds = [("add-vip", target(size), add as Change), ("remove", None, remove as Change)];
        for (scenario, target, change) in kinds {
            let mut samples = Samples::default();
            let before = proxy.page()?;
            for number in numbers.clone() {
                samples.push(change(stage, size, number, &mut way)?);
            }
            let after = proxy.page()?;
            let (mut sheet, suffix) = (findings.sheet(scenario, size), way.suffix(&bench.mode));
            sheet.percentiles(suffix, &samples, [None, target]);
            let pages = [&before, &after];
            agreement::means(bench, &mut sheet, suffix, agreement::Changed::Services, &samples, pages);
        }
    }
    proxy.end()
}

/// Adds Service `number`, whose slice is known already.
fn add(stage: &Stage, size: Size, number: u32, way: &mut Way) -> anyhow::Result<Duration> {
    let service = service(number);
    let began = Instant::now();
    stage.api.apply(service);
    Ok(way.wait(vip(number), Sight::Leads(size.fresh(number)))? - began)
}

fn remove(stage: &Stage, _: Size, number: u32, way: &mut Way) -> anyhow::Result<Duration> {
    let began = Instant::now();
    stage.api.delete("Service", NAMESPACE, &name(number));
    Ok(way.wait(vip(number), Sight::Ends)? - began)
}
