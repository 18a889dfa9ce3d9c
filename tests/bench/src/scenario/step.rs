//! One endpoint of a loaded cluster is replaced by another, again and again.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::{Bench, agreement};
use crate::findings::{Findings, Sheet};
use crate::measure::Samples;
use crate::objects::{Size, service, slice, triggered_now, vip};
use crate::progress::Progress;
use crate::proxy::Proxy;
use crate::seen::{Sight, Way};
use crate::stage::Stage;

const SIZES: [Size; 3] = [Size::new(1_000, 2), Size::new(10_000, 2), Size::new(50_000, 2)];
/// What p50 and p99 should be, in seconds.
const TARGETS: [Option<f64>; 2] = [Some(0.000_2), Some(0.001)];

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    bench.each_on_stage(&bench.sizes(&SIZES), progress, |stage, size| {
        at(bench, stage, *size, &mut findings.sheet("step", *size))
    })
}

pub(super) fn at(bench: &Bench, stage: &Stage, size: Size, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    stage.fill(size.objects().chain(probed(size)));
    let (proxy, _) = stage.start_loaded()?;
    let steps = bench.choose(500, 100, 20);
    // The second way has no listener, and so shows the cost of listening.
    for way in Way::of_mode(&bench.mode)? {
        let step = Step { bench, stage, proxy: &proxy, size };
        step.repeat(way, steps, sheet)?;
    }
    proxy.end()
}

/// A Service with a single endpoint, so that any connection tells which one that is.
pub(super) fn probed(size: Size) -> impl Iterator<Item = serde_json::Value> {
    let number = size.services;
    [service(number), probed_slice(size, size.fresh(0))].into_iter()
}

/// The slice of the [`probed`] Service, leading to this address.
pub(super) fn probed_slice(size: Size, address: Ipv4Addr) -> serde_json::Value {
    slice(size.services, 0, std::iter::once(address))
}

struct Step<'a> {
    bench: &'a Bench,
    stage: &'a Stage,
    proxy: &'a Proxy,
    size: Size,
}

impl Step<'_> {
    fn repeat(&self, mut way: Way, steps: u32, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
        let first = match way {
            Way::Notices(_) => 1,
            Way::Packets => 100_000,
        };
        let mut samples = Samples::default();
        // The first few meet cold caches and a proxy that has just loaded.
        self.once(&mut way, first)?;
        let before = self.proxy.page()?;
        for step in 1..=steps {
            samples.push(self.once(&mut way, first + step)?);
        }
        let after = self.proxy.page()?;
        let suffix = way.suffix(&self.bench.mode);
        sheet.percentiles(suffix, &samples, TARGETS);
        let pages = [&before, &after];
        agreement::means(self.bench, sheet, suffix, agreement::Changed::Slices, &samples, pages);
        Ok(())
    }

    /// Replaces an endpoint by fresh number `step`; the time until it was so.
    fn once(&self, way: &mut Way, step: u32) -> anyhow::Result<std::time::Duration> {
        let fresh = self.size.fresh(step);
        let (number, slice) = match way {
            // Another Service every time, spread over all of them.
            Way::Notices(_) => {
                let number = (step * 7_919) % self.size.services;
                (number, self.size.replaced(number, fresh))
            }
            Way::Packets => (self.size.services, probed_slice(self.size, fresh)),
        };
        let slice = triggered_now(slice);
        let began = Instant::now();
        self.stage.api.apply(slice);
        Ok(way.wait(vip(number), Sight::Leads(fresh))? - began)
    }
}
