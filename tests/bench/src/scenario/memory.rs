//! The proxy's resident memory: with a handful of Services, after loads, and after changes.

use std::time::Duration;

use super::Bench;
use crate::findings::{Findings, Sheet};
use crate::manifests;
use crate::objects::Size;
use crate::progress::Progress;
use crate::proxy::{From, Proxy};
use crate::stage::{Stage, on_stage};

/// Sizes, and the steady memory that they should need at most, in bytes; the peak may be twice that.
const LOADS: [(Size, Option<f64>); 3] =
    [(Size::new(5, 2), None), (Size::new(10_000, 2), Some(30e6)), (Size::new(5_000, 50), Some(120e6))];
/// What settles after a load has done so by then.
const SETTLING: Duration = Duration::from_secs(2);

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let few = vec![LOADS[0], (Size::new(300, 2), None)];
    let loads = bench.choose(LOADS.to_vec(), LOADS[..2].to_vec(), few);
    bench.each_on_stage(&loads, progress, |stage, &(size, target)| {
        from_api(bench, stage, size, target, &mut findings.sheet("memory", size))
    })?;
    let (size, _) = loads[1];
    on_stage(&bench.mode, |stage| from_manifests(stage, size, &mut findings.sheet("memory-manifests", size)))
}

/// Takes down what the proxy has now and had at its highest.
pub(super) fn take(
    proxy: &Proxy,
    sheet: &mut Sheet<'_>,
    when: &str,
    target: Option<f64>,
) -> anyhow::Result<()> {
    let memory = proxy.memory()?;
    sheet.bytes(&format!("steady{when}"), f64::from(memory.now), target);
    sheet.bytes(&format!("peak{when}"), f64::from(memory.highest), target.map(|target| 2.0 * target));
    Ok(())
}

fn from_api(
    bench: &Bench,
    stage: &Stage,
    size: Size,
    target: Option<f64>,
    sheet: &mut Sheet<'_>,
) -> anyhow::Result<()> {
    stage.fill(size.objects());
    let (mut proxy, _) = stage.start_loaded()?;
    std::thread::sleep(SETTLING);
    take(&proxy, sheet, "", target)?;
    let steps = bench.choose(2_000, 500, 50);
    for step in 0..steps {
        stage.api.apply(size.replaced((step * 7_919) % size.services, size.fresh(step)));
        // Some at a time, so that this is neither one large change nor takes long.
        if step % 10 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    proxy
        .wait_for("all changes are programmed", |page| page.sum("portolan_sync_lag_seconds") == Some(0.0))?;
    take(&proxy, sheet, " after changes", target)?;
    proxy.end()
}

fn from_manifests(stage: &Stage, size: Size, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    let folder = manifests::folder((0..size.services).flat_map(|number| size.of_service(number)))?;
    let mut proxy = stage.start_from(From::Manifests(&folder.path()))?;
    proxy.wait_loaded()?;
    std::thread::sleep(SETTLING);
    take(&proxy, sheet, "", None)?;
    proxy.end()
}
