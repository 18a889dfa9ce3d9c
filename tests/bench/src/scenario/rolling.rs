//! All pods of one large Service are replaced one by one, as a Deployment does.

use std::net::Ipv4Addr;
use std::time::Instant;

use serde_json::Value;

use super::{Bench, agreement};
use crate::findings::{Findings, Sheet};
use crate::measure::Samples;
use crate::objects::{PER_SLICE, Size, pod, slice, triggered_now, vip};
use crate::progress::Progress;
use crate::proxy::Page;
use crate::report::{Seen, Unit};
use crate::seen::{Notices, Sight};
use crate::stage::{Stage, on_stage};

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let size = bench.choose(Size::new(1, 1_000), Size::new(1, 1_000), Size::new(1, 200));
    on_stage(&bench.mode, |stage| roll(bench, stage, size, &mut findings.sheet("rolling", size), progress))
}

fn roll(
    bench: &Bench,
    stage: &Stage,
    size: Size,
    sheet: &mut Sheet<'_>,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    stage.fill(size.objects());
    let (mut proxy, _) = stage.start_loaded()?;
    let replaced = bench.choose(1_000, 200, 40_u32);
    // A connection meets one of a thousand endpoints, so packets cannot tell when.
    let mut notices = bench.mode.has_elements().then(Notices::listen).transpose()?;
    let mut pods: Vec<Ipv4Addr> = (0..size.each).map(pod).collect();
    let mut samples = Samples::default();
    let before = proxy.page()?;
    let programmed = format!("{}_count", agreement::PROGRAMMING);
    for step in 0..replaced {
        let fresh = size.fresh(step);
        let position = step as usize % pods.len();
        pods[position] = fresh;
        let slice = triggered_now(slice_around(&pods, position)?);
        let began = Instant::now();
        stage.api.apply(slice);
        if let Some(notices) = &mut notices {
            samples.push(notices.wait(vip(0), Sight::Leads(fresh))? - began);
        } else {
            let is_done = |page: &Page| page.growth(&before, &programmed) > f64::from(step);
            proxy.wait_for("the change is programmed", is_done)?;
        }
        progress.step(step as usize, replaced as usize);
    }
    let after = proxy.page()?;
    if notices.is_some() {
        sheet.percentiles("", &samples, [None; 2]);
        agreement::means(bench, sheet, "", agreement::Changed::Slices, &samples, [&before, &after]);
    } else if let Some(mean) = after.mean(&before, agreement::PROGRAMMING) {
        sheet.inside("mean", mean, None);
    }
    let operations = after.growth(&before, "portolan_sync_operations_sum") / f64::from(replaced);
    sheet.figure("operations a pod", Seen::Inside, operations, Unit::Count, None);
    if bench.mode.has_elements() {
        sheet.expect((operations - 2.0).abs() < 1e-9, || format!("{operations} operations a pod, not 2"));
    }
    proxy.end()
}

/// The slice that the pod at this position is in.
fn slice_around(pods: &[Ipv4Addr], position: usize) -> anyhow::Result<Value> {
    let per_slice = PER_SLICE as usize;
    let part = position / per_slice;
    let pods = pods.iter().skip(part * per_slice).take(per_slice);
    Ok(slice(0, u32::try_from(part)?, pods.copied()))
}
