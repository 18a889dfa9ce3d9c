//! The same at growing sizes: what curves are drawn from, together with what the scenarios `step` and `memory`
//! take at sizes of their own.

use std::time::Duration;

use super::{Bench, cold, memory, step};
use crate::findings::Findings;
use crate::objects::Size;
use crate::progress::Progress;
use crate::stage::Stage;

const LOADS: [Size; 6] = [
    Size::new(100, 2),
    Size::new(1_000, 2),
    Size::new(5_000, 2),
    Size::new(10_000, 2),
    Size::new(20_000, 2),
    Size::new(50_000, 2),
];
const STEPS: [Size; 3] = [Size::new(100, 2), Size::new(5_000, 2), Size::new(20_000, 2)];
const MEMORY: [Size; 6] = [
    Size::new(100, 2),
    Size::new(1_000, 2),
    Size::new(20_000, 2),
    Size::new(50_000, 2),
    Size::new(1_000, 50),
    Size::new(2_500, 50),
];

/// What grows.
enum Figure {
    Load,
    Step,
    Memory,
}

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let some = |sizes: &'static [Size]| &sizes[..bench.choose(sizes.len(), 2, 1)];
    let loads = some(&LOADS).iter().map(|size| (Figure::Load, *size));
    let steps = some(&STEPS).iter().map(|size| (Figure::Step, *size));
    let memory = some(&MEMORY).iter().map(|size| (Figure::Memory, *size));
    let all: Vec<_> = loads.chain(steps).chain(memory).collect();
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
