//! A Service is added to a loaded cluster, and removed again.

use std::time::{Duration, Instant};

use super::Bench;
use crate::findings::{Findings, Sheet};
use crate::measure::Samples;
use crate::objects::{NAMESPACE, Size, name, service, slice, vip};
use crate::progress::Progress;
use crate::seen::{Sight, Way};
use crate::stage::{Stage, on_stage};

const SIZES: [Size; 2] = [Size::new(10_000, 2), Size::new(50_000, 2)];

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let sizes = bench.sizes(&SIZES);
    for (done, size) in (1..).zip(&sizes) {
        on_stage(&bench.mode, |stage| at(bench, stage, *size, findings))?;
        progress.step(done, sizes.len());
    }
    Ok(())
}

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
    // Slices come by a watch of their own. They are there first, so that a Service is one change.
    let numbers = size.services..size.services + times;
    stage.fill(numbers.map(|number| slice(number, 0, std::iter::once(size.fresh(number)))));
    proxy.wait_slices(&before, times)?;
    for mut way in Way::of_mode(&bench.mode)? {
        let (mut added, mut removed) = (Samples::default(), Samples::default());
        for round in 0..times {
            let number = size.services + round;
            added.push(add(stage, size, number, &mut way)?);
            removed.push(remove(stage, number, &mut way)?);
        }
        let suffix = way.suffix(&bench.mode);
        let show = |sheet: &mut Sheet<'_>, samples, p99| sheet.percentiles(suffix, samples, [None, p99]);
        show(&mut findings.sheet("add-vip", size), &added, target(size));
        show(&mut findings.sheet("remove", size), &removed, None);
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

fn remove(stage: &Stage, number: u32, way: &mut Way) -> anyhow::Result<Duration> {
    let began = Instant::now();
    stage.api.delete("Service", NAMESPACE, &name(number));
    Ok(way.wait(vip(number), Sight::Ends)? - began)
}
