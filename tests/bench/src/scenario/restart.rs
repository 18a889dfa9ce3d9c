//! The proxy ends and starts again on a kernel that holds everything.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::Bench;
use crate::findings::{Findings, Sheet};
use crate::objects::{Size, vip};
use crate::progress::Progress;
use crate::report::{Seen, Unit};
use crate::seen::{Notices, Way, packet};
use crate::stage::{Stage, on_stage};

const SIZES: [Size; 2] = [Size::new(10_000, 2), Size::new(5_000, 50)];
/// How long it should take until it serves 10,000 Services again, in seconds.
const TARGET: f64 = 0.3;
/// Operations that are no writing of rules: each family's table is claimed.
const CLAIMS: f64 = 2.0;

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let sizes = bench.sizes(&SIZES);
    for (done, size) in (1..).zip(&sizes) {
        on_stage(&bench.mode, |stage| at(bench, stage, *size, &mut findings.sheet("restart", *size)))?;
        progress.step(done, sizes.len());
    }
    Ok(())
}

fn at(bench: &Bench, stage: &Stage, size: Size, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    stage.fill(size.objects());
    let (proxy, _) = stage.start_loaded()?;
    let traffic = Traffic::start(vip(size.services / 2));
    proxy.end()?;
    let notices = Way::has_notices(&bench.mode).then(Notices::listen).transpose()?;
    let mut proxy = stage.start()?;
    let page = proxy.wait_loaded()?;
    // The metric tells the moment itself; asking for it comes later.
    let ready = page.get("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"}");
    let started = jiff::Timestamp::now().as_duration().as_secs_f64() - proxy.started.elapsed().as_secs_f64();
    let took = ready.map_or(f64::NAN, |ready| ready - started);
    sheet.inside("from the start", took, (size.services == 10_000).then_some(TARGET));
    if let Some(mut notices) = notices {
        let commit = notices.drain()?;
        let elements = commit.leads.len() + commit.ends.len();
        sheet.figure(
            "elements changed",
            Seen::Outside,
            f64::from(u32::try_from(elements)?),
            Unit::Count,
            None,
        );
        sheet.expect(elements == 0, || {
            format!("the kernel tells of changes where nothing had changed: {commit:?}")
        });
    }
    let operations = page.sum("portolan_sync_operations_sum").unwrap_or_default();
    sheet.count("operations", operations);
    sheet.expect(operations <= CLAIMS, || format!("{operations} operations, where nothing had changed"));
    let (asked, failed) = traffic.end();
    sheet.figure("connections meanwhile", Seen::Outside, f64::from(asked), Unit::Count, None);
    sheet.figure("connections that failed", Seen::Outside, f64::from(failed), Unit::Count, Some(0.0));
    sheet.expect(failed == 0 && asked > 0, || format!("{failed} of {asked} connections failed"));
    proxy.end()
}

/// Connections one after the other, all the time.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u32, u32)>,
}

impl Traffic {
    fn start(vip: Ipv4Addr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut asked, mut failed) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                asked += 1;
                // The VIP itself answers what nobody translates.
                failed += u32::from(packet::probe(vip).map_or(true, |reached| reached == vip));
                // Leaves the processors to the proxy.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            (asked, failed)
        });
        Self { stop, thread }
    }

    /// How many there were, and how many of them failed.
    fn end(self) -> (u32, u32) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
