//! A flood of slice updates: how far the kernel lags behind, and what that takes of a processor.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::step::{probed, probed_slice};
use super::{Bench, agreement};
use crate::findings::{Findings, Sheet};
use crate::measure::Samples;
use crate::objects::{Size, triggered_now, vip};
use crate::progress::Progress;
use crate::report::{Seen, Unit};
use crate::seen::{Record, Sight};
use crate::stage::Stage;

const SIZES: [Size; 1] = [Size::new(10_000, 2)];
/// How far behind 99 of 100 changes may be at most, in seconds.
const LAG: f64 = 0.01;
/// What of one processor the proxy may take.
const SHARE: f64 = 0.25;
/// What is left after the last update comes within this.
const TAIL: Duration = Duration::from_secs(2);
/// One of so many updates is of the Service that packets are sent to.
const PROBED: u32 = 20;

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    bench.each_on_stage(&bench.sizes(&SIZES), progress, |stage, size| {
        at(bench, stage, *size, &mut findings.sheet("churn", *size))
    })
}

fn at(bench: &Bench, stage: &Stage, size: Size, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    stage.fill(size.objects().chain(probed(size)));
    let (proxy, _) = stage.start_loaded()?;
    let (rate, seconds) = bench.choose((1_000, 30), (1_000, 3), (200, 2));
    let record = Record::of_mode(&bench.mode, vip(size.services))?;
    let (before, time) = (proxy.page()?, proxy.time()?);
    let began = Instant::now();
    let sent = send(stage, size, rate, rate * seconds);
    let took = began.elapsed();
    let time = proxy.time()?.saturating_sub(time);
    std::thread::sleep(TAIL);
    let (after, recorded) = (proxy.page()?, record.end()?);
    let mut lags = Samples::default();
    for (address, written) in &sent {
        if let Some(at) = recorded.when(vip(size.services), Sight::Leads(*address)) {
            lags.push(at.saturating_duration_since(*written));
        }
    }
    sheet.percentiles("", &lags, [None, Some(LAG)]);
    let rate = f64::from(u32::try_from(sent.len())?) / took.as_secs_f64();
    sheet.figure("updates a second", Seen::Outside, rate, Unit::Count, None);
    let share = time.as_secs_f64() / took.as_secs_f64();
    sheet.figure("CPU", Seen::Outside, share, Unit::Ratio, Some(SHARE));
    sheet.count("syncs", after.growth(&before, &format!("{}_count", agreement::SYNC)));
    agreement::means(bench, sheet, "", agreement::Changed::Slices, &lags, [&before, &after]);
    let expected = if bench.mode.has_elements() { sent.len() } else { sent.len() / PROBED as usize / 2 };
    sheet.expect(lags.len() >= expected, || {
        format!("only {} of {} updates were seen to come into force", lags.len(), sent.len())
    });
    proxy.end()
}

/// Writes so many updates, evenly spread, each with its own address; when each was written.
fn send(stage: &Stage, size: Size, rate: u32, count: u32) -> Vec<(Ipv4Addr, Instant)> {
    let began = Instant::now();
    let mut sent = Vec::with_capacity(count as usize);
    for index in 0..count {
        let fresh = size.fresh(index + 1);
        let slice = if index % PROBED == 0 {
            probed_slice(size, fresh)
        } else {
            size.replaced((index * 7_919) % size.services, fresh)
        };
        let due = began + Duration::from_secs(1) * index / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let slice = triggered_now(slice);
        sent.push((fresh, Instant::now()));
        stage.api.apply(slice);
    }
    sent
}
