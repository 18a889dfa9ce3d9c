//! The same at growing sizes, few times each: what curves are drawn from.

use std::time::Duration;

use super::{Bench, cold, memory, step};
use crate::findings::Findings;
use crate::objects::Size;
use crate::progress::Progress;
use crate::stage::on_stage;

const SERVICES: [u32; 6] = [100, 1_000, 5_000, 10_000, 20_000, 50_000];
/// Sizes whose memory is taken besides.
const MEMORY: [Size; 3] = [Size::new(1_000, 50), Size::new(2_500, 50), Size::new(5_000, 50)];

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let services = bench.choose(&SERVICES[..], &SERVICES[..3], &SERVICES[..1]);
    let memory = bench.choose(&MEMORY[..], &[], &[]);
    let of = 2 * services.len() + memory.len();
    for (done, services) in (1..).zip(services) {
        let size = Size::new(*services, 2);
        on_stage(&bench.mode, |stage| {
            cold::load(bench, stage, size, [None; 2], &mut findings.sheet("cold", size))
        })?;
        on_stage(&bench.mode, |stage| step::at(bench, stage, size, &mut findings.sheet("step", size)))?;
        progress.step(done, of);
    }
    let sizes = services.iter().map(|services| Size::new(*services, 2)).chain(memory.iter().copied());
    for (done, size) in (services.len() + 1..).zip(sizes) {
        on_stage(&bench.mode, |stage| {
            stage.fill(size.objects());
            let (proxy, _) = stage.start_loaded()?;
            std::thread::sleep(Duration::from_secs(1));
            memory::take(&proxy, &mut findings.sheet("memory", size), "", None)?;
            proxy.end()
        })?;
        progress.step(done, of);
    }
    Ok(())
}
