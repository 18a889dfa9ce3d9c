//! The same at growing sizes, few times each: what curves are drawn from.

use std::time::Duration;

use super::{Bench, cold, memory, step};
use crate::findings::Findings;
use crate::objects::Size;
use crate::progress::Progress;
use crate::stage::Stage;

const SERVICES: [u32; 6] = [100, 1_000, 5_000, 10_000, 20_000, 50_000];
/// Sizes whose memory is taken besides.
const MEMORY: [Size; 3] = [Size::new(1_000, 50), Size::new(2_500, 50), Size::new(5_000, 50)];

/// What grows.
enum Figure {
    Load,
    Step,
    Memory,
}

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let services = bench.choose(&SERVICES[..], &SERVICES[..3], &SERVICES[..1]);
    let sizes = || services.iter().map(|services| Size::new(*services, 2));
    let besides = bench.choose(&MEMORY[..], &[], &[]);
    let timed = sizes().flat_map(|size| [(Figure::Load, size), (Figure::Step, size)]);
    let held = sizes().chain(besides.iter().copied()).map(|size| (Figure::Memory, size));
    let all: Vec<_> = timed.chain(held).collect();
    bench.each_on_stage(&all, progress, |stage, (figure, size)| match figure {
        Figure::Load => cold::load(bench, stage, *size, [None; 2], &mut findings.sheet("cold", *size)),
        Figure::Step => step::at(bench, stage, *size, &mut findings.sheet("step", *size)),
        Figure::Memory => held_by(stage, *size, findings),
    })
}

fn held_by(stage: &Stage, size: Size, findings: &mut Findings) -> anyhow::Result<()> {
    stage.fill(size.objects());
    let (proxy, _) = stage.start_loaded()?;
    std::thread::sleep(Duration::from_secs(1));
    memory::take(&proxy, &mut findings.sheet("memory", size), "", None)?;
    proxy.end()
}
