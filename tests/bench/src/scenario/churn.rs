//! A flood of slice updates: how far the kernel lags behind, and what that takes of a processor.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::step::{probed, probed_slice};
use super::{Bench, agreement};
use crate::findings::{Findings, Sheet};
use crate::measure::Samples;
use crate::objects::{Size, triggered_now, vip};
use crate::progress::Progress;
use crate::report::{Seen, Unit};
use crate::seen::{Notices, Way, packet};
use crate::stage::{Stage, on_stage};

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
    let sizes = bench.sizes(&SIZES);
    for (done, size) in (1..).zip(&sizes) {
        on_stage(&bench.mode, |stage| at(bench, stage, *size, &mut findings.sheet("churn", *size)))?;
        progress.step(done, sizes.len());
    }
    Ok(())
}

fn at(bench: &Bench, stage: &Stage, size: Size, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    stage.fill(size.objects().chain(probed(size)));
    let (proxy, _) = stage.start_loaded()?;
    let (rate, seconds) = bench.choose((1_000, 30), (1_000, 3), (200, 2));
    let watcher = Watcher::start(&bench.mode, vip(size.services))?;
    let (before, time) = (proxy.page()?, proxy.time()?);
    let began = Instant::now();
    let sent = send(stage, size, rate, rate * seconds);
    let took = began.elapsed();
    let time = proxy.time()?.saturating_sub(time);
    std::thread::sleep(TAIL);
    let (after, seen) = (proxy.page()?, watcher.end()?);
    let lags = lags(&sent, &seen);
    sheet.percentiles("", &lags, [None, Some(LAG)]);
    let rate = f64::from(u32::try_from(sent.len())?) / took.as_secs_f64();
    sheet.figure("updates a second", Seen::Outside, rate, Unit::Count, None);
    let share = time.as_secs_f64() / took.as_secs_f64();
    sheet.figure("CPU", Seen::Outside, share, Unit::Ratio, Some(SHARE));
    sheet.count("syncs", after.growth(&before, &format!("{}_count", agreement::SYNC)));
    if let Some(mean) = after.mean(&before, agreement::PROGRAMMING) {
        sheet.inside("programming mean", mean, None);
        sheet.expect(mean <= lags.mean() + LAG, || format!("changes took {mean} s by the metrics"));
    }
    let expected = if Way::has_notices(&bench.mode) { sent.len() } else { sent.len() / PROBED as usize / 2 };
    sheet.expect(lags.len() >= expected, || {
        format!("only {} of {} updates were seen to come into force", lags.len(), sent.len())
    });
    proxy.end()
}

/// Writes so many updates, evenly spread, each with an address of its own; when each was written.
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
        let slice = triggered_now(slice);
        let due = began + Duration::from_secs(1) * index / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        sent.push((fresh, Instant::now()));
        stage.api.apply(slice);
    }
    sent
}

/// How long each update took that was seen to come into force.
fn lags(sent: &[(Ipv4Addr, Instant)], seen: &HashMap<Ipv4Addr, Instant>) -> Samples {
    let mut lags = Samples::default();
    for (address, written) in sent {
        if let Some(at) = seen.get(address) {
            lags.push(at.saturating_duration_since(*written));
        }
    }
    lags
}

/// Takes down which addresses come into force when, on a thread of its own.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<HashMap<Ipv4Addr, Instant>>>,
}

impl Watcher {
    fn start(mode: &str, vip: Ipv4Addr) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut notices = Way::has_notices(mode).then(Notices::listen).transpose()?;
        let thread = std::thread::spawn(move || {
            let mut seen = HashMap::new();
            while !stopped.load(Ordering::Relaxed) {
                let (at, addresses) = match &mut notices {
                    Some(notices) => match notices.next()? {
                        Some((at, commits)) => {
                            (at, commits.into_iter().flat_map(|commit| commit.leads).collect())
                        }
                        None => continue,
                    },
                    None => (Instant::now(), packet::probe(vip).into_iter().collect::<Vec<_>>()),
                };
                for address in addresses {
                    seen.entry(address).or_insert(at);
                }
            }
            Ok(seen)
        });
        Ok(Self { stop, thread })
    }

    fn end(self) -> anyhow::Result<HashMap<Ipv4Addr, Instant>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
