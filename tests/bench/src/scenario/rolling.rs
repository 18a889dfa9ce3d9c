//! All pods of one large Service are replaced one by one, as a Deployment does.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::{Bench, agreement};
use crate::findings::{Findings, Sheet};
use crate::measure::Samples;
use crate::objects::{Size, slice, triggered_now, vip};
use crate::progress::Progress;
use crate::report::{Seen, Unit};
use crate::seen::{Sight, Way};
use crate::stage::{Stage, on_stage};

/// Endpoints of one slice.
const PER_SLICE: usize = 100;

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
    let mut way = Way::of_mode(&bench.mode)?.into_iter().next();
    let mut pods: Vec<Ipv4Addr> = (0..size.each).map(crate::objects::pod).collect();
    let mut samples = Samples::default();
    let before = proxy.page()?;
    for step in 0..replaced {
        let fresh = size.fresh(step);
        let position = step as usize % pods.len();
        pods[position] = fresh;
        let (part, all) = (position / PER_SLICE, pods.chunks(PER_SLICE));
        let addresses: Vec<Ipv4Addr> = all.into_iter().nth(part).unwrap_or_default().to_vec();
        let slice = triggered_now(slice(0, u32::try_from(part)?, addresses.into_iter()));
        let began = Instant::now();
        stage.api.apply(slice);
        match &mut way {
            Some(Way::Notices(_)) => {}
            // A connection meets one of a thousand endpoints, so packets cannot tell when.
            _ => proxy
                .wait_for("the change is in force", |page| {
                    page.growth(&before, &format!("{}_count", agreement::PROGRAMMING)) > f64::from(step)
                })
                .map(drop)?,
        }
        progress.step(step as usize, replaced as usize);
        if let Some(way @ Way::Notices(_)) = &mut way {
            samples.push(way.wait(vip(0), Sight::Leads(fresh))? - began);
        }
    }
    let after = proxy.page()?;
    if samples.len() > 0 {
        sheet.percentiles("", &samples, [None; 2]);
        agreement::compare(sheet, "", &samples, &before, &after);
    } else if let Some(mean) = after.mean(&before, agreement::PROGRAMMING) {
        sheet.inside("programming mean (packets cannot tell)", mean, None);
    }
    let operations = after.growth(&before, "portolan_sync_operations_sum") / f64::from(replaced);
    sheet.figure("operations a pod", Seen::Inside, operations, Unit::Count, None);
    if Way::has_notices(&bench.mode) {
        sheet.expect((operations - 2.0).abs() < 1e-9, || format!("{operations} operations a pod, not 2"));
    }
    proxy.end()
}
